"""Grain from ArrayRecord files of raw bytes: a map dataset, shuffled whole, batched, read by threads or processes."""
# pyright: reportMissingImports=false

from itertools import islice
from pathlib import Path
from typing import Any

from common import BYTES, SHAPE, Batches, Peer, main

REQUIREMENTS = ["grain==0.2.18", "array_record==0.8.6", "numpy", "torch==2.13.0"]
PAIRS_PER_FILE = 5000
EPOCHS = 1 << 20


def convert(pairs: Any, folder: Path) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), PAIRS_PER_FILE):
        writer = ArrayRecordWriter(f"{folder}/{start:09d}.array_record", "group_size:1,uncompressed")
        for pair in pairs[start : start + PAIRS_PER_FILE]:
            writer.write(pair.tobytes())
        writer.close()


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    import grain  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from array_record.python.array_record_data_source import ArrayRecordDataSource  # noqa: PLC0415

    def to_batch(records: Any) -> Any:
        views = [memoryview(record) for record in records]
        halves = ([view[:BYTES] for view in views], [view[BYTES:] for view in views])
        return tuple(np.frombuffer(bytearray().join(half), np.uint8).reshape(len(views), *SHAPE) for half in halves)

    source = ArrayRecordDataSource(sorted(str(path) for path in folder.glob("*.array_record")))
    dataset = grain.MapDataset.source(source).seed(0).shuffle().batch(batch_size, batch_fn=to_batch)
    batches_per_epoch = len(dataset)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    dataset = dataset.repeat(EPOCHS).to_iter_dataset(options)
    if workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    iterator = iter(dataset)

    def batches(_: int) -> Any:
        for corrupted, clean in islice(iterator, batches_per_epoch):
            yield torch.from_numpy(corrupted), torch.from_numpy(clean)

    return batches


if __name__ == "__main__":
    main(Peer("grain, ArrayRecord", "grain", REQUIREMENTS, convert, open_batches))
