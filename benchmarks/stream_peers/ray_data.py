"""Ray Data's iter_torch_batches from .npy files, files shuffled and a local buffer; the start of Ray itself is not measured.

Parquet files of tensors, and two columns instead of one, were slower.
"""
# pyright: reportMissingImports=false

import logging
from pathlib import Path
from typing import Any

from common import Batches, Peer, main

REQUIREMENTS = ["ray[data]==2.60.0", "pydantic", "numpy", "torch==2.13.0"]
PAIRS_PER_FILE = 1000
BUFFER = 2000
STORE = 2 << 30


def convert(pairs: Any, folder: Path) -> None:
    import numpy as np  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), PAIRS_PER_FILE):
        np.save(folder / f"{start:09d}.npy", pairs[start : start + PAIRS_PER_FILE])


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    import ray  # noqa: PLC0415
    import ray.data  # noqa: PLC0415

    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(num_cpus=max(1, workers), object_store_memory=STORE, **quiet)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.read_numpy(str(folder), shuffle="files")

    def batches(epoch: int) -> Any:
        loader = dataset.iter_torch_batches(
            batch_size=batch_size, local_shuffle_buffer_size=BUFFER, local_shuffle_seed=epoch, prefetch_batches=4
        )
        for batch in loader:
            pair = batch["data"]
            yield pair[:, 0].contiguous(), pair[:, 1].contiguous()

    return batches


if __name__ == "__main__":
    main(Peer("ray data, npy", "ray", REQUIREMENTS, convert, open_batches))
