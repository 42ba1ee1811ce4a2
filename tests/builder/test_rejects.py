"""What cannot be used in a source is counted and listed, and changes nothing about the pairs of the rest."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.errors import BuildFailed, SourceError, StorageError
from iptdata.files.storage import Storage
from iptdata.parallel import serial_map
from iptdata.recipe import load_recipes
from iptdata.source import SourceImage, open_source
from iptdata.source.folder import FolderSource
from tests.conftest import build, corpus_bytes, natural_image, save

REASONS = {
    "n00/dangling.jpg": "dangling link",
    "n00/loop.png": "link loop",
    "n01/up": "link loop",
    "n01/pipe.png": "not a regular file",
    "again": "folder is listed twice",
    "n02/name\\xff.jpg": "file name is not UTF-8",
}


def add_junk(root: Path) -> None:
    (root / "n00/dangling.jpg").symlink_to("nowhere")
    (root / "n00/loop.png").symlink_to("loop.png")
    (root / "n01/up").symlink_to("..")
    (root / "again").symlink_to("n01")
    os.mkfifo(root / "n01/pipe.png")
    Path(os.fsdecode(os.fsencode(root) + b"/n02/name\xff.jpg")).write_bytes(b"x")
    for hidden in ("n00/.ipynb_checkpoints", ".Trash-1000/files", "@eaDir/n00"):
        save(root / hidden / "copy.jpg", natural_image(240, 240))


def shards(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in corpus_bytes(out).items() if name.endswith(".tar")}


def listed(out: Path) -> dict[str, str]:
    return {row["source"]: row["reason"] for row in pq.read_table(out / "rejects.parquet").to_pylist()}


@pytest.fixture
def junk(photos: Path, tmp_path: Path) -> Path:
    """The photos with entries that cannot be used beside them."""
    root = tmp_path / "junk" / photos.name
    shutil.copytree(photos, root)
    add_junk(root)
    return root


@pytest.mark.parametrize("options", [{}, {"images_per_shard": 5}, {"holdout": 0.4, "images_per_shard": 2}])
def test_pairs_do_not_depend_on_what_lies_beside_the_images(
    photos: Path, junk: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    build(photos, tmp_path / "clean", **options)
    totals = build(junk, tmp_path / "out", max_rejects="60%", **options)
    assert shards(tmp_path / "out") == shards(tmp_path / "clean")
    assert listed(tmp_path / "out") == REASONS
    assert sum(total.rejected.total() for total in totals) == len(REASONS)
    assert sum(total.images for total in totals) == 12 + len(REASONS)


def test_a_corpus_can_be_resumed_whatever_became_of_the_rejects(photos: Path, junk: Path, tmp_path: Path) -> None:
    build(junk, tmp_path / "whole", ["noise30", "rain"], max_rejects="60%", images_per_shard=3)
    build(junk, tmp_path / "grown", ["noise30"], max_rejects="60%", images_per_shard=3)
    build(junk, tmp_path / "grown", ["rain"], max_rejects="60%", images_per_shard=3)
    assert corpus_bytes(tmp_path / "whole") == corpus_bytes(tmp_path / "grown")
    (tmp_path / "grown/rain/train/rain-train-000001.tar").unlink()
    build(photos, tmp_path / "grown", ["noise30", "rain"], max_rejects="60%", images_per_shard=3)
    assert shards(tmp_path / "whole") == shards(tmp_path / "grown")


def test_rejects_count_against_the_limit(junk: Path, tmp_path: Path) -> None:
    (junk / "n00/text.jpg").write_bytes(b"this is no picture")
    for allowed in ("6", "10%"):
        with pytest.raises(BuildFailed, match=r"7 of 19 images were dropped \(.*link loop 2.*more than max_rejects"):
            build(junk, tmp_path / "out", max_rejects=allowed)
    assert build(junk, tmp_path / "out", max_rejects="7")[0].pairs == 96


@pytest.mark.parametrize("options", [{}, {"holdout": 0.2}, {"limit": 6}, {"images_per_shard": 4}])
def test_one_bad_entry_among_twelve_images_is_within_the_default_limit(
    photos: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (photos / "n00/loop.jpg").symlink_to("loop.jpg")
    assert sum(total.pairs for total in build(photos, tmp_path / "out", **options)) == 8 * (options.get("limit") or 12)


def test_a_limit_takes_rejects_in_proportion(tmp_path: Path) -> None:
    for number in range(400):
        path = tmp_path / "source/c" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (tmp_path / "source/c" / f"link{number}.jpg").symlink_to("nowhere")
    plan = plan_build(open_source(str(tmp_path / "source")), BuildOptions(images_per_shard=10))
    assert sum(len(unit.rejects) for unit in plan.units()) == 400
    assert max(len(unit.rejects) for unit in plan.units()) < 30
    limited = plan_build(open_source(str(tmp_path / "source")), BuildOptions(images_per_shard=10, limit=100))
    assert 60 < sum(len(unit.rejects) for unit in limited.units()) < 140


def test_a_source_of_rejects_alone(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source/a.png")
    with pytest.raises(
        SourceError, match=r"holds no image; .*1 cannot be used, the first is a\.png \(not a regular file: a named"
    ):
        build(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "nothing", "below a file", "forbidden", "device"])
def test_an_image_that_is_replaced_after_the_walk_is_a_reject(
    photos: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_build(open_source(str(photos)), BuildOptions())
    path = photos / "n00" / "image_0.jpg"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "below a file":
        shutil.rmtree(photos / "n00")
        (photos / "n00").write_bytes(b"")
    elif kind == "forbidden":
        read = FolderSource.read

        def forbidden(self: FolderSource, image: SourceImage) -> bytes:
            if image.key == "n00/image_0.jpg":
                raise StorageError("cannot read it") from PermissionError(errno.EACCES, "Permission denied")
            return read(self, image)

        monkeypatch.setattr(FolderSource, "read", forbidden)
    survey = survey_corpus(plan, load_recipes(["noise30"]), Storage(str(tmp_path / "out")))
    limit = RejectLimit(count=4)
    (total,) = build_missing(survey, serial_map, RejectBudget(limit=limit), lambda _: None)
    assert total.rejected == {"unreadable": 4 if kind == "below a file" else 1}
    assert total.pairs == (12 - total.rejected.total()) * 8


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM])
def test_an_image_that_is_temporarily_unreadable_stops_only_its_unit(
    photos: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(photos, tmp_path / "whole", images_per_shard=2)
    read = FolderSource.read

    def broken(self: FolderSource, image: SourceImage) -> bytes:
        if image.key in ("n00/image_0.jpg", "n01/image_1.jpg"):
            raise StorageError(f"cannot read {image.key}: {os.strerror(number)}") from OSError(number, os.strerror(number))
        return read(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "read", broken)
        with pytest.raises(BuildFailed, match=rf"cannot read n0.*{os.strerror(number)}.*\. Finished shards are kept; run the"):
            build(photos, tmp_path / "out", images_per_shard=2)
    finished = shards(tmp_path / "out")
    assert len(finished) in (4, 5)
    assert finished.items() <= shards(tmp_path / "whole").items()
    assert not list((tmp_path / "out").rglob("*.partial"))
    build(photos, tmp_path / "out", images_per_shard=2)
    assert corpus_bytes(tmp_path / "out") == corpus_bytes(tmp_path / "whole")


def test_a_file_too_large_for_an_image_is_not_read(photos: Path, tmp_path: Path) -> None:
    with (photos / "n00/huge.png").open("wb") as file:
        file.truncate(1 << 40)
    (total,) = build(photos, tmp_path / "out")
    assert total.rejected == {"too many bytes": 1}
    assert listed(tmp_path / "out") == {"n00/huge.png": "too many bytes"}


def test_unicode_forms_give_the_same_corpus(photos: Path, tmp_path: Path) -> None:
    """Also where the forms sort differently, so that a corpus can be resumed from a copy of the source."""
    corpora = []
    for form, letter in (("composed", "\u00e9"), ("decomposed", "e\u0301")):
        source = tmp_path / form / "source"
        shutil.copytree(photos, source)
        (source / "n00/image_0.jpg").rename(source / f"n00/{letter}.jpg")
        (source / "n01").rename(source / f"{letter}")
        (source / "n02").rename(source / "f")
        build(source, tmp_path / form / "out", images_per_shard=5)
        corpora.append(corpus_bytes(tmp_path / form / "out"))
    assert corpora[0] == corpora[1]
