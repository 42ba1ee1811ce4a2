"""WebDataset's own pipeline, from tar shards with npy members: shards and a buffer shuffled, decoded, batched in workers.

The members' mtime is an integer; otherwise its writer adds a second header per member, which slows reading.
"""
# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

from common import Batches, Peer, main

REQUIREMENTS = ["webdataset==1.0.2", "numpy", "torch==2.13.0"]
PAIRS_PER_SHARD = 1000
BUFFER = 2000


def convert(pairs: Any, folder: Path, kind: str = "npy") -> None:
    import webdataset as wds  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with wds.ShardWriter(f"{folder}/%06d.tar", maxcount=PAIRS_PER_SHARD, mtime=0, verbose=0) as writer:  # pyright: ignore
        for index, (corrupted, clean) in enumerate(pairs):
            writer.write({"__key__": f"{index:09d}", f"corrupted.{kind}": corrupted, f"clean.{kind}": clean})


def open_batches(folder: Path, workers: int, batch_size: int, kind: str = "npy") -> Batches:
    import torch  # noqa: PLC0415
    import webdataset as wds  # noqa: PLC0415

    def tensors(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(batch[0]), torch.from_numpy(batch[1])

    images = ["rgb8"] if kind == "png" else []
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    dataset: Any = wds.WebDataset(shards, shardshuffle=len(shards))  # pyright: ignore
    dataset = dataset.shuffle(BUFFER).decode(*images).to_tuple(f"corrupted.{kind}", f"clean.{kind}")
    dataset = dataset.batched(batch_size).map(tensors)
    loader = wds.WebLoader(  # pyright: ignore
        dataset, batch_size=None, shuffle=False, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("webdataset, npy", "webdataset", REQUIREMENTS, convert, open_batches))
