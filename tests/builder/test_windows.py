"""Windows of blocks: what is read together, and how the classes of files sorted by class are mixed."""

import dataclasses
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from iptdata.builder.driver import survey_corpus
from iptdata.builder.options import BuildOptions, PlanOptions
from iptdata.builder.plan import BuildPlan, plan_build
from iptdata.files.storage import Storage
from iptdata.parallel import serial_map
from iptdata.recipe import load_recipes
from iptdata.source import Blocks, IndexCache, Listing, OnIndexed, Source, SourceImage
from iptdata.source.listing import make_table


class Listed(Source):
    """A source without files."""

    description = option = "listed"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        return self.listing

    def read(self, image: SourceImage) -> bytes:
        raise AssertionError


def listing(images: int, starts: np.ndarray | None, block_bytes: int = 1, per_class: int = 100) -> Listing:
    """Images sorted by class, in blocks."""
    labels = pa.array([f"{row // per_class:04d}" for row in range(images)])
    paths = pa.array([f"{row // per_class:04d}/{row}.jpg" for row in range(images)])
    table, _ = make_table(labels, paths, paths, np.arange(images), np.zeros(images))
    blocks = None if starts is None else Blocks(starts=starts, bytes=np.full(len(starts) - 1, block_bytes))
    return Listing(table=table, blocks=blocks)


def equal_blocks(images: int, block: int) -> np.ndarray:
    return np.append(np.arange(0, images, block), images)


def planned(found: Listing, **options: object) -> BuildPlan:
    return plan_build(Listed(found), PlanOptions(**{"images_per_shard": 32, **options}))  # pyright: ignore[reportArgumentType]


def windows(plan: BuildPlan) -> list[set[int]]:
    """The blocks of each window."""
    blocks = plan.listing.blocks
    assert blocks is not None
    found: dict[int, set[int]] = {}
    for unit in plan.units():
        read = np.searchsorted(blocks.starts, plan.rows_of(unit), side="right") - 1
        found.setdefault(unit.window, set()).update(read.tolist())
    return list(found.values())


@pytest.mark.parametrize("options", [{}, {"holdout": 0.3}, {"limit": 77}, {"holdout": 0.3, "limit": 77, "seed": 5}])
def test_blocks_of_one_image_give_the_plan_of_a_folder(options: dict[str, object]) -> None:
    folder = planned(listing(200, None), **options)
    blocks = planned(listing(200, np.arange(201), block_bytes=1 << 30), **options)
    assert np.array_equal(folder.order, blocks.order)
    assert folder.cuts == blocks.cuts


@pytest.mark.parametrize("holdout", [0.0, 0.2])
@pytest.mark.parametrize("block", [2, 10, 100, 1000])
def test_every_row_once_and_every_block_in_one_window(block: int, holdout: float) -> None:
    plan = planned(listing(1003, equal_blocks(1003, block)), holdout=holdout)
    assert sorted(plan.order.tolist()) == list(range(1003))
    found = windows(plan)
    assert sum(map(len, found)) == len(set().union(*found)) == -(-1003 // block)
    units = list(plan.units())
    assert [unit.start for unit in units[1:]] == [unit.stop for unit in units[:-1]]
    assert all(1 <= unit.images <= 32 for unit in units)
    numbers = [unit.window for unit in units]
    assert numbers == sorted(numbers)


def test_a_window_has_16_blocks_and_the_images_of_a_unit() -> None:
    assert {len(window) for window in windows(planned(listing(1600, equal_blocks(1600, 10))))} == {16}
    few = windows(planned(listing(1600, equal_blocks(1600, 10)), images_per_shard=400))
    assert [len(window) for window in few] == [40] * 4


def test_a_window_has_at_most_1_gib_unless_a_block_is_larger() -> None:
    quarter = windows(planned(listing(1600, equal_blocks(1600, 100), block_bytes=1 << 28)))
    assert {len(window) for window in quarter} == {4}
    assert {len(window) for window in windows(planned(listing(1600, equal_blocks(1600, 100), block_bytes=1 << 31)))} == {1}


def test_the_last_window_is_no_rest() -> None:
    """A rest of one block would give shards of one class."""
    assert [len(window) for window in windows(planned(listing(3300, equal_blocks(3300, 100))))] == [16, 8, 9]
    large = windows(planned(listing(1100, equal_blocks(1100, 100), block_bytes=1 << 27)))
    assert [len(window) for window in large] == [5, 6]
    starts, table = equal_blocks(1700, 100), listing(1700, None).table
    for large_block in range(17):
        held = np.full(17, 1 << 26)
        held[large_block] = 1 << 30
        plan = planned(Listing(table=table, blocks=Blocks(starts=starts, bytes=held)))
        assert all(held[list(window)].sum() <= 1 << 30 for window in windows(plan))


@pytest.mark.parametrize("block", [10, 100])
def test_shards_mix_the_blocks_of_their_window(block: int) -> None:
    """Files sorted by class: a shard has images of nearly as many classes as its window has."""
    plan = planned(listing(6400, equal_blocks(6400, block)), images_per_shard=64)
    labels = np.array(plan.listing.table["label"].to_pylist())
    assert all(len(set(labels[plan.rows_of(unit)])) > 8 for unit in plan.units())


def test_a_limit_reads_no_more_blocks_than_it_needs() -> None:
    plan = planned(listing(1600, equal_blocks(1600, 100)), limit=150)
    assert plan.images == 150
    assert [len(window) for window in windows(plan)] == [2]


def test_no_more_workers_than_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The units of a window are one job, so further workers would wait."""
    plan = planned(listing(1600, equal_blocks(1600, 20)))
    recipes, out = load_recipes(["noise30"]), Storage(str(tmp_path))
    survey = survey_corpus(plan, recipes, out)
    assert (survey.jobs, len(survey.missing)) == (5, 50)
    pool = mock.MagicMock()
    module = import_module("iptdata.builder.build")
    monkeypatch.setattr(module, "RayPool", pool)
    with module._job_map(survey, BuildOptions(workers=8)):
        pool.assert_called_once_with(workers=5, address=None)
    last = dataclasses.replace(survey, missing=survey.missing[-10:])
    assert last.jobs == 1
    with module._job_map(last, BuildOptions()) as job_map:
        assert job_map is serial_map


@pytest.mark.parametrize("change", [([0, 10, 20], [5, 7]), ([0, 11, 20], [5, 6]), ([0, 20], [11])])
def test_the_fingerprint_depends_on_the_blocks(change: tuple[list[int], list[int]]) -> None:
    table = listing(20, None).table
    found = {
        Listing(table=table, blocks=Blocks(starts=np.array(starts), bytes=np.array(held))).fingerprint()
        for starts, held in (([0, 10, 20], [5, 6]), change)
    }
    assert len(found) == 2
