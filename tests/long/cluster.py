"""A Ray cluster of this machine alone, started by hand."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cluster(*options: str) -> Iterator[None]:
    ray = Path(sys.executable).parent / "ray"
    started = [ray, "start", "--head", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", *options]
    subprocess.run(started, check=True)
    try:
        yield
    finally:
        subprocess.run([ray, "stop", "--force"], check=True)
