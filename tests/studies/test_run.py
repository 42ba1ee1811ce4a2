"""Running a study: interrupted or not, in one process or several, and with failures."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from iptdata.errors import DiskFull, EvaluateError, StudyError, TrainFailed
from iptdata.files.storage import Storage
from iptdata.parallel import RayPool, serial_map
from iptdata.studies import execute, part
from iptdata.studies.check import estimate_trainings
from iptdata.studies.execute import run_parts, run_study
from iptdata.studies.part import run_part
from iptdata.studies.plan import Part, StudyPlan, plan_study
from iptdata.studies.report import problems
from iptdata.studies.results import PartResult
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


def found(results: dict[str, PartResult]) -> dict[str, float | None]:
    return {f"{name} {result.name}": result.psnr for name, one in results.items() for result in one.results}


class Countdown(Observer):
    """Requests a stop after a number of steps in all."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step(self, step: StepRecord) -> None:
        self.left -= 1

    def stop_requested(self) -> bool:
        return self.left <= 0


def test_each_part_once_then_a_table_and_a_figure(plan: StudyPlan, tmp_path: Path) -> None:
    seen: list[PartResult] = []
    results = run_study(plan, on_part=seen.append)
    assert [one.name for one in seen] == ["both", "from-scratch-noise30", "as-it-is-noise30", "fine-tuned-noise30"]
    steps = {name: one.training and (one.training.steps, one.training.patches) for name, one in results.items()}
    assert list(steps.values()) == [(3, 12), (3, 12), None, (2, 8)]
    values = found(results)
    assert len(values) == 3
    assert len(set(values.values())) == 3, "each cell is measured with its own weights"
    table = (tmp_path / "out" / "table.md").read_text()
    figure = (tmp_path / "out" / "figure.svg").read_text()
    assert "Is it worth it?" in table
    for value in values.values():
        assert f"{value:.2f}" in table
        assert f"{value:.2f}" in figure
    assert "| pre-training both | 3 |" in table

    def never(part: Part) -> PartResult:
        raise AssertionError(part.name)

    again = run_parts(plan, serial_map, never)
    assert again == results


def test_seconds_of_a_training_are_those_of_its_steps(plan: StudyPlan, tmp_path: Path) -> None:
    results = run_study(plan)
    for name in ("both", "fine-tuned-noise30"):
        lines = (tmp_path / "out" / "parts" / name / "metrics.jsonl").read_text().splitlines()
        training = results[name].training
        assert training is not None
        assert training.seconds == pytest.approx(sum(4 / json.loads(line)["patches_per_s"] for line in lines))


def test_a_full_disk_ends_the_study(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Storage.write

    def full(storage: Storage, name: str, data: bytes) -> None:
        if name == "results.json":
            raise DiskFull("the disk is full")
        write(storage, name, data)

    monkeypatch.setattr(Storage, "write", full)
    with pytest.raises(DiskFull):
        run_study(plan)


def test_measured_on_the_device_of_the_trainings(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    real = part.evaluate

    def evaluate(*inputs: Any, **options: Any) -> list:
        devices.append(options["device"])
        return real(*inputs, **options)

    monkeypatch.setattr(part, "evaluate", evaluate)
    run_study(plan)
    assert devices == ["cpu"] * 3


def test_an_interrupted_study_resumes_with_the_same_results(plan: StudyPlan, written: Written, tmp_path: Path) -> None:
    whole = found(run_study(plan))
    path, corpus = written(), Path(plan.options.shards[0])
    other = planned(path, tmp_path / "benchmarks", corpus, tmp_path / "other")
    calls = 0
    while True:
        counter = Countdown(2)
        results = run_study(other, observer=counter, stop_requested=counter.stop_requested)
        calls += 1
        if not any(one.stopped for one in results.values()):
            break
        assert "not done" in (tmp_path / "other" / "table.md").read_text()
    assert calls > 3
    assert found(results) == whole


def test_a_second_ctrl_c_still_writes_the_table(plan: StudyPlan, tmp_path: Path) -> None:
    def work(part: Part) -> PartResult:
        if "scratch" in part.name:
            raise KeyboardInterrupt
        return run_part(part)

    with pytest.raises(KeyboardInterrupt):
        run_parts(plan, serial_map, work)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| pre-training both | 3 |" in table
    assert "from-scratch-noise30: not done" in table


def test_nothing_starts_if_a_later_part_would_fail(plan: StudyPlan, benchmarks: Path) -> None:
    for image in (benchmarks / "Kodak").iterdir():
        image.unlink()
    with pytest.raises(EvaluateError, match="has no images for noise30"):
        run_study(plan)
    assert not Path(plan.out).exists()


def test_killed_after_the_training_before_trained_json(plan: StudyPlan, tmp_path: Path) -> None:
    whole = run_study(plan)
    for name in whole:
        (tmp_path / "out" / "parts" / name / "trained.json").unlink(missing_ok=True)
    again = run_study(plan)
    assert found(again) == found(whole)
    for name, one in again.items():
        before = whole[name].training
        assert one.training == before
        assert before is None or before.setting.startswith("CPU")


def test_parallel_parts(plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path) -> None:
    wanted = found(run_study(plan))
    other = planned(written(), benchmarks, training_corpus, tmp_path / "other")
    with RayPool(workers=2) as pool:
        results = run_parts(other, pool.map)
    assert not problems(other, results)
    assert found(results) == pytest.approx(wanted, abs=1e-3)
    assert min(abs(one - two) for one, two in itertools.combinations(wanted.values(), 2)) > 1e-2  # pyright: ignore[reportOperatorIssue]


def fail(monkeypatch: pytest.MonkeyPatch, name: str, problem: str) -> None:
    """Make the training of a name fail."""
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
        results = run_study(plan)
    assert problems(plan, results) == ["fine-tuned-noise30: 10 steps in a row gave an infinite gradient"]
    assert len(found(results)) == 2
    assert not problems(plan, run_study(plan))


def test_a_failed_pre_training_lists_the_parts_not_done(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "both", "CUDA out of memory")
    results = run_study(plan)
    assert problems(plan, results) == [
        "both: CUDA out of memory",
        "as-it-is-noise30: not done",
        "fine-tuned-noise30: not done",
    ]
    assert list(found(results)) == ["from-scratch-noise30 noise30 Kodak"]


def test_an_image_that_cannot_be_read_makes_the_mean_partial(plan: StudyPlan, benchmarks: Path, tmp_path: Path) -> None:
    (benchmarks / "Kodak" / "2.png").write_bytes(b"not an image")
    results = run_study(plan)
    assert len(problems(plan, results)) == 3
    assert "2.png" in problems(plan, results)[0]
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.count(" * |") == 4, "three networks and the input"
    assert "2 images *" in table
    assert "Partial (*): some images could not be measured" in table
    assert "Partial (*)" in (tmp_path / "out" / "figure.svg").read_text()
    (benchmarks / "Kodak" / "2.png").unlink()
    assert not problems(plan, run_study(plan)), "a partial mean is measured again"


def test_another_benchmark_is_measured_without_training_again(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path
) -> None:
    before = run_study(plan)
    save(benchmarks / "McMaster" / "0.png", natural_image(30, 30, 9))
    more = planned(written(measure={"noise30": ["Kodak", "McMaster"]}), benchmarks, training_corpus, tmp_path / "out")
    after = run_study(more)
    assert {name: one.training for name, one in after.items()} == {name: one.training for name, one in before.items()}
    assert {name: value for name, value in found(after).items() if "Kodak" in name} == found(before)
    assert len(found(after)) == 6


def test_other_options_in_the_same_folder_are_rejected(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path
) -> None:
    run_study(plan)
    other = planned(written(finetune={"lr": 1e-3, "steps": 4}), benchmarks, training_corpus, tmp_path / "out")
    with pytest.raises(StudyError, match=r"noise30 was trained with steps 2, expected 4\. Choose another out, or remove"):
        run_study(other)
    shutil.rmtree(tmp_path / "out" / "parts" / "fine-tuned-noise30")
    steps = {name: one.training and one.training.steps for name, one in run_study(other).items()}
    assert steps["fine-tuned-noise30"] == 4


def test_options_that_do_not_affect_results_may_change(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path
) -> None:
    before = run_study(plan)
    kept = json.loads((Path(plan.out) / "plan.json").read_text())
    for options in kept.values():
        options.pop("augment", None)  # as written by a release without this option
    (Path(plan.out) / "plan.json").write_text(json.dumps(kept))
    settings = {"device": "cpu", "accumulate": 2, "save_every": 5, "checkpoint_activations": True}
    again = plan_study(plan.study, out=plan.out, shards=(str(training_corpus),), benchmarks=str(benchmarks), settings=settings)
    assert run_study(again) == before


def test_results_depend_on_head_and_benchmark(
    plan: StudyPlan, written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path
) -> None:
    before = found(run_study(plan))
    cells = yaml.safe_load(written().read_text())["cells"]
    del cells[0]["head"]
    other = found(run_study(planned(written(cells=cells), benchmarks, training_corpus, tmp_path / "out")))
    changed = {name for name in before if before[name] != other[name]}
    assert changed == {"as-it-is-noise30 noise30 Kodak"}
    save(tmp_path / "elsewhere" / "Kodak" / "0.png", natural_image(30, 40, 5))
    moved = planned(written(cells=cells), tmp_path / "elsewhere", training_corpus, tmp_path / "out")
    third = found(run_study(moved))
    assert all(third[name] != other[name] for name in other)


def test_hours_are_patches_divided_by_the_measured_rate(plan: StudyPlan) -> None:
    estimates = estimate_trainings(plan)
    assert [one.part.name for one in estimates] == ["both", "fine-tuned-noise30", "from-scratch-noise30"]
    assert [one.patches for one in estimates] == [12, 8, 12]
    for one in estimates:
        assert one.hours == pytest.approx(one.patches / one.rate / 3600)
        assert 1 < one.rate < 1e6
    assert estimates[1].rate == estimates[2].rate, "one network, measured once"
    assert estimates[0].operations == pytest.approx(1.5 * estimates[1].operations)
    assert not (Path(plan.out) / "plan.json").exists()


def test_trainings_whose_steps_differ_are_measured_each(plan: StudyPlan) -> None:
    parts = []
    for one in plan.parts:
        again = one.name == "from-scratch-noise30"
        options = None if one.options is None else dataclasses.replace(one.options, checkpoint_activations=again)
        parts.append(dataclasses.replace(one, options=options))
    measured: list[str] = []
    estimate_trainings(dataclasses.replace(plan, parts=tuple(parts)), measured.append)
    assert measured == ["both", "fine-tuned-noise30", "from-scratch-noise30"]


def test_plan_json_holds_the_options(plan: StudyPlan, tmp_path: Path) -> None:
    run_study(plan)
    kept = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert kept["fine-tuned-noise30"]["from"] == "both"
    assert kept["fine-tuned-noise30"]["lr"] == 1e-3
    assert kept["as-it-is-noise30"] == {"from": "both"}


def test_a_study_of_an_earlier_release_is_neither_trained_nor_measured_again(
    plan: StudyPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """trained.json, results.json and setting.txt as they have been since the first release with studies."""
    before = found(run_study(plan))
    folder = tmp_path / "out" / "parts" / "fine-tuned-noise30"
    assert list(json.loads((folder / "trained.json").read_text())) == ["steps", "patches", "seconds", "setting"]
    assert (folder / "setting.txt").read_text().startswith("CPU")
    first = ["task", "benchmark", "path", "head", "checkpoint", "psnr", "problems"]
    for path in (tmp_path / "out").rglob("results.json"):
        (result,) = json.loads(path.read_text())
        assert list(result) == [*first, "input_psnr", "images", "protocol", "execution"]
        path.write_text(json.dumps([{name: result[name] for name in first}]))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(part, "evaluate", never)
        assert found(run_study(plan)) == before
    table = (tmp_path / "out" / "table.md").read_text()
    assert "noise30 Kodak: channel, images and input were not recorded" in table
    assert "| input |" not in table
    (folder / "trained.json").write_text('{"steps": 2, "patches": 8, "seconds": 4.5, "setting": "a GPU"}')
    (folder / "results.json").unlink()
    again = run_study(plan)["fine-tuned-noise30"]
    assert again.training is not None
    assert (again.training.seconds, again.training.setting) == (4.5, "a GPU")
    assert again.results[0].images == 2
    assert again.results[0].execution is not None
    table = (tmp_path / "out" / "table.md").read_text()
    assert "not comparable; remove results.json of its parts" in table, "tiles overlap by more than in the earlier release"
    for path in (tmp_path / "out").rglob("results.json"):
        path.unlink()
    assert found(run_study(plan)) == before
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| input |" in table
    assert "2 images; fp32, tiles with overlap 12" in table, "half of a tile of 24"


@pytest.mark.parametrize(("options", "expected"), [({}, None), ({"workers": 2}, 2), ({"workers": 1, "address": "auto"}, 1)])
def test_several_workers_or_an_address_run_on_ray(
    plan: StudyPlan, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: int | None
) -> None:
    pools: list[dict[str, Any]] = []

    class Pool:
        map = staticmethod(serial_map)

        def __init__(self, **arguments: Any) -> None:
            pools.append(arguments)

        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(execute, "RayPool", Pool)
    monkeypatch.setattr(execute, "run_parts", lambda plan, runner, work, on_part: {})
    run_study(dataclasses.replace(plan, options=dataclasses.replace(plan.options, **options)))
    wanted = {"workers": expected, "address": options.get("address"), "gpus": "address" in options}
    assert pools == ([] if expected is None else [wanted])
