"""Two folders of PNG files, a map-style dataset, a random sampler; OpenCV reads and decodes."""
# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

from common import Batches, Peer, data_loader, main

REQUIREMENTS = ["opencv-python-headless==5.0.0.93", "numpy", "torch==2.13.0"]
SIDES = ("corrupted", "clean")


def convert(pairs: Any, folder: Path) -> None:
    import cv2  # noqa: PLC0415

    for side, name in enumerate(SIDES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(len(pairs)):
            image = cv2.cvtColor(pairs[index, side], cv2.COLOR_RGB2BGR)
            cv2.imwrite(f"{folder}/{name}/{index:08d}.png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])


class Pairs:
    """A map-style dataset."""

    def __init__(self, folder: Path) -> None:
        self.folders = [f"{folder}/{name}" for name in SIDES]
        self.names = sorted(path.name for path in (folder / "clean").iterdir())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        import cv2  # noqa: PLC0415

        name = self.names[index]
        corrupted, clean = (cv2.imread(f"{folder}/{name}", cv2.IMREAD_COLOR_RGB) for folder in self.folders)
        return corrupted, clean


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    loader = data_loader(Pairs(folder), workers, batch_size, shuffle=True)
    return lambda _: loader


if __name__ == "__main__":
    main(Peer("folder of png", "opencv-python-headless", REQUIREMENTS, convert, open_batches))
