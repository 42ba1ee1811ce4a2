"""Megatron-Energon from tar shards of raw bytes prepared by its own CLI; a cooker and a task encoder make the batches."""
# pyright: reportMissingImports=false

import subprocess
import sys
from pathlib import Path
from typing import Any

from common import SHAPE, Batches, Peer, main, stack

REQUIREMENTS = ["megatron-energon==7.4.1", "webdataset==1.0.2", "numpy", "torch==2.13.0"]
PAIRS_PER_SHARD = 1000
BUFFER = 2000
SEQUENCE = 100


def convert(pairs: Any, folder: Path) -> None:
    import webdataset as wds  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with wds.ShardWriter(f"{folder}/%06d.tar", maxcount=PAIRS_PER_SHARD, mtime=0, verbose=0) as writer:  # pyright: ignore
        for index, (corrupted, clean) in enumerate(pairs):
            parts = {"corrupted.bin": corrupted.tobytes(), "clean.bin": clean.tobytes()}
            writer.write({"__key__": f"{index:09d}", **parts})
    program = str(Path(sys.executable).parent / "energon")
    choices = ["--non-interactive", "--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset", "--num-workers", "2"]
    subprocess.run([program, "prepare", *choices, str(folder)], check=True, stdout=sys.stderr)


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    import numpy as np  # noqa: PLC0415
    from megatron.energon import (  # noqa: PLC0415
        Cooker,
        DefaultTaskEncoder,
        WorkerConfig,
        get_savable_loader,
        get_train_dataset,
        stateless,
    )

    @stateless
    def cook(sample: Any) -> Any:
        return tuple(np.frombuffer(sample[f"{side}.bin"], np.uint8).reshape(SHAPE) for side in ("corrupted", "clean"))

    class Encoder(DefaultTaskEncoder):
        """Raw bytes in, two tensors out."""

        decoder = None
        cookers = (Cooker(cook),)

        def encode_sample(self, sample: Any) -> Any:
            return sample

        def batch(self, samples: Any) -> Any:
            return stack(samples)

    dataset = get_train_dataset(
        folder,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers),
        batch_size=batch_size,
        shuffle_buffer_size=BUFFER,
        max_samples_per_sequence=SEQUENCE,
        task_encoder=Encoder(),
        repeat=False,
    )
    loader = get_savable_loader(dataset)
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("megatron-energon, tar", "megatron-energon", REQUIREMENTS, convert, open_batches))
