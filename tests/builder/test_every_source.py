"""What holds for a folder of images holds for every other form of the same images, and all give the same pairs."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from iptdata.builder import estimate
from iptdata.cli import group as commands
from iptdata.errors import ConflictError
from iptdata.inspection.summary import summarise
from iptdata.shards.find import find_groups
from tests.conftest import build, corpus_bytes, natural_image
from tests.source.every_form import BLOCKS, WRITERS, Images, pairs_of

OPTIONS: dict[str, Any] = {"patch_size": 16, "patches_per_image": 2, "images_per_shard": 2, "seed": 5}
LABELS = ("n01440764", "n01443537", "n02123045")
BAD = {
    f"{LABELS[0]}/{LABELS[0]}_90.JPEG": "truncated",
    f"{LABELS[1]}/{LABELS[1]}_91.JPEG": "unreadable",
    f"{LABELS[2]}/{LABELS[2]}_92.JPEG": "too small",
}
_ON_S3 = " on S3"
# One form for each way to read; the others differ from these in their index alone.
_READERS = ("folder", "tar", "zip, deflated", "Parquet, groups of 5", "WebDataset", "list", f"Parquet, groups of 5{_ON_S3}")
Write = Callable[[Images], str]
# A build in a process that is killed when it has written the tar of its third unit, and not yet the manifest.
_KILLED = """
import json, os, signal, sys
import iptdata
from iptdata.builder import unit

write, written = unit.write_manifest, []

def write_or_die(*arguments):
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(arguments)
    write(*arguments)

unit.write_manifest = write_or_die
source, out, options = sys.argv[1:]
iptdata.build(source, out, ["noise30"], workers=0, **json.loads(options))
"""


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def images() -> Images:
    """Nine good images in three classes, and one for each reason to drop it, in the order of their paths."""
    found = {}
    for number in range(9):
        label = LABELS[number % 3]
        found[f"{label}/{label}_{number + 10}.JPEG"] = jpeg(natural_image(40 + number, 50 - number, number))
    good = jpeg(natural_image(90, 90))
    found |= dict(zip(BAD, (good[: len(good) // 2], b"no image", jpeg(natural_image(9, 40))), strict=True))
    return dict(sorted(found.items()))


@pytest.fixture(scope="module")
def of_folder(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of the folder of these images, with a split that is held out."""
    root = tmp_path_factory.mktemp("folder")
    build(WRITERS["folder"](images, root), root / "out", max_rejects=3, holdout=0.3, **OPTIONS)
    return root / "out"


@pytest.fixture(params=[*WRITERS, *(f"{form}{_ON_S3}" for form in ("folder", "tar", "Parquet, groups of 5"))])
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def write(form: str, tmp_path: Path, request: pytest.FixtureRequest) -> Write:
    """Writes images in the form, in place of those before; returns the value of the option `source`."""
    root, writer = tmp_path / "source", WRITERS[form.removesuffix(_ON_S3)]
    server = request.getfixturevalue("s3") if form.endswith(_ON_S3) else None
    bucket = server.bucket() if server else ""

    def written(images: Images) -> str:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        path = writer(images, root)
        if server is None:
            return str(path)
        server.upload(root, bucket)
        return server.url(f"{bucket}/{path.relative_to(root)}")

    return written


def has_blocks(form: str) -> bool:
    return form.removesuffix(_ON_S3) in BLOCKS


def tars(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in corpus_bytes(out).items() if name.endswith(".tar")}


def test_the_same_pairs_and_rejects_as_from_a_folder(
    form: str, write: Write, images: Images, of_folder: Path, tmp_path: Path
) -> None:
    source = write(images)
    totals = build(source, tmp_path / "out", max_rejects=3, holdout=0.3, **OPTIONS)
    assert pairs_of(tmp_path / "out") == pairs_of(of_folder)
    assert {split for split, _ in pairs_of(of_folder).values()} == {"train", "val"}
    if not has_blocks(form):
        assert tars(tmp_path / "out") == tars(of_folder)
    rejects = pq.read_table(tmp_path / "out/rejects.parquet").to_pylist()
    assert {row["source"]: row["reason"] for row in rejects} == BAD
    assert sum(total.images for total in totals) == len(images)
    assert str(tmp_path) not in (tmp_path / "out/README.md").read_text() + (tmp_path / "out/corpus.json").read_text()
    assert "imagenet-terms-of-access" in (tmp_path / "out/README.md").read_text()


def test_a_limit_takes_images_of_the_plan(write: Write, images: Images, of_folder: Path, tmp_path: Path) -> None:
    (total,) = build(write(images), tmp_path / "out", max_rejects=3, limit=5, **OPTIONS)
    assert total.images == 5
    found, whole = ({key: data for key, (_, data) in pairs_of(out).items()} for out in (tmp_path / "out", of_folder))
    assert len(found) == 2 * (5 - total.rejected.total())
    assert found.items() <= whole.items()


def killed(source: str, out: Path, options: Mapping[str, Any]) -> int:
    """Exit status of a build that is killed in its third unit."""
    command = [sys.executable, "-c", _KILLED, str(source), str(out), json.dumps(options)]
    return subprocess.run(command, check=False, capture_output=True, text=True).returncode


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("form", _READERS)
def test_a_killed_build_resumes_with_the_same_bytes(write: Write, images: Images, tmp_path: Path) -> None:
    source = write(images)
    options = OPTIONS | {"max_rejects": "3"}
    assert killed(source, tmp_path / "killed", options) == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*/*/*-[0-9]*.parquet")}
    assert len(finished) == 2
    build(source, tmp_path / "killed", **options)
    build(source, tmp_path / "whole", **options)
    assert without_cache(tmp_path / "killed") == without_cache(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def without_cache(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in corpus_bytes(out).items() if not name.startswith(".cache/")}


def test_a_source_that_changed_is_refused(write: Write, images: Images, tmp_path: Path) -> None:
    """An image was replaced, or is new."""
    build(write(images), tmp_path / "out", max_rejects=3, **OPTIONS)
    before = without_cache(tmp_path / "out")
    other = jpeg(natural_image(250, 250, 99))  # larger than the padding of a tar: times on S3 are seconds
    for name in (next(iter(images)), f"{LABELS[2]}/{LABELS[2]}_99.JPEG"):
        with pytest.raises(ConflictError, match=r"was built with different content .*source\.fingerprint"):
            build(write({**images, name: other}), tmp_path / "out", max_rejects=3, **OPTIONS)
        assert without_cache(tmp_path / "out") == before


def test_an_estimate_writes_nothing(write: Write, images: Images, tmp_path: Path) -> None:
    source = write(images)
    before = corpus_bytes(tmp_path)
    found = estimate(source, tmp_path / "out", ["noise30"], **OPTIONS)
    assert (found.images, found.units) == (len(images), 6)
    assert found.seconds is not None
    assert corpus_bytes(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_other_forms_continue_a_corpus(form: str, write: Write, images: Images, of_folder: Path, tmp_path: Path) -> None:
    """The form is not part of the content, unless the lengths of images are not known from the index, as in Parquet files."""
    shutil.copytree(of_folder, tmp_path / "out")
    options = OPTIONS | {"max_rejects": 3, "holdout": 0.3}
    before = tars(tmp_path / "out")
    (tmp_path / "out" / sorted(before)[1]).unlink()
    source = write(images)
    if form.startswith("Parquet"):
        with pytest.raises(ConflictError):
            build(source, tmp_path / "out", **options)
    else:
        build(source, tmp_path / "out", **options)
        assert tars(tmp_path / "out") == before
        groups = find_groups([str(tmp_path / "out")])
        assert [(group.title, summarise(group).missing_count) for group in groups] == [("noise30/train", 0), ("noise30/val", 0)]
        assert sum(len(group.shards) for group in groups) == len(before)


def test_the_command_in_the_card_opens_the_source_again(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = WRITERS["Parquet, groups of 5"](images, tmp_path)
    for path in source.parent.iterdir():
        pq.write_table(pq.read_table(path).rename_columns(["picture", "class"]), path, row_group_size=5)
    options = OPTIONS | {"image_column": "picture", "label_column": ""}
    build(source, tmp_path / "out", max_rejects=3, **options)
    (line,) = re.findall(r"^iptdata (build .*)$", (tmp_path / "out/README.md").read_text(), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    command = [*shlex.split(line), "--out", "again", "--workers", "0", "--max-rejects", "3"]
    assert CliRunner().invoke(commands, command, catch_exceptions=False).exit_code == 0
    assert tars(tmp_path / "again") == tars(tmp_path / "out")
