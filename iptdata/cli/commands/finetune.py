"""`iptdata finetune`."""

from typing import Any

import click

from iptdata.cli.completion import complete_paths, complete_recipes
from iptdata.cli.sections import WIDTH, SectionedCommand, section
from iptdata.cli.train import WHAT, run_training, shared_options

_what = section(WHAT)
_DEFAULTS = {"lr": 2e-5, "lr_after": 2e-5, "epochs": 30}


@click.command(name="finetune", cls=SectionedCommand, context_settings=WIDTH)
@_what(
    "--checkpoint",
    required=True,
    metavar="FILE",
    shell_complete=complete_paths,
    help="What to begin with: a checkpoint of ours.",
)
@_what(
    "--task",
    required=True,
    metavar="NAME",
    shell_complete=complete_recipes,
    help="Recipe to train; a new one gets a fresh head and tail.",
)
@_what("--freeze", type=click.Choice(["none", "body"]), help="Leave the body as it is.  [default: none]")
@shared_options
def command(task: str, **arguments: Any) -> None:
    """Train a pre-trained network further on one task: 30 epochs at 2e-5. Other heads, tails and queries are dropped.

    \b
    Examples:
      iptdata finetune --checkpoint runs/ipt-base-1/best.pt --task sr3 --shards corpus
      iptdata finetune --checkpoint ipt.pt --task noise70 --shards new --freeze body
    """
    run_training(arguments | {"tasks": (task,)}, _DEFAULTS)
