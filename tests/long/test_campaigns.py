"""Longer campaigns, run by `make test-long`: readers of other libraries, a cluster, memory, random kills of a build on Ray."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest

from iptdata.shards.find import find_shards
from tests.builder.test_resume import manifests, start, wait_for
from tests.conftest import build, corpus_bytes, natural_image, save
from tests.long.cluster import cluster

pytestmark = pytest.mark.long

HUGGING_FACE = """
import json, sys
import numpy
from datasets import load_dataset
rows = load_dataset("webdataset", data_files={"train": sys.argv[1]}, split="train", streaming=True)
for row in rows:
    arrays = {name: numpy.asarray(row[name + ".npy"]).tolist() for name in ("clean", "corrupted")}
    print(json.dumps({"key": row["json"]["key"], **arrays}))
"""


def test_hugging_face_datasets(tmp_path: Path) -> None:
    """In a virtual environment of its own: the arrays are the same."""
    build("samples", tmp_path / "corpus", ["sr2"], patches_per_image=2)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "datasets"], check=True, timeout=900)
    shard = find_shards(str(tmp_path / "corpus"))[0]
    path = shard.storage.path(f"{shard.stem}.tar")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    shown = subprocess.run([python, "-c", HUGGING_FACE, path], env=environment, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(rows) == 12
    for index, row in enumerate(rows):
        assert np.array_equal(np.array(row["clean"], np.uint8), shard.clean[index])
        assert np.array_equal(np.array(row["corrupted"], np.uint8), shard.corrupted[index])


@pytest.mark.parametrize("seed", range(4))
def test_driver_killed_while_ray_works(tmp_path: Path, seed: int) -> None:
    source, out, delay = tmp_path / "source", tmp_path / "killed", random.Random(seed)
    for number in range(60):
        save(source / f"c{number % 4}" / f"{number}.jpg", natural_image(420, 460, number))
    build(source, tmp_path / "whole", ["ipt"], images_per_shard=2)
    for _ in range(3):
        process, known = start(source, out, "--workers", "2"), len(manifests(out))
        wait_for(lambda p=process, n=known: p.poll() is not None or len(manifests(out)) > n)
        time.sleep(delay.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(source, out, "--workers", "2").wait(120) == 0
    assert corpus_bytes(out) == corpus_bytes(tmp_path / "whole")


def test_cluster(tmp_path: Path) -> None:
    """A Ray that was started by hand is joined with --address, and is still there afterwards."""
    command = [sys.executable, "-m", "iptdata", "build", "--recipe", "noise30", "--images-per-shard", "2", "--address", "auto"]
    with cluster():
        for name in ("a", "b"):
            subprocess.run([*command, "--out", tmp_path / name], check=True, timeout=180)
    build("samples", tmp_path / "here", ["noise30"], images_per_shard=2)
    assert corpus_bytes(tmp_path / "a") == corpus_bytes(tmp_path / "b") == corpus_bytes(tmp_path / "here")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(("side", "limit_mb"), [((1700, 2300), 600), ((5000, 6000), 600 + 10 * (30 - 4))])
def test_memory_of_a_worker(tmp_path: Path, side: tuple[int, int], limit_mb: int) -> None:
    """The whole suite at default settings: under 600 MB up to 4 megapixels, at most 10 bytes a pixel beyond."""
    for number in range(24):
        save(tmp_path / "source" / "c" / f"{number}.jpg", natural_image(*side, number % 3))
    code = "import sys; from pathlib import Path; from iptdata.cli import group; group(sys.argv[1:], standalone_mode=False); "
    code += "print('PEAK', Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    arguments = ["build", "--recipe", "ipt", "--source", tmp_path / "source", "--out", tmp_path / "out", "--workers", "0"]
    shown = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    peak = int(shown.stdout.split("PEAK ")[1]) * 1024 / 1e6
    assert peak < limit_mb
