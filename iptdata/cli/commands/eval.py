"""`iptdata eval`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from iptdata.cli.completion import complete_paths, complete_recipes
from iptdata.cli.console import console, results
from iptdata.cli.network import for_network, network_options
from iptdata.cli.sections import WIDTH, SectionedCommand, section

if TYPE_CHECKING:
    from iptdata.evaluation.score import Score

_what, _how, _output = section("What to measure"), section("How"), section("Output")


@click.command(name="eval", cls=SectionedCommand, context_settings=WIDTH)
@click.argument("more", nargs=-1, metavar="[DIR]...", shell_complete=complete_paths)
@_what("--checkpoint", metavar="FILE", shell_complete=complete_paths, help="The network to measure.")
@_what("--baseline", type=click.Choice(["bicubic", "identity"]), help="Measure this instead of a network.")
@_what(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_recipes,
    help="Recipe; may repeat.  [default: the checkpoint's tasks]",
)
@_what(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="DIR",
    shell_complete=complete_paths,
    help="Images; may repeat, more may follow.",
)
@_what("--pair", nargs=2, multiple=True, metavar="CORRUPTED CLEAN", help="Two folders with the same names in both; may repeat.")
@_how(
    "--clip/--no-clip",
    default=True,
    show_default=True,
    help="Round and clip noisy images to 0..255, as the corpus and the IPT code do.",
)
@_how("--seed", default=0, show_default=True, metavar="N", help="Seed of the noise, which depends on task and image, too.")
@_how("--head", metavar="NAME", help="Head of the checkpoint to use for every task.  [default: each task's own]")
@network_options
@_output("--images", is_flag=True, help="A row for each image as well.")
@_output("--json", "as_json", is_flag=True, help="JSON instead of tables, with every image.")
@_output("--csv", metavar="FILE", help="Write a line for each image.")
@_output("--markdown", is_flag=True, help="The table as Markdown.")
@_output("--save-images", metavar="DIR", help="Write restored images, DIR/BENCHMARK/TASK/NAME.png.")
def command(**options: Any) -> None:
    """Measure a network, or a baseline, on benchmarks as the field does, beside what the paper reports.

    A benchmark is a folder: Set5, Set14, B100, Urban100, Manga109 in EDSR's layout, or any clean images, for super-resolution
    and denoising; rain-001.png with norain-001.png, or the folders rain and norain, or input and target, for others.

    \b
    Examples:
      iptdata eval --baseline bicubic --task sr2 --task sr4 --benchmark Set5 Set14
      iptdata eval --checkpoint runs/ipt-base-1/best.pt --task noise50 --benchmark CBSD68
      iptdata eval --checkpoint best.pt --task rain --pair Rain100L/rain Rain100L/norain --markdown
    """
    from iptdata.cli.views.scores import print_markdown, print_scores, to_json, write_csv  # noqa: PLC0415

    scores = _measure(options)
    if options["as_json"]:
        click.echo(to_json(scores))
    elif options["markdown"]:
        print_markdown(scores)
    else:
        print_scores(results(), scores, images=options["images"])
    if options["csv"] is not None:
        write_csv(options["csv"], scores)
    for score in scores:
        for problem in score.problems:
            console().print(f"! {score.benchmark}: {problem}", markup=False, soft_wrap=True)
    if any(score.problems for score in scores):
        sys.exit(1)


def _measure(options: dict[str, Any]) -> "list[Score]":
    from rich.progress import track  # noqa: PLC0415

    from iptdata.evaluation.measurements import plan_measurements, run_measurements  # noqa: PLC0415

    measurements = plan_measurements(
        options["checkpoint"],
        [*options["benchmarks"], *options["more"]],
        pairs=options["pair"],
        on_skip=lambda text: console().print(f"left out: {text}", markup=False, soft_wrap=True),
        baseline=options["baseline"],
        tasks=options["tasks"],
        clip=options["clip"],
        seed=options["seed"],
        head=options["head"],
        save_images=options["save_images"],
        **for_network(options),
    )
    total = sum(len(item.benchmark.cases) for item in measurements)
    progress = iter(track(range(total), "measuring", console=console(), transient=True))
    scores = run_measurements(measurements, on_image=lambda _: next(progress, None))
    for _ in progress:
        pass
    return scores
