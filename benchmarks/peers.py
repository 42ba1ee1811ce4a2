"""What a user would write instead of `iptdata build --recipe noise30`: the same pairs with other tools."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PATCH, PATCHES, SIGMA = 48, 8, 30


def pairs_of(image: np.ndarray, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random crops with Gaussian noise, as in many training scripts."""
    height, width = image.shape[:2]
    for _ in range(PATCHES):
        top, left = generator.integers(0, height - PATCH + 1), generator.integers(0, width - PATCH + 1)
        clean = image[top : top + PATCH, left : left + PATCH]
        noisy = clean + generator.normal(0, SIGMA, clean.shape)
        yield clean, np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def tar_writer_unit(job: tuple[int, Sequence[str], str, str]) -> int:
    """Write one shard with webdataset's TarWriter; members are png or npy."""
    from webdataset import TarWriter  # noqa: PLC0415  # pyright: ignore[reportAttributeAccessIssue]

    cv2.setNumThreads(1)
    unit_index, images, target, kind = job
    generator = np.random.default_rng(unit_index)
    written = 0
    with TarWriter(target) as writer:
        for path in images:
            image = cv2.imread(path)
            if image is None or min(image.shape[:2]) < PATCH:
                continue
            for index, (clean, corrupted) in enumerate(pairs_of(image[..., ::-1], generator)):
                key = f"{Path(path).stem.replace('.', '_')}-{index:03d}"
                record = {"sigma": SIGMA, "patch": index}
                writer.write({"__key__": key, f"clean.{kind}": clean, f"corrupted.{kind}": corrupted, "json": record})
                written += 1
    return written


def ray_data(source: str, target: str, workers: int) -> None:
    """Ray Data's `read_images -> flat_map -> write_webdataset`, with npy members."""
    import ray  # noqa: PLC0415
    import ray.data  # noqa: PLC0415

    ray.data.DataContext.get_current().enable_progress_bars = False
    options = {"mode": "RGB", "include_paths": True, "file_extensions": ["JPEG", "jpg"]}
    images = ray.data.read_images(source, override_num_blocks=2 * workers, **options)
    images.flat_map(_rows).write_webdataset(target)


def _rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    image = row["image"]
    if min(image.shape[:2]) < PATCH:
        return []
    stem = Path(row["path"]).stem
    generator = np.random.default_rng(abs(hash(stem)))
    rows = []
    for index, (clean, corrupted) in enumerate(pairs_of(image, generator)):
        rows.append({"__key__": f"{stem}-{index:03d}", "clean.npy": _npy(clean), "corrupted.npy": _npy(corrupted)})
    return rows


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
