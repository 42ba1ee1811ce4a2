"""`iptdata checkpoint`. PyTorch is imported by the commands when they run, so that `--help` is quick."""

from collections.abc import Mapping
from typing import Any

import click

from iptdata.cli.completion import complete_paths
from iptdata.cli.console import console


@click.group(name="checkpoint")
def command() -> None:
    """Show checkpoints, read released ones, write weights for others.

    \b
    Examples:
      iptdata checkpoint import IPT_pretrain.pt --out ipt.pt
      iptdata checkpoint show ipt.pt
      iptdata checkpoint export ipt.pt --out weights.safetensors
    """


@command.command(name="import")
@click.argument("file", shell_complete=complete_paths)
@click.option("--out", required=True, metavar="FILE", shell_complete=complete_paths, help="Checkpoint to write.")
@click.option(
    "--tasks", metavar="A,B,...", help="Names of the heads in their order.  [default: the paper's, or made of scales]"
)
@click.option("--num-heads", default=12, show_default=True, type=click.IntRange(min=1), help="Attention heads; no file tells.")
@click.option("--pos-every", is_flag=True, help="The network adds positions in every layer; no file tells.")
def import_(file: str, out: str, tasks: str | None, num_heads: int, pos_every: bool) -> None:
    """Turn a checkpoint that the authors released, pre-trained or fine-tuned, into one of ours.

    Nothing in the file is run. Every name and shape has to fit; what does not is listed.

    \b
    Examples:
      iptdata checkpoint import IPT_pretrain.pt --out ipt.pt
      iptdata checkpoint import IPT_sr3.pt --tasks sr3 --out sr3.pt
    """
    from iptdata.model.checkpoint import Checkpoint, save_checkpoint  # noqa: PLC0415
    from iptdata.model.released import load_released  # noqa: PLC0415

    model = load_released(file, tasks.split(",") if tasks else None, num_heads=num_heads, pos_every=pos_every)
    save_checkpoint(out, Checkpoint(config=model.config, weights=model.state_dict()))
    _print(out, vars(model.config), model.state_dict())
    if tasks is None and len(model.config.tasks) > 1:
        click.echo("The names of heads of the same scale are in the paper's order; --tasks gives others.", err=True)


@command.command()
@click.argument("file", shell_complete=complete_paths)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    shell_complete=complete_paths,
    help="Weights to write: .safetensors, or .pt in the released layout.",
)
def export(file: str, out: str) -> None:
    """Write the weights alone, for other programs: as safetensors, or as the authors' code reads them.

    \b
    Examples:
      iptdata checkpoint export ipt.pt --out weights.safetensors
      iptdata checkpoint export runs/ipt-base-1/best.pt --out released.pt
    """
    from iptdata.model.checkpoint import export_weights, load_checkpoint  # noqa: PLC0415

    checkpoint = load_checkpoint(file)
    export_weights(out, checkpoint.weights)
    console().print(f"{out}: {len(checkpoint.weights)} tensors", markup=False)


@command.command()
@click.argument("file", shell_complete=complete_paths)
def show(file: str) -> None:
    """Print what a checkpoint holds.

    \b
    Example:
      iptdata checkpoint show ipt.pt
    """
    from iptdata.model.checkpoint import load_checkpoint  # noqa: PLC0415

    checkpoint = load_checkpoint(file)
    _print(file, vars(checkpoint.config), checkpoint.weights)
    training = checkpoint.training
    step = "none" if training is None else f"step {training.get('step')}"
    click.echo(f"training     {step}")
    click.echo(f"written by   iptdata {checkpoint.package}")


def _print(path: str, config: dict[str, Any], weights: Mapping[str, Any]) -> None:
    numbers = sum(tensor.numel() for tensor in weights.values())
    click.echo(f"{path}: {numbers / 1e6:.1f} M numbers in {len(weights)} tensors")
    for head, (task, scale) in enumerate(zip(config["tasks"], config["scales"], strict=True)):
        click.echo(f"head {head}       {task}, scale {scale}")
    shape = ", ".join(f"{name} {value}" for name, value in config.items() if name not in ("tasks", "scales"))
    click.echo(f"network      {shape}")
