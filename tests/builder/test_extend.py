"""More images for a corpus: what it has is kept, only what is new is built, and pairs are those of a build of all images."""

import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iptdata.builder
from iptdata.builder import BuildObserver
from iptdata.builder.unit import UnitReport
from iptdata.errors import BuildFailed, ConflictError, IptDataError, ShardError, StorageError
from iptdata.rng import hash64
from iptdata.shards.find import find_groups, find_shards
from iptdata.shards.verify import verify_shards
from iptdata.source import Blocks, FolderSource, IndexCache, Listing, OnIndexed
from tests.cli.test_commands import fails
from tests.cli.test_commands import iptdata as run_iptdata
from tests.conftest import build, corpus_bytes, natural_image, save, start_iptdata
from tests.shards.edit import set_field
from tests.source.every_form import Images, folder, tar

OPTIONS = {"images_per_shard": 3, "patches_per_image": 4, "holdout": 0.3, "seed": 5}
RECIPES = ["noise30", "sr2"]
Pair = tuple[bytes, bytes]


@pytest.fixture
def corpus(photos: Path, tmp_path: Path) -> Path:
    """A corpus of the 12 photos."""
    build(photos, tmp_path / "corpus", RECIPES, **OPTIONS)
    return tmp_path / "corpus"


def grow(photos: Path, first: int = 12, count: int = 8) -> None:
    for number in range(first, first + count):
        save(photos / f"n0{number % 3}" / f"image_{number}.jpg", natural_image(200 + number, 220 - number, number))


def extend(source: Path, out: Path, **options: object) -> list[iptdata.builder.SplitTotals]:
    return build(source, out, **({"recipes": RECIPES} | OPTIONS | options), extend=True)  # pyright: ignore[reportArgumentType]


def pairs(out: Path) -> dict[tuple[str, ...], Pair]:
    """The pixels of each pair by recipe, split and key."""
    found = {}
    for group in find_groups([str(out)]):
        for shard in group.shards:
            for key, clean, corrupted in zip(shard.rows()["key"].to_pylist(), shard.clean, shard.corrupted, strict=True):
                name = (group.task, group.split, key)
                assert name not in found
                found[name] = clean.tobytes(), corrupted.tobytes()
    return found


def sources(out: Path) -> list[str]:
    """The keys of the images in `noise30`."""
    return sorted({key for shard in find_shards(str(out / "noise30")) for key in shard.rows()["source"].to_pylist()})


def shards(out: Path) -> dict[str, bytes]:
    """Tars and manifests."""
    return {name: data for name, data in corpus_bytes(out).items() if "-0" in name}


def test_pairs_are_those_of_a_build_of_all_images(photos: Path, corpus: Path, tmp_path: Path) -> None:
    before = shards(corpus)
    grow(photos)
    totals = extend(photos, corpus)
    after = shards(corpus)
    assert {name: after[name] for name in before} == before
    build(photos, tmp_path / "whole", RECIPES, **OPTIONS)
    assert pairs(corpus) == pairs(tmp_path / "whole")
    assert sum(total.images for total in totals if total.task == "sr2") == 20
    for total in totals:
        numbers = [generation.number for generation in total.generations]
        assert numbers == [0, 1]
        assert total.generations[1].first == total.generations[0].shards
    content = json.loads((corpus / "corpus.json").read_text())["splits"][0]["generations"]
    assert [entry["source_images"] for entry in content] == [12, 8]
    assert all((corpus / "sources" / f"{entry['fingerprint']}.parquet").exists() for entry in content)
    assert str(tmp_path) not in str(corpus_bytes(corpus))


def test_shards_have_numbers_that_continue_and_their_generation(photos: Path, corpus: Path) -> None:
    earlier = len(find_shards(str(corpus / "sr2/train")))
    grow(photos)
    extend(photos, corpus)
    infos = [shard.info for shard in find_shards(str(corpus / "sr2/train"))]
    assert [info.number for info in infos] == list(range(len(infos)))
    assert [(info.generation, info.schema, info.unit) for info in infos] == [
        *((0, 1, unit) for unit in range(earlier)),
        *((1, 2, unit) for unit in range(len(infos) - earlier)),
    ]
    assert infos[-1].identity["source"]["images"] == 8


def test_a_second_extension_comes_from_another_folder(photos: Path, corpus: Path, tmp_path: Path) -> None:
    grow(photos)
    extend(photos, corpus)
    shutil.copytree(photos, tmp_path / "more")
    grow(tmp_path / "more", 20, 5)
    shutil.rmtree(photos)
    extend(tmp_path / "more", corpus)
    build(tmp_path / "more", tmp_path / "whole", RECIPES, **OPTIONS)
    assert pairs(corpus) == pairs(tmp_path / "whole")
    before = corpus_bytes(corpus)
    extend(tmp_path / "more", corpus)
    assert corpus_bytes(corpus) == before


def test_nothing_to_add(photos: Path, corpus: Path, tmp_path: Path) -> None:
    before = corpus_bytes(corpus)
    extend(photos, corpus)
    shutil.copytree(photos / "n01", tmp_path / "part" / "n01")
    extend(tmp_path / "part", corpus)
    assert corpus_bytes(corpus) == before
    flags = ("--images-per-shard", 3, "--patches-per-image", 4, "--holdout", 0.3, "--seed", 5, "--extend")
    result = run_iptdata("build", "--recipe", "noise30,sr2", "--source", photos, "--out", corpus, *flags)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith(
        "folder photos: 12 images; seed 5\n12 images of the source are in the corpus already; nothing to add\n"
    )


class Stop(BuildObserver):
    """Interrupts a build after a number of units."""

    def __init__(self, units: int) -> None:
        self.left = units

    def on_report(self, report: UnitReport) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture
def extended(photos: Path, corpus: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of the corpus extended without an interruption; the photos are the grown ones."""
    grow(photos)
    shutil.copytree(corpus, tmp_path / "expected")
    extend(photos, tmp_path / "expected")
    return corpus_bytes(tmp_path / "expected")


def test_an_interrupted_extension_is_resumed(photos: Path, corpus: Path, extended: dict[str, bytes]) -> None:
    with pytest.raises(KeyboardInterrupt):
        extend(photos, corpus, observer=Stop(2))
    assert 0 < len(shards(corpus)) < len([name for name in extended if "-0" in name])
    extend(photos, corpus)
    assert corpus_bytes(corpus) == extended


def test_a_killed_extension_is_resumed(photos: Path, corpus: Path, extended: dict[str, bytes]) -> None:
    flags = ("--images-per-shard", 3, "--patches-per-image", 4, "--holdout", 0.3, "--seed", 5, "--extend", "--workers", 0)
    call = ("build", "--recipe", "noise30,sr2", "--source", photos, "--out", corpus, *flags)
    before, end = len(shards(corpus)), time.monotonic() + 120
    process = start_iptdata(*call, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(shards(corpus)) == before and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert run_iptdata(*call).returncode == 0
    assert corpus_bytes(corpus) == extended


def test_worker_count(photos: Path, corpus: Path, extended: dict[str, bytes]) -> None:
    iptdata.builder.build(photos, corpus, RECIPES, workers=2, extend=True, **OPTIONS)
    assert corpus_bytes(corpus) == extended


def test_a_source_that_grew_again_finishes_the_generation_that_was_begun_first(photos: Path, corpus: Path) -> None:
    grow(photos)
    with pytest.raises(KeyboardInterrupt):
        extend(photos, corpus, observer=Stop(1))
    before = corpus_bytes(corpus)
    grow(photos, 20, 1)
    with pytest.raises(
        ConflictError, match=r"generation 1 of noise30/.* shards\. Finish it first: run the extension with the 8 im"
    ):
        extend(photos, corpus)
    assert corpus_bytes(corpus) == before


def test_the_limit_of_a_generation_that_is_not_finished_is_named(photos: Path, corpus: Path) -> None:
    grow(photos)
    with pytest.raises(KeyboardInterrupt):
        extend(photos, corpus, observer=Stop(1), limit=6)
    with pytest.raises(ConflictError, match=r"with the 8 images of this generation again with limit=6\.$"):
        extend(photos, corpus)


def test_a_first_build_that_is_not_finished(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        build(photos, out, RECIPES, observer=Stop(2), **OPTIONS)
    grow(photos)
    with pytest.raises(
        ConflictError, match=r"generation 0 of noise30/train .* 2 of \d shards.*the first build again without exte"
    ):
        extend(photos, out)


def test_a_first_build_that_lost_a_tar(photos: Path, corpus: Path) -> None:
    (corpus / "sr2/train/sr2-train-000001.tar").unlink()
    grow(photos)
    with pytest.raises(ConflictError, match=r"generation 0 of sr2/train in .* shards\. Finish it first"):
        extend(photos, corpus)


def test_generations_that_do_not_follow_each_other_are_refused(photos: Path, corpus: Path) -> None:
    grow(photos)
    extend(photos, corpus)
    grow(photos, 20, 6)
    extend(photos, corpus)
    infos = {path: find_shards(str(path.with_suffix(".tar")))[0].info for path in corpus.rglob("*-0*.parquet")}
    (path,) = [path for path, info in infos.items() if "sr2-train" in path.name and (info.generation, info.unit) == (2, 0)]
    set_field(path, "unit", 1)
    grow(photos, 26, 1)
    with pytest.raises(ShardError, match="has unit 1 of generation 2, which has another number"):
        extend(photos, corpus)
    set_field(path, "unit", 0)
    for path, info in infos.items():
        if info.generation == 1:
            path.unlink()
    with pytest.raises(ShardError, match="is of generation 2, but there is no shard of generation 1"):
        extend(photos, corpus)


def test_without_extend_a_source_that_grew_is_refused(photos: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "first")
    grow(photos)
    for _ in range(2):
        before = corpus_bytes(corpus)
        with pytest.raises(ConflictError, match=r"source\.images: found 12, expected 20.*pass extend=True to add them"):
            build(photos, corpus, RECIPES, **OPTIONS)
        build(tmp_path / "first", corpus, RECIPES, **OPTIONS)
        assert corpus_bytes(corpus) == before
        extend(photos, corpus)


@pytest.mark.parametrize("changed", [{"seed": 6}, {"patches_per_image": 3}, {"images_per_shard": 4}, {"max_pixels": 10**6}])
def test_other_options_are_refused(photos: Path, corpus: Path, changed: dict[str, object]) -> None:
    grow(photos)
    before = corpus_bytes(corpus)
    with pytest.raises(
        ConflictError, match=rf"{next(iter(changed))}: found .*, expected .*options and recipes of its first build"
    ):
        extend(photos, corpus, **changed)
    with pytest.raises(ConflictError, match="has no shard of rain to extend"):
        extend(photos, corpus, recipes=["rain"])
    with pytest.raises(IptDataError, match=r"^extend: found True together with overwrite"):
        extend(photos, corpus, overwrite=True)
    assert corpus_bytes(corpus) == before


@pytest.mark.parametrize("form", [folder, tar])
def test_there_must_be_a_corpus(tmp_path: Path, form: Callable[[Images, Path], Path]) -> None:
    source = form({"n00/a.jpg": b""}, tmp_path)
    with pytest.raises(ConflictError, match=r"nowhere does not exist, expected a corpus to extend\. Check out"):
        extend(source, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_taken_name_is_qualified(photos: Path, corpus: Path, tmp_path: Path) -> None:
    """A changed image, a further one in a deeper folder, and one of another source."""
    before = sources(corpus)
    assert "n00/image_0.jpg" in before
    save(photos / "n00" / "image_0.jpg", natural_image(180, 180, 50))
    save(photos / "deep" / "n01" / "image_1.jpg", natural_image(180, 180, 51))
    extend(photos, corpus)
    first = ["n00/image_0.jpg@n00", "n01/image_1.jpg@deep/n01"]
    assert sources(corpus) == sorted([*before, *first])
    save(tmp_path / "other" / "n00" / "image_0.jpg", natural_image(170, 170, 52))
    save(tmp_path / "other" / "n00" / "image_50.jpg", natural_image(170, 170, 53))
    extend(tmp_path / "other", corpus)
    second = ["n00/image_0.jpg@n00@", "n00/image_50.jpg"]
    assert sources(corpus) == sorted([*before, *first, *second])
    files = corpus_bytes(corpus)
    extend(tmp_path / "other", corpus)
    extend(photos, corpus)
    assert corpus_bytes(corpus) == files


def test_of_two_copies_the_one_that_is_new_is_added(photos: Path, corpus: Path) -> None:
    shutil.copytree(photos / "n00", photos / "copy" / "n00")
    extend(photos, corpus)
    found = sources(corpus)
    assert len(found) == 16
    assert len([key for key in found if key.startswith("n00/") and "@" in key]) == 4
    before = corpus_bytes(corpus)
    extend(photos, corpus)
    assert corpus_bytes(corpus) == before


def test_a_limited_corpus_is_extended_with_the_images_that_it_did_not_use(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "corpus", RECIPES, **OPTIONS, limit=4)
    assert len(sources(tmp_path / "corpus")) == 4
    extend(photos, tmp_path / "corpus", limit=5)
    assert len(sources(tmp_path / "corpus")) == 9
    before = corpus_bytes(tmp_path / "corpus")
    extend(photos, tmp_path / "corpus", limit=5)
    assert corpus_bytes(tmp_path / "corpus") == before
    assert "9 images of the source are in the corpus already; nothing to add, without the 3 images" in dry_run(
        photos, tmp_path / "corpus", "--limit", 5
    )
    assert "in the corpus already; generation 2 has 1 of the 3 images that are not" in dry_run(
        photos, tmp_path / "corpus", "--limit", 1
    )
    extend(photos, tmp_path / "corpus")
    build(photos, tmp_path / "whole", RECIPES, **OPTIONS)
    assert pairs(tmp_path / "corpus") == pairs(tmp_path / "whole")


def test_a_recipe_is_added_to_every_generation(photos: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "first")
    grow(photos)
    extend(photos, corpus)
    build(tmp_path / "first", corpus, ["rain"], **OPTIONS)
    shutil.copytree(photos, tmp_path / "more")
    grow(tmp_path / "more", 20, 2)
    with pytest.raises(ConflictError, match="generation 1 of rain/train"):
        extend(tmp_path / "more", corpus, recipes=[*RECIPES, "rain"])
    extend(photos, corpus, recipes=["rain"])
    extend(tmp_path / "more", corpus, recipes=[*RECIPES, "rain"])
    build(tmp_path / "more", tmp_path / "whole", [*RECIPES, "rain"], **OPTIONS)
    assert pairs(corpus) == pairs(tmp_path / "whole")


def test_recipes_of_other_sources_are_extended_one_at_a_time(photos: Path, corpus: Path) -> None:
    build("samples", corpus, ["rain"], **OPTIONS)
    grow(photos)
    with pytest.raises(ConflictError, match="Extend the recipes one at a time"):
        extend(photos, corpus, recipes=["noise30", "rain"])
    extend(photos, corpus, recipes=["rain"])
    assert len(list((corpus / "sources").iterdir())) == 3


def test_overwriting_the_first_build_removes_the_extensions(photos: Path, corpus: Path, tmp_path: Path) -> None:
    grow(photos)
    extend(photos, corpus)
    for source in (photos, photos / "n00"):  # whose shards have, and do not have, the numbers of the extension
        build(source, corpus, RECIPES, **OPTIONS, overwrite=True)
        build(source, tmp_path / "fresh" / source.name, RECIPES, **OPTIONS)
        assert corpus_bytes(corpus) == corpus_bytes(tmp_path / "fresh" / source.name)
        grow(photos, 20, 5)
        extend(photos, corpus)


def test_overwriting_removes_the_extensions_of_every_split(photos: Path, tmp_path: Path) -> None:
    """Also of one that the first build has no shard of."""
    shutil.copytree(photos, tmp_path / "first")
    grow(photos)
    names = {path.name: hash64("holdout", f"{path.parent.name}/{path.name}") / 2**64 for path in photos.rglob("*.jpg")}
    first = min(names[path.name] for path in (tmp_path / "first").rglob("*.jpg"))
    grown = min(names.values())
    assert grown < first
    options: dict[str, Any] = OPTIONS | {"holdout": (grown + first) / 2}
    build(tmp_path / "first", tmp_path / "corpus", **options)
    build(photos, tmp_path / "corpus", extend=True, **options)
    assert len(find_shards(str(tmp_path / "corpus/noise30/val"))) == 1
    for out in ("corpus", "fresh"):
        build(tmp_path / "first/n00", tmp_path / out, overwrite=True, **options)
    assert shards(tmp_path / "corpus") == shards(tmp_path / "fresh")


@pytest.mark.parametrize("removed", [1, 3, 4])
def test_overwriting_that_is_killed_leaves_no_file_of_a_shard(
    photos: Path, corpus: Path, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the shards that replace those that it began to remove have other numbers."""
    remove, left = os.unlink, removed

    def killed(path: str) -> None:
        nonlocal left
        if "-0" in path:
            if not left:
                raise KeyboardInterrupt
            left -= 1
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            build(photos / "n00", corpus, RECIPES, **OPTIONS, overwrite=True)
    build(photos / "n00", corpus, RECIPES, **OPTIONS, overwrite=True)
    build(photos / "n00", corpus.with_name("fresh"), RECIPES, **OPTIONS)
    assert shards(corpus) == shards(corpus.with_name("fresh"))


def test_a_corpus_of_an_earlier_version_gets_the_list_by_building_it_again(photos: Path, corpus: Path, tmp_path: Path) -> None:
    whole = corpus_bytes(corpus)
    shutil.rmtree(corpus / "sources")
    shutil.copytree(photos, tmp_path / "first")
    grow(photos)
    with pytest.raises(ConflictError, match=r"no list of the images of its generation 0 .* without extend; it adds the list"):
        extend(photos, corpus)
    build(tmp_path / "first", corpus, RECIPES, **OPTIONS)
    assert corpus_bytes(corpus) == whole
    extend(photos, corpus)


def test_a_damaged_list_is_refused(photos: Path, corpus: Path) -> None:
    (path,) = (corpus / "sources").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    grow(photos)
    with pytest.raises(ShardError, match=r"sources/.* is damaged: .*run the build of its source again without extend"):
        extend(photos, corpus)


def test_a_dry_run_plans_the_extension_and_writes_nothing(photos: Path, corpus: Path) -> None:
    grow(photos)
    before = corpus_bytes(corpus)
    found = iptdata.builder.estimate(photos, corpus, RECIPES, workers=0, extend=True, **OPTIONS)
    assert (found.images, [recipe.pairs for recipe in found.recipes]) == (8, [32, 32])
    known, new = "12 images of the source are in the corpus already", "generation 1 has the 8 images that are not"
    assert re.search(rf"^folder photos: 20 images; seed 5 {known}; {new}: \d train, \d val$", dry_run(photos, corpus))
    assert corpus_bytes(corpus) == before


def dry_run(source: Path, out: Path, *more: object) -> str:
    """What the dry run of an extension prints on standard error, on one line."""
    flags = ("--images-per-shard", 3, "--patches-per-image", 4, "--holdout", 0.3, "--seed", 5, "--extend", "--dry-run")
    result = run_iptdata("build", "--recipe", "noise30,sr2", "--source", source, "--out", out, *flags, *more)
    assert result.returncode == 0, result.stderr
    return " ".join(result.stderr.split())


def test_extended_corpora_are_one_group_and_verified(photos: Path, corpus: Path) -> None:
    grow(photos)
    extend(photos, corpus)
    groups = find_groups([str(corpus)])
    assert [group.title for group in groups] == ["noise30/train", "noise30/val", "sr2/train", "sr2/val"]
    assert not any(group.problems for group in verify_shards(groups, lambda _: None))
    text = run_iptdata("inspect", corpus, "--check").stdout
    assert "2 generations of" in text


def test_unreadable_images_of_an_extension_are_tried_again(
    photos: Path, corpus: Path, extended: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise StorageError("cannot read it: Input/output error") from OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("iptdata.source.folder.FolderSource.read", broken)
        with pytest.raises(BuildFailed, match="run the same command again"):
            extend(photos, corpus)
    extend(photos, corpus)
    assert corpus_bytes(corpus) == extended


class Blocked(FolderSource):
    """A folder that is read in blocks of three images."""

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        found = super().list(cache, on_indexed)
        starts = np.append(np.arange(0, len(found), 3), len(found))
        return dataclasses.replace(found, blocks=Blocks(starts=starts, bytes=np.full(len(starts) - 1, 1 << 20)))


def test_sources_that_are_read_in_blocks(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("iptdata.builder.build"), "open_source", lambda text, _: Blocked(text))
    build(photos, tmp_path / "corpus", RECIPES, **OPTIONS)
    grow(photos)
    with pytest.raises(KeyboardInterrupt):
        extend(photos, tmp_path / "corpus", observer=Stop(1))
    extend(photos, tmp_path / "corpus")
    grow(photos, 20, 3)
    extend(photos, tmp_path / "corpus")
    build(photos, tmp_path / "whole", RECIPES, **OPTIONS)
    assert pairs(tmp_path / "corpus") == pairs(tmp_path / "whole")


def test_the_command_says_what_is_wrong_in_its_own_words(photos: Path, corpus: Path) -> None:
    grow(photos)
    flags = ("--recipe", "noise30,sr2", "--images-per-shard", 3, "--patches-per-image", 4, "--holdout", 0.3, "--seed", 5)
    assert "pass --extend to add them" in fails("build", *flags, "--source", photos, "--out", corpus)
