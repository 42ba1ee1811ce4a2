"""Throughput of a stream compared with reading the files: a disk with a cold page cache, an S3 server on loopback."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from iptdata.stream import PairStream

_CHUNK_BYTES = 8 << 20
_PORT = 5055
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


def evict(tars: list[Path]) -> None:
    """Remove files from the page cache."""
    for tar in tars:
        descriptor = os.open(tar, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_files(tars: list[Path]) -> None:
    for tar in tars:
        with tar.open("rb", buffering=0) as file:
            while file.read(_CHUNK_BYTES):
                pass


def read_epoch(path: str, batch_size: int, **options: object) -> None:
    for _ in PairStream(path, batch_size=batch_size, remainder="pad", **options):  # pyright: ignore[reportArgumentType]
        pass


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_disk(corpus: Path, batch_size: int, rounds: int) -> None:
    tars = sorted(corpus.glob("*/train/*.tar"))
    size = sum(tar.stat().st_size for tar in tars)
    readers = {
        "reading the files": lambda: read_files(tars),
        "stream, windows of 2": lambda: read_epoch(str(corpus), batch_size, shuffle="window", window=2),
        "stream, global": lambda: read_epoch(str(corpus), batch_size, shuffle="global"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            evict(tars)
            seconds[name].append(timed(read))
    report("cold page cache", size, seconds)


def measure_s3(corpus: Path, scratch: Path, server: str, batch_size: int, rounds: int) -> None:
    """Measure against an S3 server; `server` is the command that starts it, with {port} in it."""
    os.environ.update(_KEYS)
    with serving(server):
        endpoint = f"endpoint_override=127.0.0.1:{_PORT}&scheme=http&region=us-east-1"
        filesystem, bucket = pafs.FileSystem.from_uri(f"s3://corpora?{endpoint}&allow_bucket_creation=true")
        filesystem.create_dir(bucket)
        pafs.copy_files(str(corpus), f"{bucket}/c", destination_filesystem=filesystem)
        keys = [info.path for info in filesystem.get_file_info(pafs.FileSelector(f"{bucket}/c", recursive=True))]
        keys = [key for key in keys if key.endswith(".tar")]
        size = sum(filesystem.get_file_info(key).size for key in keys)

        def read(key: str) -> None:
            with filesystem.open_input_stream(key) as file:
                while file.read(_CHUNK_BYTES):
                    pass

        def read_all() -> None:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(read, keys))

        def stream() -> None:
            shutil.rmtree(scratch / "cache", ignore_errors=True)
            read_epoch(f"s3://corpora/c?{endpoint}", batch_size, cache_dir=str(scratch / "cache"))

        seconds: dict[str, list[float]] = {"reading the objects": [], "stream, windows": []}
        for _ in range(rounds):
            seconds["reading the objects"].append(timed(read_all))
            seconds["stream, windows"].append(timed(stream))
        report("S3 on loopback", size, seconds)


@contextmanager
def serving(command: str) -> Iterator[None]:
    process = subprocess.Popen(command.format(port=_PORT).split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        yield
    finally:
        process.terminate()
        process.wait()


def report(title: str, size: int, seconds: dict[str, list[float]]) -> None:
    raw = next(iter(seconds.values()))
    print(f"\n{title}, {size / 1e6:.0f} MB, medians of {len(raw)} rounds")
    for name, found in seconds.items():
        share = statistics.median(a / b for a, b in zip(raw, found, strict=True))
        print(f"{name:<24}{size / 1e6 / statistics.median(found):>8.0f} MB/s{share:>8.2f} of the raw speed")
