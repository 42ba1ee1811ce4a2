"""A corpus of an earlier version, in which a shard of two recipes is missing, is resumed, gets a recipe and is summed up.

`interrupted.tar.xz` was written once and never changes. It holds what that version built with `RECIPES` and `OPTIONS` from the
sample photos, without the shards `MISSING` and the indexes next to them. Its manifests have no `psnr_sum`, and those of
super-resolution no errors.
"""

import json
import tarfile
from pathlib import Path

import pytest

from iptdata.inspection.corpus import Corpus
from iptdata.inspection.summary import SplitSummary
from iptdata.inspection.text import facts
from iptdata.shards.corpus import SplitTotals
from iptdata.shards.find import find_shards
from tests.compatibility.test_earlier_files import corpus, same_decoders  # noqa: F401
from tests.conftest import build, corpus_bytes

ARCHIVE = Path(__file__).parent / "interrupted.tar.xz"
RECIPES = ("sr2", "noise30", "rain")
OPTIONS = {"patch_size": 8, "patches_per_image": 4, "images_per_shard": 2, "holdout": 0.2}
MISSING = {"sr2/train/sr2-train-000001", "rain/train/rain-train-000002"}
SHA256 = {
    "rain": "53a2aa9fbdc235dedd0389f4ef6883b56705e5f07a4b3ef289ee252d13cc7e41",
    "sr2": "74dab1aafb31b3874f7456b9f31078b856202d70a1b5a7c74a1c95ce982188c1",
}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The unpacked archive."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def resumed(corpus: Path, same_decoders: None) -> dict[tuple[str, str], SplitTotals]:  # noqa: F811
    """Totals after the same build with one more recipe."""
    before = corpus_bytes(corpus)
    totals = build("samples", corpus, [*RECIPES, "sr4"], **OPTIONS)
    after = corpus_bytes(corpus)
    shards = {name for name in before if name.endswith((".tar", ".parquet")) and "-0" in name}
    assert {name for name in shards if after[name] != before[name]} == set()
    new = {name.rsplit(".", 1)[0] for name in after.keys() - before.keys() if "-0" in name and not name.startswith("sr4/")}
    assert new == MISSING
    return {(total.task, total.split): total for total in totals}


def test_missing_shards_have_the_bytes_of_the_earlier_version(corpus: Path, resumed: object) -> None:  # noqa: F811
    for stem in MISSING:
        (shard,) = find_shards(str(corpus / f"{stem}.tar"))
        assert shard.info.sha256 == SHA256[stem.split("/")[0]]
        assert shard.info.psnr_sum is not None
        assert shard.rows()["mse"].null_count == 0


def test_totals_of_old_and_new_shards(corpus: Path, resumed: dict[tuple[str, str], SplitTotals]) -> None:  # noqa: F811
    """The build's table, corpus.json, the card and `inspect` agree; pairs without a recorded error are left out."""
    entries = json.loads((corpus / "corpus.json").read_text())["splits"]
    assert {(entry["recipe"], entry["split"]) for entry in entries} == resumed.keys()
    card = (corpus / "README.md").read_text()
    summaries = {(found.task, found.split): found for found in Corpus(corpus).summaries}
    for entry in entries:
        total = resumed[entry["recipe"], entry["split"]]
        found = summaries[total.task, total.split]
        assert isinstance(found, SplitSummary)
        stats = found.psnr
        assert entry["pairs_with_psnr"] == total.measured == (stats.count if stats else 0)
        assert entry["mean_psnr"] == pytest.approx(total.psnr, abs=1e-6)
        assert total.psnr == (pytest.approx(stats.mean, abs=1e-9) if stats else None)
        assert found.identical == total.identical == entry["pairs_without_difference"]
        assert (
            f"| {total.task} | {total.split} | {total.pairs} | {total.shards} | {total.bytes:,} | {total.psnr_text} |" in card
        )
    assert {key: total.measured for key, total in resumed.items()} == {
        ("noise30", "train"): 20,
        ("noise30", "val"): 4,
        ("rain", "train"): 20,
        ("rain", "val"): 4,
        ("sr2", "train"): 8,
        ("sr2", "val"): 0,
        ("sr4", "train"): 20,
        ("sr4", "val"): 4,
    }
    shown = {key: [fact for fact in facts(found) if fact.startswith("PSNR")] for key, found in summaries.items()}
    assert {key: found for key, found in shown.items() if found} == {
        ("sr2", "train"): ["PSNR recorded for 8 pairs"],
        ("sr2", "val"): ["PSNR not recorded"],
    }
    texts = {key: total.psnr_text for key, total in resumed.items()}
    assert texts["noise30", "train"] == "19.35"
    assert texts["rain", "train"] == "51.75, 6 unchanged"
    assert texts["sr2", "train"] == "39.00 of 8 pairs"
    assert texts["sr2", "val"] == "not recorded"


def test_building_again_changes_nothing(corpus: Path, resumed: object) -> None:  # noqa: F811
    before = corpus_bytes(corpus)
    build("samples", corpus, [*RECIPES, "sr4"], **OPTIONS)
    assert corpus_bytes(corpus) == before
