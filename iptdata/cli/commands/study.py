"""`iptdata study`."""

import dataclasses
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from iptdata.cli.commands.train import setting_option
from iptdata.cli.completion import complete_studies
from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, declared, given
from iptdata.cli.signals import stop_signals
from iptdata.options import option
from iptdata.studies.options import StudyOptions

if TYPE_CHECKING:
    from iptdata.studies.plan import StudyPlan
    from iptdata.studies.results import PartResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arguments:
    """The folder of a study, and whether it is only estimated."""

    out: str | None = option(
        None,
        help="Folder of the study.",
        default_help="studies/<name>",
        path=True,
        group="Inputs and outputs",
        metavar="DIR",
    )
    dry_run: bool = option(
        False, help="Print the trainings and the hours they need at the speed measured here.", group="Output"
    )


@click.command(name="study", cls=Command)
@click.argument("file", shell_complete=complete_studies)
@declared(_Arguments, only=("out",))
@declared(StudyOptions, only=("shards", "benchmarks", "smoke", "length"))
@setting_option("Trainings")
@declared(StudyOptions, only=("workers", "address"))
@declared(_Arguments, only=("dry_run",))
@declared(JsonOption)
def command(
    file: str,
    out: str | None,
    settings: tuple[str, ...],
    dry_run: bool | None,
    as_json: bool | None,
    **options: Any,
) -> None:
    """Answer a question with several trainings: train and measure each, then write a table and a figure.

    FILE is a study that comes with iptdata (contrastive, fraction, multi-task, scratch, unseen-noise) or a YAML file. After
    an interruption, run the same command again to continue.

    \b
    Examples:
      iptdata study contrastive --smoke
      iptdata study fraction --shards corpus --benchmarks benchmarks --length 0.1 --dry-run
      iptdata study my-study.yaml --shards corpus --benchmarks benchmarks --out studies/mine
    """
    from iptdata.cli.views.study import estimate_with_status, print_estimates, print_report  # noqa: PLC0415
    from iptdata.studies.check import check_study  # noqa: PLC0415
    from iptdata.studies.plan import plan_study  # noqa: PLC0415
    from iptdata.studies.report import plain, problems  # noqa: PLC0415
    from iptdata.training.config import read_settings  # noqa: PLC0415

    plan = plan_study(file, out, settings=read_settings(settings), **given(options))
    if dry_run:
        check_study(plan)
        found = estimate_with_status(plan)
        if as_json:
            print_json([{"training": item.part.name, "hours": item.hours, **_without_part(item)} for item in found])
        else:
            print_estimates(plan, found)
        return
    results = _run(plan)
    if as_json:
        print_json(plain(plan, results))
    else:
        print_report(plan, results)
    if problems(plan, results):
        sys.exit(1)


def _without_part(item: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(item).items() if name != "part"}


def _run(plan: "StudyPlan") -> "dict[str, PartResult]":
    """Run the missing parts until all are done or a signal asks to stop."""
    from iptdata.cli.views.study import StudyProgress  # noqa: PLC0415
    from iptdata.studies.execute import run_study  # noqa: PLC0415

    with StudyProgress(plan) as progress, stop_signals() as signals:
        results = run_study(plan, on_part=progress.on_part, observer=progress, stop_requested=lambda: bool(signals))
    if any(result.stopped for result in results.values()):
        sys.exit(130 if signal.SIGINT in signals else 0)
    return results
