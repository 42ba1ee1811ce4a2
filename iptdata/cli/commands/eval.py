"""`iptdata eval`."""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from iptdata.cli.completion import complete_methods, complete_recipes
from iptdata.cli.console import console, print_notes, results
from iptdata.cli.json_output import JsonOption
from iptdata.cli.options import Command, complete_paths, declared, given
from iptdata.errors import printable
from iptdata.evaluation.options import EvaluateOptions
from iptdata.options import option

if TYPE_CHECKING:
    from iptdata.evaluation.score import Score

_FILES = "Inputs and outputs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What to measure."""

    checkpoint: str | None = option(
        None,
        help="Checkpoint to measure, or folder of a run.",
        default_help="none, with --baseline",
        path=True,
        group=_FILES,
        metavar="PATH",
    )
    benchmarks: tuple[str, ...] = option(
        (), help="Folder of images; more may follow as arguments.", flag="benchmark", path=True, group=_FILES, metavar="DIR"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Output:
    """How to print the scores."""

    images: bool = option(False, help="Print a row for each image too.", group="Output")
    csv: str | None = option(None, help="Write one line per image to this file.", path=True, group="Output", metavar="FILE")
    markdown: bool = option(False, help="Print the tables as Markdown.", group="Output")
    beside: tuple[str, ...] = option(
        (),
        help="Methods whose published PSNR to show besides that of IPT, such as SwinIR.",
        default_help="IPT alone",
        group="Output",
        metavar="NAME",
    )


@click.command(name="eval", cls=Command)
@click.argument("more_benchmarks", nargs=-1, metavar="[DIR]...", shell_complete=complete_paths)
@declared(_Inputs)
@click.option(
    "--pair",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="CORRUPTED CLEAN",
    help="Two folders with the same file names. Repeat it for more.",
)
@declared(EvaluateOptions, complete={"tasks": complete_recipes})
@declared(_Output, complete={"beside": complete_methods})
@declared(JsonOption)
def command(
    checkpoint: str | None,
    benchmarks: tuple[str, ...] | None,
    more_benchmarks: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    images: bool | None,
    csv: str | None,
    markdown: bool | None,
    beside: tuple[str, ...] | None,
    as_json: bool | None,
    **options: Any,
) -> None:
    """Measure a network, or a baseline, on benchmarks by their standard protocols, beside published figures.

    A benchmark is a folder: Set5, Set14, B100, Urban100, Manga109 in EDSR's layout, or any clean images, for super-resolution
    and denoising; rain-001.png with norain-001.png, or the folders rain and norain, or input and target, for other tasks.

    \b
    Examples:
      iptdata eval --baseline bicubic --task sr2,sr4 --benchmark Set5 Set14
      iptdata eval --checkpoint runs/ipt-base-1 --task noise50 --benchmark CBSD68 --no-clip --beside SwinIR
      iptdata eval --checkpoint runs/ipt-base-1 --task rain --pair Rain100L/rain Rain100L/norain --markdown
    """
    from iptdata.cli.views.published import print_published, print_published_markdown  # noqa: PLC0415
    from iptdata.cli.views.scores import print_markdown, print_scores, print_scores_as_json, write_csv  # noqa: PLC0415
    from iptdata.evaluation.published import find_methods  # noqa: PLC0415

    methods = find_methods(beside or ())
    scores = _measure(checkpoint, [*(benchmarks or ()), *more_benchmarks], pairs, given(options))
    if as_json:
        print_scores_as_json(scores, methods, command.spelling)
    elif markdown:
        print_markdown(scores)
        print_published_markdown(scores, methods, command.spelling)
    else:
        print_scores(results(), scores, images=bool(images))
        print_published(results(), scores, methods, command.spelling)
    if csv is not None:
        write_csv(csv, scores)
    for score in scores:
        for problem in score.problems:
            console().print(f"! {score.benchmark}: {problem}", markup=False, soft_wrap=True)
    if any(score.problems for score in scores):
        sys.exit(1)


def _measure(
    checkpoint: str | None, benchmarks: list[str], pairs: tuple[tuple[str, str], ...], options: dict[str, Any]
) -> "list[Score]":
    """Run all measurements, with a progress bar over all images."""
    from rich.progress import Progress  # noqa: PLC0415

    from iptdata.evaluation.measurements import plan_measurements, run_measurements  # noqa: PLC0415
    from iptdata.restoration.restorer import Restorer  # noqa: PLC0415

    def on_skip(reason: str) -> None:
        console().print(f"skipped: {reason}", markup=False, soft_wrap=True)

    measurements = plan_measurements(checkpoint, benchmarks, pairs=pairs, on_skip=on_skip, **options)
    if checkpoint is not None and os.path.isdir(checkpoint):
        console().print(f"checkpoint: {printable(measurements[0].restorer.name)}", markup=False, soft_wrap=True)
    networks = [item.restorer for item in measurements if isinstance(item.restorer, Restorer)][:1]  # one for all tasks
    early = [note for network in networks for note in network.notes]
    print_notes(early)
    with Progress(console=console(), transient=True) as progress:
        bar = progress.add_task("measuring", total=sum(len(item.benchmark.cases) for item in measurements))
        scores = run_measurements(measurements, on_image=lambda _: progress.advance(bar))
    print_notes(note for network in networks for note in network.notes if note not in early)
    return scores
