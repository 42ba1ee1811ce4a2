"""Studies in their own processes: killed, and on a cluster that claims to have GPUs."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.long.cluster import cluster

pytestmark = pytest.mark.long

STUDY = [sys.executable, "-m", "iptdata", "study", "scratch", "--smoke", "--set", "device=cpu"]


def results(out: Path) -> dict[str, float]:
    found = {}
    for path in sorted((out / "parts").glob("*/results.json")):
        found |= {f"{path.parent.name} {one['benchmark']}": one["psnr"] for one in json.loads(path.read_text())}
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    subprocess.run([*STUDY, "--out", out], check=True, timeout=300)
    assert len(results(out)) == 8
    return out


def test_killed_again_and_again(whole: Path, tmp_path: Path) -> None:
    delay = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen([*STUDY, "--out", tmp_path])
        time.sleep(delay.uniform(8, 20))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*STUDY, "--out", tmp_path], check=True, timeout=300)
    assert results(tmp_path) == results(whole)
    hours = (whole / "table.md").read_text()
    assert [line.split("|")[1] for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")] == [
        line.split("|")[1] for line in hours.splitlines() if line.startswith("|")
    ]


def test_one_part_per_gpu_on_a_cluster(whole: Path, tmp_path: Path) -> None:
    """Ray is configured with two GPUs that do not exist, to test the order in which parts wait for each other."""
    with cluster("--num-gpus=2"):
        subprocess.run([*STUDY, "--out", tmp_path, "--address", "auto"], check=True, timeout=400)
    found = results(tmp_path)
    assert found.keys() == results(whole).keys()
    for name, psnr in results(whole).items():
        assert found[name] == pytest.approx(psnr, abs=0.1), "other sums with one thread"


def test_a_cluster_without_gpus(tmp_path: Path) -> None:
    with cluster("--num-gpus=0"):
        result = subprocess.run(
            [*STUDY, "--out", tmp_path, "--address", "auto"], capture_output=True, text=True, timeout=120, check=False
        )
    assert result.returncode == 2
    assert "Ray sees no GPU in the cluster at auto, and each job needs one" in result.stderr.splitlines()[-1]
