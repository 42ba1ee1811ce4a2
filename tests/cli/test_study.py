"""`iptdata study` as a user meets it."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iptdata.cli import group
from iptdata.studies.study import load_study, shipped_studies
from tests.cli.refusal import assert_refused
from tests.conftest import start_iptdata
from tests.studies.conftest import Written, benchmarks, written  # noqa: F401


def iptdata(*arguments: object) -> str:
    environment = {"COLUMNS": "100", "NO_COLOR": "1"}
    result = CliRunner().invoke(group, list(map(str, arguments)), catch_exceptions=False, env=environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def small(written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path) -> list[object]:  # noqa: F811
    """The arguments of the small study."""
    return [written(), "--shards", training_corpus, "--benchmarks", benchmarks, "--out", tmp_path / "out"]


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_each_study_of_the_paper_on_the_sample_photos(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    shown = iptdata("study", name, "--smoke", "--out", tmp_path)
    table = (tmp_path / "table.md").read_text()
    heading, _, inputs, *rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == len({(cell.series, cell.x) for cell in study.cells}) + len(study.pretrain)
    names = {one: f"stand-in {number}" for number, one in enumerate(study.benchmarks, 1)}
    panels = {f"{task} {names[one]}" for cell in study.cells for task, measured in cell.measure.items() for one in measured}
    measured = [cell.strip() for row in rows for cell in row[-len(panels) :] if cell.strip()]
    assert len(measured) == sum(len(ones) for cell in study.cells for ones in cell.measure.values())
    assert all(5 < float(value.removeprefix("!")) < 60 for value in measured)
    assert study.question in table
    assert all(value in shown for value in measured)
    assert all(10 < float(value) < 60 for value in inputs[-len(panels) :])
    assert {cell.strip().rpartition(" (")[0] for cell in heading[-len(panels) :]} == panels
    figure = (tmp_path / "figure.svg").read_text()
    assert figure.startswith("<svg")
    assert study.question in figure
    assert all(panel in figure for panel in panels)
    for text in (shown, table, figure):
        assert "Smoke test, not a result of this study" in text
        assert not [one for one in study.benchmarks if one in text], "no benchmark was measured"


def test_stand_ins_in_json(small: list[object], tmp_path: Path) -> None:
    found = json.loads(iptdata("study", small[0], "--smoke", "--json", "--out", tmp_path / "smoke"))
    assert found["stand_ins"] is True
    assert "patches of the sample photos (stand-ins) in place of the benchmarks" in found["caution"]
    (column,) = found["columns"]
    assert (column["name"], column["channel"], column["images"]) == ("noise30 stand-in 1", "RGB", 2)
    assert "Kodak" not in json.dumps(found)
    assert [part["planned_steps"] for part in found["parts"]] == [3, 3, None, 2]
    for part in found["parts"]:
        for result in part["results"]:
            assert result["input_psnr"] == column["input_psnr"]
            assert result["worse_than_input"] is (result["psnr"] < result["input_psnr"])


def test_the_hours_it_needs(small: list[object], tmp_path: Path) -> None:
    shown = iptdata("study", *small, "--dry-run", "--set", "device=cpu")
    assert re.search(r"from-scratch-noise30 +3 +12 +[\d,.]+ +\S+ +\d\.\d s *\n", shown)
    assert re.search(r"\d\.\d s on this CPU, at batches of 8", shown)
    assert re.search(r"\d\.\d s on a GPU that reaches 100 TFLOP/s", shown)
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_measured(small: list[object], tmp_path: Path) -> None:
    image = tmp_path / "benchmarks" / "Kodak" / "2.png"
    image.write_bytes(b"torn")
    result = CliRunner().invoke(group, ["study", *map(str, small), "--length", "0.4"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "! fine-tuned-noise30: noise30 Kodak: 2.png: unreadable" in result.stderr
    assert "both: 1 step " in result.stderr
    image.unlink()
    iptdata("study", *small, "--length", "0.4")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_stopped(number: int, status: int, small: list[object], tmp_path: Path) -> None:
    process = start_iptdata("study", *small, "--length", "1e6", stderr=subprocess.PIPE)
    both = tmp_path / "out" / "parts" / "both"
    for _ in range(600):
        if (both / "metrics.jsonl").exists() and (both / "metrics.jsonl").stat().st_size:
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "both: stopped; run the same command again to continue" in said
    assert "both: not done" in (tmp_path / "out" / "table.md").read_text()
    assert list((both / "checkpoints").iterdir())


def test_what_is_missing(small: list[object]) -> None:
    def refused(*arguments: object) -> Result:
        return CliRunner().invoke(group, list(map(str, arguments)))

    assert_refused(refused("study", *small[:3]), "missing.*--benchmarks.*--smoke")
    assert_refused(refused("study", "fractions", "--smoke"), "found no study 'fractions', expected one of fraction")
    assert_refused(refused("study", "scratch", "--smoke", "--out", "s3://bucket/x"), "--out: s3://bucket/x is a URL")
