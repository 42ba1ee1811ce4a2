"""The table of a study: what each column measures, the input, and what is not comparable."""

from dataclasses import replace
from pathlib import Path

import pytest

from iptdata.evaluation.marks import ENLARGED_NOTE, WORSE_NOTE
from iptdata.studies.plan import StudyPlan
from iptdata.studies.report import markdown, notes_of, plain, table_of
from iptdata.studies.results import MeasureResult, PartResult
from iptdata.studies.study import load_study
from tests.studies.fabricated import EXECUTION, planned_study, results_of, trained

Results = dict[str, PartResult]


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    return planned(tmp_path, "contrastive")


def planned(tmp_path: Path, name: str) -> StudyPlan:
    """A study whose trainings have three steps."""
    found = planned_study(load_study(name), tmp_path)
    vars(found)["planned_steps"] = {part.name: 3 for part in found.parts if part.options is not None}
    return found


def changed(results: Results, name: str, **changes: object) -> Results:
    """The results with changes to all measures of a part."""
    one = results[name]
    measures: list[MeasureResult] = [replace(measure, **changes) for measure in one.results]  # pyright: ignore
    return results | {name: replace(one, results=measures)}


def test_the_input_comes_first_and_what_is_worse_is_marked(plan: StudyPlan) -> None:
    results = results_of(plan, lambda part, name: 24.99 if part.name.startswith("0.1") else 25.0)
    heading, inputs, *rows = table_of(plan, results)
    assert heading == ["weight of the contrastive loss", "steps", "time", "sr2 Set5 (Y)", "noise50 CBSD68 (RGB)"]
    assert inputs == ["input", "", "", "25.00", "25.00"]
    assert [row[-1] for row in rows] == ["25.00", "25.00", "!24.99", "25.00", "25.00"]
    assert rows[0][:3] == ["0", "3", "1.5 s"]
    notes = notes_of(plan, results)
    assert "sr2 Set5: luma (Y), 2-pixel border excluded, 5 images; fp32, tiles with overlap 24" in notes
    assert "noise50 CBSD68: RGB, noise rounded and clipped, 5 images; fp32, tiles with overlap 24" in notes
    assert WORSE_NOTE in notes
    assert WORSE_NOTE not in notes_of(plan, results_of(plan, lambda part, name: 25.0))


@pytest.mark.parametrize(("name", "is_enlarged"), [("unseen-noise", False), ("multi-task", True)])
def test_the_row_of_the_input(tmp_path: Path, name: str, is_enlarged: bool) -> None:
    plan = planned(tmp_path, name)
    results = results_of(plan, lambda part, name: 30.0)
    assert table_of(plan, results)[1][0] == "input"
    assert (ENLARGED_NOTE in notes_of(plan, results)) is is_enlarged
    assert len(table_of(plan, {})) == len(table_of(plan, results)) - 1, "no result yet"


def test_a_column_of_different_images_is_not_compared(plan: StudyPlan) -> None:
    results = results_of(plan, lambda part, name: 30.0)
    narrow = replace(EXECUTION, overlap=10)
    unknown = {"images": None, "input_psnr": None, "protocol": None, "execution": None}
    for changes in ({"images": 6}, {"input_psnr": 25.1}, {"execution": narrow}, {"execution": None}, unknown):
        mixed = changed(results, plan.parts[1].name, **changes)
        _, *rows = table_of(plan, mixed)
        assert len(rows) == len(plan.parts), "no row of inputs"
        assert "sr2 Set5: measured on different images or in different ways, not comparable" in markdown(plan, mixed)
        assert all(column["is_mixed"] for column in plain(plan, mixed)["columns"])
    partial = changed(results, plan.parts[1].name, images=4, input_psnr=24.0, problems=["2.png: unreadable"])
    _, inputs, _, row, *_ = table_of(plan, partial)
    assert (inputs[-1], row[-1]) == ("25.00", "30.00 *")
    assert "not comparable" not in markdown(plan, partial), "the mark says it"
    recorded = results
    for part in plan.parts:
        recorded = changed(recorded, part.name, execution=None)
    earlier = changed(recorded, plan.parts[1].name, **unknown)
    assert table_of(plan, recorded) == table_of(plan, earlier) == table_of(plan, results)
    assert "tiles" not in markdown(plan, recorded)


def test_networks_that_were_run_in_several_ways(plan: StudyPlan) -> None:
    """Another precision or size of tiles changes next to nothing; the notes have it."""
    results = results_of(plan, lambda part, name: 30.0)
    changes = {"precision": "fp16", "device": "a GPU"}, {"tile_size": 192}, {"tile_size": 24, "overlap": 12}
    for part, change in zip(plan.parts, changes, strict=False):
        results = changed(results, part.name, execution=replace(EXECUTION, **change))
    (ways,) = {tuple(column["ways"]) for column in plain(plan, results)["columns"]}
    assert ways == ("fp16, tiles with overlap 24", "fp32, tiles with overlap 24", "fp32, tiles with overlap 12")
    assert f"5 images; {'; '.join(ways)}" in markdown(plan, results)
    assert "not comparable" not in markdown(plan, results)


def test_fewer_steps_than_planned_are_seen(tmp_path: Path) -> None:
    plan = planned(tmp_path, "scratch")
    results = results_of(plan, lambda part, name: 30.0)

    def row(results: Results, name: str) -> list[str]:
        return next(cells for cells in table_of(plan, results) if cells[0] == name)

    assert row(results, "from scratch")[1:3] == ["9", "4.5 s"], "three trainings, on one task each"
    missing = {name: one for name, one in results.items() if name != "from-scratch-rain"}
    assert row(missing, "from scratch")[1:3] == ["6 of 9", "3.0 s"]
    part = next(part for part in plan.parts if part.name == "from-scratch-rain")
    short = results | {part.name: replace(results[part.name], training=trained(part, 2, 1.0))}
    assert row(short, "from scratch")[1] == "8 of 9"
    assert "from-scratch-rain: trained for 2 steps, the study now plans 3" in notes_of(plan, short)
    assert not [note for note in notes_of(plan, results) if "now plans" in note]
