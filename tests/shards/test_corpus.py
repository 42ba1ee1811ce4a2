"""The rejects of a corpus, and how its manifests are read."""

import dataclasses
import io
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import iptdata
from iptdata.files import Storage
from iptdata.shards import corpus
from iptdata.shards.manifest import Reject, read_info


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    out = tmp_path_factory.mktemp("corpus")
    iptdata.build("samples", out, "noise30", patches_per_image=1, images_per_shard=1, workers=0)
    return Storage(str(out))


@pytest.mark.parametrize("local", [True, False])
def test_manifests_are_read_in_the_given_order(built: Storage, local: bool) -> None:
    paths = corpus.manifests(built, "noise30", "train")[::-1]
    expected = [(path, read_info(built, path)) for path in paths]
    assert len(expected) == 6
    with mock.patch.object(Storage, "is_local", local):
        assert list(corpus.read_infos(built, paths)) == expected


@pytest.mark.parametrize("buffered", [1, 2, 1000])
def test_rejects_are_written_row_by_row(built: Storage, buffered: int) -> None:
    """In the order in which they come, however many are kept in lists; the bytes are those of one table."""
    info = read_info(built, corpus.manifests(built, "noise30", "train")[0])
    rejects = [Reject(f"a/{number}.jpg", "truncated", "\u00e9 '\"", number) for number in range(5)]
    columns = corpus._Rejects()
    with mock.patch.object(corpus, "_BUFFERED_REJECTS", buffered):
        for split, found in (("train", rejects[:3]), ("val", []), ("test", rejects[3:])):
            columns.add("rain", split, dataclasses.replace(info, rejects=tuple(found)))
    expected = [
        {"recipe": "rain", "split": "train" if reject.patches < 3 else "test"} | dataclasses.asdict(reject)
        for reject in rejects
    ]
    encoded = columns.encoded()
    assert pq.read_table(io.BytesIO(encoded)).to_pylist() == expected
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(expected, schema=corpus._REJECTS_SCHEMA), sink, compression="zstd")
    assert encoded == sink.getvalue().to_pybytes()


def test_no_rejects(built: Storage) -> None:
    assert pq.read_table(io.BytesIO(built.read(corpus.REJECTS))).num_rows == 0
