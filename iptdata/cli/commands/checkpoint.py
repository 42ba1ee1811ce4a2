"""`iptdata checkpoint`. PyTorch is imported by the commands when they run, so that `--help` is quick."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, complete_paths, declared, given
from iptdata.errors import printable
from iptdata.options import option

if TYPE_CHECKING:
    from iptdata.model.checkpoint import Checkpoint

_NETWORK = "Network"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ImportArguments:
    """The output file, and properties that a released checkpoint does not store."""

    out: str = option(help="Checkpoint to write.", path=True, group="Output", metavar="FILE")
    tasks: tuple[str, ...] | None = option(
        None,
        help="Names of the heads, in order.",
        default_help="those of the authors' network, or derived from the scales",
        flag="task",
        group=_NETWORK,
        metavar="NAME",
    )
    num_heads: int = option(
        12, help="Number of attention heads (not stored in released checkpoints).", min=1, group=_NETWORK, metavar="N"
    )
    pos_every: bool = option(
        False, help="The network adds positions in every layer (not stored in released checkpoints).", group=_NETWORK
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ExportArguments:
    """The output file."""

    out: str = option(
        help="Weights to write: .safetensors, or .pt in the released layout.", path=True, group="Output", metavar="FILE"
    )


class _CheckpointGroup(click.Group):
    command_class = Command


@click.group(name="checkpoint", cls=_CheckpointGroup)
def command() -> None:
    """Show checkpoints, import released ones, export weights.

    \b
    Examples:
      iptdata checkpoint import IPT_pretrain.pt --out ipt.pt
      iptdata checkpoint show ipt.pt
      iptdata checkpoint export ipt.pt --out weights.safetensors
    """


@command.command(name="import")
@click.argument("file", shell_complete=complete_paths)
@declared(_ImportArguments, aliases={"tasks": ("--tasks",)})
@declared(JsonOption)
def import_(file: str, as_json: bool | None, **options: Any) -> None:
    """Convert a checkpoint released by the IPT authors, pre-trained or fine-tuned.

    No code in the file is executed. Every name and shape must match; mismatches are listed.

    \b
    Examples:
      iptdata checkpoint import IPT_pretrain.pt --out ipt.pt
      iptdata checkpoint import IPT_sr3.pt --task sr3 --out sr3.pt
    """
    from iptdata.model.checkpoint import Checkpoint, save_checkpoint  # noqa: PLC0415
    from iptdata.model.released import PRETRAINED_TASKS, load_released  # noqa: PLC0415

    arguments = _ImportArguments(**given(options))
    model = load_released(
        file,
        arguments.tasks,
        num_heads=arguments.num_heads,
        pos_every=arguments.pos_every,
        on_note=partial(click.echo, err=True),
    )
    checkpoint = Checkpoint(config=model.config, weights=model.state_dict())
    save_checkpoint(arguments.out, checkpoint)
    _print(arguments.out, checkpoint, as_json)
    if arguments.tasks is None and len(model.config.tasks) > 1:
        order = "in the order of the authors' training code" if model.config.tasks == PRETRAINED_TASKS else "by their scale"
        click.echo(f"The file does not name its heads; they are named {order}. --task NAME,... gives other names.", err=True)


@command.command()
@click.argument("path", shell_complete=complete_paths)
@declared(_ExportArguments)
@declared(JsonOption)
def export(path: str, out: str, as_json: bool | None) -> None:
    """Write only the weights, for other programs: as safetensors, or in the layout of the authors' code.

    PATH is a checkpoint, or the folder of a run: its best checkpoint, else its last one.

    \b
    Examples:
      iptdata checkpoint export ipt.pt --out weights.safetensors
      iptdata checkpoint export runs/ipt-base-1 --out released.pt
    """
    from iptdata.model.checkpoint import export_weights, load_checkpoint  # noqa: PLC0415

    checkpoint = load_checkpoint(path)
    export_weights(out, checkpoint.weights)
    if as_json:
        print_json({"path": out, "tensors": len(checkpoint.weights), "checkpoint": checkpoint.path})
    else:
        click.echo(f"{printable(out)}: {len(checkpoint.weights)} tensors of {printable(checkpoint.path or path)}", err=True)


@command.command()
@click.argument("path", shell_complete=complete_paths)
@declared(JsonOption)
def show(path: str, as_json: bool | None) -> None:
    """Print what a checkpoint contains.

    PATH is a checkpoint, or the folder of a run: its best checkpoint, else its last one.

    \b
    Examples:
      iptdata checkpoint show ipt.pt
      iptdata checkpoint show runs/ipt-base-1
    """
    from iptdata.model.checkpoint import load_checkpoint  # noqa: PLC0415

    checkpoint = load_checkpoint(path)
    _print(checkpoint.path or path, checkpoint, as_json)
    if not as_json:
        training = checkpoint.training
        step = "none" if training is None else f"step {training.get('step')}"
        click.echo(f"training     {step}")
        click.echo(f"written by   iptdata {checkpoint.package}")


def _print(path: str, checkpoint: "Checkpoint", as_json: bool | None) -> None:
    config: Mapping[str, Any] = vars(checkpoint.config)
    parameters = sum(tensor.numel() for tensor in checkpoint.weights.values())
    if as_json:
        step = None if checkpoint.training is None else checkpoint.training.get("step")
        found = {"path": path, "parameters": parameters, "tensors": len(checkpoint.weights), "network": config}
        print_json(found | {"step": step, "written_by": checkpoint.package})
        return
    click.echo(f"{printable(path)}: {parameters / 1e6:.1f} M numbers in {len(checkpoint.weights)} tensors")
    for index, (task, scale) in enumerate(zip(config["tasks"], config["scales"], strict=True)):
        click.echo(f"head {index}       {printable(task)}, scale {scale}")
    shape = ", ".join(f"{name} {value}" for name, value in config.items() if name not in ("tasks", "scales"))
    click.echo(f"network      {shape}")
