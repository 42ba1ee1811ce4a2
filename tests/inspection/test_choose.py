"""Selected pairs match the query and have the pixels of their shard; nothing else is read."""

import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import iptdata
from iptdata.errors import InspectError, ShardError
from iptdata.files.storage import Storage
from iptdata.inspection.choose import choose, find_pair_by_key
from iptdata.inspection.compare import compare
from iptdata.inspection.page import page
from iptdata.inspection.pair import Pair
from iptdata.inspection.rows import ManifestTable
from iptdata.inspection.summary import summarise
from iptdata.inspection.tar_summary import summarise_tars
from iptdata.inspection.text import facts
from iptdata.shards.find import find_groups, find_shards
from tests.shards.edit import edit_rows, forget_errors, set_column
from tests.tars import sample, write_tar


def rows(folder: Path) -> dict[str, dict]:
    """Every row of a recipe by key, with the pixels."""
    found = {}
    for shard in find_shards(str(folder)):
        for index, row in enumerate(shard.rows().to_pylist()):
            found[row["key"]] = row | {"clean": shard.clean[index], "corrupted": shard.corrupted[index]}
    return found


def chosen(folder: Path | str, **question) -> list[Pair]:
    ((_, _, pairs),), notes = choose(find_groups([str(folder)]), **question)
    assert notes == []
    return pairs


@pytest.mark.parametrize("remote", [False, True])
def test_pairs_are_those_of_the_shards(looked_at: Path, remote: bool) -> None:
    wanted = rows(looked_at / "drawn")
    folder = f"file://{looked_at}/drawn" if remote else looked_at / "drawn"
    pairs = chosen(folder, count=1000)
    assert [pair.key for pair in pairs] != sorted(wanted)
    assert {pair.key for pair in pairs} == set(wanted)
    for pair in pairs:
        row = wanted[pair.key]
        assert np.array_equal(pair.clean, row["clean"])
        assert np.array_equal(pair.corrupted, row["corrupted"])
        assert pair.params == row["params"]
        assert pair.facts["source"] == row["source"]
        assert pair.psnr == pytest.approx(10 * math.log10(65025 / row["mse"]), abs=1e-9)
    again = chosen(folder, count=10)
    assert [pair.key for pair in again] == [pair.key for pair in pairs[:10]]


def test_conditions_and_orders(looked_at: Path) -> None:
    table = rows(looked_at / "drawn").values()
    where = "params.sigma > 30 and label = 'n01' and mse > 100 and psnr < 20"
    pairs = chosen(looked_at / "drawn", where=where, sort="psnr", count=1000)
    wanted = [
        row
        for row in table
        if row["params"]["sigma"] > 30 and row["label"] == "n01" and row["mse"] > 100 and 65025 / row["mse"] < 100
    ]
    assert 0 < len(wanted) < len(table)
    assert [pair.key for pair in pairs] == [row["key"] for row in sorted(wanted, key=lambda row: -row["mse"])]
    descending = chosen(looked_at / "drawn", sort="-sigma", count=5)
    assert [pair.params["sigma"] for pair in descending] == sorted((row["params"]["sigma"] for row in table), reverse=True)[:5]
    assert [pair.key for pair in chosen(looked_at / "rain", sort="key", count=3)] == sorted(rows(looked_at / "rain"))[:3]


def test_invalid_conditions(looked_at: Path) -> None:
    groups = find_groups([str(looked_at / "rain")])
    columns = "columns are key, source, label, .*, psnr, params.angle"
    for where in ("sigma > 1", "psnr >", "key", "true; DROP VIEW pairs", "true, false", "1 = 1) UNION (SELECT 1", ""):
        with pytest.raises(InspectError, match=rf"where: invalid condition .*: .*{columns}"):
            choose(groups, where=where, count=1)
    with pytest.raises(InspectError, match="sort: found 'angel', expected one of angle, "):
        choose(groups, sort="angel", count=1)
    with pytest.raises(InspectError, match="no pair of rain/train matches the condition 'psnr < 0'"):
        choose(groups, where="psnr < 0", count=1)


def test_conditions_are_sandboxed(looked_at: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    rain = ManifestTable(find_groups([str(looked_at / "rain")])[0].shards)
    secret = f"'{tmp_path}/secret.csv'"
    for source in (secret, f"read_csv({secret})", f"read_text({secret})", f"glob('{tmp_path}/*')"):
        with pytest.raises(InspectError, match=r"disabled by configuration|does not exist"):
            rain.select(f"exists(SELECT 1 FROM {source})", "random", 1)


def test_recipes_without_a_column_are_skipped_and_named(looked_at: Path) -> None:
    found, notes = choose(find_groups([str(looked_at)]), where="params.sigma > 40", count=2)
    assert [title for title, _, _ in found] == ["drawn/train", "noise50/train"]
    assert notes == ["skipped because they lack a requested column: rain/train, sr2/train"]
    found, notes = choose(find_groups([str(looked_at)]), where="psnr > 0", count=2)
    assert (len(found), notes) == (4, [])


def test_pairs_without_a_recorded_error_are_named(looked_at: Path, tmp_path: Path) -> None:
    """As in super-resolution shards of earlier versions."""
    shutil.copytree(looked_at / "sr2", tmp_path / "sr2")
    for path in sorted((tmp_path / "sr2" / "train").glob("sr2-*.parquet"))[:2]:
        forget_errors(path)
    groups = find_groups([str(tmp_path)])
    note = (
        "sr2/train: PSNR is not recorded for 64 pairs, which match no condition on it and are sorted last; remove their shards "
        "and build again to record it"
    )
    with pytest.raises(InspectError, match=f"^{note}; no pair of sr2/train matches the condition 'psnr < 0'$"):
        choose(groups, where="psnr < 0", count=1)
    ((_, _, pairs),), notes = choose(groups, where="PSNR > 0", count=100)
    assert notes == [note]
    assert len(pairs) == 16
    assert choose(groups, where="clean_std >= 0", count=1)[1] == []
    ((_, _, pairs),), notes = choose(groups, sort="-psnr", count=17)
    assert notes == [note]
    assert [pair.facts["mse"] is None for pair in pairs] == [False] * 16 + [True]


def test_parameters_of_steps_that_were_not_taken_are_null(looked_at: Path, tmp_path: Path) -> None:
    shutil.copytree(looked_at / "drawn", tmp_path / "drawn")
    path = tmp_path / "drawn" / "train" / "drawn-train-000001.parquet"
    rows_before = rows(tmp_path)
    edit_rows(path, set_column("params", lambda table: pa.array([{"sigma": None}] * len(table), table["params"].type)))
    groups = find_groups([str(tmp_path)])
    taken = [row["params"]["sigma"] for row in rows(tmp_path).values() if row["params"]["sigma"] is not None]
    assert len(taken) == len(rows_before) - 32
    summary = summarise(groups[0])
    (sigma,) = summary.params
    assert (sigma.count, sum(sigma.bins)) == (48, 48)
    assert sigma.mean == pytest.approx(np.mean(taken), rel=1e-6)
    assert summary.noise is not None
    assert summary.noise.pairs <= 48
    assert len(chosen(tmp_path, where="params.sigma > 0", count=1000)) == 48
    pairs = chosen(tmp_path, sort="-sigma", count=1000)
    assert [pair.params for pair in pairs[48:]] == [{}] * 32
    assert [caption.split()[0] for caption in pairs[-1].captions] == ["PSNR"]
    assert iptdata.Corpus(tmp_path).manifest()["params"].combine_chunks().field("sigma").null_count == 32
    assert "Histogram of sigma" in page("x", [summary], choose(groups, count=80)[0], [], None)
    (same,) = compare(groups, groups).both
    assert (same.same_clean, same.same) == (80, 80)


def test_a_damaged_manifest_is_not_blamed_on_the_condition(looked_at: Path, tmp_path: Path) -> None:
    shutil.copytree(looked_at / "rain" / "train", tmp_path / "train")
    manifest = tmp_path / "train" / "rain-train-000001.parquet"
    content = bytearray(manifest.read_bytes())
    content[4:200] = bytes(196)
    manifest.write_bytes(content)
    for where in (None, "psnr > 0"):
        with pytest.raises(ShardError, match=r"cannot read a manifest in .*train"):
            choose(find_groups([str(tmp_path / "train")]), where=where, count=100)


def test_a_pair_by_its_key(looked_at: Path) -> None:
    key = sorted(rows(looked_at / "rain"))[17]
    found = find_pair_by_key(find_groups([str(looked_at)]), key)
    assert [pair.task for pair in found] == ["drawn", "noise50", "rain", "sr2"]
    assert np.array_equal(found[2].corrupted, rows(looked_at / "rain")[key]["corrupted"])
    with pytest.raises(InspectError, match='found no pair with key "it\'s none"'):
        find_pair_by_key(find_groups([str(looked_at)]), "it's none")


def test_only_the_pairs_of_a_remote_tar_are_read(looked_at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    read = Storage.read

    def counted(self: Storage, relative: str, offset: int = 0, length: int | None = None) -> bytes:
        data = read(self, relative, offset, length)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(Storage, "read", counted)
    assert len(chosen(f"file://{looked_at}/rain", count=3)) == 3
    assert lengths == [16384] * 3


def test_shards_not_written_by_iptdata(tmp_path: Path) -> None:
    write_tar(tmp_path / "pairs-0.tar", [sample(number) for number in range(5)])
    write_tar(tmp_path / "pairs-1.tar", [sample(number, "target.npy", "input.npy") for number in range(5, 8)], first=5)
    for folder in (str(tmp_path), f"file://{tmp_path}"):
        (group,) = find_groups([folder])
        assert (group.task, group.split, len(group.tars)) == ("pairs", "", 2)
        (found,), notes = choose([group], count=100)
        assert notes == []
        assert [pair.clean[0, 0].tolist() for pair in found.pairs] == [[number, 3, 4] for number in range(8)]
        assert [pair.scale for pair in found.pairs] == [2] * 8
        assert find_pair_by_key([group], "0006")[0].clean[0, 0, 0] == 6
        with pytest.raises(InspectError, match="pairs has no manifests, which where and sort need"):
            choose([group], where="true", count=1)


def test_only_the_beginning_of_a_remote_foreign_tar_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "pairs-0.tar", [sample(number) for number in range(50)])
    monkeypatch.setattr("iptdata.shards.tars._REMOTE_BYTES", path.stat().st_size // 2)
    (group,) = find_groups([f"file://{tmp_path}"])
    (tar,) = group.tars
    assert 20 < len(tar.contents.samples) < 30
    assert tar.contents.problem == ""
    summary = summarise_tars(group)
    assert not summary.whole
    assert summary.problems == ()
    assert f"{summary.samples} samples or more" in facts(summary)
    (group,) = find_groups([str(tmp_path)])
    assert len(group.tars[0].contents.samples) == 50


def test_readable_samples_of_a_damaged_shard_are_shown(looked_at: Path, tmp_path: Path) -> None:
    whole = (looked_at / "rain" / "train" / "rain-train-000000.tar").read_bytes()
    (tmp_path / "rain-train-000000.tar").write_bytes(whole[:100_000])
    (tmp_path / "rain-train-000000.parquet").write_bytes(
        (looked_at / "rain" / "train" / "rain-train-000000.parquet").read_bytes()
    )
    wanted = find_shards(str(looked_at / "rain"))[0]
    for manifest in (True, False):
        if not manifest:
            (tmp_path / "rain-train-000000.parquet").unlink()
        (found,), notes = choose(find_groups([str(tmp_path)]), count=100)
        assert found.title == "rain/train"
        assert len(found.pairs) == 100_000 // 16384
        for number, pair in enumerate(found.pairs):
            assert np.array_equal(pair.corrupted, wanted.corrupted[number])
            assert pair.params == pytest.approx(wanted.row(number)["params"])
        assert any("is not a valid tar after its first" in note for note in notes)
    (tmp_path / "rain-train-000000.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(
        InspectError, match=r"is not a valid tar after its first 0 samples: .*; no sample of rain/train can be shown"
    ):
        choose(find_groups([str(tmp_path)]), count=100)
