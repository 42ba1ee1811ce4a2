"""Progress while a source is indexed."""

from collections.abc import Iterator

import pytest

from iptdata.cli.views import indexing
from iptdata.cli.views.indexing import IndexingView
from iptdata.source import IndexProgress


def progress(containers: int, **known: int) -> IndexProgress:
    fields = {"total_containers": 1000, "images": containers * 1281, "bytes": containers * 10**8, "total_bytes": 10**11} | known
    return IndexProgress(containers=containers, **fields)


def shown(capsys: pytest.CaptureFixture[str], calls: list[tuple[float, IndexProgress]]) -> list[str]:
    """The lines that calls at these seconds print."""
    indexing.console.cache_clear()
    seconds: Iterator[float] = iter([0.0, *(second for second, _ in calls)])
    view = IndexingView(lambda: next(seconds))
    for _, found in calls:
        view.update(found)
    view.stop()
    return capsys.readouterr().err.splitlines()


def test_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, [(second, progress(second * 10)) for second in range(36)])
    assert lines[0] == "Indexing: 100/1,000 files, 128,100 images, 10.0 GB, time left 1 min 30 s"
    assert len(lines) == 3


def test_containers_count_where_bytes_are_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, [(11, progress(500, total_bytes=0, bytes=0)), (30, progress(0, total_bytes=0))])
    assert lines[0].endswith("time left 11 s")
    assert lines[1].endswith("time left unknown")


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_for_a_source_that_is_listed_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert shown(capsys, [(0.2, progress(500)), (0.9, progress(1000))]) == []


def test_a_bar_on_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    text = "\n".join(shown(capsys, [(2, progress(500)), (60, progress(999))]))
    assert "999/1,000 files, 1,279,719 images, 99.9 GB" in text
    indexing.console.cache_clear()
