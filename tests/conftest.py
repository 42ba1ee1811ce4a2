"""Fixtures: small sources made on the spot, builds in this process, and real data where `IPTDATA_SHARED` names it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import iptdata.builder
from iptdata.shards.corpus import SplitTotals
from tests.s3 import S3Server, clean_environment

Build = Callable[..., list[SplitTotals]]

os.environ.pop("RAY_ADDRESS", None)  # tests start clusters of their own


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and benchmarks."""
    folder = os.environ.get("IPTDATA_SHARED")
    if not folder:
        pytest.skip("IPTDATA_SHARED does not name the folder of real images and benchmarks")
    return Path(folder).resolve()


def natural_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random colours with some grain: uint8 (height, width, 3)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + generator.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def start_iptdata(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a command that SIGINT can interrupt, also where this process ignores SIGINT, as jobs started with `&` do.

    A child inherits ignored signals, but gets the default action of those that its parent handles.

    Args:
        arguments: The command and its arguments.
        options: Further arguments of `subprocess.Popen`.
    """
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([sys.executable, "-m", "iptdata", *map(str, arguments)], text=True, **options)
    finally:
        signal.signal(signal.SIGINT, earlier)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of a size, such as "2m", mounted on a new folder; the test is skipped where that is not allowed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs to mount a small disk")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A source of 12 JPEGs in three classes."""
    root = tmp_path / "photos"
    for number in range(12):
        save(root / f"n0{number % 3}" / f"image_{number}.jpg", natural_image(240 + number, 260 - number, number))
    return root


def build(source: Path | str, out: Path | str, recipes: Sequence[str] = ("noise30",), **options: object) -> list[SplitTotals]:
    """Build in this process; returns totals by recipe and split."""
    return list(iptdata.builder.build(source, out, recipes, workers=0, **options).splits)  # pyright: ignore[reportArgumentType]


def corpus_bytes(out: Path) -> dict[str, bytes]:
    """All files of a corpus."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def training_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recipes, 56 pairs of 24x24 each to train on and 24 held out."""
    root = tmp_path_factory.mktemp("train")
    for number in range(10):
        save(root / "photos" / f"n0{number % 3}" / f"image_{number}.jpg", natural_image(120 + number, 130 - number, number))
    build(root / "photos", root / "corpus", ("noise30", "rain", "sr2"), patch_size=24, patches_per_image=8, holdout=0.2)
    return root / "corpus"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server for this session; use `s3`, which sets the environment."""
    with S3Server().running() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """An S3 server, with credentials for it in the environment of this process and its children."""
    for name in set(os.environ) - set(environment := clean_environment()):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3_server.clear()
    return s3_server
