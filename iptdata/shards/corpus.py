"""The files at the top of a corpus: `corpus.json`, `rejects.parquet` and `README.md`, all derived from the manifests."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import iptdata
from iptdata.files.concurrent import each_read
from iptdata.files.storage import Storage
from iptdata.image.psnr import capped_psnrs
from iptdata.shards.card import dataset_card
from iptdata.shards.generations import Generation, add_to_generations
from iptdata.shards.index import index_row, write_index
from iptdata.shards.manifest import ShardInfo, is_manifest, read_info
from iptdata.shards.reader import read_rows
from iptdata.shards.record import SCHEMA_VERSION
from iptdata.units import pluralize

CORPUS = "corpus.json"
REJECTS = "rejects.parquet"
README = "README.md"
RECIPE = "recipe.yaml"
_REJECTS_SCHEMA = pa.schema(
    [*((name, pa.string()) for name in ("recipe", "split", "source", "reason", "detail")), ("patches", pa.int32())]
)
_BUFFERED_REJECTS = 1 << 14


@dataclass(kw_only=True)
class SplitTotals:
    """Sums over the shards of one recipe and split.

    Attributes:
        task: Name of the recipe.
        split: Name of the split.
        identity: Identity of the first shard, see `ShardInfo`.
        shards: Number of shards.
        pairs: Number of pairs.
        bytes: Bytes of the tars.
        images: Number of images that were read.
        damaged_kept: Number of damaged images that were used.
        identical: Number of pairs that are unchanged, with a mean squared error of 0.
        measured: Number of pairs with a PSNR; others are pairs of super-resolution that an earlier version built.
        psnr_sum: Sum of their PSNRs, in dB, each at most 100.
        rejected: Number of images without any pair, by reason.
        flat: Number of patches dropped as flat from images that were kept.
        generations: What each generation adds, from the first build on.
    """

    task: str
    split: str
    identity: dict[str, Any] = field(repr=False)
    shards: int = 0
    pairs: int = 0
    bytes: int = 0
    images: int = 0
    damaged_kept: int = 0
    identical: int = 0
    measured: int = 0
    psnr_sum: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    flat: int = 0
    generations: list[Generation] = field(default_factory=list, repr=False)

    def add(self, info: ShardInfo) -> None:
        """Add a shard; the PSNR of one without a `psnr_sum` is left out, see `with_psnr_sum`."""
        for name in ("pairs", "bytes", "images", "damaged_kept", "identical"):
            setattr(self, name, getattr(self, name) + getattr(info, name))
        if info.psnr_sum is not None:
            self.psnr_sum += info.psnr_sum
            self.measured += info.measured
        self.shards += 1
        add_to_generations(self.generations, info)
        dropped = info.dropped
        self.rejected.update(reject.reason for reject in dropped)
        self.flat += sum(reject.patches for reject in info.rejects) - sum(reject.patches for reject in dropped)

    @property
    def psnr(self) -> float | None:
        """Mean PSNR in dB of the `measured` pairs, each at most 100; None where there are none."""
        return self.psnr_sum / self.measured if self.measured else None

    @property
    def psnr_text(self) -> str:
        """The mean PSNR for a table, with the number of pairs that have one, if others do not, and of unchanged pairs."""
        if self.psnr is None:
            return "not recorded" if self.pairs else "-"
        text = f"{self.psnr:.2f}"
        if self.measured < self.pairs:
            text += f" of {pluralize(self.measured, 'pair')}"
        return text + (f", {self.identical:,} unchanged" if self.identical else "")

    def plain(self) -> dict[str, Any]:
        """The entry in `corpus.json`."""
        psnr = None if self.psnr is None else round(self.psnr, 6)
        return {
            "recipe": self.task,
            "split": self.split,
            "shards": self.shards,
            "pairs": self.pairs,
            "bytes": self.bytes,
            "images": self.images,
            "images_kept_although_damaged": self.damaged_kept,
            "images_dropped": dict(sorted(self.rejected.items())),
            "patches_dropped_as_flat": self.flat,
            "mean_psnr": psnr,
            "pairs_with_psnr": self.measured,
            "pairs_without_difference": self.identical,
            "generations": [generation.plain() for generation in self.generations],
            "made_with": self.identity,
        }


def finish_corpus(storage: Storage) -> list[SplitTotals]:
    """Read the manifests of a corpus one by one and write every file that is derived from them.

    Returns:
        The totals of each recipe and split, in the order of their names.
    """
    totals: list[SplitTotals] = []
    rejects = _Rejects()
    for task, split in split_folders(storage):
        rows = []
        for _, info in read_infos(storage, manifests(storage, task, split), with_psnr=True):
            if not rows:
                totals.append(SplitTotals(task=task, split=split, identity=info.identity))
            totals[-1].add(info)
            rejects.add(task, split, info)
            rows.append(index_row(info))
        write_index(storage, f"{task}/{split}", rows)
        recipe = yaml.safe_dump(totals[-1].identity["recipe"], sort_keys=False)
        storage.write(f"{task}/{split}/{RECIPE}", recipe.encode())
    storage.write(REJECTS, rejects.encoded())
    _write_corpus_json(storage, totals)
    storage.write(README, dataset_card(totals).encode("utf-8", "backslashreplace"))
    return totals


def read_infos(storage: Storage, paths: Sequence[str], *, with_psnr: bool = False) -> Iterator[tuple[str, ShardInfo]]:
    """Read the descriptions of shards from their manifests, one after the other in this order.

    Args:
        storage: The corpus.
        paths: Paths of the manifests in it.
        with_psnr: See `with_psnr_sum`.

    Raises:
        ShardError: When one is damaged.
    """

    def read(path: str) -> ShardInfo:
        info = read_info(storage, path)
        return with_psnr_sum(storage, path, info) if with_psnr else info

    yield from zip(paths, each_read(read, paths, remote=not storage.is_local), strict=True)


def with_psnr_sum(storage: Storage, path: str, info: ShardInfo) -> ShardInfo:
    """The description of a shard with the sum of the PSNRs, from the rows of its manifest if an earlier version wrote it.

    Raises:
        ShardError: When the rows are damaged.
        StorageError: When they cannot be read.
    """
    if info.psnr_sum is not None or not info.measured:
        return info
    found = capped_psnrs(read_rows(storage, path, info, ["mse"])["mse"].to_numpy())
    return dataclasses.replace(info, psnr_sum=math.fsum(found[~np.isnan(found)].tolist()))


def split_folders(storage: Storage) -> Iterator[tuple[str, str]]:
    """Recipe and split of each folder with a finished shard."""
    for task in storage.folders():
        for split in storage.folders(task):
            if manifests(storage, task, split):
                yield task, split


def manifests(storage: Storage, task: str, split: str) -> list[str]:
    """Paths of the manifests of a recipe and split, sorted."""
    folder = f"{task}/{split}"
    return [f"{folder}/{name}" for name in storage.names(folder) if name.startswith(f"{task}-{split}-") and is_manifest(name)]


class _Rejects:
    """The rejects of a corpus in columns, since there may be a million of them."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._parts = [_REJECTS_SCHEMA.empty_table()]

    def add(self, task: str, split: str, info: ShardInfo) -> None:
        """Add those of a shard."""
        self._rows += [(task, split, item.source, item.reason, item.detail, item.patches) for item in info.rejects]
        if len(self._rows) >= _BUFFERED_REJECTS:
            self._flush()

    def encoded(self) -> bytes:
        """All of them as a Parquet file."""
        self._flush()
        sink = pa.BufferOutputStream()
        pq.write_table(pa.concat_tables(self._parts), sink, compression="zstd")
        return sink.getvalue().to_pybytes()

    def _flush(self) -> None:
        if self._rows:
            self._parts.append(pa.table(list(zip(*self._rows, strict=True)), schema=_REJECTS_SCHEMA))
            self._rows.clear()


def _write_corpus_json(storage: Storage, totals: list[SplitTotals]) -> None:
    content = {
        "schema": SCHEMA_VERSION,
        "package": {"name": "iptdata", "version": iptdata.__version__},
        "pairs": sum(total.pairs for total in totals),
        "bytes": sum(total.bytes for total in totals),
        "splits": [total.plain() for total in totals],
    }
    storage.write(CORPUS, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
