"""An interrupted build resumes and gives the same bytes; finished shards are not built again."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.builder.unit import UnitReport
from iptdata.errors import BuildFailed, ConflictError, StorageError
from iptdata.files.storage import Storage
from iptdata.parallel import serial_map
from iptdata.recipe import load_recipes
from iptdata.source import open_source
from tests.conftest import build, corpus_bytes, natural_image, save, start_iptdata
from tests.source.every_form import tar

NO_REJECTS = RejectLimit(count=0)
RECIPES = ["noise30", "rain", "sr2"]
OPTIONS = {"images_per_shard": 3, "seed": 3}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos, about two seconds of work for the suite."""
    root = tmp_path_factory.mktemp("source") / "many"
    for index in range(40):
        save(root / f"c{index % 4}" / f"{index}.jpg", natural_image(420, 460, index))
    return root


@pytest.fixture(scope="module")
def expected(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that `start` makes of `many` without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    build(many, out, ["ipt"], images_per_shard=2)
    return corpus_bytes(out)


def start(source: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    options = ("--recipe", "ipt", "--source", source, "--out", out, "--images-per-shard", 2, *more)
    return start_iptdata("build", *options, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def manifests(out: Path) -> list[Path]:
    return list(out.glob("*/*/*-[0-9]*.parquet"))


def test_resumes_after_an_interruption(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "whole", RECIPES, **OPTIONS)
    plan = plan_build(open_source(str(photos)), BuildOptions(**OPTIONS))  # pyright: ignore[reportArgumentType]
    out = Storage(str(tmp_path / "resumed"))
    seen: list[UnitReport] = []

    def interrupted(report: UnitReport) -> None:
        seen.append(report)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_missing(survey_corpus(plan, load_recipes(RECIPES), out), serial_map, RejectBudget(limit=NO_REJECTS), interrupted)
    work = survey_corpus(plan, load_recipes(RECIPES), out)
    assert (len(work.missing), work.shards_done) == (2, 6)
    reports: list[UnitReport] = []
    build_missing(work, serial_map, RejectBudget(limit=NO_REJECTS), reports.append)
    assert len(reports) == 2
    assert corpus_bytes(tmp_path / "whole") == corpus_bytes(tmp_path / "resumed")
    assert not survey_corpus(plan, load_recipes(RECIPES), out).missing


def test_damaged_shards_are_rebuilt(photos: Path, tmp_path: Path) -> None:
    """A manifest without its tar, a tar without its manifest, a truncated tar, and a leftover temporary file."""
    out = tmp_path / "corpus"
    build(photos, out, RECIPES, **OPTIONS)
    before = corpus_bytes(out)
    (out / "rain/train/rain-train-000000.tar").unlink()
    (out / "sr2/train/sr2-train-000001.parquet").unlink()
    (out / "noise30/train/noise30-train-000002.tar").write_bytes(b"short")
    (out / "rain/train/.rain-train-000003.tar.0123.partial").write_bytes(b"left over")
    (out / "rain/train/index.parquet").unlink()
    build(photos, out, RECIPES, **OPTIONS)
    assert corpus_bytes(out) == before


@pytest.mark.parametrize(
    "changed",
    [{"seed": 4}, {"patches_per_image": 3}, {"images_per_shard": 4}, {"limit": 5}, {"keep_damaged": True}, {"holdout": 0.5}],
)
def test_different_content_is_refused(photos: Path, tmp_path: Path, changed: dict[str, object]) -> None:
    out = tmp_path / "corpus"
    build(photos, out, ["noise30"], **OPTIONS)
    before = corpus_bytes(out)
    with pytest.raises(ConflictError, match=f"{next(iter(changed))}: found .*, expected .*pass overwrite=True"):
        build(photos, out, ["noise30"], **(OPTIONS | changed))
    assert corpus_bytes(out) == before
    build(photos, out, ["noise30"], **(OPTIONS | changed), overwrite=True)
    build(photos, tmp_path / "fresh", ["noise30"], **(OPTIONS | changed))
    assert {k: v for k, v in corpus_bytes(out).items() if "/train/" in k} == {
        k: v for k, v in corpus_bytes(tmp_path / "fresh").items() if "/train/" in k
    }


def test_a_different_source_decoder_or_recipe_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "corpus"
    build(photos, out)
    changed = tmp_path / "noise30.yaml"
    changed.write_text("task: noise30\nsteps: [{gaussian_noise: {sigma: 31}}]\n")
    with pytest.raises(ConflictError, match=r"recipe\.steps"):
        build(photos, out, [str(changed)])
    with monkeypatch.context() as patch:
        patch.setattr("iptdata.builder.driver.decoder_versions", lambda: {"opencv": "0.1"})
        with pytest.raises(ConflictError, match=r"decoders\.opencv: found '.*', expected '0\.1'"):
            build(photos, out)
    save(photos / "n00" / "new.jpg", natural_image(200, 200))
    with pytest.raises(ConflictError, match=r"source\.images: found 12, expected 13"):
        build(photos, out)


def test_a_renamed_folder_is_the_same_source(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build(photos, out, ["noise30"], **OPTIONS)
    before = corpus_bytes(out)
    build(photos.rename(tmp_path / "renamed"), out, ["noise30"], **OPTIONS)
    assert corpus_bytes(out) == before


def test_a_split_from_another_source_is_added(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build(photos, out, ["noise30"])
    train = corpus_bytes(out / "noise30/train")
    totals = build("samples", out, ["noise30"], split="test")
    assert [total.split for total in totals] == ["test"]
    assert corpus_bytes(out / "noise30/train") == train


def test_one_build_at_a_time(tmp_path: Path) -> None:
    first, second = Storage(str(tmp_path)), Storage(str(tmp_path))
    with first.locked(), pytest.raises(StorageError, match="another process"), second.locked():
        pass
    with second.locked():
        pass


def test_a_second_build_is_refused_before_it_indexes(tmp_path: Path) -> None:
    """Its index would be written beside that of the first, which removes temporary files at its end."""
    source, out = tar({"n00/a.jpg": b"no image"}, tmp_path), Storage(str(tmp_path / "out"))
    out.make_folder()
    with out.locked(), pytest.raises(StorageError, match="another process is writing to"):
        build(source, out.root)
    assert not corpus_bytes(tmp_path / "out")


def test_partial_files_of_a_killed_build_are_removed(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "out")
    whole = corpus_bytes(tmp_path / "out")
    for folder in ("", "noise30/train", "sources"):
        (tmp_path / "out" / folder / ".rejects.parquet.0123456789ab.partial").write_bytes(b"PAR1")
    build(photos, tmp_path / "out")
    assert corpus_bytes(tmp_path / "out") == whole


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_killed_driver(many: Path, expected: dict[str, bytes], tmp_path: Path, seed: int) -> None:
    """SIGKILL at random times until the build finishes by itself."""
    out, delay = tmp_path / "killed", random.Random(seed)
    kills = 0
    while (process := start(many, out, "--workers", "0")).poll() is None:
        known = len(manifests(out))
        wait_for(lambda p=process, n=known: p.poll() is not None or len(manifests(out)) > n)
        time.sleep(delay.uniform(0, 0.25))
        if kills >= 6 or process.poll() is not None:
            assert process.wait(60) == 0
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills > 2
    assert corpus_bytes(out) == expected


def ray_workers(parent: int) -> Iterator[int]:
    """Worker processes of the Ray that `parent` started."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                names[int(folder.name)] = (folder / "cmdline").read_bytes()
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    for pid, name in names.items():
        ancestor = pid
        while ancestor not in (0, 1, parent):
            ancestor = parents.get(ancestor, 0)
        if ancestor == parent and name.startswith(b"ray::build_job"):
            yield pid


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_killed_worker(many: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """A killed worker does not stop the build."""
    out = tmp_path / "killed"
    process = start(many, out, "--workers", "2")
    wait_for(lambda: manifests(out))
    victims: list[int] = []
    wait_for(lambda: victims.extend(ray_workers(process.pid)) or victims)  # between two units a worker has another name
    os.kill(victims[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert corpus_bytes(out) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(("signal_number", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "2"), (signal.SIGINT, "0")])
def test_interrupt(many: Path, expected: dict[str, bytes], tmp_path: Path, signal_number: int, workers: str) -> None:
    """Ctrl-C and a scheduler's SIGTERM: one hint, exit status 130, no process left running; the build resumes later."""
    out = tmp_path / "out"
    process = start(many, out, "--workers", workers)
    wait_for(lambda: manifests(out))
    workers_before = list(ray_workers(process.pid))
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers_before), 20)
    assert not list(out.rglob("*.partial")) or workers != "0"
    assert start(many, out, "--workers", "0").wait(60) == 0
    assert corpus_bytes(out) == expected


def test_overwrite_resumes_after_an_interruption(photos: Path, tmp_path: Path) -> None:
    """Running the same command again, including --overwrite, keeps the shards it has already built."""
    out = Storage(str(tmp_path / "corpus"))
    build(photos, tmp_path / "corpus", ["noise30"], seed=1, images_per_shard=2)
    plan = plan_build(open_source(str(photos)), BuildOptions(**OPTIONS))  # pyright: ignore[reportArgumentType]

    def interrupted(_: UnitReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_missing(
            survey_corpus(plan, load_recipes(["noise30"]), out, overwrite=True),
            serial_map,
            RejectBudget(limit=NO_REJECTS),
            interrupted,
        )
    work = survey_corpus(plan, load_recipes(["noise30"]), out, overwrite=True)
    assert (len(work.missing), work.shards_done, work.stale) == (3, 1, [])
    build_missing(work, serial_map, RejectBudget(limit=NO_REJECTS), lambda _: None)
    build(photos, tmp_path / "fresh", ["noise30"], **OPTIONS)
    assert corpus_bytes(tmp_path / "corpus") == corpus_bytes(tmp_path / "fresh")


def test_a_transient_read_error_is_not_a_reject(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise StorageError("cannot read it: Input/output error") from OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("iptdata.source.folder.FolderSource.read", broken)
        with pytest.raises(BuildFailed, match=r"Input/output error\. Finished shards are kept"):
            build(photos, tmp_path / "out", ["noise30"], max_rejects="100%")
    assert not manifests(tmp_path / "out")
    assert build(photos, tmp_path / "out", ["noise30"])[0].pairs == 96


def test_a_worker_with_different_decoders_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.builder.driver.decoder_versions", lambda: {"opencv": "0.1"})
    with pytest.raises(BuildFailed, match="Install the same versions on every machine"):
        build(photos, tmp_path / "out", ["noise30"])
