"""The same inputs give the same bytes: for any worker count, with recipes built together or one at a time."""

from pathlib import Path

import pytest

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.files.storage import Storage
from iptdata.parallel import RayPool
from iptdata.recipe import load_recipes
from iptdata.source import open_source
from tests.conftest import build, corpus_bytes

NO_REJECTS = RejectLimit(count=0)
OPTIONS = {"images_per_shard": 3, "patches_per_image": 5, "holdout": 0.3, "seed": 7}


def build_on_ray(source: Path | str, out: Path | str, recipes: list[str], workers: int) -> None:
    plan = plan_build(open_source(str(source)), BuildOptions(**OPTIONS))  # pyright: ignore[reportArgumentType]
    work = survey_corpus(plan, load_recipes(recipes), Storage(str(out)))
    with RayPool(workers=workers) as pool:
        build_missing(work, pool.map, RejectBudget(limit=NO_REJECTS), lambda _: None)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_count(photos: Path, tmp_path: Path, workers: int) -> None:
    recipes = ["noise30", "noise50"]
    build(photos, tmp_path / "here", recipes, **OPTIONS)
    build_on_ray(photos, tmp_path / "ray", recipes, workers)
    assert corpus_bytes(tmp_path / "here") == corpus_bytes(tmp_path / "ray")


def test_local_workers_ignore_a_running_ray(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `address` joins a cluster, not the RAY_ADDRESS of the environment."""
    monkeypatch.setenv("RAY_ADDRESS", "no cluster")
    build_on_ray(photos, tmp_path / "ray", ["noise30"], 1)
    build(photos, tmp_path / "here", ["noise30"], **OPTIONS)
    assert corpus_bytes(tmp_path / "here") == corpus_bytes(tmp_path / "ray")


def test_recipes_together_or_one_at_a_time(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "together", ["noise30", "noise50"], **OPTIONS)
    build(photos, tmp_path / "single", ["noise50"], **OPTIONS)
    build(photos, tmp_path / "single", ["noise30"], **OPTIONS)
    assert corpus_bytes(tmp_path / "together") == corpus_bytes(tmp_path / "single")


def test_a_different_seed_gives_different_bytes(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "a", seed=1)
    build(photos, tmp_path / "b", seed=2)
    stem = "noise30/train/noise30-train-000000.tar"
    assert (tmp_path / "a" / stem).read_bytes() != (tmp_path / "b" / stem).read_bytes()


def test_the_path_of_the_source_does_not_matter(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "a")
    moved = tmp_path / "elsewhere" / photos.name
    moved.parent.mkdir()
    photos.rename(moved)
    build(moved, tmp_path / "b")
    assert corpus_bytes(tmp_path / "a") == corpus_bytes(tmp_path / "b")
