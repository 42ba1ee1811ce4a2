"""The commands as a user meets them: help, results, and one clear line for each mistake."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from iptdata import __version__
from iptdata.cli import group
from iptdata.cli.completion import MODELS
from iptdata.model.presets import PRESETS
from tests.conftest import corpus_bytes, natural_image, save, small_disk


def iptdata(*arguments: object, cwd: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "iptdata", *map(str, arguments)]
    environ = os.environ | {"COLUMNS": "120"} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, timeout=120, check=False)


def fails(*arguments: object, status: int = 2, cwd: Path | None = None, **environment: str) -> str:
    """The one line on standard error."""
    result = iptdata(*arguments, cwd=cwd, **environment)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(("iptdata: ", "Error: "))
    return last


def test_help_without_heavy_imports() -> None:
    result = iptdata("--help")
    assert result.returncode == 0
    assert "build" in result.stdout
    for module, heavy in (
        ("cli", ["numpy", "cv2", "torch", "ray", "pyarrow"]),
        ("cli.commands.build", ["torch", "ray", "webdataset"]),
    ):
        code = f"import sys, iptdata.{module}; print([name for name in {heavy} if name in sys.modules])"
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    """Every command, as it is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


@pytest.mark.parametrize("words", list(commands(group)), ids=" ".join)
def test_help_of_commands(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(group, [*words, "-h"], terminal_width=100)
    assert result.exit_code == 0
    assert "Example" in result.output
    options = re.split(r"^\S.*:$", result.output, flags=re.MULTILINE)[1:]
    assert max(len(re.findall(r"^  -", section, re.MULTILINE)) for section in options) <= 10


def test_versions_for_a_report() -> None:
    result = iptdata("--version")
    assert result.stdout.startswith(f"iptdata {__version__}\npython 3.")
    for name in ("numpy", "simplejpeg", "opencv-python-headless", "ray", "torch"):
        assert f"{name} {version(name)}" in result.stdout
    assert "pillow" in result.stdout


def completed(line: str) -> list[str]:
    """What bash offers at the end of a line."""
    script = (
        f"source <({sys.executable} -m iptdata completion bash); COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        "compopt() { COMPREPLY+=(FILES); }; _iptdata_completion iptdata; echo ${COMPREPLY[@]}"
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=os.environ | {"PATH": path})
    return found.stdout.split()


def test_completion_in_bash() -> None:
    assert completed("iptdata in") == ["inspect"]
    assert completed("iptdata build --recipe rain") == ["rain", "rain-heavy"]
    assert completed("iptdata recipes noise3") == ["noise30"]
    assert completed("iptdata train --model ipt-t") == ["ipt-tiny"]
    assert completed("iptdata inspect --com") == ["--compare"]
    assert completed("iptdata inspect cor") == ["FILES"]
    assert completed("iptdata checkpoint sh") == ["show"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_in_other_shells(shell: str, tmp_path: Path) -> None:
    script = iptdata("completion", shell).stdout
    assert f"_IPTDATA_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_models_that_are_completed_are_those_there_are() -> None:
    assert set(MODELS) == set(PRESETS)


def test_a_person_with_nothing_at_all(tmp_path: Path) -> None:
    result = iptdata("build", "--recipe", "rain", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"rain +train +48 +1 +788\.5 kB +\d\d\.\d\d +none", result.stdout)
    assert "iptdata inspect corpus --preview preview.png" in result.stderr
    result = iptdata("inspect", "corpus", "--preview", "p.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert Image.open(tmp_path / "p.png").size[0] > 1000
    before = corpus_bytes(tmp_path / "corpus")
    again = iptdata("build", "--recipe", "rain", cwd=tmp_path)
    assert again.returncode == 0
    assert "1 shard already complete" in again.stderr
    assert corpus_bytes(tmp_path / "corpus") == before


def test_the_readme_of_a_corpus_reads_a_shard(tmp_path: Path) -> None:
    assert iptdata("build", "--recipe", "sr2", "--out", "c", "--images-per-shard", 3, cwd=tmp_path).returncode == 0
    text = (tmp_path / "c" / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(code.strip().splitlines()) <= 10
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "c", capture_output=True, text=True, check=True)
    assert "clean (96, 96, 3) uint8 corrupted (48, 48, 3) uint8" in shown.stdout
    command = re.findall(r"```sh\niptdata (.*?)\n```", text)[0]
    assert iptdata(*command.split(), "--out", "again", cwd=tmp_path).returncode == 0
    assert corpus_bytes(tmp_path / "c") == corpus_bytes(tmp_path / "again")


def test_recipes() -> None:
    listed = iptdata("recipes").stdout
    assert re.search(r"sr4 +192x192 +48x48 +120,320 +1\.23 TB", listed)
    assert re.search(r"ipt +278,528 +2\.85 TB", listed)
    shown = iptdata("recipes", "rain").stdout
    assert re.search(r"taper +0\.599 .*Exponent of the profile", shown)
    assert "sr3" in iptdata("recipes", "ipt").stdout
    assert "expected one of noise30" in fails("recipes", "nois30")


def test_dry_run_writes_nothing(photos: Path, tmp_path: Path) -> None:
    result = iptdata("build", "--recipe", "ipt", "--source", photos, "--out", tmp_path / "out", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert re.search(r"sr4 +1 +96 +11\.6 MB", result.stdout)
    assert re.search(r"1 unit, .* free, about .* with \d+ workers\. Nothing was written", result.stdout)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "rian"], "found recipe 'rian', expected one of rain"),
        (["--recipe", "none.yaml"], "none.yaml: cannot be read: No such file"),
        (
            ["--recipe", "rain", "--source", "nowhere"],
            "source: nowhere does not exist. Pass a directory of images, a tar",
        ),
        (["--recipe", "rain", "--source", "."], "holds no image; looked for .jpg"),
        (["--recipe", "rain", "--holdout", "2"], "--holdout: found 2.0, expected a number from 0 to 0.999"),
        (["--recipe", "rain", "--max-rejects", "lots"], "--max-rejects: found 'lots'"),
        (["--recipe", "rain", "--patch-size", "0"], "--patch-size: found 0, expected a whole number from 1"),
        (["--recipe", "rain", "--workers", "-1"], "--workers: found -1, expected a whole number from 0 up"),
        (["--recipe", "rain", "--out", "/proc/nowhere"], "cannot use /proc/nowhere"),
        ([], "Missing option '--recipe'"),
        (
            ["--recipe", "rain", "--source", "a.tar", "b.tar"],
            "iptdata: unexpected argument 'b.tar'. Put quotes around a pattern",
        ),
        (["--recipe", "rain", "--source", "a.tar", "b.tar", "c.tar"], "unexpected argument 'b.tar' and 1 more. Put quotes"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in fails("build", *arguments, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_more_mistakes(photos: Path, tmp_path: Path) -> None:
    assert "does not exist" in fails("inspect", tmp_path / "none", "--preview", "x.png")
    assert "expected a name that ends in .png" in fails("inspect", tmp_path, "--preview", "x.gif")
    assert "holds no finished shard" in fails("inspect", photos, "--preview", "x.png")
    base = ("build", "--recipe", "noise30", "--source", photos, "--out", tmp_path / "out", "--workers", 0)
    assert iptdata(*base).returncode == 0
    assert "seed: found 0, expected 1" in fails(*base, "--seed", 1)
    assert "cannot use" in fails("inspect", tmp_path / "out", "--preview", "/proc/x.png")
    (tmp_path / "out/noise30/train/noise30-train-000000.parquet").write_bytes(b"no parquet")
    result = iptdata("inspect", tmp_path / "out", "--preview", tmp_path / "x.png")
    assert result.returncode == 1
    assert "is damaged or not a manifest written by iptdata" in result.stderr
    assert Image.open(tmp_path / "x.png").width > 1000


def test_a_build_that_drops_too_much_fails(tmp_path: Path) -> None:
    save(tmp_path / "s" / "c" / "tiny.png", natural_image(10, 10))
    save(tmp_path / "s" / "c" / "good.png", natural_image(100, 100))
    line = fails("build", "--recipe", "rain", "--source", "s", cwd=tmp_path, status=1)
    assert "1 of 2 images were dropped (too small 1), more than --max-rejects 10.0%" in line


@pytest.mark.parametrize("workers", [0, 2])
def test_full_disk(photos: Path, tmp_path: Path, workers: int) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        options = ("--recipe", "sr4", "--source", photos, "--out", disk / "out", "--images-per-shard", 1, "--workers", workers)
        assert re.search(
            r"the build needs 11\.\d MB, .* has 2\.\d MB free\. Free some space.*--force", fails("build", *options)
        )
        line = fails("build", *options, "--force", status=1)
        assert "the disk is full" in line
        assert not list(disk.rglob("*.partial")) or workers
        done = {path.stem for path in disk.rglob("*-[0-9]*.parquet")}
        assert done <= {path.stem for path in disk.rglob("*.tar")}


def test_long_tmpdir(photos: Path, tmp_path: Path) -> None:
    """Too long for the sockets of Ray."""
    long = tmp_path / ("t" * 100)
    long.mkdir()
    options = ("--recipe", "noise30", "--source", photos, "--out", tmp_path / "out", "--images-per-shard", 4, "--workers", 2)
    result = iptdata("build", *options, TMPDIR=str(long))
    assert result.returncode == 0, result.stderr
    assert len(result.stderr.splitlines()) == 3, result.stderr


def test_a_cluster_that_does_not_exist(photos: Path, tmp_path: Path) -> None:
    """RAY_ADDRESS keeps `auto` from finding a Ray that happens to run on this machine."""
    options = ("--recipe", "noise30", "--source", photos, "--out", tmp_path / "out", "--address")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nothing listens
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        assert f"cannot join the Ray cluster at {address}" in fails("build", *options, address)
        assert "cannot join the Ray cluster at auto" in fails("build", *options, "auto", RAY_ADDRESS=address)


def test_two_pillows_give_one_warning(tmp_path: Path) -> None:
    for name in ("pillow", "pillow_simd"):
        folder = tmp_path / f"{name}-99.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 99\n")
    result = iptdata("recipes", PYTHONPATH=str(tmp_path))
    assert result.returncode == 0
    assert result.stderr.count("pip uninstall -y pillow pillow-simd") == 1
    assert not iptdata("recipes").stderr


def test_brackets_are_text(photos: Path, tmp_path: Path) -> None:
    source = photos.rename(tmp_path / "ph[old]s")
    result = iptdata("build", "--recipe", "noise30", "--source", source, "--out", "o[v2] x", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "folder ph[old]s" in result.stderr
    assert "iptdata inspect 'o[v2] x' --preview" in result.stderr
    tar = tmp_path / "o[v2] x" / "noise30" / "train" / "noise30-train-000000.tar"
    assert iptdata("inspect", tar, "--preview", tmp_path / "p.png").returncode == 0
    assert "is a file; expected a corpus" in fails("inspect", photos.parent / "o[v2] x" / "corpus.json", "--preview", "x.png")


def test_a_recipe_of_ones_own_is_kept_with_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nsteps: [{gaussian_noise: {sigma: {choice: [5, 20]}}}]")
    for split, size in (("train", 48), ("val", 32)):
        options = ("--recipe", "mine.yaml", "--out", "c", "--split", split, "--patch-size", size, "--workers", 0)
        assert iptdata("build", *options, cwd=tmp_path).returncode == 0
    (tmp_path / "mine.yaml").unlink()
    text = (tmp_path / "c" / "README.md").read_text()
    commands = re.findall(r"^iptdata (build .*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        result = iptdata(*command.split(), "--out", tmp_path / "again", cwd=tmp_path / "c")
        assert result.returncode == 0, result.stderr
    assert corpus_bytes(tmp_path / "c") == corpus_bytes(tmp_path / "again")


def test_a_corpus_without_pairs(tmp_path: Path) -> None:
    save(tmp_path / "s" / "c" / "tiny.png", natural_image(10, 10))
    options = ("--recipe", "rain", "--source", "s", "--out", "c", "--max-rejects", "100%", "--workers", 0)
    assert "no image gave a pair" in fails("build", *options, cwd=tmp_path, status=1)
    assert "rain/train has no pairs: all images were dropped" in fails("inspect", "c", "--preview", "x.png", cwd=tmp_path)
