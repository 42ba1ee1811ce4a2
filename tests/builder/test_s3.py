"""A build from S3, to S3, is the same as on a disk: the same bytes, also after an interruption and on Ray workers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iptdata.errors import IptDataError
from iptdata.files import Storage
from iptdata.stream import PairStream
from tests.builder.test_same_bytes import build_on_ray
from tests.conftest import build, corpus_bytes
from tests.s3 import S3Server, files_at

OPTIONS = {"images_per_shard": 3, "patches_per_image": 5, "holdout": 0.3, "seed": 7}
RECIPES = ["noise30", "sr2"]


@pytest.fixture
def local(photos: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of the same build on a disk."""
    build(photos, tmp_path / "local", RECIPES, **OPTIONS)
    return corpus_bytes(tmp_path / "local")


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "iptdata", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_same_bytes_as_on_a_disk(photos: Path, local: dict[str, bytes], s3: S3Server) -> None:
    bucket = s3.bucket()
    source = s3.upload(photos, f"{bucket}/in/photos")
    for root in ("corpus", ""):
        out = s3.url(f"{bucket if root else s3.bucket()}/{root}".rstrip("/"))
        build(source, out, RECIPES, **OPTIONS)
        assert files_at(out) == local


def test_on_workers(photos: Path, local: dict[str, bytes], s3: S3Server) -> None:
    bucket = s3.bucket()
    out = s3.url(f"{bucket}/corpus")
    build_on_ray(s3.upload(photos, f"{bucket}/photos"), out, RECIPES, 2)
    assert files_at(out) == local


def test_an_interrupted_build_is_completed(photos: Path, local: dict[str, bytes], s3: S3Server) -> None:
    """Killed between two shards, with a temporary object of a larger one left behind and a tar without its manifest."""
    bucket = s3.bucket()
    source, out = s3.upload(photos, f"{bucket}/photos"), s3.url(f"{bucket}/corpus")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    command = ["build", "--source", source, "--out", out, "--recipe", ",".join(RECIPES), "--workers", 0, *options]
    process = subprocess.Popen([sys.executable, "-m", "iptdata", *map(str, command)], stdout=subprocess.PIPE, text=True)
    storage = Storage(out)
    while not storage.sizes("noise30/train") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert storage.sizes("noise30/train")
    first = next(name for name in local if name.startswith("noise30/train/") and name.endswith(".tar"))
    storage.write("noise30/train/.0123456789ab.partial", b"half of a shard")
    storage.remove(first.replace(".tar", ".parquet"))
    storage.write(first, b"half of it")
    done = run(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert files_at(out) == local
    assert json.loads(done.stdout)["shards"] > 0


def test_requests_of_a_build(photos: Path, s3: S3Server, tmp_path: Path) -> None:
    """Two requests an image, two uploads a small shard, and a fixed number for the rest."""

    def requests(source: str | Path, out: str | Path, **options: object) -> dict[str, int]:
        s3.clear()
        build(source, out, ["noise30"], patches_per_image=1, **options)  # pyright: ignore[reportArgumentType]
        return dict(s3.methods)

    source = s3.upload(photos, f"{s3.bucket()}/photos")
    assert requests(source, tmp_path / "a", images_per_shard=12) == {"GET": 5 + 12, "HEAD": 3 + 12}
    one = requests(photos, s3.url(f"{s3.bucket()}/one"), images_per_shard=12)
    four = requests(photos, s3.url(f"{s3.bucket()}/four"), images_per_shard=3)
    assert four["PUT"] - one["PUT"] == 3 * 2


def test_errors_name_what_is_wrong(photos: Path, s3: S3Server, tmp_path: Path) -> None:
    """In one line, and never with a secret."""
    bucket = s3.bucket()
    for source, out, expected in (
        (s3.url("no-such-bucket/in"), tmp_path / "out", r"source: s3://no-such-bucket/in\S* does not exist"),
        (photos, s3.url("no-such-bucket/out"), "cannot use s3://no-such-bucket/out"),
        (f"s3://hush:hush@{bucket}/in", tmp_path / "out", "a user or a password"),
        (photos, s3.url(f"{bucket}/out") + "&secret_key=hush", "the option secret_key"),
    ):
        with pytest.raises(IptDataError, match=rf"^[^\n]*{expected}[^\n]*$") as found:
            build(source, out)
        assert "hush" not in str(found.value)
    assert files_at(s3.url(bucket)) == {}


def test_a_corpus_is_streamed(photos: Path, s3: S3Server, tmp_path: Path) -> None:
    build(photos, tmp_path / "local", ["noise30"], **OPTIONS)
    url = s3.upload(tmp_path / "local", f"{s3.bucket()}/corpus")
    base, query = url.split("?")

    def pairs(*paths: str) -> list[bytes]:
        stream = PairStream(list(paths), batch_size=4, seed=3, shuffle="none", cache_dir=str(tmp_path / "cache"))
        return [batch.clean.numpy().tobytes() for batch in stream]

    expected = pairs(str(tmp_path / "local"))
    assert expected
    assert pairs(url) == expected
    assert pairs(f"{base}/noise30/train/*.tar?{query}") == expected
    assert os.listdir(tmp_path / "cache")
