"""The manifest rows of a recipe and split as a table that can be asked questions, by DuckDB.

Columns are those of a manifest, and `psnr`: 10 log10(255^2 / mse) in dB, null where mse is null or 0. What a user writes as a
condition can read this table and nothing else: access to anything outside is off, and cannot be put on again.
"""

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from iptdata.errors import InspectError, ShardError
from iptdata.shards.reader import Shard

_PSNR = "CASE WHEN mse > 0 THEN 10 * log10(65025 / mse) END AS psnr"
_LOCKED = ("SET python_enable_replacements = false", "SET enable_external_access = false", "SET lock_configuration = true")


class Rows:
    """The rows of shards of one recipe and split.

    Args:
        shards: finished ones, at least one.

    Raises:
        ShardError: when a manifest cannot be read.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self.params = (
            [child.name for child in self._shards[0].schema.field("params").type]
            if "params" in self._shards[0].schema.names
            else []
        )
        self._connection = duckdb.connect(":memory:")
        self._connection.register("manifests", self._dataset())
        for setting in _LOCKED:
            self._connection.execute(setting)

    def _dataset(self) -> pads.Dataset:
        """The manifests where they lie; of a remote storage what is asked for is read, by ranges."""
        filesystem, paths = self._shards[0].storage.arrow([f"{shard.stem}.parquet" for shard in self._shards])
        return pads.dataset(paths, filesystem=filesystem, format="parquet", schema=self._shards[0].schema)

    def ask(self, columns: str, rest: str = "") -> list[tuple[Any, ...]]:
        """SELECT columns FROM the rows.

        Raises:
            ShardError: when a manifest cannot be read.
        """
        try:
            return self._connection.execute(
                f"SELECT {columns} FROM (SELECT *, {_PSNR} FROM manifests) AS pairs {rest}"
            ).fetchall()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise ShardError(f"a manifest in {self._shards[0].storage.root} cannot be read: {_line(error)}") from error

    def chosen(self, where: str | None, order: str, count: int) -> pa.Table:
        """Rows that meet a condition.

        Args:
            where: in SQL's expression language; None for all.
            order: of the rows, in SQL.
            count: the most rows.

        Raises:
            InspectError: when the condition is none.
        """
        query = f"SELECT *, {_PSNR} FROM manifests"
        query = f"SELECT * FROM ({query}) AS pairs {f'WHERE ({where})' if where else ''} ORDER BY {order} LIMIT {count}"
        try:
            if len(duckdb.extract_statements(query)) != 1:
                raise InspectError(
                    f"--where: found {where!r}, expected one condition, such as \"psnr < 20 and label = 'n01440764'\""
                )
            return self._connection.execute(query).to_arrow_table()
        except duckdb.Error as error:
            columns = ", ".join([*self._shards[0].schema.names, "psnr", *(f"params.{name}" for name in self.params)])
            raise InspectError(f"--where {where!r}: {_line(error)}; columns are {columns}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split("\n", 1)[0].split())
