"""MosaicML's StreamingDataset from MDS shards with two columns of raw arrays of a fixed shape, read in place.

It imports torchvision, whose CUDA builds cannot be imported with a CPU build of torch; `_import_torchvision` works around it.
"""
# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any
from unittest import mock

from common import SHAPE, Batches, Peer, data_loader, main

REQUIREMENTS = ["mosaicml-streaming==0.13.0", "numpy", "torch==2.13.0"]


def _import_torchvision() -> None:
    """Import it without the fake kernels of operators from its compiled part, which are not used here."""
    import torch  # noqa: PLC0415

    def register_fake(*_: Any, **__: Any) -> Any:
        return lambda function: function

    if not torch.cuda.is_available():
        with mock.patch.object(torch.library, "register_fake", register_fake):
            import torchvision  # noqa: F401, PLC0415


def convert(pairs: Any, folder: Path) -> None:
    _import_torchvision()
    from streaming import MDSWriter  # noqa: PLC0415

    encoding = f"ndarray:uint8:{','.join(map(str, SHAPE))}"
    with MDSWriter(out=str(folder), columns={"corrupted": encoding, "clean": encoding}) as writer:
        for corrupted, clean in pairs:
            writer.write({"corrupted": corrupted, "clean": clean})


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    _import_torchvision()
    from streaming import StreamingDataset  # noqa: PLC0415
    from streaming.base.util import clean_stale_shared_memory  # noqa: PLC0415

    class Pairs(StreamingDataset):
        """As in its guide, a sample is made in __getitem__."""

        def __getitem__(self, at: Any) -> Any:
            sample = super().__getitem__(at)
            return sample["corrupted"], sample["clean"]

    clean_stale_shared_memory()
    dataset = Pairs(local=str(folder), shuffle=True, batch_size=batch_size)
    loader = data_loader(dataset, workers, batch_size)
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("mosaicml-streaming, MDS", "mosaicml-streaming", REQUIREMENTS, convert, open_batches))
