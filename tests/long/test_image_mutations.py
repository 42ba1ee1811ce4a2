"""At least 10,000 damaged files of all formats and subtypes, each decoded in a child with 1 GB and 20 s; none crashes."""

import json
import os
import random
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.image.files import files
from tests.image.mutations import mutated

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PER_FILE = 80
SECONDS = 20
CHILDREN = 2


class Child:
    """A process that decodes one file after another, and is replaced when it dies."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.written = ""

    def decode(self, data: bytes, flags: int) -> dict[str, Any]:
        """Outcome, detail, seconds and bytes of a file; a child that dies or takes too long is an outcome, too."""
        if self.process is None:
            command = [sys.executable, "-m", "tests.long.decoding_child"]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        child = self.process
        assert child.stdin
        assert child.stdout
        child.stdin.write(len(data).to_bytes(4, "big") + bytes([flags]) + data)
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], SECONDS)
        line = child.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        self.stop()
        return {"outcome": "killed" if ready else "hung", "detail": self.written, "seconds": SECONDS, "bytes": 0}

    def stop(self) -> None:
        """End the process, and keep the end of what it wrote to the terminal."""
        if self.process:
            self.process.kill()
            self.written += self.process.communicate()[1].decode(errors="replace")[-500:]
            self.process = None


def campaign(seed: int) -> Iterator[tuple[str, int, bytes, int]]:
    """Name, number, bytes and flags of each damaged file."""
    samples = files()
    others = [sample.data for sample in samples.values()]
    for name, sample in samples.items():
        for number in range(PER_FILE):
            draw = random.Random(f"{seed}/{name}/{number}")
            yield name, number, mutated(sample.data, others, draw), draw.randrange(4)


def run(jobs: Sequence[tuple[str, int, bytes, int]]) -> tuple[list[tuple[str, int, dict[str, Any]]], str]:
    """Results of some files, and what a child wrote to the terminal."""
    child = Child()
    try:
        results = [(name, number, child.decode(data, flags)) for name, number, data, flags in jobs]
    finally:
        child.stop()
    return results, child.written


@pytest.mark.parametrize("seed", [0, 1])
def test_no_damaged_file_kills_or_hangs_a_decoder(seed: int, tmp_path: Path) -> None:
    jobs = list(campaign(seed))
    with ThreadPoolExecutor(CHILDREN) as pool:
        done = list(pool.map(run, [jobs[start::CHILDREN] for start in range(CHILDREN)]))
    found = [result for results, _ in done for result in results]
    outcomes = Counter(result["outcome"] for _, _, result in found)
    slowest = max(found, key=lambda line: line[2]["seconds"])
    largest = max(found, key=lambda line: line[2]["bytes"])
    figures = {
        "files": len(found),
        "formats and subtypes": len(files()),
        "outcomes": dict(outcomes.most_common()),
        "worst seconds": [*slowest[:2], round(slowest[2]["seconds"], 2)],
        "worst megabytes": [*largest[:2], round(largest[2]["bytes"] / 1e6)],
        "lost": [line for line in found if line[2]["outcome"] in ("killed", "hung")],
        "out of memory": [line for line in found if "MemoryError" in line[2]["detail"]],
    }
    (tmp_path / "figures.json").write_text(json.dumps(figures, indent=2))
    sys.stdout.write(f"{json.dumps(figures)}\n")  # shown by pytest -s, and when an assertion fails
    assert len(found) >= 10_000
    assert len(files()) >= 60
    assert not figures["lost"]
    assert "".join(written for _, written in done) == ""
    assert outcomes["decoded"] + outcomes["damaged, kept"] > len(found) / 4
    assert outcomes["unreadable"] + outcomes["truncated"] + outcomes["damaged"] > len(found) / 4
