"""Paths and `TASK=PATH`: what exists is a path."""

from pathlib import Path

import pytest

from iptdata.errors import StorageError
from iptdata.files.patterns import expand_braces
from iptdata.shards.locations import absolute_path, find_tars, split_task_paths


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("date=2024-01-01/rain/a.tar", "run=3/corpus/a.tar", "a=1/b=2/c.tar", "both=foo/a.tar", "foo/a.tar", "k=x.tar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "b.tar").touch()
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        *(
            "date=2024-01-01",
            "date=2024-01-01/",
            "date=2024-01-01/rain",
            "date=2024-01-01/rain/*.tar",
            "run=3/corpus",
            "k=x.tar",
        ),
        *("date=2024-01-0[1-3]", "date=2024-01-{01,02}/rain", "date=*", "a=1", "a=1/b=2", "a=1/b=2/*.tar", "both=foo"),
        *("date=2024-01-01/rain/none.tar", "date=2024-01-01/none/*.tar", "./x=foo", "/x=foo", "no/x=foo"),
    ],
)
def test_what_exists_is_a_path(here: Path, path: str) -> None:
    assert split_task_paths(path) == ([path], {})
    assert split_task_paths(here / path) == ([str(here / path)], {})
    assert absolute_path(path) == str(here / path).rstrip("/").replace("/./", "/")


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        *(
            ("x=foo", "foo"),
            ("x=foo/*.tar", "foo/*.tar"),
            ("x=none", "none"),
            ("x=a=1", "a=1"),
            ("date=2025-01-01", "2025-01-01"),
        ),
        *(("x=foo/{a,b}.tar", "foo/{a,b}.tar"), ("both=foo/b.tar", "foo/b.tar"), ("x=/abs/a.tar", "/abs/a.tar")),
    ],
)
def test_anything_else_is_a_task(here: Path, path: str, rest: str) -> None:
    task = path.partition("=")[0]
    if path == "both=foo/b.tar":
        (here / rest).touch()
    assert split_task_paths(["foo", path]) == (["foo"], {task: [rest]})
    assert absolute_path(path) == f"{task}={here / rest}"


@pytest.mark.parametrize("path", ["x=s3://bucket/a.tar", "s3://bucket/date=1/a?region=x", "gs://a=b/c"])
def test_urls_are_kept(here: Path, path: str) -> None:
    assert absolute_path(path) == path
    corpora, tasks = split_task_paths(path)
    assert corpora == ([] if tasks else [path])


def test_home(here: Path) -> None:
    assert split_task_paths(["~/b.tar", "x=~/b.tar"]) == ([f"{here}/home/b.tar"], {"x": [f"{here}/home/b.tar"]})
    assert absolute_path("~/b.tar") == f"{here}/home/b.tar"
    assert absolute_path("x=~/b.tar") == f"x={here}/home/b.tar"
    assert absolute_path("x~=~/b.tar").startswith("/")


@pytest.mark.parametrize("path", ["pipe:cat a", "x=pipe:cat a", "https://x/a.tar", "x=ftp://x/a", "~pipe://x"])
def test_other_schemes(here: Path, path: str) -> None:
    for function in (split_task_paths, absolute_path):
        with pytest.raises(StorageError, match=r"cannot open .*: expected a local path or a URL of s3://, gs://"):
            function(path)


def test_a_file_that_is_named_like_a_command_is_a_file(here: Path) -> None:
    (here / "pipe:cat").mkdir()
    assert split_task_paths("pipe:cat") == (["pipe:cat"], {})


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("t", ["a.tar", "b.tar.gz", "c.tgz"]),
        ("t/*.t*", ["a.tar", "b.tar.gz", "c.tgz"]),
        ("t/._a.tar", ["._a.tar"]),
        ("t/{b,a}.*", ["b.tar.gz", "a.tar"]),
        ("[t]/a.tar", ["a.tar"]),
        ("t/{none", None),
        ("t/none.tar", []),
        ("u[1]/*.tar", []),
        ("u[1]", ["d[1].tar"]),
        ("u[1]/d[1].tar", ["d[1].tar"]),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_tars(here: Path, pattern: str, names: list[str] | None, remote: bool) -> None:
    for name in ("t/a.tar", "t/b.tar.gz", "t/c.tgz", "t/d.zip", "t/._a.tar", "t/.b.tar", "u[1]/d[1].tar"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    (here / "t" / "e.tar").mkdir()
    if remote and "[" in pattern:
        pytest.skip("wildcards in the file name only")
    prefix = f"file://{here}/" if remote else ""
    if names is None:
        with pytest.raises(StorageError, match="a brace is not closed"):
            find_tars(prefix + pattern)
    else:
        assert [tar.name for tar in find_tars(prefix + pattern)] == names


@pytest.mark.parametrize("pattern", ["{0..1000000000000}", "a{-9000000..1}.tar", "{1..1000}{1..1000}{1..1000}.tar"])
def test_braces_that_explode(pattern: str) -> None:
    with pytest.raises(StorageError, match=r"expands to more than 1,000,000 paths\. Use a glob"):
        expand_braces(pattern)
