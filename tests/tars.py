"""Tars of pairs as other tools write them."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def npy(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def write_tar(path: Path, samples: Sequence[dict[str, bytes]], first: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for index, members in enumerate(samples, first):
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{index:04d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def sample(index: int, clean: str = "gt.png", corrupted: str = "lq.png") -> dict[str, bytes]:
    """A pair whose pixels hold its index."""
    encode = npy if clean.endswith("npy") else png
    return {
        corrupted: encode(np.full((8, 8, 3), (index, 1, 2), np.uint8)),
        "txt": b"a caption",
        clean: encode(np.full((16, 16, 3), (index, 3, 4), np.uint8)),
    }
