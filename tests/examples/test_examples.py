"""The examples run as they are, in an empty folder, and do what they are there to show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import iptdata

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(folder: Path, *command: object, **environment: str) -> str:
    """Run Python in a folder, on one thread, so that a busy machine does not make threads wait for each other."""
    process = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_build_corpus(tmp_path: Path) -> None:
    printed = run(tmp_path, EXAMPLES / "build_corpus.py")
    assert "wrote 768 pairs" in printed
    assert "noise30/train: 320 pairs of 5 photos" in printed
    assert "rain/val: 64 pairs of 1 photos" in printed
    assert "the most corrupted pair of noise30/train: samples_" in printed
    assert len(iptdata.Corpus(tmp_path / "demo" / "build_corpus")) == 768


def test_stream_to_your_loop_resumes_exactly(tmp_path: Path) -> None:
    """A run that stopped within an epoch ends as one that did not stop."""
    script = EXAMPLES / "stream_to_your_loop.py"
    through = run(tmp_path, script, "--steps", 15)
    assert "step 15, epoch 1: L1" in through
    assert "resumed" not in run(tmp_path, script, "--steps", 4, "--out", "stopped")
    resumed = run(tmp_path, script, "--steps", 15, "--out", "stopped")
    assert "resumed after step 4" in resumed
    assert resumed.splitlines()[-1] == through.splitlines()[-1]


def test_train_from_python(tmp_path: Path) -> None:
    printed = run(tmp_path, EXAMPLES / "train_from_python.py", "--steps", 10)
    assert re.search(r"^step 10: \w+, L1 [\d.]+, contrastive [\d.]+$", printed, re.MULTILINE)
    for task in ("noise30", "rain"):
        assert re.search(rf"^step 5: {task} [\d.]+ dB, its input [\d.]+ dB$", printed, re.MULTILINE)
    assert re.search(r"^10 steps in .*/best\.pt$", printed, re.MULTILINE)
    assert re.search(r"^noise30 on 16 held-out patches: [\d.]+ dB before, [\d.]+ dB after$", printed, re.MULTILINE)


def test_restore_a_photo(tmp_path: Path) -> None:
    """The network that it trains improves the photo, and can be passed to it."""
    script = EXAMPLES / "restore_a_photo.py"
    printed = run(tmp_path, script, "--steps", 10)
    found = re.search(r"PSNR ([\d.]+) dB before, ([\d.]+) dB after", printed)
    assert found
    assert float(found[2]) > float(found[1]) + 0.5
    assert (tmp_path / "demo" / "restore_a_photo" / "noisy-restored-clean.png").exists()
    (checkpoint,) = (tmp_path / "demo" / "restore_a_photo" / "run" / "checkpoints").glob("*.pt")
    assert found[0] in run(tmp_path, script, "--checkpoint", checkpoint, "--out", "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["noisy-restored-clean.png"]


def test_own_degradation(tmp_path: Path) -> None:
    """Installed as a package, it is found by its entry point, and its recipe builds pairs with what was recorded."""
    pytest.importorskip("hatchling")
    package, site = EXAMPLES / "own_degradation", tmp_path / "site"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", site)
    run(tmp_path, *install, package)
    python_path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    build = ("-m", "iptdata", "build", "--workers", 0, "--out", "corpus", "--recipe", package / "salt-and-pepper.yaml")
    run(tmp_path, *build, PYTHONPATH=python_path)

    pairs = list(iptdata.Corpus(tmp_path / "corpus"))
    assert len(pairs) == 48
    shares = [pair.params["share"] for pair in pairs]
    assert 0.02 <= min(shares) < 0.06
    assert 0.16 < max(shares) <= 0.2
    salt, pepper = (np.array([np.all(pair.corrupted == value, axis=2).mean() for pair in pairs]) for value in (255, 0))
    kept = [np.all(pair.corrupted == pair.clean, axis=2) for pair in pairs]
    for pair, same in zip(pairs, kept, strict=True):
        assert set(np.unique(pair.corrupted[~same])) == {0, 255}
        assert 1 - same.mean() == pytest.approx(pair.params["share"], abs=0.05)
    assert salt.mean() == pytest.approx(pepper.mean(), abs=0.01)
