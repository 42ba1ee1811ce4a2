"""`iptdata train` and what `iptdata finetune` shares with it."""

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from iptdata.cli.completion import MODELS, complete_models, complete_paths, complete_recipes
from iptdata.cli.sections import WIDTH, SectionedCommand, section
from iptdata.cli.signals import asked_to_stop
from iptdata.training.config import read_config, read_settings
from iptdata.training.options import TrainOptions

_D = TrainOptions()

WHAT = "What to train on, and where it goes"
_what, _length, _loss = section(WHAT), section("Length, batches and rates"), section("Contrastive loss")
_data, _machine, _watch = section("Data"), section("Machine"), section("On the way")

_OPTIONS = [
    click.argument("more_shards", nargs=-1, metavar="[PATH]...", shell_complete=complete_paths),
    _what(
        "--shards",
        multiple=True,
        shell_complete=complete_paths,
        metavar="PATH",
        help="Corpus, folder, tar, glob or URL; may repeat, more may follow.",
    ),
    _what("--out", shell_complete=complete_paths, metavar="RUN", help="Folder of the run.  [default: runs/<model>-<n>]"),
    _what(
        "--config", shell_complete=complete_paths, metavar="FILE", help="YAML with any of these, and more: docs/training.md."
    ),
    _what("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One entry of the config; may repeat."),
    _what(
        "--resume/--no-resume",
        default=None,
        help="Go on from RUN's checkpoint, or begin anew.  [default: go on if there is one]",
    ),
    _length("--epochs", type=float, metavar="N", help="Passes over as many clean patches as one task has."),
    _length("--steps", type=int, metavar="N", help="Length in steps, instead of epochs."),
    _length("--batch-size", type=int, metavar="N", help=f"Pairs a step, over all GPUs.  [default: {_D.batch_size}]"),
    _length("--accumulate", type=int, metavar="N", help="Go through each batch in N parts, where memory is short."),
    _length("--lr", type=float, metavar="RATE", help="Learning rate of the first two thirds."),
    _length("--lr-after", type=float, metavar="RATE", help="Learning rate of the last third."),
    _length("--clip", type=float, metavar="NORM", help="Clip the gradient to this norm."),
    _length("--ema", type=float, metavar="DECAY", help="Keep a running mean of the weights, and use that."),
    _loss("--contrastive", type=float, metavar="WEIGHT", help="Weight of the contrastive loss.  [default: 0.1; EDSR: 0]"),
    _loss("--contrastive-form", metavar="paper|supcon", help=f"Which loss.  [default: {_D.contrastive_form}]"),
    _loss("--contrastive-tokens", type=int, metavar="K", help="Compare K tokens an image, not all."),
    _data("--fraction", type=float, metavar="SHARE", help="Use this share of each task's pairs."),
    _data(
        "--augment",
        metavar="all|flips|none",
        help="Flip and rotate pairs; rain that is rotated falls sideways.  [default: all]",
    ),
    _data("--seed", type=int, metavar="N", help=f"Seed of weights and order.  [default: {_D.seed}]"),
    _machine("--device", metavar="auto|cpu|cuda", help=f"Where to train.  [default: {_D.device}]"),
    _machine("--precision", metavar="auto|fp32|bf16", help="auto is bf16 on a GPU, fp32 elsewhere."),
    _machine("--compile/--no-compile", default=None, help="Compile the network.  [default: on a GPU]"),
    _watch("--validate/--no-validate", default=None, help="Measure PSNR on held-out pairs now and then."),
    _watch("--split", metavar="NAME", help=f"Split of the held-out pairs.  [default: {_D.split}]"),
    _watch("--validate-every", type=int, metavar="N", help=f"Steps between.  [default: {_D.validate_every:,}]"),
    _watch("--save-every", type=int, metavar="N", help="Steps between checkpoints.  [default: ten minutes]"),
    _watch("--keep", type=int, metavar="N", help=f"Checkpoints that stay, besides the best.  [default: {_D.keep}]"),
]


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both commands."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(name="train", cls=SectionedCommand, context_settings=WIDTH)
@_what(
    "--model",
    metavar="NAME",
    shell_complete=complete_models,
    help=f"{', '.join(MODELS)}.  [default: {_D.model}]",
)
@_what("--tasks", metavar="A,B,...", shell_complete=complete_recipes, help="Recipes to train.  [default: all in the shards]")
@shared_options
def command(**arguments: Any) -> None:
    """Train a network on shards: one task a step, L1 and the contrastive loss, as the paper has it.

    An interrupted run goes on from its last checkpoint when it is called again with the same --out; a finished one with
    more --steps or --epochs.

    \b
    Examples:
      iptdata train --shards corpus
      iptdata train --shards corpus --model ipt-tiny --batch-size 16 --steps 500 --out runs/try
      torchrun --nproc-per-node 8 -m iptdata train --shards s3://bucket/corpus --out runs/ipt
    """
    run_training(arguments, defaults={})


def run_training(arguments: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Train with the options of a command line."""
    from iptdata.cli.views.training import TrainProgress  # noqa: PLC0415
    from iptdata.training import run  # noqa: PLC0415

    out, resume = arguments.pop("out"), arguments.pop("resume")
    config, settings = arguments.pop("config"), arguments.pop("settings")
    more = arguments.pop("more_shards")
    arguments["shards"] = (*arguments["shards"], *more) or None
    given = {name: value for name, value in arguments.items() if value is not None}
    layers = [read_config(config) if config else {}, given, read_settings(settings)]
    with asked_to_stop() as signals:
        watch, stop = TrainProgress(), lambda: bool(signals)
        result = run.run_training(layers, out, watch, defaults=defaults, resume=resume, stop_requested=stop)
    if not result.finished and signal.SIGINT in signals:
        sys.exit(130)
