"""Paths that a stream accepts, and the errors for those that match nothing."""

import re
import shutil
from pathlib import Path

import pytest

from iptdata.errors import ShardError, StorageError, StreamError
from iptdata.stream import PairStream
from tests.conftest import build
from tests.stream.conftest import PAIRS


def open_stream(paths: str | list[str], **options: object) -> PairStream:
    return PairStream(paths, batch_size=1, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("paths", "tasks", "steps"),
    [
        ("{0}", ["noise30", "rain", "sr2"], 3 * PAIRS),
        ("{0}/", ["noise30", "rain", "sr2"], 3 * PAIRS),
        ("{0}/rain", ["rain"], PAIRS),
        ("{0}/rain/train", ["rain"], PAIRS),
        ("file://{0}", ["noise30", "rain", "sr2"], 3 * PAIRS),
        ("{0}/rain/train/rain-train-000001.tar", ["rain"], 32),
        ("{0}/rain/train/*.tar", ["rain"], PAIRS),
        ("{0}/rain/train/rain-train-00000[02].tar", ["rain"], 64),
        ("{0}/rain/train/rain-train-{{000001..000003}}.tar", ["rain"], 96),
        ("file://{0}/rain/train/rain-train-{{000001..000003}}.tar", ["rain"], 96),
        ("{0}/{{rain,sr2}}/train/*000001.tar", ["rain", "sr2"], 64),
    ],
)
def test_paths_of_every_kind(corpus: Path, paths: str, tasks: list[str], steps: int) -> None:
    stream = open_stream(paths.format(corpus))
    assert (stream.tasks, len(stream)) == (tasks, steps)


def test_paths_add_up_and_tasks_select(corpus: Path) -> None:
    stream = open_stream([f"{corpus}/rain", f"{corpus}/sr2/train"], tasks=["sr2"])
    assert (stream.tasks, len(stream)) == (["sr2"], PAIRS)
    assert open_stream(str(corpus), tasks=["sr2", "noise30"]).tasks == ["sr2", "noise30"]


def test_splits_are_kept_apart(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path, images_per_shard=4, holdout=0.34)
    train, held = (open_stream(str(tmp_path), split=split) for split in ("train", "val"))
    assert len(train) + len(held) == 12 * 8
    assert len(held) == len(open_stream(str(tmp_path / "noise30" / "val")))
    with pytest.raises(ShardError, match="no shards of the split test; splits in it: train, val"):
        open_stream(str(tmp_path / "noise30"), split="test")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{0}/nowhere", "nowhere does not exist; expected a corpus"),
        ("{0}/rain/train/rain-train-000099.tar", r"rain-train-000099.tar matches no .tar file"),
        ("{0}/rain/train/sr*.tar", "matches no .tar file"),
        ("{0}/*/train/*.tar", "in the file name only"),
        ("{0}/../photos", "has no shards of the split train"),
        ("{0}/corpus.json", "is a file"),
        ("{0}/rain/train/{{a", "a brace is not closed"),
    ],
)
def test_paths_that_match_nothing(corpus: Path, path: str, message: str) -> None:
    with pytest.raises((ShardError, StorageError), match=message):
        open_stream(path.format(corpus))


@pytest.mark.parametrize("name", ["packed.tar.gz", "packed.tgz"])
def test_a_compressed_tar_without_a_task(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(ShardError, match=rf"{name} is a file; .*Decompress it, `gunzip FILE`"):
        open_stream(str(tmp_path / name))


def test_missing_task(corpus: Path) -> None:
    with pytest.raises(ShardError, match="task rian is not in the shards, found rain, "):
        open_stream(str(corpus), tasks=["rian"])


def test_no_path() -> None:
    with pytest.raises(ShardError, match="found no path, expected a corpus"):
        open_stream([])


def test_shapes_that_differ_within_a_task(corpus: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "rain.yaml").write_text("task: rain\npatch_size: 32\nsteps: [{gaussian_noise: {sigma: 5}}]\n")
    build(photos, tmp_path, [str(tmp_path / "rain.yaml")], images_per_shard=4)
    with pytest.raises(
        ShardError, match=r"task rain: .*\(32, 32, 3\).*\(48, 48, 3\).*, expected one shape per task\. Stream them separately"
    ):
        open_stream([f"{corpus}/rain", f"{tmp_path}/rain"])


def test_unfinished_shards(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(corpus / "rain", tmp_path / "rain")
    (tmp_path / "rain" / "train" / "rain-train-000002.parquet").unlink()
    with pytest.raises(ShardError, match=r"rain-train-000002\.tar has no manifest, so it is not finished\. Build it"):
        open_stream(str(tmp_path))
    stream = open_stream(str(tmp_path), on_error="skip")
    assert len(stream) == PAIRS - 32
    assert "skipped: " in caplog.text


def test_tars_not_written_by_iptdata_need_a_task_name(corpus: Path, tmp_path: Path) -> None:
    shutil.copy(corpus / "rain" / "train" / "rain-train-000000.tar", tmp_path / "a.tar")
    for path in (tmp_path, tmp_path / "a.tar"):
        with pytest.raises(
            ShardError,
            match=rf"tars without manifests: .* Pass `TASK={re.escape(str(path))}` to read shards not written by iptdata",
        ):
            open_stream(str(path))


def test_path_object_and_folder_with_brackets(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus / "rain", tmp_path / "a[1]" / "rain")
    assert PairStream(tmp_path / "a[1]", batch_size=1).tasks == ["rain"]


@pytest.mark.parametrize("second", ["{0}/rain", "{0}/rain/train", "{0}/rain/train/rain-train-00000[3-5].tar"])
def test_shard_named_twice(corpus: Path, second: str) -> None:
    with pytest.raises(ShardError, match=r"rain-train-00000\d\.tar is matched by two of the paths\. Pass it once"):
        open_stream([str(corpus), second.format(corpus)])


def test_tasks_that_are_not_streamed_may_be_unfinished(corpus: Path, tmp_path: Path) -> None:
    """As they are while a recipe is being added to a corpus."""
    for task in ("rain", "sr2"):
        shutil.copytree(corpus / task, tmp_path / task)
    for manifest in (tmp_path / "sr2" / "train").glob("*.parquet"):
        manifest.unlink()
    assert len(open_stream(str(tmp_path), tasks=["rain"])) == PAIRS
    shutil.copy(corpus / "sr2" / "train" / "sr2-train-000000.parquet", tmp_path / "sr2" / "train")
    assert len(open_stream([f"{tmp_path}/rain/train", f"{tmp_path}/sr2/train"], tasks=["rain"])) == PAIRS
    with pytest.raises(ShardError, match="sr2"):
        open_stream(str(tmp_path))


def test_no_readable_shard_is_left(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus / "rain", tmp_path / "rain")
    for manifest in (tmp_path / "rain" / "train").glob("*.parquet"):
        manifest.write_bytes(b"no manifest")
    with pytest.raises(StreamError, match="no shard can be read"):
        open_stream(str(tmp_path), on_error="skip")


def test_hidden_folders_are_left_out(corpus: Path, tmp_path: Path) -> None:
    """Deleted shards in a trash folder, and a folder that may not be read."""
    shutil.copytree(corpus / "rain", tmp_path / "rain")
    for folder in (".Trash-1000/files", "lost+found/train", "rain/.ipynb_checkpoints", "rain/@eaDir", "__MACOSX/train"):
        shutil.copytree(corpus / "sr2" / "train", tmp_path / folder)
    stream = open_stream(str(tmp_path))
    assert (stream.tasks, len(stream)) == (["rain"], PAIRS)
