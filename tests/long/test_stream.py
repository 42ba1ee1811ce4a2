"""Longer campaigns of streams: a real S3 server, real ranks."""

import os
import socket
import subprocess
import time
import venv
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
import torch
import torch.distributed
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader

import iptdata
from iptdata.errors import StorageError
from iptdata.stream import DeviceStream, PairStream
from tests.stream.conftest import arrays, corpus  # noqa: F401
from tests.stream.test_stream import EVERY_PAIR, by_task, steps

pytestmark = pytest.mark.long


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """URL of a bucket, and its options, on a server in a virtual environment of its own."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "moto[server,s3]"], check=True, timeout=900)
    port = free_port()
    server = subprocess.Popen(
        [tmp_path / "venv" / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    options = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    filesystem, path = pafs.FileSystem.from_uri(f"s3://corpora?{options}")
    filesystem.create_dir(path)
    yield filesystem, options
    server.terminate()
    server.wait()


def test_looking_at_a_corpus_on_s3(corpus: Path, bucket) -> None:  # noqa: F811
    """The same summary and the same pairs as of the folder; of a tar whose manifest is gone, too."""
    filesystem, options = bucket
    pafs.copy_files(str(corpus), "corpora/c", destination_filesystem=filesystem)
    local, remote = iptdata.Corpus(corpus), iptdata.Corpus(f"s3://corpora/c?{options}")
    assert remote.summaries == local.summaries
    assert len(remote) == len(local) > 0
    question = {"where": "label IS NOT NULL", "sort": "psnr", "n": 3}
    for mine, theirs in zip(local.pairs(**question), remote.pairs(**question), strict=True):
        assert mine.key == theirs.key
        assert np.array_equal(mine.corrupted, theirs.corrupted)
    for info in filesystem.get_file_info(pafs.FileSelector("corpora/c/rain/train")):
        if info.path.endswith(".parquet"):
            filesystem.delete_file(info.path)
    bare = iptdata.Corpus(f"s3://corpora/c/rain?{options}")
    assert sum(len(tar.contents.samples) for group in bare.groups for tar in group.tars) == len(iptdata.Corpus(corpus / "rain"))
    assert len(bare.pairs(n=2)) == 2


def test_a_corpus_on_s3(corpus: Path, bucket, tmp_path: Path) -> None:  # noqa: F811
    """Opened in this process, then read here and in workers that are forked from it."""
    filesystem, options = bucket
    pafs.copy_files(str(corpus), "corpora/c", destination_filesystem=filesystem)
    url = f"s3://corpora/c?{options}"
    stream = PairStream(url, batch_size=8, cache_dir=str(tmp_path / "cache"))
    local = PairStream(str(corpus), batch_size=8, shuffle="window", window=stream.shuffle.window)
    assert steps(stream) == steps(local)
    for context in ("fork", "spawn"):
        other = PairStream(url, batch_size=8, cache_dir=str(tmp_path / context))
        loader = DataLoader(other, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=120)
        assert {task: sorted(pairs) for task, pairs in by_task(loader).items()} == EVERY_PAIR
    for pattern in (
        f"s3://corpora/c/rain/train/*.tar?{options}",
        f"s3://corpora/c/rain/train/rain-train-{{000000..000005}}.tar?{options}",
    ):
        assert by_task(PairStream(pattern, batch_size=8, cache_dir=str(tmp_path / "cache"))).keys() == {"rain"}
    filesystem.delete_file("corpora/c/rain/train/rain-train-000003.tar")
    gone = PairStream(f"s3://corpora/c/noise30?{options}", batch_size=8, cache_dir=str(tmp_path / "empty"))
    filesystem.delete_file("corpora/c/noise30/train/noise30-train-000003.tar")
    with pytest.raises(StorageError, match=r"noise30-train-000003\.tar"):
        list(gone)


def train(rank: int, world_size: int, port: int, corpus: str, out: str) -> None:  # noqa: F811
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size)
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Conv2d(3, 3, 3, padding=1))
    stream = PairStream(corpus, tasks=["rain", "noise30"], batch_size=16, rank=rank, world_size=world_size)
    found = []
    for _ in range(2):
        for batch in DeviceStream(stream, "cpu"):
            (model(batch.corrupted) - batch.clean).abs().mean().backward()
            found.append((batch.task, batch.source.pairs.tolist()))
    torch.save(found, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world_size", [2, 3])
def test_data_parallel_training_ends(corpus: Path, tmp_path: Path, world_size: int) -> None:  # noqa: F811
    """Two epochs on several ranks under DDP, which hangs when one rank has fewer steps."""
    arguments = (world_size, free_port(), str(corpus), str(tmp_path))
    context = spawn(train, arguments, nprocs=world_size, join=False)
    assert context is not None
    deadline = time.monotonic() + 120
    while not context.join(timeout=5):
        assert time.monotonic() < deadline, "the ranks wait for one another"
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world_size)]
    alone = [
        (batch.task, batch.pairs.tolist())
        for stream in [PairStream(str(corpus), tasks=["rain", "noise30"], batch_size=16)]
        for _ in range(2)
        for batch in stream
    ]
    together = [(parts[0][0], [pair for part in parts for pair in part[1]]) for parts in zip(*ranks, strict=True)]
    assert together == alone
