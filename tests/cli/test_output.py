"""Standard output and error that cannot be written, and errors that reach `main`: one line, and the right exit status."""

import errno
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from iptdata.cli import _status_of
from iptdata.cli.console import plain
from iptdata.cli.json_output import print_json
from iptdata.errors import StorageError

IPTDATA = f"{sys.executable} -m iptdata"


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["recipes", "recipes --json", "recipes rain", "--help", "eval --help", "completion bash"])
@pytest.mark.parametrize(
    ("target", "reason"), [(">/dev/full", "No space left on device"), (">&-", "it is closed"), (">&- <&-", "it is closed")]
)
def test_standard_output_that_cannot_be_written(command: str, target: str, reason: str) -> None:
    found = shell(f"{IPTDATA} {command} {target}")
    assert (found.returncode, found.stderr) == (1, f"iptdata: standard output cannot be written: {reason}\n")


@pytest.mark.parametrize("command", ["recipes", "recipes --json", "--version"])
def test_a_pipe_that_nobody_reads(command: str) -> None:
    found = shell(f"{IPTDATA} {command} | true; echo ${{PIPESTATUS[0]}}")
    assert (found.stdout, found.stderr) == ("141\n", "")


@pytest.mark.parametrize("target", ["2>/dev/full", "2>&-", "2> >(true)", "2>&- <&-"])
def test_standard_error_that_cannot_be_written_changes_nothing(target: str, tmp_path: Path) -> None:
    """No file of the command gets the number of a closed stream, and a build ends as it would."""
    build = f"{IPTDATA} build --recipe noise30 --workers 0 --patches-per-image 1 --out {tmp_path}/c"
    assert shell(f"{build} {target}").returncode == 0
    assert shell(f"{IPTDATA} inspect {tmp_path}/c --check").returncode == 0
    assert shell(f"{IPTDATA} recipse {target}").returncode == 2
    assert shell(f"{IPTDATA} inspect {tmp_path}/none >/dev/full {target}").returncode == 2


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(errno.EIO, "Input/output error", "a/b"), 1, "cannot use a/b: Input/output error"),
        (OSError(errno.EIO, "Input/output error", b"a\xff"), 1, "cannot use a\\xff: Input/output error"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "Too many open files"),
        (OSError("raised by a library"), 1, "raised by a library"),
        (TimeoutError(), 1, "TimeoutError"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "Broken pipe"),
        (MemoryError(), 1, "out of memory"),
        (StorageError("a\nb\x1b[31m\u202ec"), 2, "a\\nb\\x1b[31m\\u202ec"),
        (StorageError("x" * 10_000, hint="Do it"), 2, "x" * 1998 + "..." + "x" * 1990 + ". Do it."),
    ],
)
def test_errors_are_one_line(error: Exception, status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    sys.stderr.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    assert _status_of(fail) == status
    assert capsys.readouterr().err == f"iptdata: {message}\n"


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3), ("text", 1)])
def test_exits_keep_their_status(code: object, status: int) -> None:
    assert _status_of(lambda: sys.exit(code)) == status  # pyright: ignore[reportArgumentType]


def test_details_that_cannot_be_saved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a\nb" + "c" * 10_000)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert _status_of(fail) == 1
    (saved,) = tmp_path.iterdir()
    assert capsys.readouterr().err == f"iptdata: unexpected ZeroDivisionError: a b{'c' * 297}. Details are in {saved}\n"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert _status_of(fail) == 1
    expected = (
        f"iptdata: unexpected ZeroDivisionError: a b{'c' * 297}. Its details cannot be saved: No such file or directory\n"
    )
    assert capsys.readouterr().err == expected


def names(make: Callable[[int], str] = chr) -> list[str]:
    return [make(code) for code in (0x1B, 0x7F, 0x9B, 0x202E, 0x2066, 0x2028, 0x200F)]


def test_names_do_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(names())
    assert plain(text) == "\\x1b\\x7f\\x9b\\u202e\\u2066\\u2028\\u200f"
    assert plain("é 日本 \u200d\t") == "é 日本 \u200d\t"
    print_json({"name": text})
    shown = capsys.readouterr().out
    assert not set(shown) & set(names())
    assert json.loads(shown) == {"name": text}
