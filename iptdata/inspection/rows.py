"""Manifest rows as a DuckDB table, sandboxed from the file system."""

import math
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from iptdata.errors import InspectError, ShardError, nearest, one_line, shown
from iptdata.image.psnr import psnr_sql
from iptdata.shards.columns import TEXTS, may_be_null
from iptdata.shards.reader import Shard

_PSNR = psnr_sql("mse")
_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
_LOCKED = ("SET python_enable_replacements = false", "SET enable_external_access = false", "SET lock_configuration = true")


class UnknownColumn(InspectError):
    """A query for a column that these manifests do not have."""


def quoted(name: str) -> str:
    """A name as an SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


class ManifestTable:
    """The manifest rows of one recipe and split.

    Args:
        shards: Finished shards, at least one.

    Raises:
        ShardError: When a manifest cannot be read.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._schema = shards[0].schema
        struct = self._schema.field("params").type if "params" in self._schema.names else []
        self.params: list[str] = [child.name for child in struct]
        self._connection = duckdb.connect(":memory:")
        self._parts = self._open()
        datasets = [dataset for dataset, _ in self._parts]
        self._dataset = datasets[0] if len(datasets) == 1 else pads.dataset(datasets)
        self._connection.register("manifests", self._dataset)
        self._connection.execute(f"CREATE VIEW pairs AS SELECT *, {_PSNR} AS psnr FROM manifests")
        for setting in _LOCKED:
            self._connection.execute(setting)
        self._numbers_loaded = False

    def _open(self) -> list[tuple[pads.Dataset, dict[str, Shard]]]:
        """One dataset per storage, with its shards by path; of remote manifests only the queried columns are read."""
        schema = self._schema
        for name in TEXTS:  # a text that is repeated in all rows is not copied to each
            schema = schema.set(schema.get_field_index(name), pa.field(name, pa.dictionary(pa.int32(), pa.string())))
        form = pads.ParquetFileFormat(dictionary_columns=set(TEXTS))
        by_root: dict[str, list[Shard]] = {}
        for shard in self._shards:
            by_root.setdefault(shard.storage.root, []).append(shard)
        parts = []
        for shards in by_root.values():
            root = shards[0].storage.root
            if root != root.encode("utf-8", "replace").decode():
                raise ShardError(f"{root} has a name that is not UTF-8, which Arrow cannot open", hint="Rename it")
            filesystem, paths = shards[0].storage.for_arrow([f"{shard.stem}.parquet" for shard in shards])
            dataset = pads.dataset(paths, filesystem=filesystem, format=form, schema=schema)
            parts.append((dataset, dict(zip(paths, shards, strict=True))))
        return parts

    def count_labels(self) -> int:
        """Number of different labels."""
        return self._query("SELECT count(DISTINCT label) FROM manifests")[0][0]

    def count_repeated(self) -> int:
        """Number of pairs with the same source and box as an earlier pair."""
        uids = np.sort(self.column("uid"))
        return int((uids[1:] == uids[:-1]).sum())

    def column(self, *name: str) -> np.ndarray:
        """A column of numbers of all pairs in the order of the shards, NaN for null.

        Args:
            name: Path of the column: `"uid"`, or `"params", "sigma"`.
        """
        try:
            found = self._dataset.to_table({"column": pads.field(*name)})["column"]
        except _UNREADABLE as error:
            raise self._unreadable(error) from error
        if found.null_count and not may_be_null(".".join(name)):
            raise self._invalid(f"found no {'.'.join(name)} in {found.null_count:,} rows, expected one in each")
        return found.to_numpy()

    @property
    def columns(self) -> list[str]:
        """Columns that a condition can use."""
        names = [name for name in self._schema.names if name != "params"]
        return [*names, "psnr", *(f"params.{name}" for name in self.params)]

    def select(self, where: str | None, sort: str, count: int) -> list[tuple[Shard, int]]:
        """The first pairs that match a condition, as shard and index in it.

        Args:
            where: SQL condition over `columns`; None for all pairs.
            sort: "random" (the same order each time), "psnr", "key" or a parameter, ascending; descending with a leading "-".
            count: Maximum number of pairs.

        Raises:
            UnknownColumn: When a column is missing.
            InspectError: When the condition is invalid.
            ShardError: When a manifest cannot be read.
        """
        order = self._order(sort)
        try:
            relation = self._connection.view("pairs")
            if where is not None:
                relation = relation.filter(where)
            found = relation.order(order).limit(count).project('key, "offset"').fetchall()
        except duckdb.BinderException as error:
            raise UnknownColumn(self._invalid_condition(where, error), argument="where") from error
        except duckdb.Error as error:
            if where is None or isinstance(error, duckdb.IOException) or "stream" in str(error):
                raise self._unreadable(error) from error
            raise InspectError(self._invalid_condition(where, error), argument="where") from error
        except _UNREADABLE as error:
            raise self._unreadable(error) from error
        return self._locate(found)

    def find(self, key: str) -> list[tuple[Shard, int]]:
        """The pair with a key, as shard and index in it; empty when there is none.

        Raises:
            ShardError: When a manifest cannot be read.
        """
        plain = key.encode("utf-8", "backslashreplace").decode()
        return self._locate(self._query('SELECT key, "offset" FROM pairs WHERE key = ? LIMIT 1', [plain]))

    def _order(self, sort: str) -> str:
        name = sort.removeprefix("-")
        direction = "DESC" if sort.startswith("-") else "ASC"
        if name == "random":
            return "hash(key)"
        if name in ("psnr", "key"):
            return f"{name} {direction} NULLS LAST, key"
        parameter = name.removeprefix("params.")
        if parameter not in self.params:
            names = nearest(name, ["psnr", "random", "key", *self.params])
            raise UnknownColumn(f"found {sort!r}, expected one of {names}", argument="sort")
        return f"params.{quoted(parameter)} {direction} NULLS LAST, key"

    def _invalid_condition(self, where: str | None, error: Exception) -> str:
        text = str(error).split("\n", 1)[0][:200]
        return f"invalid condition {where!r}: {text}; columns are {', '.join(self.columns)}"

    def _locate(self, found: list[tuple[str, int]]) -> list[tuple[Shard, int]]:
        """The shards of pairs, identified by key and offset."""
        owners: dict[tuple[str, int], Shard] = {}
        if len(self._shards) == 1:
            owners = dict.fromkeys(found, self._shards[0])
        elif found:
            wanted = pads.field("key").isin([key for key, _ in found])
            try:
                for dataset, shards in self._parts:
                    table = dataset.scanner(columns=["key", "offset", "__filename"], filter=wanted).to_table()
                    for key, offset, path in zip(*(column.to_pylist() for column in table.columns), strict=True):
                        owners[key, offset] = shards[path]
            except _UNREADABLE as error:
                raise self._unreadable(error) from error
        placed = []
        for key, offset in found:
            shard = owners.get((key, offset))
            if shard is None or offset is None or not 0 <= offset < shard.info.pairs * shard.info.stride:
                raise self._invalid(f"found the pair {shown(key)} at {shown(offset)}, where no sample begins")
            placed.append((shard, offset // shard.info.stride))
        return placed

    def count_flat(self, deviation: float) -> int:
        """Number of pairs whose clean patch has a lower standard deviation.

        Raises:
            ShardError: When one has none.
        """
        self._load_numbers()
        query = "SELECT count(*) FILTER (WHERE clean_std < ?), count(*) - count(clean_std) FROM numbers"
        ((flat, missing),) = self._query(query, [deviation])
        if missing:
            raise self._invalid(f"found no clean_std in {missing:,} rows, expected one in each")
        return flat

    def range(self, column: str) -> tuple[int, float, float, float]:
        """Number of values, mean, minimum and maximum of `psnr`; of `mse`, `clean_std` or `params.NAME` in single precision.

        Raises:
            ShardError: When one of them is infinite or NaN.
        """
        self._load_numbers()
        name = quoted(column)
        count, *found = self._query(f"SELECT count({name}), avg({name}), min({name}), max({name}) FROM numbers")[0]
        if count and not all(map(math.isfinite, found)):
            raise self._invalid(f"found {column} from {found[1]} to {found[2]}, expected finite numbers")
        return count, *found

    def histogram(self, column: str, low: float, high: float, bins: int) -> np.ndarray:
        """Number of pairs in each of `bins` equal intervals from `low` to `high`, the last one closed: int64 (bins,)."""
        self._load_numbers()
        name = quoted(column)
        found = self._query(
            f"SELECT least(floor(({name}::DOUBLE - ?) * {bins} / ?), {bins - 1}) AS bin, count(*) FROM numbers "
            f"WHERE {name} IS NOT NULL GROUP BY bin",
            [low, high - low or 1.0],
        )
        counts = np.zeros(bins, np.int64)
        for bin_index, pairs in found:
            counts[max(int(bin_index), 0)] = pairs
        return counts

    def _load_numbers(self) -> None:
        """Load the numbers into memory, 4 bytes each (PSNR 8), so that many queries read the files only once."""
        if self._numbers_loaded:
            return
        params = "".join(f", params.{quoted(name)}::FLOAT AS {quoted(f'params.{name}')}" for name in self.params)
        columns = f"mse::FLOAT AS mse, clean_std::FLOAT AS clean_std, {_PSNR} AS psnr{params}"
        self._query(f"CREATE TABLE numbers AS SELECT {columns} FROM manifests")
        self._numbers_loaded = True

    def _query(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, list(values)).fetchall()
        except (duckdb.Error, *_UNREADABLE) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ShardError:
        return ShardError(
            f"cannot read a manifest in {self._shards[0].storage.root}: {one_line(error, 200)}", hint="Build it again"
        )

    def _invalid(self, problem: str) -> ShardError:
        return ShardError(f"a manifest in {self._shards[0].storage.root} is damaged: {problem}", hint="Build it again")
