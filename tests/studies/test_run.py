"""Working through a study: interrupted or not, in one process or several, with what goes wrong on the way."""

import itertools
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from iptdata.errors import DiskFull, EvaluateError, StudyError, TrainFailed
from iptdata.files.storage import Storage
from iptdata.parallel import RayPool, serial_map
from iptdata.studies import part
from iptdata.studies.execute import run_study
from iptdata.studies.hours import estimate
from iptdata.studies.part import PartOutcome, run_job
from iptdata.studies.plan import StudyPlan, plan_study
from iptdata.studies.report import problems
from iptdata.studies.study import load_study
from iptdata.training.events import Observer, StepRecord
from iptdata.training.result import RunResult
from tests.conftest import natural_image, save
from tests.studies.conftest import Written


@pytest.fixture
def plan(written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path) -> StudyPlan:
    return planned(written(), benchmarks, training_corpus, tmp_path / "out")


def planned(path: Path, benchmarks: Path, corpus: Path, out: Path) -> StudyPlan:
    study = load_study(str(path))
    return plan_study(study, out=str(out), shards=(str(corpus),), benchmarks=str(benchmarks), settings={"device": "cpu"})


def ignored(outcome: PartOutcome) -> None:
    pass


def found(outcomes: dict[str, PartOutcome]) -> dict[str, float | None]:
    return {f"{name} {result.name}": result.psnr for name, one in outcomes.items() for result in one.results}


class Countdown(Observer):
    """Wants to stop after so many steps in all."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step(self, step: StepRecord) -> None:
        self.left -= 1

    def stopping(self) -> bool:
        return self.left <= 0


def test_each_part_once_then_a_table_and_a_figure(plan: StudyPlan, tmp_path: Path) -> None:
    told: list[PartOutcome] = []
    outcomes = run_study(plan, serial_map, told.append)
    assert [one.name for one in told] == ["both", "from-scratch-noise30", "as-it-is-noise30", "fine-tuned-noise30"]
    steps = {name: one.trained and (one.trained.steps, one.trained.patches) for name, one in outcomes.items()}
    assert list(steps.values()) == [(3, 12), (3, 12), None, (2, 8)]
    values = found(outcomes)
    assert len(values) == 3
    assert len(set(values.values())) == 3, "each cell is measured with its own weights"
    table = (tmp_path / "out" / "table.md").read_text()
    figure = (tmp_path / "out" / "figure.svg").read_text()
    assert "Is it worth it?" in table
    for value in values.values():
        assert f"{value:.2f}" in table
        assert f"{value:.2f}" in figure
    assert "| pre-training both | 3 |" in table

    def never(job: part.PartJob) -> PartOutcome:
        raise AssertionError(job.name)

    again = run_study(plan, serial_map, ignored, never)
    assert again == outcomes


def test_what_a_training_took_is_what_its_steps_took(plan: StudyPlan, tmp_path: Path) -> None:
    outcomes = run_study(plan, serial_map, ignored)
    for name in ("both", "fine-tuned-noise30"):
        lines = (tmp_path / "out" / "parts" / name / "metrics.jsonl").read_text().splitlines()
        trained = outcomes[name].trained
        assert trained is not None
        assert trained.seconds == pytest.approx(sum(4 / json.loads(line)["patches_per_s"] for line in lines))


def test_a_disk_that_is_full_ends_the_study(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Storage.write

    def full(storage: Storage, name: str, data: bytes) -> None:
        if name == "results.json":
            raise DiskFull("the disk is full")
        write(storage, name, data)

    monkeypatch.setattr(Storage, "write", full)
    with pytest.raises(DiskFull):
        run_study(plan, serial_map, ignored)


def test_measured_on_the_device_of_the_trainings(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    real = part.plan_measurements

    def plan_measurements(*inputs: Any, **options: Any) -> list:
        devices.append(options["device"])
        return real(*inputs, **options)

    monkeypatch.setattr(part, "plan_measurements", plan_measurements)
    run_study(plan, serial_map, ignored)
    assert devices == ["cpu"] * 3


def test_an_interrupted_study_goes_on_as_if_it_had_not_been(plan: StudyPlan, written: Written, tmp_path: Path) -> None:
    whole = found(run_study(plan, serial_map, ignored))
    path, corpus = written(), Path(plan.part("both").options.shards[0])  # pyright: ignore[reportOptionalMemberAccess]
    other = planned(path, tmp_path / "benchmarks", corpus, tmp_path / "other")
    calls = 0
    while True:
        counter = Countdown(2)
        outcomes = run_study(other, serial_map, ignored, partial(run_job, observer=counter, stopping=counter.stopping))
        calls += 1
        if not any(one.stopped for one in outcomes.values()):
            break
        assert "not done" in (tmp_path / "other" / "table.md").read_text()
    assert calls > 3
    assert found(outcomes) == whole


def test_a_second_ctrl_c_leaves_a_table_as_well(plan: StudyPlan, tmp_path: Path) -> None:
    def work(job: part.PartJob) -> PartOutcome:
        if "scratch" in job.name:
            raise KeyboardInterrupt
        return run_job(job)

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, serial_map, ignored, work)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| pre-training both | 3 |" in table
    assert "from-scratch-noise30: not done" in table


def test_nothing_begins_where_something_would_go_wrong_later(plan: StudyPlan, benchmarks: Path) -> None:
    for image in (benchmarks / "Kodak").iterdir():
        image.unlink()
    with pytest.raises(EvaluateError, match="has no images for noise30"):
        run_study(plan, serial_map, ignored)
    assert not Path(plan.out).exists()


def test_killed_after_the_training_and_before_it_was_noted(plan: StudyPlan, tmp_path: Path) -> None:
    whole = run_study(plan, serial_map, ignored)
    for name in whole:
        (tmp_path / "out" / "parts" / name / "trained.json").unlink(missing_ok=True)
    again = run_study(plan, serial_map, ignored)
    assert found(again) == found(whole)
    for name, one in again.items():
        before = whole[name].trained
        assert one.trained == before
        assert before is None or before.setting.startswith("CPU")


def test_several_at_once(plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path) -> None:
    wanted = found(run_study(plan, serial_map, ignored))
    other = planned(written(), benchmarks, training_corpus, tmp_path / "other")
    with RayPool(workers=2) as pool:
        outcomes = run_study(other, pool.map, ignored)
    assert not problems(other, outcomes)
    assert found(outcomes) == pytest.approx(wanted, abs=1e-3)
    assert min(abs(one - two) for one, two in itertools.combinations(wanted.values(), 2)) > 1e-2  # pyright: ignore[reportOperatorIssue]


def fail(monkeypatch: pytest.MonkeyPatch, name: str, problem: str) -> None:
    """From now on the training of that name fails."""
    real = part.run_training

    def run_training(layers: list, out: str, *rest: object, **options: object) -> RunResult:
        if name in out:
            raise TrainFailed(problem)
        return real(layers, out, *rest, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(part, "run_training", run_training)


def test_a_training_that_fails_does_not_hide_the_others(
    plan: StudyPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "fine-tuned", "10 steps in a row gave an infinite gradient")
        outcomes = run_study(plan, serial_map, ignored)
    assert problems(plan, outcomes) == ["fine-tuned-noise30: 10 steps in a row gave an infinite gradient"]
    assert len(found(outcomes)) == 2
    assert not problems(plan, run_study(plan, serial_map, ignored))


def test_a_failed_pre_training_names_what_it_leaves_undone(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "both", "the memory of the GPU is full")
    outcomes = run_study(plan, serial_map, ignored)
    assert problems(plan, outcomes) == [
        "both: the memory of the GPU is full",
        "as-it-is-noise30: not done",
        "fine-tuned-noise30: not done",
    ]
    assert list(found(outcomes)) == ["from-scratch-noise30 noise30 Kodak"]


def test_an_image_that_cannot_be_read_makes_the_mean_partial(plan: StudyPlan, benchmarks: Path, tmp_path: Path) -> None:
    (benchmarks / "Kodak" / "2.png").write_bytes(b"no picture")
    outcomes = run_study(plan, serial_map, ignored)
    assert len(problems(plan, outcomes)) == 3
    assert "2.png" in problems(plan, outcomes)[0]
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.count(" * |") == 3
    assert "* partial" in table
    (benchmarks / "Kodak" / "2.png").unlink()
    assert not problems(plan, run_study(plan, serial_map, ignored)), "what was partial is measured again"


def test_another_benchmark_is_measured_without_training_again(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path
) -> None:
    before = run_study(plan, serial_map, ignored)
    save(benchmarks / "McMaster" / "0.png", natural_image(30, 30, 9))
    more = planned(written(measure={"noise30": ["Kodak", "McMaster"]}), benchmarks, training_corpus, tmp_path / "out")
    after = run_study(more, serial_map, ignored)
    assert {name: one.trained for name, one in after.items()} == {name: one.trained for name, one in before.items()}
    assert {name: value for name, value in found(after).items() if "Kodak" in name} == found(before)
    assert len(found(after)) == 6


def test_other_options_in_the_same_folder_are_refused(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path
) -> None:
    run_study(plan, serial_map, ignored)
    other = planned(written(finetune={"lr": 1e-3, "steps": 4}), benchmarks, training_corpus, tmp_path / "out")
    with pytest.raises(StudyError, match="noise30 was trained with steps 2, wanted is 4; choose another --out, or remove"):
        run_study(other, serial_map, ignored)
    shutil.rmtree(tmp_path / "out" / "parts" / "fine-tuned-noise30")
    steps = {name: one.trained and one.trained.steps for name, one in run_study(other, serial_map, ignored).items()}
    assert steps["fine-tuned-noise30"] == 4


def test_options_that_change_no_result_may_change(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path
) -> None:
    before = run_study(plan, serial_map, ignored)
    kept = json.loads((Path(plan.out) / "plan.json").read_text())
    for options in kept.values():
        options.pop("augment", None)  # as a release that did not know it left it
    (Path(plan.out) / "plan.json").write_text(json.dumps(kept))
    settings = {"device": "cpu", "accumulate": 2, "save_every": 5}
    again = plan_study(plan.study, out=plan.out, shards=(str(training_corpus),), benchmarks=str(benchmarks), settings=settings)
    assert run_study(again, serial_map, ignored) == before


def test_a_result_is_of_its_head_and_its_benchmark(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path
) -> None:
    before = found(run_study(plan, serial_map, ignored))
    cells = yaml.safe_load(written().read_text())["cells"]
    del cells[0]["head"]
    other = found(run_study(planned(written(cells=cells), benchmarks, training_corpus, tmp_path / "out"), serial_map, ignored))
    changed = {name for name in before if before[name] != other[name]}
    assert changed == {"as-it-is-noise30 noise30 Kodak"}
    save(tmp_path / "elsewhere" / "Kodak" / "0.png", natural_image(30, 40, 5))
    moved = planned(written(cells=cells), tmp_path / "elsewhere", training_corpus, tmp_path / "out")
    third = found(run_study(moved, serial_map, ignored))
    assert all(third[name] != other[name] for name in other)


def test_the_hours_are_patches_over_the_measured_rate(plan: StudyPlan) -> None:
    estimates = estimate(plan)
    assert [one.part.name for one in estimates] == ["both", "fine-tuned-noise30", "from-scratch-noise30"]
    assert [one.patches for one in estimates] == [12, 8, 12]
    for one in estimates:
        assert one.hours == pytest.approx(one.patches / one.rate / 3600)
        assert 1 < one.rate < 1e6
    assert estimates[1].rate == estimates[2].rate, "one network, measured once"
    assert estimates[0].operations == pytest.approx(1.5 * estimates[1].operations)
    assert not (Path(plan.out) / "plan.json").exists()


def test_the_plan_on_disk_is_what_was_asked_for(plan: StudyPlan, tmp_path: Path) -> None:
    run_study(plan, serial_map, ignored)
    kept = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert kept["fine-tuned-noise30"]["from"] == "both"
    assert kept["fine-tuned-noise30"]["lr"] == 1e-3
    assert kept["as-it-is-noise30"] == {"from": "both"}
