"""`iptdata inspect`: a summary, a comparison, pairs, files to look at, or one patch under every recipe."""

import dataclasses
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import click

from iptdata.cli.completion import complete_sorts
from iptdata.cli.console import console, results
from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, complete_paths, declared, given
from iptdata.cli.views.pictures import PICTURES, check_suffix, save_picture, show_ladder, write_file
from iptdata.errors import InspectError, printable, without_secrets
from iptdata.options import option, validate

_VIEW, _PAIRS, _FILES = "What to show instead of the summary", "Which pairs", "Files to write"
_COUNT = re.compile(r"[1-9]\d{0,4}")
_SHEET_PAIRS, _PAGE_PAIRS, _SHOWN_PAIRS = 6, 40, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectArguments(JsonOption):
    """Options of `iptdata inspect`."""

    sample: str | None = option(
        None,
        help="The pair with this key, or N pairs of each recipe, with all metadata.",
        group=_VIEW,
        metavar="KEY|N",
    )
    show: bool = option(False, help="Draw pairs in the terminal.", group=_VIEW)
    ladder: str | None = option(
        None, help="One clean patch under every shipped recipe, mildest first.", group=_VIEW, metavar="KEY|IMAGE"
    )
    compare: str | None = option(
        None, help="Compare PATH with this corpus: differences, and shared pairs.", path=True, group=_VIEW, metavar="CORPUS"
    )
    check: bool = option(False, help="Read every tar, compare it with its SHA-256, then print the summary.", group=_VIEW)
    preview: str | None = option(
        None,
        help="A contact sheet, .png or .jpg: clean, corrupted, amplified difference.",
        path=True,
        group=_FILES,
        metavar="FILE",
    )
    html: str | None = option(
        None,
        help="A self-contained page for a browser: the summary, and pairs to compare, filter and sort.",
        path=True,
        group=_FILES,
        metavar="FILE",
    )
    where: str | None = option(
        None,
        help="Pairs that meet an SQL condition on the manifest columns, psnr and params.NAME.",
        group=_PAIRS,
        metavar="SQL",
    )
    sort: str = option(
        "random", help="random, psnr, key or a parameter; -NAME sorts in descending order.", group=_PAIRS, metavar="NAME"
    )
    pairs: int | None = option(
        None,
        help="Pairs of each recipe.",
        min=1,
        max=10_000,
        default_help=f"{_SHEET_PAIRS} on a sheet, {_PAGE_PAIRS} on a page, fewer above 10 MB",
        group=_PAIRS,
        metavar="N",
    )

    def __post_init__(self) -> None:
        validate(self, InspectError)


@click.command(name="inspect", cls=Command)
@click.argument("paths", nargs=-1, metavar="PATH...", shell_complete=complete_paths)
@declared(InspectArguments, without=("as_json",), complete={"sort": complete_sorts})
@declared(InspectArguments, only=("as_json",))
def command(paths: tuple[str, ...], **options: Any) -> None:
    """Show the contents and problems of corpora, folders in them, shards, or WebDataset tars not written by iptdata.

    PATH may be a URL such as s3://bucket/corpus; only manifests and the pairs shown are read.

    \b
    Examples:
      iptdata inspect corpus
      iptdata inspect corpus/rain --show
      iptdata inspect corpus --html corpus.html
      iptdata inspect corpus --preview worst.png --sort psnr --where "label = 'n01440764' and mse > 650"
      iptdata inspect corpus --compare other-corpus
      iptdata inspect --ladder photo.jpg --preview ladder.png
    """
    chosen = given(options)
    arguments = InspectArguments(**chosen)
    mode = _choose_mode(set(chosen), arguments)
    if not paths and mode is not inspect_ladder:
        raise InspectError("missing, expected a corpus, a folder in one, or shards", argument="paths")
    mode(paths, arguments)


def inspect_summary(paths: tuple[str, ...], arguments: InspectArguments) -> None:
    """Print statistics of each recipe and split; with `check`, a damaged shard ends with exit status 1."""
    from iptdata.cli.views.summary import print_summaries  # noqa: PLC0415
    from iptdata.inspection.text import summarise_all  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    groups = find_groups(paths)
    damaged = False
    if arguments.check:
        groups = _verified(groups)
        damaged = any(group.problems for group in groups)
    summaries = summarise_all(groups)
    if arguments.as_json:
        print_json(summaries)
    else:
        print_summaries(results(), summaries)
    if damaged:
        sys.exit(1)


def _verified(groups: list[Any]) -> list[Any]:
    """Verify all shards, with a progress bar; returns the groups without the damaged shards."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    from iptdata.shards.verify import verify_shards  # noqa: PLC0415

    columns = (TextColumn("checking"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        task = progress.add_task("", total=sum(shard.info.bytes for group in groups for shard in group.shards))
        return verify_shards(groups, lambda size: progress.update(task, advance=size))


def inspect_comparison(paths: tuple[str, ...], arguments: InspectArguments) -> None:
    """Print two corpora side by side."""
    from iptdata.cli.views.comparison import print_comparisons  # noqa: PLC0415
    from iptdata.inspection.compare import compare  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    found = compare(find_groups(paths), find_groups([str(arguments.compare)]))
    if arguments.as_json:
        print_json(found)
    else:
        print_comparisons(results(), found)


def inspect_pairs(paths: tuple[str, ...], arguments: InspectArguments) -> None:
    """Print pairs with all their metadata."""
    from iptdata.cli.views.blocks import check_colours  # noqa: PLC0415
    from iptdata.cli.views.pairs import pairs_as_json, print_pairs  # noqa: PLC0415
    from iptdata.inspection.choose import PairSelection, choose, find_pair_by_key  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    out = results()
    if arguments.show:
        check_colours(out)
    groups, sample, notes = find_groups(paths), arguments.sample, []
    if sample is not None and not _is_count(sample):
        chosen = [PairSelection(pair.title, "", [pair]) for pair in find_pair_by_key(groups, sample)]
    else:
        count = int(sample) if sample else arguments.pairs or _SHOWN_PAIRS
        chosen, notes = choose(groups, where=arguments.where, sort=arguments.sort, count=count)
    if arguments.as_json:
        print_json([pair for entry in chosen for pair in pairs_as_json(entry.pairs)])
    else:
        print_pairs(out, chosen, show=arguments.show)
    _end(notes)


def inspect_files(paths: tuple[str, ...], arguments: InspectArguments) -> None:
    """Write a contact sheet, a page, or both."""
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    if arguments.preview is not None:
        check_suffix("preview", arguments.preview, PICTURES)
    if arguments.html is not None:
        check_suffix("html", arguments.html, (".html", ".htm"))
    groups, notes = find_groups(paths), []
    if arguments.preview is not None:
        notes += _write_sheet(groups, arguments, arguments.preview)
    if arguments.html is not None:
        notes += _write_page(groups, arguments, arguments.html, name=without_secrets(", ".join(paths)))
    _end(list(dict.fromkeys(notes)))


def _write_sheet(groups: list[Any], arguments: InspectArguments, path: str) -> list[str]:
    """Write a contact sheet; returns notes on what it lacks."""
    from iptdata.inspection.choose import choose  # noqa: PLC0415
    from iptdata.inspection.sheet import contact_sheet  # noqa: PLC0415

    count = arguments.pairs or _SHEET_PAIRS
    chosen, notes = choose(groups, where=arguments.where, sort=arguments.sort, count=count)
    save_picture(contact_sheet(chosen), path)
    return notes


def _write_page(groups: list[Any], arguments: InspectArguments, path: str, name: str) -> list[str]:
    """Write a page; returns notes on what it lacks."""
    from iptdata.inspection.choose import choose  # noqa: PLC0415
    from iptdata.inspection.page import MAX_BYTES, page  # noqa: PLC0415
    from iptdata.inspection.text import summarise_all  # noqa: PLC0415

    count = arguments.pairs or _PAGE_PAIRS
    chosen, notes = choose(groups, where=arguments.where, sort=arguments.sort, count=count)
    max_bytes = None if arguments.pairs else MAX_BYTES
    text = page(name, summarise_all(groups), chosen, notes, max_bytes, arguments.sort)
    write_file(path, text.encode("utf-8", "backslashreplace"))
    console().print(f"{printable(path)}: {len(text) / 1e6:.1f} MB", markup=False)
    return notes


def inspect_ladder(paths: tuple[str, ...], arguments: InspectArguments) -> None:
    """Print or draw one clean patch under every shipped recipe."""
    from iptdata.files.storage import split_file_path  # noqa: PLC0415
    from iptdata.inspection.choose import find_pair_by_key  # noqa: PLC0415
    from iptdata.inspection.ladder import ladder_of_image, ladder_of_pair  # noqa: PLC0415
    from iptdata.recipe import shipped_recipes  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    requested, recipes = str(arguments.ladder), shipped_recipes()
    if os.path.isfile(requested):
        if paths:
            raise InspectError(
                f"{requested} is a file, so {paths[0]} has no effect", argument="ladder", hint="Leave one of them out"
            )
        storage, name = split_file_path(requested)
        pairs = ladder_of_image(storage.read(name), requested, recipes)
    elif paths:
        candidates = find_pair_by_key(find_groups(paths), requested)
        pairs = ladder_of_pair(max(candidates, key=lambda pair: pair.clean.size), recipes)
    else:
        raise InspectError(f"found {requested!r}, expected an image file, or a PATH with a pair of that key", argument="ladder")
    show_ladder(pairs, arguments.preview, show=arguments.show, as_json=arguments.as_json)


def _end(notes: list[str]) -> None:
    """Print notes, and end the command with exit status 1 if one of them is about something damaged."""
    from iptdata.inspection.choose import Problem  # noqa: PLC0415

    for note in notes:
        console().print(f"! {printable(note)}", markup=False, soft_wrap=True)
    if any(isinstance(note, Problem) for note in notes):
        sys.exit(1)


# Each mode with the options that select it, and the options that it accepts. The first mode that is selected runs.
_MODES: tuple[tuple[Callable[[tuple[str, ...], InspectArguments], None], set[str], set[str]], ...] = (
    (inspect_ladder, {"ladder"}, {"ladder", "show", "preview", "as_json"}),
    (inspect_comparison, {"compare"}, {"compare", "as_json"}),
    (inspect_files, {"preview", "html"}, {"preview", "html", "where", "sort", "pairs"}),
    (inspect_pairs, {"sample", "show", "where", "sort", "pairs"}, {"sample", "show", "where", "sort", "pairs", "as_json"}),
    (inspect_summary, set(), {"as_json", "check"}),
)


def _choose_mode(names: set[str], arguments: InspectArguments) -> Callable[[tuple[str, ...], InspectArguments], None]:
    """The mode that the given options select.

    Raises:
        InspectError: When one of them has no effect in that mode.
    """
    mode, allowed = next((mode, allowed) for mode, selecting, allowed in _MODES if not selecting or names & selecting)
    if ignored := sorted(names - allowed):
        raise _no_effect(ignored[0], f"`{min(names & allowed)}`")
    by_key = mode is inspect_pairs and arguments.sample is not None and not _is_count(arguments.sample)
    if by_key and (ignored := sorted(names & {"where", "sort", "pairs"})):
        raise _no_effect(ignored[0], "`sample=KEY`, which selects one pair")
    return mode


def _no_effect(name: str, other: str) -> InspectError:
    return InspectError(f"has no effect with {other}", argument=name, hint="Leave one of them out")


def _is_count(sample: str) -> bool:
    return _COUNT.fullmatch(sample) is not None
