"""Two LMDB files of PNG files, as BasicSR and its forks train from: a map-style dataset, a random sampler, OpenCV decodes."""
# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

from common import Batches, Peer, data_loader, main

REQUIREMENTS = ["lmdb==3.0.0", "opencv-python-headless==5.0.0.93", "numpy", "torch==2.13.0"]
SIDES = ("corrupted", "clean")
BATCH = 5000


def convert(pairs: Any, folder: Path) -> None:
    import cv2  # noqa: PLC0415
    import lmdb  # noqa: PLC0415

    for side, name in enumerate(SIDES):
        target = folder / f"{name}.lmdb"
        target.mkdir(parents=True, exist_ok=True)
        with (
            lmdb.open(str(target), map_size=len(pairs) * 16384 + (64 << 20)) as environment,
            open(target / "meta_info.txt", "w") as meta,
        ):
            for start in range(0, len(pairs), BATCH):
                with environment.begin(write=True) as transaction:
                    for index in range(start, min(start + BATCH, len(pairs))):
                        key = f"{index:08d}"
                        image = cv2.cvtColor(pairs[index, side], cv2.COLOR_RGB2BGR)
                        _, png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
                        transaction.put(key.encode("ascii"), png.tobytes())
                        meta.write(f"{key}.png ({image.shape[0]},{image.shape[1]},{image.shape[2]}) 1\n")


def _decoded(png: bytes) -> Any:
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class Pairs:
    """A map-style dataset; each process opens the environments at the first read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = (folder / "clean.lmdb" / "meta_info.txt").read_text().splitlines()
        self.keys = [line.split(".")[0].encode("ascii") for line in lines]
        self.transactions: list[Any] = []

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not self.transactions:
            self.transactions = [self._open(name) for name in SIDES]
        corrupted, clean = (_decoded(transaction.get(self.keys[index])) for transaction in self.transactions)
        return corrupted, clean

    def _open(self, name: str) -> Any:
        import lmdb  # noqa: PLC0415

        options = {"readonly": True, "lock": False, "readahead": False, "meminit": False}
        return lmdb.open(str(self.folder / f"{name}.lmdb"), **options).begin(write=False, buffers=True)


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    loader = data_loader(Pairs(folder), workers, batch_size, shuffle=True)
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("lmdb, png", "lmdb", REQUIREMENTS, convert, open_batches))
