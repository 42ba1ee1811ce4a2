"""`iptdata inspect`."""

import dataclasses
import json
import os
import re
from typing import Any

import click
from click.core import ParameterSource

from iptdata.cli.complete import complete_paths, complete_sorts
from iptdata.cli.console import console, results
from iptdata.cli.pictures import PICTURES, check_name, save_picture, show_ladder, write_file
from iptdata.cli.sections import WIDTH, SectionedCommand, section
from iptdata.errors import InspectError, without_secrets

_COUNT = re.compile(r"[1-9]\d{0,4}")
_OF_PREVIEW, _OF_PAGE, _OF_SHOW = 6, 40, 2

_view, _choice, _pairs = section("What to see, instead of the summary"), section("Which pairs"), section("Files to write")


@click.command(name="inspect", cls=SectionedCommand, context_settings=WIDTH)
@click.argument("paths", nargs=-1, metavar="PATH...", shell_complete=complete_paths)
@_view("--sample", metavar="KEY|N", help="The pair with this key, or N pairs of each recipe, with all that is known of them.")
@_view("--show", is_flag=True, help="Draw pairs in the terminal.")
@_view("--ladder", metavar="KEY|IMAGE", help="One clean patch under every shipped recipe, mildest first.")
@_view("--compare", metavar="CORPUS", help="PATH beside this one: what they differ in, which pairs are the same.")
@_view("--check", is_flag=True, help="The summary after every tar was read and compared with its SHA-256.")
@_view("--json", "as_json", is_flag=True, help="The summary or comparison as JSON.")
@_pairs("--preview", metavar="FILE", help="A contact sheet, .png or .jpg: clean, corrupted, amplified difference.")
@_pairs("--html", metavar="FILE", help="A page for a browser, with all in it: summary and pairs to wipe, filter, sort.")
@_choice("--where", metavar="SQL", help="Pairs that meet a condition on the manifests' columns, psnr and params.NAME.")
@_choice(
    "--sort",
    default="random",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_sorts,
    help="random, psnr, key or a parameter; -NAME turns it round.",
)
@_choice(
    "--pairs",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help=f"Pairs of each recipe.  [default: {_OF_PREVIEW} on a sheet, {_OF_PAGE} on a page as long as it stays below 10 MB]",
)
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], **options: Any) -> None:
    """Look at corpora, folders in them, shards, or WebDataset tars of another make: what is in there, and what is wrong.

    PATH may be a URL such as s3://bucket/corpus; manifests and the pairs that are shown are read, nothing else.

    \b
    Examples:
      iptdata inspect corpus
      iptdata inspect corpus/rain --show
      iptdata inspect corpus --html corpus.html
      iptdata inspect corpus --preview worst.png --sort psnr --where "label = 'n01440764' and mse > 650"
      iptdata inspect corpus --compare other-corpus
      iptdata inspect --ladder photo.jpg --preview ladder.png
    """
    given = {name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    run, allowed = next((run, names) for run, asked, names in _VIEWS if not asked or given & asked)
    if odd := sorted(given - allowed):
        raise InspectError(f"{_flag(odd[0])} has no meaning with {_flag(min(given & allowed))}; leave one of them out")
    if run is _print_pairs and not _is_count(options["sample"]) and (odd := sorted(given & {"where", "sort", "pairs"})):
        raise InspectError(f"{_flag(odd[0])} has no meaning with --sample KEY, which names one pair; leave one of them out")
    if not paths and run is not _ladder:
        raise click.MissingParameter(param_hint="'PATH...'", param_type="argument")
    run(paths, options)


def _is_count(sample: str | None) -> bool:
    return sample is None or _COUNT.fullmatch(sample) is not None


def _flag(name: str) -> str:
    return "--" + name.removeprefix("as_")


def _summarise(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    from iptdata.cli.summary_view import print_summaries  # noqa: PLC0415
    from iptdata.inspection.text import summarise_all  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    groups = find_groups(paths)
    if options["check"]:
        groups = _verified(groups)
    summaries = summarise_all(groups)
    if options["as_json"]:
        _print_json([dataclasses.asdict(summary) for summary in summaries])
    else:
        print_summaries(results(), summaries)


def _verified(groups: list[Any]) -> list[Any]:
    """The groups without the shards that hold other bytes, with a bar while they are read."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    from iptdata.shards.verify import verify  # noqa: PLC0415

    columns = (TextColumn("checking"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        task = progress.add_task("", total=sum(shard.info.bytes for group in groups for shard in group.shards))
        return verify(groups, lambda size: progress.update(task, advance=size))


def _compare(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    from iptdata.cli.compare_view import print_comparisons  # noqa: PLC0415
    from iptdata.inspection.compare import compare  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    found = compare(find_groups(paths), find_groups([options["compare"]]))
    if options["as_json"]:
        _print_json(dataclasses.asdict(found))
    else:
        print_comparisons(results(), found)


def _print_pairs(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    from iptdata.cli.blocks import check_colours  # noqa: PLC0415
    from iptdata.cli.pair_view import print_pairs  # noqa: PLC0415
    from iptdata.inspection.choose import PairSelection, choose, find_pair_by_key  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    out = results()
    if options["show"]:
        check_colours(out)
    groups, sample, notes = find_groups(paths), options["sample"], []
    if not _is_count(sample):
        chosen = [PairSelection(pair.title, "", [pair]) for pair in find_pair_by_key(groups, sample)]
    else:
        count = int(sample) if sample else options["pairs"] or _OF_SHOW
        chosen, notes = choose(groups, where=options["where"], sort=options["sort"], count=count)
    print_pairs(out, chosen, show=options["show"])
    _print_notes(notes)


def _write(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    from iptdata.inspection.choose import choose  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    preview, html = options["preview"], options["html"]
    if preview is not None:
        check_name("--preview", preview, PICTURES)
    if html is not None:
        check_name("--html", html, (".html", ".htm"))
    groups, question = find_groups(paths), {"where": options["where"], "sort": options["sort"]}
    if preview is not None:
        from iptdata.inspection.sheet import contact_sheet  # noqa: PLC0415

        chosen, notes = choose(groups, **question, count=options["pairs"] or _OF_PREVIEW)
        save_picture(contact_sheet(chosen), preview)
        _print_notes(notes)
    if html is not None:
        from iptdata.inspection.page import MAX_BYTES, page  # noqa: PLC0415
        from iptdata.inspection.text import summarise_all  # noqa: PLC0415

        chosen, notes = choose(groups, **question, count=options["pairs"] or _OF_PAGE)
        name, most = without_secrets(", ".join(paths)), None if options["pairs"] else MAX_BYTES
        text = page(name, summarise_all(groups), chosen, notes, most, options["sort"])
        write_file(html, text.encode("utf-8", "backslashreplace"))
        console().print(f"{html}: {len(text) / 1e6:.1f} MB", markup=False)


def _ladder(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    from iptdata.files.storage import of_file  # noqa: PLC0415
    from iptdata.inspection.choose import find_pair_by_key  # noqa: PLC0415
    from iptdata.inspection.ladder import ladder_of_image, ladder_of_pair  # noqa: PLC0415
    from iptdata.recipe import shipped_recipes  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    wanted, recipes = options["ladder"], shipped_recipes()
    if os.path.isfile(wanted):
        if paths:
            raise InspectError(f"--ladder: {wanted} is a file, so {paths[0]} has no meaning; leave one of them out")
        storage, name = of_file(wanted)
        rungs = ladder_of_image(storage.read(name), wanted, recipes)
    elif paths:
        pairs = find_pair_by_key(find_groups(paths), wanted)
        rungs = ladder_of_pair(max(pairs, key=lambda pair: pair.clean.size), recipes)
    else:
        raise InspectError(f"--ladder: {wanted!r} is no file; expected an image, or a PATH with a pair of that key")
    show_ladder(rungs, options["preview"], show=options["show"])


def _print_notes(notes: list[str]) -> None:
    for note in notes:
        console().print(f"! {note}", markup=False, soft_wrap=True)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


# The options that ask for a view, and all that it understands. The first that is asked for is meant.
_VIEWS = (
    (_ladder, {"ladder"}, {"ladder", "show", "preview"}),
    (_compare, {"compare"}, {"compare", "as_json"}),
    (_write, {"preview", "html"}, {"preview", "html", "where", "sort", "pairs"}),
    (_print_pairs, {"sample", "show", "where", "sort", "pairs"}, {"sample", "show", "where", "sort", "pairs"}),
    (_summarise, set(), {"as_json", "check"}),
)
