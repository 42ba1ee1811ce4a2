"""Readers of an extended corpus: its generations are one group, named and numbered one after the other."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from iptdata.errors import StreamError
from iptdata.inspection.compare import compare
from iptdata.inspection.summary import summarise
from iptdata.inspection.text import facts, warnings
from iptdata.shards.find import find_groups, find_shards
from iptdata.shards.index import index_row
from iptdata.stream import PairStream
from tests.cli.test_commands import iptdata
from tests.conftest import build, natural_image, save
from tests.shards.edit import set_field

OPTIONS: dict[str, Any] = {"images_per_shard": 4, "patches_per_image": 2}


@pytest.fixture
def first(photos: Path, tmp_path: Path) -> Path:
    build(photos, tmp_path / "first", **OPTIONS)
    return tmp_path / "first"


@pytest.fixture
def extended(first: Path, photos: Path, tmp_path: Path) -> Path:
    """Three shards of the first build and two of an extension of 7 images."""
    shutil.copytree(first, tmp_path / "extended")
    for number in range(12, 19):
        save(photos / f"n0{number % 3}" / f"image_{number}.jpg", natural_image(150, 160, number))
    build(photos, tmp_path / "extended", extend=True, **OPTIONS)
    return tmp_path / "extended"


def test_generations_are_one_group(first: Path, extended: Path) -> None:
    (group,) = find_groups([str(extended)])
    assert (group.title, len(group.shards)) == ("noise30/train", 5)
    (both,) = find_groups([str(first), str(extended)])
    assert len(both.shards) == 8
    (some,) = find_groups([f"{extended}/noise30/train/*-00000[34].tar"])
    assert len(some.shards) == 2


def test_shards_whose_recipe_was_described_in_other_words_are_one_group(extended: Path) -> None:
    for number in (1, 4):
        set_field(extended / f"noise30/train/noise30-train-{number:06d}.parquet", "identity.recipe.description", "Noise")
    assert [len(group.shards) for group in find_groups([str(extended)])] == [5]


def test_generations_of_other_corpora_are_other_groups(photos: Path, extended: Path, tmp_path: Path) -> None:
    build("samples", tmp_path / "other", **OPTIONS)
    build(photos, tmp_path / "other", extend=True, **OPTIONS)
    groups = find_groups([str(extended), str(tmp_path / "other")])
    assert [{info.generation for info in (shard.info for shard in group.shards)} for group in groups] == [{0, 1}, {0, 1}]
    assert len({group.title for group in groups}) == 2
    set_field(extended / "noise30/train/noise30-train-000004.parquet", "identity.seed", 3)
    assert [len(group.shards) for group in find_groups([str(extended)])] == [4, 1]


def test_units_of_generations_have_fingerprints_of_their_own(first: Path, extended: Path) -> None:
    rows = pq.read_table(extended / "noise30/train/index.parquet")["fingerprint"].to_pylist()
    assert len(set(rows)) == 5
    assert rows[:3] == pq.read_table(first / "noise30/train/index.parquet")["fingerprint"].to_pylist()
    info = find_shards(str(extended))[3].info
    assert (info.generation, info.unit) == (1, 0)
    before = index_row(info)["fingerprint"]
    object.__setattr__(info, "generation", 2)
    assert index_row(info)["fingerprint"] != before


def test_missing_units(extended: Path) -> None:
    folder = extended / "noise30" / "train"
    (group,) = find_groups([str(extended)])
    summary = summarise(group)
    assert (summary.missing_count, warnings(summary)) == (0, [])
    assert "2 generations of 12 + 7 images" in facts(summary)
    for number in (2, 4):
        for suffix in ("tar", "parquet"):
            (folder / f"noise30-train-{number:06d}.{suffix}").unlink()
    assert summarise(find_groups([str(extended)])[0]).missing == (2, 4)
    for suffix in ("tar", "parquet"):
        (folder / f"noise30-train-000000.{suffix}").unlink()
    assert summarise(find_groups([str(extended)])[0]).missing == (0, 2, 4)


def test_the_difference_of_generations_is_shown(first: Path, extended: Path) -> None:
    (found,) = compare(find_groups([str(first)]), find_groups([str(extended)])).both
    assert [name for name, _, _ in found.differences] == ["generation 1"]
    assert (found.pairs, found.same) == ((24, 38), 24)


def test_the_card_has_a_command_for_each_generation(extended: Path) -> None:
    card = (extended / "README.md").read_text()
    ((first, build_command, more, extend_command),) = (
        text.splitlines() for text in re.findall(r"```sh\n(.*?)\n```", card, re.S)
    )
    assert (first, more) == ("# 12 images", "# 7 more images")
    assert shlex.split(extend_command) == [*shlex.split(build_command)[:2], "--extend", *shlex.split(build_command)[2:]]
    assert "{000000..000004}.tar" in card


def test_a_stream_reads_all_generations(first: Path, extended: Path) -> None:
    before, stream = PairStream(str(first), batch_size=2), PairStream(str(extended), batch_size=2)
    assert (before.pairs, stream.pairs) == ({"noise30": 24}, {"noise30": 38})
    assert sum(len(batch.pairs) for batch in stream) == 38
    state = before.state_dict(after=next(iter(before)))
    with pytest.raises(StreamError, match=r"of another stream \(data: .*a corpus that was extended since"):
        stream.load_state_dict(state)
    earlier = PairStream(f"{extended}/noise30/train/noise30-train-{{000000..000002}}.tar", batch_size=2)
    earlier.load_state_dict(state)
    assert next(iter(earlier)).pairs.tolist() != []


def test_generations_in_json(extended: Path) -> None:
    result = iptdata("inspect", extended, "--json")
    assert result.returncode == 0, result.stderr
    assert '"first_shard": 3' in result.stdout
