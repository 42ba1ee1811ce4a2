"""What a source is recognised as, and what is refused."""

import bz2
import gzip
import lzma
import re
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.errors import SourceError
from iptdata.source import FolderSource, Source, open_source
from iptdata.source.options import SourceOptions
from iptdata.source.path_list import ListSource
from tests.tars import write_members

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
IMAGES = [("n01/a.jpg", JPEG), ("n01/b.jpg", JPEG)]


def tar(path: Path, members: list[tuple[str, bytes]] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_members(path, members or IMAGES)


def parquet(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [{"bytes": JPEG, "path": "a.jpg"}], "label": [0]}), path)
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("n01/a.jpg", JPEG)
    return path


def kind_of(source: Source) -> str:
    return type(source).__name__.removesuffix("Source").lower()


def recognised(path: object, **options: str) -> str:
    return kind_of(open_source(str(path), SourceOptions(**options)))


def refused(path: object, pattern: str, **options: str) -> None:
    with pytest.raises(SourceError, match=pattern) as caught:
        open_source(str(path), SourceOptions(**options)).list()
    assert caught.value.argument in ("source", "source_format")
    assert "\n" not in str(caught.value)


def test_a_file_by_its_content(tmp_path: Path) -> None:
    assert recognised(tar(tmp_path / "a.tar")) == "tar"
    assert recognised(f"file://{tmp_path}/a.tar") == "tar"
    assert recognised(tar(tmp_path / "no-extension")) == "tar"
    assert recognised(zipped(tmp_path / "a.zip")) == "zip"
    assert recognised(parquet(tmp_path / "a.parquet")) == "parquet"
    (tmp_path / "v7.tar").write_bytes(without_mark((tmp_path / "a.tar").read_bytes()))
    assert recognised(tmp_path / "v7.tar") == "tar"
    for name in ("a.csv", "a.tsv", "a.txt", "a.lst"):
        (tmp_path / name).write_text("n01/a.jpg\n")
        assert recognised(tmp_path / name) == "list"


def without_mark(content: bytes) -> bytes:
    """A tar whose first header is as before 1988, without the mark `ustar`."""
    header = bytearray(content[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content[512:]


@pytest.mark.parametrize("first", ["PAR1.jpg", "PK\x03\x04.jpg", "BZh.jpg"])
def test_a_tar_whose_first_member_is_named_like_another_format(tmp_path: Path, first: str) -> None:
    assert recognised(tar(tmp_path / "a.tar", [(first, JPEG)])) == "tar"


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ([("0.cls", b"1"), ("0.jpg", JPEG)], "webdataset"),
        ([("a/0.jpg", JPEG), ("a/0.json", b"{}")], "webdataset"),
        ([("0.PNG", JPEG), ("0.txt", b"1")], "webdataset"),
        ([("0.jpg", JPEG), ("1.cls", b"1"), ("0.cls", b"1")], "tar"),  # not side by side
        ([("a/0.jpg", JPEG), ("b/0.cls", b"1")], "tar"),
        ([("n01.tar", b"")], "tar"),
        ([("0.jpg", JPEG), ("0.npy", b"")], "tar"),
    ],
)
def test_webdataset_by_its_first_members(tmp_path: Path, members: list[tuple[str, bytes]], kind: str) -> None:
    path = tar(tmp_path / "a.tar", members)
    assert recognised(path) == kind
    assert recognised(path, source_format="tar") == "tar"
    assert recognised(path, source_format="webdataset") == "webdataset"


def test_shards_of_a_corpus_are_no_source(tmp_path: Path) -> None:
    tar(tmp_path / "c/rain.tar", [("0.clean.npy", b""), ("0.corrupted.npy", b""), ("0.json", b"{}")])
    for text in (tmp_path / "c/rain.tar", tmp_path / "c", tmp_path / "c/*.tar"):
        refused(text, "rain.tar is a shard of a corpus of iptdata, expected images")
    for name in ("index.parquet", "recipe.yaml", "rain.parquet"):
        (tmp_path / "c" / name).write_text("")
    refused(tmp_path / "c", "is a corpus of iptdata, expected images")
    (tmp_path / "c/recipe.yaml").unlink()
    (tmp_path / "c/corpus.json").write_text("{}")
    refused(tmp_path / "c", "is a corpus of iptdata, expected images")


@pytest.mark.parametrize(
    ("name", "compress", "hint"),
    [
        ("a.tar.gz", gzip.compress, r"Run `gunzip \S*/a.tar.gz` once, and pass a.tar\."),
        ("a.tgz", gzip.compress, r"Run `gunzip \S*/a.tgz` once, and pass a.tar\."),
        ("a.tar", gzip.compress, r"Run `gunzip < \S*/a.tar > \S*/plain-a.tar` once, and pass plain-a.tar\."),
        ("a.tar.bz2", bz2.compress, "Run `bunzip2 "),
        ("a.tar.xz", lzma.compress, "Run `unxz "),
        ("a.tar.zst", lambda data: b"\x28\xb5\x2f\xfd" + data, "Run `unzstd "),
    ],
)
def test_a_compressed_tar_is_refused_with_the_command(tmp_path: Path, name: str, compress: object, hint: str) -> None:
    content = tar(tmp_path / "plain.tar").read_bytes()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / name).write_bytes(compress(content))  # pyright: ignore[reportCallIssue]
    refused(tmp_path / "c" / name, "is compressed with .*, which has no random access. " + hint)
    message = "is compressed with" if name == "a.tar" else r"c holds compressed tars \(1, the first is a\.t"
    refused(tmp_path / "c", message)
    refused(tmp_path / "c" / "a.*", message)


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    tar(tmp_path / "ILSVRC2012_img_train.tar")
    nearest = r"does not exist\. Pass a directory of images, .*; the nearest name there is ILSVRC2012_img_train\.tar\."
    refused(tmp_path / "ILSVRC2012_img_trian.tar", nearest)
    refused(f"file://{tmp_path}/ILSVRC2012_img_train", nearest)
    refused(tmp_path / "photos", r"does not exist\. Pass .* for the photos that ship with iptdata\.$")
    refused(tmp_path / "nowhere/train.tar", r"does not exist\. Pass .* for the photos that ship with iptdata\.$")


def test_files_that_are_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "a.bin").write_bytes(b"\x00\x01" * 400)
    (tmp_path / "a.tar").write_bytes(b"this is no tar" * 100)
    (tmp_path / "empty.tar").touch()
    for name in ("a.jpg", "a.bin", "a.tar"):
        refused(tmp_path / name, f"{name} is a file, expected a directory of images, tars, zips or Parquet files, or a list")
    refused(tmp_path / "empty.tar", "is an empty file")


def test_braces_and_wildcards(tmp_path: Path) -> None:
    for number in range(3):
        tar(tmp_path / f"data/train-{number:04d}.tar")
        parquet(tmp_path / f"p/train-{number}.parquet")
    source = open_source(f"{tmp_path}/data/train-{{0000..0002}}.tar")
    assert (kind_of(source), source.files.paths) == ("tar", ("train-0000.tar", "train-0001.tar", "train-0002.tar"))  # pyright: ignore
    assert source.files.name == "data/train-{0000..0002}.tar"  # pyright: ignore
    assert recognised(f"{tmp_path}/p/train-*.parquet") == "parquet"
    assert recognised(f"file://{tmp_path}/p/train-?.parquet") == "parquet"
    tar(tmp_path / "more/train-0000.tar")
    both = open_source(f"{tmp_path}/{{data,more}}/train-0000.tar")
    assert both.files.paths == ("data/train-0000.tar", "more/train-0000.tar")  # pyright: ignore


def test_patterns_that_match_too_little(tmp_path: Path) -> None:
    tar(tmp_path / "train-0000.tar")
    refused(f"{tmp_path}/train-{{0000..0003}}.tar", r"train-0001.tar of .* does not exist \(3 of 4 do not\)")
    refused(f"{tmp_path}/train-{{0000..0001}}.tar", r"train-0001.tar of \S* does not exist\. ")
    refused(f"{tmp_path}/val-*.tar", "matches no file")
    refused(f"{tmp_path}/nowhere/*.tar", "matches no file")
    refused(f"{tmp_path}/*/train-0000.tar", "wildcards .* are allowed in the file name only")
    refused(f"{tmp_path}/train-{{0000", "a brace is not closed|matches no file")


def test_patterns_of_several_kinds(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar")
    parquet(tmp_path / "b.parquet")
    (tmp_path / "c.jpg").write_bytes(JPEG)
    refused(f"{tmp_path}/[ab].*", r"matches 1 \.tar file \(a\.tar\) and 1 \.parquet file \(b\.parquet\), expected files of one")
    assert recognised(f"{tmp_path}/[ab].*", source_format="parquet") == "parquet"
    refused(f"{tmp_path}/*.jpg", "matches 1 image .*Pass the folder of images")


def test_a_name_with_brackets_that_exists_is_no_pattern(tmp_path: Path) -> None:
    assert recognised(tar(tmp_path / "a[1].tar")) == "tar"
    assert recognised(tar(tmp_path / "set{1,2}/n01.tar").parent) == "tar"


def test_a_folder_by_what_is_at_its_top(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        tar(tmp_path / f"tars/{name}.tar")
    (tmp_path / "tars/README.md").write_text("about")
    (tmp_path / "tars/.cache").mkdir()
    (tmp_path / "tars/.n03.tar").write_bytes(b"")
    source = open_source(f"{tmp_path}/tars/")
    assert (kind_of(source), source.files.paths, source.files.name) == ("tar", ("n01.tar", "n02.tar"), "tars")  # pyright: ignore
    (tmp_path / "tars/n01").mkdir()
    assert recognised(tmp_path / "tars") == "folder"
    (tmp_path / "tars/n01").rmdir()
    (tmp_path / "tars/x.jpg").write_bytes(JPEG)
    assert recognised(tmp_path / "tars") == "folder"
    assert recognised(tmp_path / "tars", source_format="tar") == "tar"
    assert recognised(f"file://{tmp_path}/tars", source_format="tar") == "tar"


def test_a_folder_of_several_kinds_or_splits(tmp_path: Path) -> None:
    tar(tmp_path / "m/a.tar")
    zipped(tmp_path / "m/b.zip")
    refused(tmp_path / "m", r"holds 1 \.tar file \(a.tar\) and 1 \.zip file \(b.zip\), expected files of one kind")
    assert recognised(tmp_path / "m", source_format="zip") == "zip"
    refused(tmp_path / "m", r"holds no \.parquet file, as the format parquet needs; it holds 1 \.tar", source_format="parquet")
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        for number in range(count):
            parquet(tmp_path / f"imagenet-1k/data/{split}-{number:05d}-of-{count:05d}.parquet")
    folder = re.escape(f"{tmp_path}/imagenet-1k/data/")
    patterns = (rf"{folder}train-\*\.parquet", rf"{folder}test-00000-of-00001\.parquet", rf"{folder}validation-\*\.parquet")
    refused(tmp_path / "imagenet-1k/data", f"holds several splits, expected one. Pass {' or '.join(patterns)}")
    assert recognised(f"{tmp_path}/imagenet-1k/data/train-*.parquet") == "parquet"
    message = rf"data/\*\.parquet matches several splits, expected one. Pass {' or '.join(patterns)}"
    refused(tmp_path / "imagenet-1k/data/*.parquet", message)
    refused(tmp_path / "imagenet-1k/data/*", message.replace(r"\.parquet matches", " matches"), source_format="parquet")
    assert recognised(f"{tmp_path}/imagenet-1k/data/{{train,validation}}-*.parquet") == "parquet"
    (tmp_path / "imagenet-1k/README.md").write_text("card")
    refused(tmp_path / "imagenet-1k", f"holds no image; .* Pass {patterns[0]} for the .parquet files")


def test_class_names_are_not_splits(tmp_path: Path) -> None:
    for name in ("train.tar", "testudo.tar", "valley.tar"):
        tar(tmp_path / "classes" / name)
    assert recognised(tmp_path / "classes") == "tar"
    for name in ("first-train-0.tar", "second-train-0.tar"):
        tar(tmp_path / "parts" / name)
    assert recognised(tmp_path / "parts") == "tar"


@pytest.mark.parametrize("wanted", ["folder", "zip", "parquet", "list", "webdataset"])
def test_a_format_that_is_not_there(tmp_path: Path, wanted: str) -> None:
    path = tar(tmp_path / "a.tar")
    if wanted != "webdataset":  # any tar may be one
        refused(path, rf"^source_format: .*a\.tar is a tar, expected the format {wanted}", source_format=wanted)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(JPEG)
    if wanted != "folder":
        refused(tmp_path / "photos", f"as the format {wanted} needs", source_format=wanted)
        refused("samples", f"expected the format {wanted}", source_format=wanted)


def test_a_list_with_any_name_if_the_format_is_given(tmp_path: Path) -> None:
    (tmp_path / "subset").write_text("a.jpg\n")
    refused(tmp_path / "subset", "is a file, expected")
    assert recognised(tmp_path / "subset", source_format="list") == "list"


def test_options_that_open_it_again_are_kept(tmp_path: Path) -> None:
    source = open_source(str(parquet(tmp_path / "a.parquet")), SourceOptions(image_column="img"))
    assert source.settings == {"image_column": "img"}
    (tmp_path / "a.csv").write_text("n01/a.jpg\n")
    listed = open_source(f"{tmp_path}/a.csv", SourceOptions(list_root=f"{tmp_path}/photos"))
    assert isinstance(listed, ListSource)
    assert (listed.settings, listed.root.root) == ({"list_root": "./photos"}, f"{tmp_path}/photos")
    assert open_source("samples").settings == {}
    assert isinstance(open_source("samples"), FolderSource)


def test_hostile_names_stay_on_one_line(tmp_path: Path) -> None:
    tar(tmp_path / "a\n\x1b[31m.tar")
    zipped(tmp_path / "b.zip")
    refused(tmp_path, r"a\\n\\x1b\[31m\.tar")


def test_an_empty_path() -> None:
    refused("", "found an empty path, expected a directory of images")


@pytest.mark.parametrize("name", ["train-*", "{0..99999999}.tar", "\0.tar"])
def test_odd_patterns(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError):
        open_source(f"{tmp_path}/{name}").list()
