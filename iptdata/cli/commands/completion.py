"""`iptdata completion`."""

import click
from click.shell_completion import get_completion_class

from iptdata.cli.options import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion", cls=Command)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options, recipes and paths.

    \b
    Examples:
      iptdata completion bash >> ~/.bashrc
      iptdata completion zsh >> ~/.zshrc
      iptdata completion fish > ~/.config/fish/completions/iptdata.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "iptdata", "_IPTDATA_COMPLETE").source())
