"""Summaries agree with the manifests."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from iptdata.cli import group
from iptdata.errors import ShardError
from iptdata.inspection.column_stats import QUANTILES
from iptdata.inspection.rows import ManifestTable
from iptdata.inspection.summary import summarise
from iptdata.inspection.tar_summary import TarsSummary
from iptdata.inspection.text import summarise_all
from iptdata.shards.find import find_groups
from tests.conftest import build, natural_image, save


@pytest.fixture
def corpus(photos: Path, tmp_path: Path) -> Path:
    save(photos / "n00" / "tiny.png", natural_image(20, 20))
    build(photos, tmp_path / "corpus", ["rain", "sr2"], images_per_shard=4, max_rejects="50%")
    return tmp_path / "corpus"


def test_numbers_are_those_of_the_manifests(corpus: Path) -> None:
    rain, sr2 = find_groups([str(corpus)])
    summary = summarise(rain)
    rows = [row for shard in rain.shards for row in shard.rows().to_pylist()]
    assert (summary.task, summary.split, summary.shards, summary.pairs) == ("rain", "train", 4, 96)
    assert summary.bytes == sum(path.stat().st_size for path in (corpus / "rain" / "train").glob("*.tar"))
    assert summary.classes == len({row["label"] for row in rows}) == 3
    assert summary.rejected == {"too small": 1}
    assert summary.examples[0][0].endswith("tiny.png")
    assert summary.missing == summary.problems == ()
    assert [spread.name for spread in summary.params] == list(rows[0]["params"])
    wanted = {name: [row["params"][name] for row in rows] for name in rows[0]["params"]}
    wanted["psnr"] = [10 * np.log10(65025 / row["mse"]) if row["mse"] else 100 for row in rows]
    assert summary.psnr is not None
    for spread in (summary.psnr, *summary.params):
        values = np.array(wanted[spread.name])
        assert spread.count == len(values) == sum(spread.bins)
        assert (spread.mean, spread.low, spread.high) == pytest.approx((values.mean(), values.min(), values.max()), rel=1e-5)
        gap = np.diff(np.sort(values)).max() + (spread.high - spread.low) / 1000
        assert spread.quantiles == pytest.approx(np.quantile(values, QUANTILES), abs=gap)
        exact = np.histogram(values, len(spread.bins), (spread.low, spread.high))[0]
        assert np.abs(exact - spread.bins).sum() <= 4  # single precision moves a value over an edge
    other = summarise(sr2)
    assert (other.clean, other.corrupted, other.params, other.identical) == ((96, 96, 3), (48, 48, 3), (), 0)
    assert other.psnr is not None
    assert other.psnr.count == 96


def test_problems_are_reported(corpus: Path) -> None:
    folder = corpus / "rain" / "train"
    for suffix in (".tar", ".parquet"):
        (folder / f"rain-train-000001{suffix}").unlink()
    (folder / "rain-train-000002.tar").write_bytes(b"")
    (group_,) = find_groups([str(folder)])
    summary = summarise(group_)
    assert summary.missing == (1, 2)
    assert "rain-train-000002.tar is 0 bytes long" in summary.problems[0]
    twice = summarise(find_groups([str(folder / "rain-train-000000.tar")] * 2)[0])
    assert twice.repeated == twice.pairs // 2 == 32
    shown = CliRunner().invoke(group, ["inspect", str(folder)], catch_exceptions=False, env={"COLUMNS": "200"}).stdout
    assert "2 units are missing (1, 2); run the same build again" in shown
    assert "images dropped: 1 too small" in shown
    assert "rain-train-000002.tar is 0 bytes long" in shown
    (folder / "rain-train-000000.parquet").write_bytes(b"no parquet")
    (folder / "rain-train-000003.parquet").unlink()
    (left,) = summarise_all(find_groups([str(folder)]))
    assert isinstance(left, TarsSummary)
    assert left.samples == 32
    assert any(
        "rain-train-000000.parquet is damaged or not a manifest written by iptdata" in problem for problem in left.problems
    )
    for tar in folder.glob("*.tar"):
        tar.unlink()
    with pytest.raises(ShardError, match="is damaged or not a manifest written by iptdata"):
        summarise_all(find_groups([str(folder)]))


def test_json(corpus: Path) -> None:
    shown = CliRunner().invoke(group, ["inspect", str(corpus), "--json"], catch_exceptions=False).stdout
    rain, sr2 = json.loads(shown)
    assert (rain["task"], rain["pairs"], sr2["task"]) == ("rain", 96, "sr2")
    assert rain["psnr"]["count"] == 96
    assert rain["identity"]["recipe"]["task"] == "rain"


def test_queries_are_sandboxed(corpus: Path, tmp_path: Path) -> None:
    rows = ManifestTable(find_groups([str(corpus / "rain")])[0].shards)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for query in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        "SET enable_external_access = true",
        "SELECT * FROM rows",
    ):
        with pytest.raises(ShardError):
            rows._query(query)
