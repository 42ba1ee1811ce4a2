"""Files written by an earlier version are read, resumed and loaded, with the same bytes and values.

`earlier.tar.xz` was written once and never changes: a test that fails here shows that files of users are no longer readable.
Its content:

- corpus/: what `iptdata build` made from the sample photos with the options `RECIPES` and `BUILD`.
- run/: an `iptdata train` of 8 steps on it, as it was after step 4 (config.yaml has the options; `CORPUS` is the path of the
  corpus); uninterrupted.jsonl has the lines of steps 5 to 8 of the same run without an interruption.
- ipt.pt: a small IPT with two heads; ipt.npy: its output for `torch.arange(3 * 8 * 8)` and the second head.
"""

import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iptdata.image.decode import decoder_versions
from iptdata.model.checkpoint import load_checkpoint
from iptdata.recipe import load_recipes
from iptdata.shards.find import find_shards
from iptdata.stream import PairStream
from tests.cli.test_commands import fails, iptdata
from tests.conftest import build, corpus_bytes
from tests.training.watch import metrics

ARCHIVE = Path(__file__).parent / "earlier.tar.xz"
RECIPES = ("--recipe", "noise30", "--recipe", "sr2")
BUILD = ("--patch-size", 8, "--patches-per-image", 4, "--images-per-shard", 4, "--holdout", 0.2, "--workers", 0)
OPTIONS = {"patch_size": 8, "patches_per_image": 4, "images_per_shard": 4, "holdout": 0.2}
HASHES = {
    "noise10": "e728b12a62a6e70d475ff73c9257ecf1",
    "noise15": "f40ea59acbb6ca6e090bb482e99242e1",
    "noise25": "69d3497ccb29838c36b380fba07981bd",
    "noise30": "3c82c479e0d4d995f5b12b8252db217f",
    "noise50": "279b696a6ec61d1eaa2cf01e75bc1968",
    "noise70": "1bb84744abd2338da6db932117b9e940",
    "rain": "1eb9125b11e1dcc0c0f5b8be309cb464",
    "rain-heavy": "6499f5398da86be2a97270788f7e9f67",
    "sr2": "4a5ab3c2a36ef548f418de2be7d76260",
    "sr3": "176bd1063c10d35d50055a17a4d54b36",
    "sr4": "278e149fa3e65a94760a99c2f24a5783",
}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The unpacked archive."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def recorded_decoders(corpus: Path) -> dict[str, str]:
    """The decoders that a corpus was built with."""
    return json.loads((corpus / "corpus.json").read_text())["splits"][0]["made_with"]["decoders"]


@pytest.fixture
def corpus(earlier: Path) -> Path:
    """The corpus, on a machine whose decoder of JPEG, the only format in it, is the one that it was built with."""
    built_with = recorded_decoders(earlier / "corpus")["simplejpeg"]
    if decoder_versions()["simplejpeg"] != built_with:
        pytest.skip(f"the corpus was built with simplejpeg {built_with}, found {decoder_versions()['simplejpeg']}")
    return earlier / "corpus"


@pytest.fixture
def same_decoders(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the decoders of other formats, too, were those of the corpus."""
    for module in ("driver", "unit"):
        monkeypatch.setattr(f"iptdata.builder.{module}.decoder_versions", lambda: recorded_decoders(corpus))


def content(corpus: Path) -> dict[str, bytes]:
    """All files but those for readers of a corpus, which may be reworded and get more figures, and the list of the source."""
    derived = ("README.md", "corpus.json", *(f"sources/{path.name}" for path in corpus.glob("sources/*.parquet")))
    return {name: data for name, data in corpus_bytes(corpus).items() if name not in derived}


def test_recipes_keep_their_hashes() -> None:
    assert {recipe.task: recipe.hash for recipe in load_recipes(list(HASHES))} == HASHES


def test_a_corpus_is_read(earlier: Path) -> None:
    shards = find_shards(str(earlier / "corpus"))
    assert [Path(shard.stem).name for shard in shards] == [
        "noise30-train-000000",
        "noise30-train-000001",
        "noise30-val-000000",
        "sr2-train-000000",
        "sr2-train-000001",
        "sr2-val-000000",
    ]
    assert [shard.clean.shape for shard in shards[1:4]] == [(4, 8, 8, 3), (4, 8, 8, 3), (16, 16, 16, 3)]
    stream = PairStream(str(earlier / "corpus"), batch_size=4)
    assert stream.pairs == {"noise30": 20, "sr2": 20}
    epoch = list(stream)
    assert sorted(batch.task for batch in epoch) == ["noise30"] * 5 + ["sr2"] * 5
    pixels = [image.tobytes() for batch in epoch if batch.task == "sr2" for image in batch.corrupted.numpy()]
    stored = [image for shard in shards[3:5] for image in shard.corrupted]
    assert sorted(pixels) == sorted(image.transpose(2, 0, 1).tobytes() for image in stored)


def test_a_corpus_is_inspected(earlier: Path) -> None:
    preview = iptdata("inspect", "corpus", "--preview", "preview.png", cwd=earlier)
    assert preview.returncode == 0, preview.stderr
    assert (earlier / "preview.png").stat().st_size > 1000
    result = iptdata("inspect", "corpus", cwd=earlier)
    assert result.returncode == 0, result.stderr
    sections = {
        "noise30/train": r"20 pairs, 8x8 clean and 8x8 corrupted; .*2 shards, 71\.7 kB",
        "noise30/val": r"4 pairs, 8x8 clean and 8x8 corrupted; .*1 shard, 20\.5 kB",
        "sr2/train": r"20 pairs, 16x16 clean and 8x8 corrupted; .*2 shards, 81\.9 kB",
        "sr2/val": r"4 pairs, 16x16 clean and 8x8 corrupted; .*1 shard, 20\.5 kB",
    }
    for name, line in sections.items():
        assert re.search(rf"^{name}: .*\n{line}", result.stdout, re.MULTILINE), name
    assert re.search(r"PSNR \(dB\) +19\.35 +17\.78 +", result.stdout)


@pytest.mark.usefixtures("same_decoders")
def test_the_same_build_changes_nothing(corpus: Path) -> None:
    before = content(corpus)
    build("samples", corpus, ["noise30", "sr2"], **OPTIONS)
    assert content(corpus) == before


@pytest.mark.usefixtures("same_decoders")
def test_a_deleted_shard_is_rebuilt_to_the_same_bytes(corpus: Path) -> None:
    before = content(corpus)
    for stem in ("noise30/train/noise30-train-000001", "sr2/val/sr2-val-000000"):
        (corpus / f"{stem}.tar").unlink()
        (corpus / f"{stem}.parquet").unlink()
    build("samples", corpus, ["noise30", "sr2"], **OPTIONS)
    after = content(corpus)
    manifests = {"noise30/train/noise30-train-000001.parquet", "sr2/val/sr2-val-000000.parquet"}  # with more fields
    assert {name for name in before if after[name] != before[name]} == manifests
    assert after.keys() == before.keys()


def test_other_decoders_are_refused_by_name(corpus: Path) -> None:
    """Whatever their number: pixels of some formats may differ."""
    before = content(corpus)
    assert "decoders.pillow: found '12.1.1.post0', expected None" in fails("build", *RECIPES, *BUILD, "--out", corpus)
    assert content(corpus) == before


def test_overwriting_gives_the_same_pairs(corpus: Path) -> None:
    before = content(corpus)
    build("samples", corpus, ["noise30", "sr2"], overwrite=True, **OPTIONS)
    after = content(corpus)
    assert {name: after[name] for name in before if name.endswith(".tar")} == {
        name: data for name, data in before.items() if name.endswith(".tar")
    }


def test_a_recipe_is_added(corpus: Path) -> None:
    before = content(corpus)
    result = iptdata("build", "--recipe", "rain", *BUILD, "--out", corpus)
    assert result.returncode == 0, result.stderr
    after = content(corpus)
    assert {name: after[name] for name in before if "/" in name} == {name: before[name] for name in before if "/" in name}
    assert {shard.stem.split("-")[0] for shard in find_shards(str(corpus))} == {"noise30", "rain", "sr2"}


def test_a_different_seed_is_refused(corpus: Path) -> None:
    before = content(corpus)
    assert "seed: found 0, expected 1" in fails("build", *RECIPES, *BUILD, "--out", corpus, "--seed", 1)
    assert content(corpus) == before


def assert_same_steps(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare lines of metrics.jsonl but for their timings, and what steps and validations have since."""
    since = {"input", "tflops", "share", "peak_memory"}
    assert [line.keys() - since for line in found] == [line.keys() for line in expected]
    for line, wanted in zip(found, expected, strict=True):
        for key in wanted.keys() - {"patches_per_s", "data_wait"}:
            assert line[key] == (wanted[key] if key == "task" else pytest.approx(wanted[key], rel=1e-5)), (wanted["step"], key)


def test_a_run_is_resumed(earlier: Path) -> None:
    config = earlier / "run" / "config.yaml"
    config.write_text(config.read_text().replace("CORPUS", str(earlier / "corpus")))
    before = metrics(earlier / "run")
    result = iptdata("train", "--out", "run", "--set", "device=cpu", cwd=earlier)
    assert result.returncode == 0, result.stderr
    assert "resumed at step 4" in result.stderr
    lines = metrics(earlier / "run")
    assert lines[: len(before)] == before
    shutil.copy(earlier / "uninterrupted.jsonl", earlier / "metrics.jsonl")
    assert_same_steps(lines[len(before) :], metrics(earlier))


def test_a_checkpoint_gives_the_same_output(earlier: Path) -> None:
    model = load_checkpoint(str(earlier / "ipt.pt")).model().eval()
    with torch.no_grad():
        output, _ = model(torch.arange(3 * 8 * 8, dtype=torch.float32).reshape(1, 3, 8, 8), 1)
    assert output.numpy() == pytest.approx(np.load(earlier / "ipt.npy"), abs=1e-4)
    shown = iptdata("checkpoint", "show", "ipt.pt", cwd=earlier)
    assert shown.returncode == 0, shown.stderr
