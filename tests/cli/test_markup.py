"""Names of runs, studies and images in tables and bars are text, not markup."""

from types import SimpleNamespace
from typing import Any

import pytest

from iptdata.cli.json_output import print_json
from iptdata.cli.views.scores import print_markdown
from iptdata.cli.views.study import StudyProgress, print_report

NAMES = ["[/]", "[red]x[/red]", "[/nothing]", "a\nb", "\x1b[2J", "\u202egpj", "\x9b31m"]


@pytest.mark.parametrize("name", NAMES)
def test_a_study_of_any_name_is_shown(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.cli.views.study.table_of", lambda *_: [["series", "steps"], [name, "3"]])
    monkeypatch.setattr("iptdata.cli.views.study.notes_of", lambda *_: [name])
    monkeypatch.setattr("iptdata.cli.views.study.problems", lambda *_: [name])
    study = SimpleNamespace(name=name, question=name)
    plan: Any = SimpleNamespace(
        study=study, caution=name, parts=[], out=name, storage=SimpleNamespace(path=lambda file: f"{name}/{file}")
    )
    with StudyProgress(plan) as progress:
        run: Any = SimpleNamespace(root=f"runs/{name}", steps=3, step=0)
        progress.on_start(run)
    print_report(plan, {})
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).split("\n"))
    assert name.encode("unicode_escape").decode() in shown.out


@pytest.mark.parametrize("name", NAMES)
def test_names_in_markdown_and_json_do_not_reach_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iptdata.cli.views.scores._cells", lambda score: (name,) * 9)
    score: Any = SimpleNamespace(protocol=SimpleNamespace(caption=name, scale=1), execution=None, problems=())
    print_markdown([score])
    print_json({name: name})
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
