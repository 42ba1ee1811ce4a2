"""The files at the top of a corpus: `corpus.json`, `rejects.parquet` and `README.md`, all derived from the manifests."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import iptdata
from iptdata.files.storage import Storage
from iptdata.image.psnr import psnr_from_mse
from iptdata.shards.card import dataset_card
from iptdata.shards.index import index_row, write_index
from iptdata.shards.manifest import ShardInfo, is_manifest, read_info
from iptdata.shards.record import SCHEMA_VERSION

CORPUS = "corpus.json"
REJECTS = "rejects.parquet"
README = "README.md"
RECIPE = "recipe.yaml"
_REJECT_COLUMNS = ("recipe", "split", "source", "reason", "detail")


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
        compared: Number of pairs with a mean squared error above 0.
        identical: Number of pairs with a mean squared error of 0.
        squared_error: Sum of the mean squared errors of the `compared` pairs.
        rejected: Number of images without any pair, by reason.
        flat: Number of patches dropped as flat from images that were kept.
    """

    task: str
    split: str
    identity: dict[str, Any] = field(repr=False)
    shards: int = 0
    pairs: int = 0
    bytes: int = 0
    images: int = 0
    damaged_kept: int = 0
    compared: int = 0
    identical: int = 0
    squared_error: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    flat: int = 0

    def add(self, info: ShardInfo) -> None:
        """Add a shard."""
        for name in ("pairs", "bytes", "images", "damaged_kept", "compared", "identical", "squared_error"):
            setattr(self, name, getattr(self, name) + getattr(info, name))
        self.shards += 1
        dropped = info.dropped
        self.rejected.update(reject.reason for reject in dropped)
        self.flat += sum(reject.patches for reject in info.rejects) - sum(reject.patches for reject in dropped)

    @property
    def psnr(self) -> float | None:
        """10 log10(255^2 / mean mse) in dB over the pairs with an mse above 0; None where there are none."""
        return psnr_from_mse(self.squared_error / self.compared) if self.compared else None

    def plain(self) -> dict[str, Any]:
        """The entry in `corpus.json`."""
        psnr = None if self.psnr is None else round(self.psnr, 4)
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
            "psnr": psnr,
            "pairs_without_difference": self.identical,
            "made_with": self.identity,
        }


def finish_corpus(storage: Storage) -> list[SplitTotals]:
    """Read the manifests of a corpus one by one and write every file that is derived from them.

    Returns:
        The totals of each recipe and split, in the order of their names.
    """
    totals: list[SplitTotals] = []
    rejects: list[dict[str, Any]] = []
    for task, split in split_folders(storage):
        rows = []
        for path in manifests(storage, task, split):
            info = read_info(storage, path)
            if not rows:
                totals.append(SplitTotals(task=task, split=split, identity=info.identity))
            totals[-1].add(info)
            rejects += [{"recipe": task, "split": split} | vars(reject) for reject in info.rejects]
            rows.append(index_row(info))
        write_index(storage, f"{task}/{split}", rows)
        recipe = yaml.safe_dump(totals[-1].identity["recipe"], sort_keys=False)
        storage.write(f"{task}/{split}/{RECIPE}", recipe.encode())
    _write_rejects(storage, rejects)
    _write_corpus_json(storage, totals)
    storage.write(README, dataset_card(totals).encode("utf-8", "backslashreplace"))
    return totals


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


def _write_rejects(storage: Storage, rejects: list[dict[str, Any]]) -> None:
    columns = [(name, pa.string()) for name in _REJECT_COLUMNS]
    schema = pa.schema([*columns, ("patches", pa.int32())])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rejects, schema=schema), sink, compression="zstd")
    storage.write(REJECTS, sink.getvalue().to_pybytes())


def _write_corpus_json(storage: Storage, totals: list[SplitTotals]) -> None:
    content = {
        "schema": SCHEMA_VERSION,
        "package": {"name": "iptdata", "version": iptdata.__version__},
        "pairs": sum(total.pairs for total in totals),
        "bytes": sum(total.bytes for total in totals),
        "splits": [total.plain() for total in totals],
    }
    storage.write(CORPUS, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
