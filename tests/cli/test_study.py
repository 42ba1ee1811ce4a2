"""`iptdata study` as a user meets it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from iptdata.cli import group
from iptdata.errors import IptDataError
from iptdata.study.study import load_study, shipped_studies
from tests.study.conftest import Written, benchmarks, written  # noqa: F401


def iptdata(*arguments: object) -> str:
    environment = {"COLUMNS": "100", "NO_COLOR": "1"}
    result = CliRunner().invoke(group, list(map(str, arguments)), catch_exceptions=False, env=environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_each_study_of_the_paper_on_the_sample_photos(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    shown = iptdata("study", name, "--smoke", "--out", tmp_path)
    table = (tmp_path / "table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len({(cell.series, cell.x) for cell in study.cells}) + len(study.pretrain)
    panels = {f"{task} {one}" for cell in study.cells for task, names in cell.measure.items() for one in names}
    measured = [cell.strip() for row in rows for cell in row.split("|")[-1 - len(panels) : -1] if cell.strip()]
    assert len(measured) == sum(len(names) for cell in study.cells for names in cell.measure.values())
    assert all(5 < float(value) < 60 for value in measured)
    assert study.question in table
    assert all(value in shown for value in measured)
    figure = (tmp_path / "figure.svg").read_text()
    assert figure.startswith("<svg")
    assert study.question in figure
    assert all(panel in figure for panel in panels)


def test_the_hours_it_needs(written: Written, benchmarks: Path, training_corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    given = (
        "--shards",
        training_corpus,
        "--benchmarks",
        benchmarks,
        "--out",
        tmp_path / "out",
        "--dry-run",
        "--set",
        "device=cpu",
    )
    shown = iptdata("study", written(), *given)
    assert re.search(r"from-scratch-noise30 +3 +12 +[\d,.]+ +\S+ +\S+ *\n", shown)
    assert re.search(r"[\d.e-]+ (GPU hours|hours on this CPU)", shown)
    assert not (tmp_path / "out").exists()


def test_what_is_missing(written: Written, training_corpus: Path) -> None:  # noqa: F811
    with pytest.raises(IptDataError, match="a study needs --shards CORPUS and --benchmarks DIR; --smoke tries it"):
        iptdata("study", written(), "--shards", training_corpus)
    with pytest.raises(IptDataError, match="no study is called 'fractions'; there are: fraction"):
        iptdata("study", "fractions", "--smoke")
