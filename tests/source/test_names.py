"""Labels and file names of images whose containers do not have the folders of the original."""

import json

import numpy as np
import pyarrow as pa
import pytest

from iptdata.errors import SourceError
from iptdata.source.labels import class_names, text_of_labels, text_of_names
from iptdata.source.listing import make_table
from iptdata.source.names import find_names, hub_names, stored_names


@pytest.mark.parametrize(
    ("stored", "label", "expected"),
    [
        ("n01440764_10026_n01440764.JPEG", "0", "n01440764/n01440764_10026.JPEG"),
        ("ILSVRC2012_val_00000293_n01440764.JPEG", "0", "n01440764/ILSVRC2012_val_00000293.JPEG"),
        ("train/n01440764_10026_n01440764.JPEG", None, "n01440764/n01440764_10026.JPEG"),
        ("n02000000/x_n01440764.JPEG", None, "n01440764/x.JPEG"),
        ("n01440764/ILSVRC2012_val_00000293.JPEG", "0", "n01440764/ILSVRC2012_val_00000293.JPEG"),
        ("/data/n01440764/n01440764_10026.JPEG", "0", "n01440764/n01440764_10026.JPEG"),
        ("n01440764_10026.JPEG", "0", "n01440764/n01440764_10026.JPEG"),
        ("ILSVRC2012_test_00000001.JPEG", "-1", "-1/ILSVRC2012_test_00000001.JPEG"),
        ("cats/1.jpg", "7", "7/1.jpg"),
        ("a/cats/1.jpg", None, "cats/1.jpg"),
        ("1.jpg", None, "folder/1.jpg"),
        ("_n01440764.JPEG", None, "folder/_n01440764.JPEG"),
        ("x_n01440764", None, "folder/x_n01440764"),
        ("x_n014407645.JPEG", None, "folder/x_n014407645.JPEG"),
        ("e\u0301/1.jpg", None, "\u00e9/1.jpg"),
        ("a\n/b\nc_n01440764.JPEG", None, "n01440764/b\nc.JPEG"),
    ],
)
def test_names_of_one_image(stored: str, label: str | None, expected: str) -> None:
    for others in ([], ["n01440764_1_n01440764.JPEG"], ["x.jpg"]):
        names = find_names(pa.array([stored, *others]), pa.array([label, *[None] * len(others)], pa.string()), "folder")
        assert names.paths[0].as_py() == expected
        assert names.labels[0].as_py() == expected.rsplit("/", 1)[0]


def test_names_of_the_hub_in_a_tar() -> None:
    paths = ["val/a_n01440764.JPEG", "val/n01440764_1.JPEG", "n01443537/b.JPEG"]
    columns = {"labels": pa.chunked_array([["val", "val", "n01443537"]]), "paths": pa.chunked_array([paths])}
    found = hub_names(columns)
    assert columns["labels"].to_pylist() == ["n01440764", "val", "n01443537"]
    assert columns["paths"].to_pylist() == ["val/a.JPEG", *paths[1:]]
    assert found is not None
    assert found.to_pylist() == ["n01440764/a.JPEG", *paths[1:]]
    others = {name: column[1:] for name, column in columns.items()}
    assert hub_names(others) is None
    assert others["paths"].to_pylist() == paths[1:]


def index_of(*rows: tuple[str, str, str, int]) -> pa.Table:
    path, label, container, offset = (list(column) for column in zip(*rows, strict=True))
    columns = [path, label, pa.array(container).dictionary_encode(), offset]
    return pa.table(columns, names=["path", "label", "container", "offset"])


def keys_of(images: pa.Table) -> tuple[list[str], int]:
    columns, _ = stored_names(dict(zip(images.column_names, images.columns, strict=True)), "folder")
    table, ambiguous = make_table(**columns, lengths=np.zeros(len(images), np.int64))
    return table["key"].to_pylist(), ambiguous


def test_equal_names_are_qualified_by_the_path_then_by_row_and_container() -> None:
    found = keys_of(index_of(("one/cat/1.jpg", "", "x", 0), ("two/cat/1.jpg", "", "x", 1), ("2.jpg", "", "x", 2)))
    assert found == (["cat/1.jpg@one/cat", "cat/1.jpg@two/cat", "folder/2.jpg"], 2)
    rows = [("image.jpg", "c", container, row) for container in ("a.parquet", "b.parquet") for row in range(300)]
    keys, ambiguous = keys_of(index_of(*rows))
    assert (keys[1], ambiguous) == ("c/image.jpg@a.parquet/0000001", 600)
    assert len(set(keys)) == 600


def hub(names: object) -> dict[bytes, bytes]:
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def test_integers_are_named_where_the_names_are_wnids() -> None:
    names = class_names(hub(["n01440764", "n01443537"]), "label")
    found = text_of_labels(pa.array([1, 0, 2, -1, None]), names).to_pylist()
    assert found == ["n01443537", "n01440764", "2", "-1", None]
    for kind in (pa.uint8(), pa.int16(), pa.uint64()):
        assert text_of_labels(pa.array([1], kind), names).to_pylist() == ["n01443537"]
    assert text_of_labels(pa.array([1, 1, 0]).dictionary_encode(), names).to_pylist() == ["n01443537", "n01443537", "n01440764"]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        hub(["tench, Tinca tinca", "n01443537"]),
        hub(["n01440764", 5]),
        hub({"0": "n01440764"}),
        {b"huggingface": b"[" * 100_000},
        {b"huggingface": b"\xff{"},
        {b"huggingface": b'{"info": [1]}'},
        {b"huggingface": b'{"info": {"features": 1e999}}'},
    ],
)
def test_other_class_names_are_not_used(metadata: dict[bytes, bytes] | None) -> None:
    assert class_names(metadata, "label") == []


def test_text_is_checked() -> None:
    texts = ["a", "", None, "\u00e9"]
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())):
        values = [text.encode() if text and kind == pa.binary() else text for text in texts]
        assert text_of_names(pa.array(values, kind)).to_pylist() == ["a", None, None, "\u00e9"]
    with pytest.raises(ValueError, match="found a name of 5,000 bytes, expected at most"):
        text_of_names(pa.array(["x" * 5000]))
    with pytest.raises(pa.ArrowInvalid):
        text_of_names(pa.array([b"\xff"]))
    with pytest.raises(SourceError, match="labels of type 'double', expected integers or text"):
        text_of_labels(pa.array([1.5]), [])
