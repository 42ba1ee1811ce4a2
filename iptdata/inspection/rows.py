"""The manifest rows of a recipe and split as a table that can be asked questions, by DuckDB, which can read nothing else."""

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from iptdata.errors import InspectError, ShardError, nearest, one_line
from iptdata.image.psnr import psnr_sql
from iptdata.shards.reader import Shard

_PSNR = psnr_sql("mse")
_LOCKED = ("SET python_enable_replacements = false", "SET enable_external_access = false", "SET lock_configuration = true")


class UnknownColumn(InspectError):
    """A question about a column that these manifests do not have."""


class ManifestTable:
    """The rows of shards of one recipe and split.

    Args:
        shards: finished ones, at least one.

    Raises:
        ShardError: when a manifest cannot be read.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        schema = shards[0].schema
        self.params = [child.name for child in schema.field("params").type] if "params" in schema.names else []
        self._connection = duckdb.connect(":memory:")
        self._parts = self._open()
        datasets = [dataset for dataset, _ in self._parts]
        self._dataset = datasets[0] if len(datasets) == 1 else pads.dataset(datasets)
        self._connection.register("manifests", self._dataset)
        self._connection.execute(f"CREATE VIEW pairs AS SELECT *, {_PSNR} AS psnr FROM manifests")
        for setting in _LOCKED:
            self._connection.execute(setting)
        self._numbers_read = False

    def _open(self) -> list[tuple[pads.Dataset, dict[str, Shard]]]:
        """The manifests where they lie, by storage, with their shards by path; of a remote one what is asked for is read."""
        by_root: dict[str, list[Shard]] = {}
        for shard in self._shards:
            by_root.setdefault(shard.storage.root, []).append(shard)
        parts = []
        for shards in by_root.values():
            root = shards[0].storage.root
            if root != root.encode("utf-8", "replace").decode():
                raise ShardError(f"{root} has a name that is not UTF-8, which Arrow cannot open; give it another one")
            filesystem, paths = shards[0].storage.for_arrow([f"{shard.stem}.parquet" for shard in shards])
            dataset = pads.dataset(paths, filesystem=filesystem, format="parquet", schema=shards[0].schema)
            parts.append((dataset, dict(zip(paths, shards, strict=True))))
        return parts

    def count_labels(self) -> int:
        """How many labels occur."""
        return self._ask("SELECT count(DISTINCT label) FROM manifests")[0][0]

    def count_repeated(self) -> int:
        """How many pairs have the source and box of a pair before them."""
        uids = np.sort(self.column("uid"))
        return int((uids[1:] == uids[:-1]).sum())

    def column(self, *name: str) -> np.ndarray:
        """A column of numbers of all pairs, "uid" or "params", "sigma", in the order of the shards; NaN where null."""
        try:
            return self._dataset.to_table({"column": pads.field(*name)})["column"].to_numpy()
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    @property
    def columns(self) -> list[str]:
        """What a condition can ask for."""
        names = [name for name in self._shards[0].schema.names if name != "params"]
        return [*names, "psnr", *(f"params.{name}" for name in self.params)]

    def choose(self, where: str | None, sort: str, count: int) -> list[tuple[Shard, int]]:
        """The first pairs that meet a condition, as shard and number in it.

        Args:
            where: an SQL expression over `columns`; all pairs by default.
            sort: "random" (the same order each time), "psnr", "key" or a parameter, rising; with "-" before it, falling.

        Raises:
            InspectError: when the condition is none, or there is no such order; UnknownColumn when a column is missing.
        """
        order = self._order(sort)
        try:
            relation = self._connection.view("pairs")
            if where is not None:
                relation = relation.filter(where)
            found = relation.order(order).limit(count).project('key, "offset"').fetchall()
        except duckdb.BinderException as error:
            raise UnknownColumn(self._no_condition(where, error)) from error
        except duckdb.Error as error:
            if where is None or isinstance(error, duckdb.IOException) or "stream" in str(error):
                raise self._unreadable(error) from error
            raise InspectError(self._no_condition(where, error)) from error
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        return self._locate(found)

    def _order(self, sort: str) -> str:
        name = sort.removeprefix("-")
        direction = "DESC" if sort.startswith("-") else "ASC"
        if name == "random":
            return "hash(key)"
        if name in ("psnr", "key"):
            return f"{name} {direction} NULLS LAST, key"
        parameter = name.removeprefix("params.")
        if parameter not in self.params:
            raise UnknownColumn(f"sort: found {sort!r}, expected {nearest(name, ['psnr', 'random', 'key', *self.params])}")
        return f'params."{parameter}" {direction} NULLS LAST, key'

    def _no_condition(self, where: str | None, error: Exception) -> str:
        text = str(error).split("\n", 1)[0]
        return f"where: {where!r} cannot be asked: {text}; columns are {', '.join(self.columns)}"

    def _locate(self, found: list[tuple[str, int]]) -> list[tuple[Shard, int]]:
        """The shards in which pairs stand, told apart by key and offset."""
        owners: dict[tuple[str, int], Shard] = {}
        if len(self._shards) == 1:
            owners = dict.fromkeys(found, self._shards[0])
        elif found:
            wanted = pads.field("key").isin([key for key, _ in found])
            for dataset, shards in self._parts:
                table = dataset.scanner(columns=["key", "offset", "__filename"], filter=wanted).to_table()
                for key, offset, path in zip(*(column.to_pylist() for column in table.columns), strict=True):
                    owners[key, offset] = shards[path]
        placed = [(owners[pair], pair[1]) for pair in found]
        return [(shard, offset // shard.info.stride) for shard, offset in placed]

    def numbers(self, columns: str) -> tuple[Any, ...]:
        """One row of aggregates over `psnr`, `mse`, `clean_std` and the parameters, in single precision."""
        self._read_numbers()
        return self._ask(f"SELECT {columns} FROM numbers")[0]

    def histogram(self, column: str, low: float, high: float, bins: int) -> np.ndarray:
        """How many pairs lie in each of `bins` equal intervals from `low` to `high`, the last one closed: int64 (bins,)."""
        self._read_numbers()
        place = f'least(floor(("{column}"::DOUBLE - {low!r}) * {bins} / {high - low or 1.0!r}), {bins - 1})'
        found = self._ask(f'SELECT {place} AS bin, count(*) FROM numbers WHERE "{column}" IS NOT NULL GROUP BY bin')
        counts = np.zeros(bins, np.int64)
        for number, pairs in found:
            counts[max(int(number), 0)] = pairs
        return counts

    def _read_numbers(self) -> None:
        """Bring the numbers into memory, once: 4 bytes each, so that many questions read the files once."""
        if self._numbers_read:
            return
        params = "".join(f', params."{name}"::FLOAT AS "{name}"' for name in self.params)
        columns = f"mse::FLOAT AS mse, clean_std::FLOAT AS clean_std, ({_PSNR})::FLOAT AS psnr{params}"
        self._ask(f"CREATE TABLE numbers AS SELECT {columns} FROM manifests")
        self._numbers_read = True

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query).fetchall()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ShardError:
        return ShardError(
            f"a manifest in {self._shards[0].storage.root} cannot be read: {one_line(error, 200)}; build it again"
        )
