"""`iptdata study`."""

import signal
import sys
from typing import TYPE_CHECKING

import click

from iptdata.cli.completion import complete_paths, complete_studies
from iptdata.cli.sections import WIDTH, SectionedCommand, section

if TYPE_CHECKING:
    from iptdata.studies.part import PartResult
    from iptdata.studies.plan import StudyPlan

_what, _machines, _start = section("What to study, and where it goes"), section("Machines"), section("Before it starts")


@click.command(name="study", cls=SectionedCommand, context_settings=WIDTH)
@click.argument("file", shell_complete=complete_studies)
@_what("--out", metavar="DIR", shell_complete=complete_paths, help="Folder of the study.  [default: studies/<name>]")
@_what("--shards", multiple=True, metavar="PATH", shell_complete=complete_paths, help="Corpus to train on; may repeat.")
@_what("--benchmarks", metavar="DIR", shell_complete=complete_paths, help="The folder in which Set5 and the others lie.")
@_what(
    "--smoke",
    is_flag=True,
    help="A size that ends within a minute; without --shards and --benchmarks on the sample photos.",
)
@_what(
    "--length",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    metavar="SHARE",
    help="Share of the length of every training, such as 0.1.",
)
@_what("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of every training, as `iptdata train` has it.")
@_machines("--workers", type=click.IntRange(1), metavar="N", help="Trainings at the same time.  [default: the GPUs, or 1]")
@_machines(
    "--address", metavar="auto|HOST:PORT", help="Join a running Ray cluster and use all of its GPUs, whatever --workers says."
)
@_start("--dry-run", is_flag=True, help="Print the trainings and the hours they need at the rate measured here.")
def command(
    file: str,
    out: str | None,
    shards: tuple[str, ...],
    benchmarks: str | None,
    smoke: bool,
    length: float,
    settings: tuple[str, ...],
    workers: int | None,
    address: str | None,
    dry_run: bool,
) -> None:
    """Answer a question by several trainings: train and measure each, then write a table and a figure.

    FILE is a study that comes with iptdata, contrastive, fraction, multi-task, scratch, unseen-noise, or a YAML file. After an
    interruption, run the same command again: it goes on.

    \b
    Examples:
      iptdata study contrastive --smoke
      iptdata study fraction --shards corpus --benchmarks benchmarks --length 0.1 --dry-run
      iptdata study my-study.yaml --shards corpus --benchmarks benchmarks --out studies/mine
    """
    from iptdata.cli.views.study import print_estimates, print_report  # noqa: PLC0415
    from iptdata.studies.check import check  # noqa: PLC0415
    from iptdata.studies.plan import plan_study  # noqa: PLC0415
    from iptdata.studies.report import problems  # noqa: PLC0415
    from iptdata.training.config import read_settings  # noqa: PLC0415

    plan = plan_study(
        file,
        out,
        shards=shards,
        benchmarks=benchmarks,
        settings=read_settings(settings),
        length=length,
        smoke=smoke,
        workers=workers,
        address=address,
    )
    if dry_run:
        check(plan)
        print_estimates(plan)
        return
    outcomes = _run(plan)
    print_report(plan, outcomes)
    if problems(plan, outcomes):
        sys.exit(1)


def _run(plan: "StudyPlan") -> "dict[str, PartResult]":
    from iptdata.cli.signals import asked_to_stop  # noqa: PLC0415
    from iptdata.cli.views.study import StudyProgress  # noqa: PLC0415
    from iptdata.studies.execute import run_study  # noqa: PLC0415

    with StudyProgress(plan) as progress, asked_to_stop() as signals:
        outcomes = run_study(plan, on_part=progress.told, observer=progress, stop_requested=lambda: bool(signals))
    if any(outcome.stopped for outcome in outcomes.values()):
        sys.exit(130 if signal.SIGINT in signals else 0)
    return outcomes
