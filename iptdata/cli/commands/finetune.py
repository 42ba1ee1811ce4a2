"""`iptdata finetune`."""

import dataclasses
from typing import Any

import click

from iptdata.cli.commands.train import FILES, run_options, train_from_arguments
from iptdata.cli.completion import complete_recipes
from iptdata.cli.options import Command, declared
from iptdata.options import option
from iptdata.training.options import TrainOptions

_DEFAULTS = {"lr": 2e-5, "epochs": 30}
_LR_DROP = 1.0  # the paper fine-tunes at a constant rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arguments:
    """What to start from, and what to train."""

    checkpoint: str = option(
        help="Checkpoint to start from, or folder of a run: its best checkpoint, else its last one.",
        path=True,
        group=FILES,
        metavar="PATH",
    )
    task: str = option(help="Recipe to train; a new one gets a fresh head and tail.", group=FILES, metavar="NAME")


@click.command(name="finetune", cls=Command)
@declared(_Arguments, complete={"task": complete_recipes})
@declared(TrainOptions, only=("freeze",))
@run_options(_DEFAULTS | {"lr_after": "the same as lr"})
def command(task: str, **arguments: Any) -> None:
    """Fine-tune a pre-trained network on one task: 30 epochs at a constant 2e-5, as in the paper.

    Heads, tails and queries of other tasks are dropped.

    \b
    Examples:
      iptdata finetune --checkpoint runs/ipt-base-1 --task sr3 --shards corpus
      iptdata finetune --checkpoint ipt.pt --task noise70 --shards new --freeze body
    """
    train_from_arguments(arguments | {"tasks": (task,)}, _DEFAULTS, _LR_DROP)
