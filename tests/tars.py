"""Tars of pairs as other tools write them."""

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def npy(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def write_tar(path: Path, samples: Sequence[dict[str, bytes]], first: int = 0) -> Path:
    members = [(f"{index:04d}.{name}", data) for index, sample in enumerate(samples, first) for name, data in sample.items()]
    return write_members(path, members)


def write_members(path: Path, members: Iterable[tuple[str, bytes]], mode: Any = "w", **options: Any) -> Path:
    """A tar of members by name; `options` are those of `tarfile.open`."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
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
