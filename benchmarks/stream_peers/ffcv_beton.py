"""FFCV from a .beton file of raw arrays, shuffled whole, in the operating system's cache; its workers are threads.

It builds from source with the headers of OpenCV and TurboJPEG and pkg-config, and needs Pillow without declaring it. It
always reads in a thread of its own, so 0 workers and 1 are the same. A batch is a view of a buffer that is overwritten a
few batches later: copy it to keep it.
"""
# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

from common import SHAPE, Batches, Peer, main

REQUIREMENTS = ["ffcv==1.0.2", "numpy", "pillow", "torch==2.13.0"]


def convert(pairs: Any, folder: Path) -> None:
    import numpy as np  # noqa: PLC0415
    from ffcv.fields import NDArrayField  # noqa: PLC0415
    from ffcv.writer import DatasetWriter  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: NDArrayField(dtype=np.dtype("uint8"), shape=SHAPE) for name in ("corrupted", "clean")}
    DatasetWriter(str(folder / "pairs.beton"), fields, num_workers=2).from_indexed_dataset(Pairs(pairs))


class Pairs:
    """A map-style dataset for FFCV's writer."""

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        import numpy as np  # noqa: PLC0415

        return np.array(self.pairs[index, 0]), np.array(self.pairs[index, 1])


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    from ffcv.fields.decoders import NDArrayDecoder  # noqa: PLC0415
    from ffcv.loader import Loader, OrderOption  # noqa: PLC0415
    from ffcv.transforms import ToTensor  # noqa: PLC0415

    loader = Loader(
        str(folder / "pairs.beton"),
        batch_size=batch_size,
        num_workers=max(1, workers),
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        pipelines={name: [NDArrayDecoder(), ToTensor()] for name in ("corrupted", "clean")},
    )
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("ffcv, beton", "ffcv", REQUIREMENTS, convert, open_batches))
