"""LitData's StreamingDataset from optimized chunks of raw arrays, read in place, items shuffled over whole chunks.

Its default decodes windows of 256 items together, which suits text; with two workers that takes three times as long here.
"""
# pyright: reportMissingImports=false

from functools import partial
from pathlib import Path
from typing import Any

from common import Batches, Peer, main, stack

REQUIREMENTS = ["litdata==0.2.76", "numpy", "torch==2.13.0"]


def _sample(pairs: Any, index: int) -> Any:
    import numpy as np  # noqa: PLC0415

    return np.array(pairs[index, 0]), np.array(pairs[index, 1])


def convert(pairs: Any, folder: Path) -> None:
    import litdata  # noqa: PLC0415

    litdata.optimize(
        fn=partial(_sample, pairs), inputs=list(range(len(pairs))), output_dir=str(folder), chunk_bytes="64MB", num_workers=1
    )


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    import litdata  # noqa: PLC0415

    dataset = litdata.StreamingDataset(str(folder), shuffle=True, drop_last=False, batch_decode=0, item_shuffle_window=0)
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0, collate_fn=stack
    )
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("litdata, chunks", "litdata", REQUIREMENTS, convert, open_batches))
