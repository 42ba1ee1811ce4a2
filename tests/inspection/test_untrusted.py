"""What manifests and tars say is shown as text: never markup, SQL, a line of its own, or a size of memory."""

import io
import json
import shutil
import tarfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from iptdata.cli.console import _Console
from iptdata.cli.json_output import print_json
from iptdata.cli.options import Refusal
from iptdata.cli.views.comparison import print_comparisons
from iptdata.cli.views.pairs import pairs_as_json, print_ladder, print_pairs
from iptdata.cli.views.summary import print_summaries
from iptdata.errors import InspectError, IptDataError, ShardError
from iptdata.inspection.choose import choose, find_pair_by_key
from iptdata.inspection.compare import compare
from iptdata.inspection.page import page
from iptdata.inspection.rows import ManifestTable, quoted
from iptdata.inspection.sheet import contact_sheet
from iptdata.inspection.text import summarise_all
from iptdata.shards.find import find_groups, find_shards
from tests.shards.edit import edit_rows, set_column, set_field

NASTY = [
    "[red]x[/red]",
    "[/]",
    "[/nothing]",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egpj.exe",
    "a\nb: forged",
    "\x9b31m",
    ":bomb:",
    "\u2028x",
]


@pytest.fixture
def shards(looked_at: Path, tmp_path: Path) -> Path:
    """A copy of the shards of rain that a test may damage."""
    shutil.copytree(looked_at / "rain", tmp_path / "corpus" / "rain")
    (tmp_path / "corpus" / "rain" / "train" / "index.parquet").unlink()
    return tmp_path / "corpus" / "rain" / "train"


def manifests(shards: Path) -> list[Path]:
    return sorted(shards.glob("rain-*.parquet"))


def printed(show, *arguments: object) -> list[str]:
    """The lines that a view prints, of a terminal that is wide enough."""
    out: Console = _Console(file=io.StringIO(), width=2000, highlight=False, emoji=False)
    show(out, *arguments)
    lines = out.file.getvalue().split("\n")  # pyright: ignore[reportAttributeAccessIssue]
    assert all(line.isprintable() for line in lines)
    return lines


@pytest.mark.parametrize("text", NASTY)
def test_texts_of_rows_are_shown_as_text(shards: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in manifests(shards):
        for name in ("label", "source", "key"):
            edit_rows(path, set_column(name, lambda table: pa.array([text] * len(table))))
    groups = find_groups([str(shards)])
    chosen, notes = choose(groups, count=1)
    assert notes == []
    shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
    lines = printed(print_pairs, chosen, False)
    assert sum(shown in line.replace("\\\\", "\\") for line in lines) == 3, lines
    contact_sheet(chosen)
    assert text not in page("x", [], chosen, [], None) or "<" not in text
    print_json(pairs_as_json(chosen[0].pairs))
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert json.loads(out)[0]["facts"]["label"] == text


@pytest.mark.parametrize("text", NASTY)
def test_texts_of_the_recipe_are_shown_as_text(shards: Path, text: str) -> None:
    for path in manifests(shards):
        set_field(path, "identity.recipe.description", text)
        set_field(path, "identity.later", {text: text})
        set_field(path, "rejects", [{"source": text, "reason": text, "detail": text, "patches": 8}])
    groups = find_groups([str(shards)])
    printed(print_summaries, summarise_all(groups))
    other = find_groups([str(shards)])
    other[0].shards[0].info.identity["later"][text] = [text]
    printed(print_comparisons, compare(groups, other))


@pytest.mark.parametrize("text", [*NASTY, "x" * 10**6])
def test_an_error_about_a_text_is_one_line(shards: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in manifests(shards):
        set_field(path, "name", text)
    with pytest.raises(IptDataError) as caught:
        find_shards(str(shards))
    Refusal(str(caught.value)).show()
    (line, end) = capsys.readouterr().err.split("\n")
    assert (end, line.isprintable(), len(line) < 700) == ("", True, True)


def test_long_texts_are_cut(shards: Path) -> None:
    for path in manifests(shards):
        for name in ("source", "key"):
            edit_rows(path, set_column(name, lambda table: pa.array(["s" * 30_000] * len(table))))
        set_field(path, "identity.recipe.description", "d" * 10**5)
        set_field(
            path, "rejects", [{"source": "s" * 10**5, "reason": f"{i}" * 10**4, "detail": "", "patches": 8} for i in range(9)]
        )
    groups = find_groups([str(shards)])
    chosen, _ = choose(groups, count=1)
    assert max(map(len, printed(print_pairs, chosen, False))) < 1000
    assert max(map(len, printed(print_ladder, chosen[0].pairs, False))) < 1000
    assert max(map(len, printed(print_summaries, summarise_all(groups)))) < 3000
    contact_sheet(chosen)
    assert len(page("x", summarise_all(groups), chosen, [], None)) < 10**6


@pytest.mark.parametrize("name", ["sigma", 'a"', '"; SELECT 1; --', "a b", '"'])
def test_names_are_quoted_in_queries(name: str) -> None:
    found = duckdb.connect().execute(f"SELECT 7 AS {quoted(name)}").description
    assert [column[0] for column in found or ()] == [name]


def test_no_value_of_a_manifest_becomes_sql(shards: Path) -> None:
    """A name of a parameter that would end the query and begin another one."""
    name = 'length"::FLOAT AS y FROM manifests; CREATE TABLE pairs2 AS SELECT 1; --'
    for path in manifests(shards):
        edit_rows(
            path,
            set_column(
                "params",
                lambda table: pa.StructArray.from_arrays([table["mse"].combine_chunks()], [name]),
            ),
        )
    with pytest.raises(ShardError, match="column params: found the name"):
        summarise_all(find_groups([str(shards)]))


@pytest.mark.parametrize(
    "where",
    [
        "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0",
        "(SELECT count(*) FROM read_text('/etc/hostname')) > 0",
        "(SELECT count(*) FROM '/etc/passwd') > 0",
        "1 = 1; COPY (SELECT 1) TO 'written.csv'",
        "1 = 1) TO 'written.csv'; --",
        "(COPY pairs TO 'written.csv')",
        "1 = 1; INSTALL httpfs",
        "1 = 1; SET enable_external_access = true",
        "(SELECT count(*) FROM duckdb_settings() WHERE name = 'enable_external_access' AND value = 'true') > 0",
    ],
)
def test_a_condition_reads_and_writes_no_file(shards: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shards)
    before = sorted(shards.iterdir())
    with pytest.raises(InspectError) as caught:
        choose(find_groups([str(shards)]), where=where, count=1)
    assert str(caught.value).isprintable()
    assert sorted(shards.iterdir()) == before


@pytest.mark.parametrize("key", ["'", "' OR '1' = '1", "a\0b", "\udcff", '"', "%"])
def test_a_key_is_a_value_and_no_condition(shards: Path, key: str) -> None:
    with pytest.raises(InspectError, match="found no pair with key"):
        find_pair_by_key(find_groups([str(shards)]), key)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_cannot_be_are_an_error(shards: Path, value: float) -> None:
    for path in manifests(shards):
        edit_rows(path, set_column("mse", lambda table: pa.array([value] * len(table))))
    with pytest.raises(ShardError, match="manifest"):
        summarise_all(find_groups([str(shards)]))


@pytest.mark.parametrize("found", [0, 3])
def test_a_deviation_that_is_missing_is_an_error(shards: Path, found: int) -> None:
    for path in manifests(shards):
        edit_rows(
            path,
            set_column("clean_std", lambda table: pa.array([9.0] * found + [None] * (len(table) - found), pa.float64())),
        )
    with pytest.raises(ShardError, match=r"found no clean_std in \d+ rows, expected one in each"):
        summarise_all(find_groups([str(shards)]))


def test_of_many_pairs_that_cannot_be_read_three_are_named(shards: Path) -> None:
    for path in manifests(shards):
        edit_rows(path, set_column("top", lambda table: pa.array([-1] * len(table), pa.int32())))
    with pytest.raises(InspectError, match=r"; and \d+ more$") as caught:
        choose(find_groups([str(shards)]), count=8)
    assert caught.value.message.count("column top: found -1") == 3


@pytest.mark.parametrize("offset", [-1, 2**62, None])
def test_an_offset_beyond_the_tar_is_an_error(shards: Path, offset: int | None) -> None:
    for path in manifests(shards):
        edit_rows(path, set_column("offset", lambda table: pa.array([offset] * len(table), pa.int64())))
    groups = find_groups([str(shards)])
    with pytest.raises(ShardError, match=r"is damaged: found the pair '.*' at .*, where no sample begins"):
        ManifestTable(groups[0].shards).select(None, "random", 1)


@pytest.mark.parametrize("name", ["key", "label"])
def test_texts_that_are_not_utf8_are_an_error(shards: Path, name: str) -> None:
    for path in manifests(shards):
        edit_rows(path, set_column(name, lambda table: pa.array([b"\xff\xfe"] * len(table)).view(pa.string())))
    with pytest.raises(IptDataError) as caught:
        choose(find_groups([str(shards)]), count=2)
    assert str(caught.value).isprintable()


def test_missing_units_are_counted_without_listing_them(shards: Path) -> None:
    set_field(manifests(shards)[0], "unit", 2**40)
    start = time.perf_counter()
    (summary,) = summarise_all(find_groups([str(shards)]))
    assert time.perf_counter() - start < 20
    assert (summary.missing_count, len(summary.missing)) == (2**40 + 1 - 3, 1000)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 10_000, b"\xff", b"x" * (1 << 21), b"NaN"]
)
def test_json_members_of_other_tars_are_input(tmp_path: Path, text: bytes) -> None:
    pixels = io.BytesIO()
    np.save(pixels, np.zeros((24, 24, 3), np.uint8))
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        for name, data in (("clean.npy", pixels.getvalue()), ("corrupted.npy", pixels.getvalue()), ("json", text)):
            member = tarfile.TarInfo(f"a.{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    chosen, _ = choose(find_groups([str(tmp_path / "other.tar")]), count=1)
    lines = printed(print_pairs, chosen, False)
    assert any("json" in line for line in lines)
    print_json(pairs_as_json(chosen[0].pairs))
