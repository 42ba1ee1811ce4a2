"""The manifest rows of a recipe and split as a table that can be asked questions, by DuckDB, which can read nothing else."""

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from iptdata.errors import ShardError, one_line
from iptdata.shards.reader import Shard

_PSNR = "CASE WHEN mse > 0 THEN 10 * log10(65025 / mse) END"
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
        schema = shards[0].schema
        self.params = [child.name for child in schema.field("params").type] if "params" in schema.names else []
        self._connection = duckdb.connect(":memory:")
        self._connection.register("manifests", self._dataset())
        for setting in _LOCKED:
            self._connection.execute(setting)
        self._numbers_read = False

    def _dataset(self) -> pads.Dataset:
        """The manifests where they lie; of a remote storage what is asked for is read, by ranges."""
        filesystem, paths = self._shards[0].storage.arrow([f"{shard.stem}.parquet" for shard in self._shards])
        return pads.dataset(paths, filesystem=filesystem, format="parquet", schema=self._shards[0].schema)

    def count_labels(self) -> int:
        """How many labels occur."""
        return self._ask("SELECT count(DISTINCT label) FROM manifests")[0][0]

    def count_repeated(self) -> int:
        """How many pairs have the source and box of a pair before them."""
        try:
            uids = np.sort(self._dataset().to_table(["uid"])["uid"].to_numpy())
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        return int((uids[1:] == uids[:-1]).sum())

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
