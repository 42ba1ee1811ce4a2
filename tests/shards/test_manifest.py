"""Every field, column and row of a manifest is checked before it is used; the error names what is wrong, on one line."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.errors import ShardError, StorageError
from iptdata.files.storage import Storage
from iptdata.shards.find import find_groups
from iptdata.shards.manifest import read_info
from iptdata.shards.reader import Shard
from iptdata.shards.verify import verify_shards
from tests.shards.edit import KEY, describe, description, edit_rows, rename_parameter, resize, set_column, set_field

DEEP: Any = []
for _ in range(40):
    DEEP = [DEEP]


def refusal(manifest: Path) -> str:
    with pytest.raises(ShardError) as caught:
        read_info(Storage(str(manifest.parent)), manifest.name)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 600
    return text


@pytest.mark.parametrize("value", [None, True, -1, 1.0, 1.5, "8", [], {}, 2**40 + 1, 10**30])
@pytest.mark.parametrize(
    "name",
    [
        *("pairs", "bytes", "json_size", "stride", "unit", "images", "damaged_kept", "compared", "identical"),
        *("identity.patches_per_image", "identity.source.images", "identity.recipe.patch_size", "identity.recipe.scale"),
        "identity.options.images_per_shard",
    ],
)
def test_a_count_of_another_type_or_range_is_refused(manifest: Path, name: str, value: object) -> None:
    set_field(manifest, name, value)
    assert f"000000.parquet: {name}: found " in refusal(manifest)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("schema", value) for value in (0, "1", None, True, 1.0)),
        *(("name", value) for value in ("rain-train-000001", "../../x", "a\0b", ".rain-train-000000", 7, None, "x" * 10**6)),
        *(("sha256", value) for value in ("../victim/private", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "", None, 5)),
        *(("clean", value) for value in ([48, 48], [48, 48, 3, 1], [0, 48, 3], [-48, -48, 3], [48, 48, 4], [48.0, 48, 3])),
        *(("clean", value) for value in ([True, 48, 3], ["48", 48, 3], [10**6, 10**6, 3], [2**62, 2**62, 3], "48", None, {})),
        *(("corrupted", value) for value in ([48, 0, 3], [48, 48, 1], [None] * 3, [[48, 48, 3]], list(range(10**5)))),
        *(("json_size", value) for value in (0, -512, 100, 511, 513, 2**30)),
        *(("stride", value) for value in (0, 512, -16384, 16385)),
        *((name, value) for name in ("compared", "identical") for value in (7, 2**40)),
        *(("squared_error", value) for value in (-1, "1", None, True, 1e300, [], 10**400)),
        *(("psnr_sum", value) for value in (-1, "1", None, True, 600.1, [], 10**400)),
        *(("generation", value) for value in (-1, "1", None, True, 0.0, [], 2**40 + 1)),
        *(("identity", value) for value in (None, [], "x", {}, 3)),
        *(("identity.seed", value) for value in (-1, 0.5, "0", None, 2**63, 10**300)),
        *(("identity.recipe", value) for value in (None, [], "rain", {})),
        *(("identity.recipe.description", value) for value in (None, 5, ["x"], {"a": 1})),
        *(("identity.recipe.task", value) for value in (None, 5)),
        *(("identity.recipe.steps", value) for value in (None, {}, [3], [None], ["rain"], [{"rain": 3}], [{"rain": None}])),
        *(("identity.options", value) for value in (None, [], {}, {"x; rm -rf ~": 1}, {"": 1}, {"a\nb": 1})),
        *(("identity.options.holdout", value) for value in (None, -0.1, 1.5, "0", True)),
        *(("identity.options.limit", value) for value in (0, -1, "3", 1.5, True)),
        *(("identity.source", value) for value in (None, [], {})),
        *(("identity.source.description", value) for value in (None, 3, [])),
        *(("identity.decoders", value) for value in (None, [], {"opencv": 5}, {"opencv": None})),
        *(("identity.recipe_hash", value) for value in (None, 3, ["x"])),
        *(("rejects", value) for value in (None, {}, "x", [3], [{}], [None])),
        ("rejects", [{"source": 3, "reason": "r", "detail": "d", "patches": 1}]),
        ("rejects", [{"source": "s", "reason": ["r"], "detail": "d", "patches": 1}]),
        ("rejects", [{"source": "s", "reason": "r", "detail": "d", "patches": -1}]),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_name(manifest: Path, name: str, value: object) -> None:
    set_field(manifest, name, value)
    assert name.rpartition(".")[2] in refusal(manifest).split("expected")[0]


def test_a_missing_field_is_refused(manifest: Path) -> None:
    content = description(manifest)
    for name in content.keys() - {"psnr_sum", "generation"}:
        describe(manifest, {key: value for key, value in content.items() if key != name})
        assert f"{name}: found " in refusal(manifest)


def test_sizes_that_agree_with_each_other_but_not_with_the_shapes_are_refused(manifest: Path) -> None:
    """A negative json size makes the strides overlap: pairs would be read beyond the end of the file."""
    content = description(manifest)
    tar = manifest.with_suffix(".tar")
    size = -(-(1000 * 512 + 1024) // 10_240) * 10_240
    resize(tar, size)
    describe(manifest, content | {"json_size": 512 - content["stride"], "stride": 512, "pairs": 1000, "bytes": size})
    assert "json_size: found " in refusal(manifest)


def test_more_pairs_than_rows_are_refused(manifest: Path) -> None:
    content = description(manifest)
    size = -(-(100 * content["stride"] + 1024) // 10_240) * 10_240
    resize(manifest.with_suffix(".tar"), size)
    describe(manifest, content | {"pairs": 100, "bytes": size})
    assert "pairs: found 100, expected 6 as there are rows" in refusal(manifest)


def test_a_newer_version_asks_for_an_update(manifest: Path) -> None:
    describe(manifest, {"schema": 3})
    text = refusal(manifest)
    assert "schema: found 3, expected at most 2" in text
    assert text.endswith("Update iptdata.")


def test_unknown_fields_and_columns_are_ignored(manifest: Path) -> None:
    shard = Shard(Storage(str(manifest.parent)), manifest.stem)
    rows = shard.rows()
    set_field(manifest, "later", DEEP[0][0][0][0][0][0][0][0][0][0])
    edit_rows(manifest, lambda table: table.append_column("psnr", pa.array(["x"] * len(table))))
    later = Shard(shard.storage, shard.stem)
    assert later.info == shard.info
    assert later.rows() == rows


def test_version_2_has_a_generation_and_parameters_that_may_be_null(manifest: Path) -> None:
    def without_some(table: pa.Table) -> pa.Array:
        column = table["params"].combine_chunks()
        first = pa.array([None, *column.field(0).to_pylist()[1:]], pa.float64())
        return pa.StructArray.from_arrays([first, *column.flatten()[1:]], fields=list(column.type))

    assert Shard(Storage(str(manifest.parent)), manifest.stem).info.generation == 0
    edit_rows(manifest, set_column("params", without_some))
    set_field(manifest, "schema", 2)
    set_field(manifest, "generation", 3)
    shard = Shard(Storage(str(manifest.parent)), manifest.stem)
    assert (shard.info.schema, shard.info.generation) == (2, 3)
    assert [row["params"]["angle"] is None for row in shard.rows().to_pylist()] == [True] + [False] * 5


def test_manifests_of_earlier_versions_lack_the_new_fields(manifest: Path) -> None:
    content = description(manifest)
    describe(manifest, {name: value for name, value in content.items() if name not in ("psnr_sum", "generation")})
    info = read_info(Storage(str(manifest.parent)), manifest.name)
    assert (info.psnr_sum, info.generation, info.measured) == (None, 0, 6)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"[]", b"3", b"null", b'"x"', b"\xff\xfe", b'{"a":1', b"\0" * 100, b"[" * 100_000, b'{"a":' * 100_000),
        *(b'{"schema": NaN}', b'{"schema": Infinity}', b'{"schema": 1' + b"0" * 10_000 + b"}"),
    ],
    ids=range(14),
)
def test_a_description_that_is_not_json_is_refused(manifest: Path, text: bytes) -> None:
    describe(manifest, text)
    refusal(manifest)


def test_json_that_other_readers_read_differently_is_refused(manifest: Path) -> None:
    text = json.dumps(description(manifest)).encode()
    describe(manifest, b"\xef\xbb\xbf" + text)
    assert "not valid JSON: Unexpected UTF-8 BOM" in refusal(manifest)
    describe(manifest, b'{"unit": 3, ' + text[1:])
    assert "'unit' is repeated" in refusal(manifest)
    describe(manifest, text.decode().encode("utf-16"))
    assert "not valid JSON" in refusal(manifest)


def test_values_that_nest_deeply_are_refused(manifest: Path) -> None:
    set_field(manifest, "identity.deep", DEEP)
    assert "values nest more than 32 deep" in refusal(manifest)


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "a\nb", "\u202etxt", "x" * 10**5, "\udcff", "[/]"])
def test_a_message_is_one_line_of_plain_text(manifest: Path, text: str) -> None:
    set_field(manifest, "sha256", text)
    assert "sha256: found '" in refusal(manifest)


def column_of_texts(name: str, text: str) -> Any:
    return set_column(name, lambda table: pa.array([text] * len(table)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["uid"]), "column uid: found 0, expected one"),
        (lambda table: table.append_column("key", table["key"]), "column key: found 2, expected one"),
        (set_column("uid", lambda table: table["uid"].cast(pa.int64(), safe=False)), "column uid: found 'int64'"),
        (set_column("mse", lambda table: table["mse"].cast(pa.float32())), "column mse: found 'float'"),
        (set_column("patch", lambda table: table["patch"].cast(pa.string())), "column patch: found 'string'"),
        (set_column("key", lambda table: table["key"].cast(pa.binary())), "column key: found 'binary'"),
        (set_column("params", lambda table: table["mse"]), "column params: found 'double', expected a struct"),
        (set_column("key", lambda table: pa.array([None] * len(table), pa.string())), "column key: found no value in 6 rows"),
        (set_column("uid", lambda table: pa.array([None] * len(table), pa.uint64())), "column uid: found no value"),
        (set_column("params", lambda table: pa.array([None] * len(table), table["params"].type)), "column params: found no"),
        (set_column("clean_std", lambda table: pa.array([np.nan] * len(table))), "column clean_std: found NaN"),
        (set_column("mse", lambda table: pa.array([np.inf] * len(table))), "column mse: found NaN or an infinite"),
        *(
            (set_column("mse", lambda table, error=error: pa.array([0, error] * (len(table) // 2))), "column mse: found ")
            for error in (-1.0, 65_025.1)
        ),
        (set_column("top", lambda table: pa.array([-1] * len(table), pa.int32())), "column top: found -1"),
        (set_column("offset", lambda table: pa.array(np.arange(len(table)) * 512)), "column offset: found other numbers"),
        (set_column("offset", lambda table: pa.array([2**62] * len(table))), "column offset: found other numbers"),
        (column_of_texts("label", "x" * 40_000), "column label: found a text of 40,000 bytes"),
        *(
            (rename_parameter(name), "column params: found the name")
            for name in ('a"', "a.b", "", "1a", "a b", "a;b", "é", "x" * 65, 'A"::FLOAT AS y FROM manifests; --', "a\n")
        ),
        (rename_parameter("LENGTH"), "column params: found the name length twice"),
    ],
)
def test_columns_and_rows_that_cannot_be_are_refused(manifest: Path, change, message: str) -> None:
    edit_rows(manifest, change)
    shard = Shard(Storage(str(manifest.parent)), manifest.stem)
    with pytest.raises(ShardError, match=r"000000\.parquet is damaged: ") as caught:
        shard.rows()
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_text_that_is_not_utf8_is_refused(manifest: Path) -> None:
    def invalid(table: pa.Table) -> pa.Array:
        return pa.array([b"\xff\xfe"] * len(table)).view(pa.string())

    edit_rows(manifest, set_column("label", invalid))
    with pytest.raises(ShardError, match="is damaged: Invalid UTF8 sequence"):
        Shard(Storage(str(manifest.parent)), manifest.stem).row(0)


def test_a_text_that_is_repeated_in_all_rows_is_not_copied_to_each(manifest: Path) -> None:
    """200,000 rows with one text of 30,000 bytes would take 6 GB as plain strings."""
    rows = 200_000
    table = pq.read_table(manifest)
    content = description(manifest)
    size = -(-(rows * content["stride"] + 1024) // 10_240) * 10_240
    columns = {name: pa.array([table[name][0].as_py()] * rows, table[name].type) for name in table.column_names}
    columns["source"] = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["s" * 30_000])
    columns["offset"] = pa.array(np.arange(rows) * content["stride"])
    dictionary = pa.table(columns)
    with pq.ParquetWriter(manifest, dictionary.schema, store_schema=False) as writer:
        writer.write_table(dictionary)
        writer.add_key_value_metadata({KEY: json.dumps(content | {"pairs": rows, "bytes": size}).encode()})
    resize(manifest.with_suffix(".tar"), size)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30));"
        "from iptdata.shards.find import find_groups; from iptdata.inspection.choose import choose;"
        "choose(find_groups([sys.argv[1]]), count=1)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, manifest.with_suffix(".tar")], capture_output=True, text=True, check=False
    )
    assert "column source: found 6,000,000,000 bytes of text" in found.stderr


@pytest.mark.parametrize("length", [0, 1, 7, 8, 11, 12, 100])
def test_a_file_that_ends_early_is_refused(manifest: Path, length: int) -> None:
    resize(manifest, length)
    assert "is damaged or not a manifest" in refusal(manifest)


@pytest.mark.parametrize("claimed", [0, 1, 2**31, 2**32 - 1])
def test_lengths_of_the_metadata_that_lie_are_refused(manifest: Path, claimed: int) -> None:
    data = manifest.read_bytes()
    manifest.write_bytes(data[:-8] + claimed.to_bytes(4, "little") + b"PAR1")
    assert "is damaged or not a manifest" in refusal(manifest)


def test_metadata_that_is_too_large_is_not_read(manifest: Path) -> None:
    resize(manifest, 3 << 30)  # a file with a hole: it takes no space
    with manifest.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write((2 << 30).to_bytes(4, "little") + b"PAR1")
    assert "is damaged or not a manifest" in refusal(manifest)


def test_a_tar_that_was_cut_after_it_was_opened_is_not_mapped(rain: Path) -> None:
    shard = Shard(Storage(str(rain)), "rain-train-000000")
    assert shard.info.pairs == 6
    resize(rain / "rain-train-000000.tar", 100)
    for side in ("clean", "corrupted"):
        with pytest.raises(ShardError, match="is 100 bytes long, its manifest says"):
            getattr(shard, side)
    with pytest.raises(ShardError, match="ends before pair 5"):
        shard.pairs(5)


def test_a_tar_that_cannot_be_read_does_not_end_the_check_of_the_others(rain: Path) -> None:
    groups = find_groups([str(rain)])
    (rain / "rain-train-000000.tar").unlink()
    (checked,) = verify_shards(groups, lambda size: None)
    assert [shard.stem for shard in checked.shards] == ["rain-train-000001"]
    assert "cannot open" in str(checked.problems[0])


MUTATE = """
import random, sys
from pathlib import Path
from iptdata.errors import IptDataError
from iptdata.inspection.choose import choose
from iptdata.inspection.text import summarise_all
from iptdata.shards.find import find_groups
root, name = Path(sys.argv[1]), sys.argv[2]
path = root / "rain" / "train" / name
good = path.read_bytes()
for seed in range(15):
    generator = random.Random(seed)
    data = bytearray(good)
    start = generator.choice([0, len(data) // 2])
    for _ in range(generator.choice([1, 2, 8])):
        data[generator.randrange(start, len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data[: generator.choice([len(data), len(data), generator.randrange(len(data))])])
    print(seed, flush=True)
    try:
        groups = find_groups([str(root)])
        summarise_all(groups)
        choose(groups, count=2)
    except IptDataError as error:
        assert str(error).isprintable()
"""


@pytest.mark.parametrize("name", ["rain-train-000000.parquet", "index.parquet"])
def test_flipped_bits_are_an_error_or_nothing(rain: Path, name: str) -> None:
    if name != "index.parquet":
        (rain / "index.parquet").unlink()
    command = [sys.executable, "-c", MUTATE, rain.parent.parent, name]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 0, (found.stdout[-20:], found.stderr)


def test_a_manifest_that_cannot_be_read_now_is_not_called_damaged(
    rain: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(file: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("iptdata.shards.manifest.read_footer", failing)
    with pytest.raises(ShardError, match=r"^cannot read .*\.parquet: Input/output error$"):
        read_info(Storage(str(manifest.parent)), manifest.name)


def test_a_manifest_or_index_that_cannot_be_opened_does_not_hide_the_others(
    rain: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Storage.open

    def failing(self: Storage, relative: str) -> Any:
        if relative in ("index.parquet", manifest.name):
            raise StorageError(f"cannot open {relative}: Stale file handle")
        return opened(self, relative)

    monkeypatch.setattr(Storage, "open", failing)
    (group,) = find_groups([str(rain)])
    assert group.shards
    assert [str(problem) for problem in group.problems] == [f"cannot open {manifest.name}: Stale file handle"]
