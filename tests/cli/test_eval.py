"""`iptdata eval` and `iptdata restore` as a user meets them."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from iptdata.cli import group
from iptdata.restoration import network
from tests.cli.refusal import assert_refused
from tests.conftest import natural_image, save
from tests.networks import edsr_file, huge_file, ipt_file  # noqa: F401


def iptdata(*arguments: object) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)), catch_exceptions=False, env={"COLUMNS": "80", "NO_COLOR": "1"})


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    for number in range(3):
        save(tmp_path / "Set5" / "HR" / f"{number}.png", natural_image(60, 70, number))
    return tmp_path / "Set5"


def test_a_baseline_and_what_was_published(benchmark: Path) -> None:
    for number in (3, 4):
        save(benchmark / "HR" / f"{number}.png", natural_image(60, 70, number))
    command = ("eval", "--baseline", "bicubic", "--task", "sr2", "--task", "sr4", "--benchmark", benchmark)
    result = iptdata(*command, benchmark, "--beside", "swinir,EDSR", "--beside", "hat")
    assert result.exit_code == 0
    means, published = result.stdout.split("Published PSNR")
    assert [line.split()[:3] for line in means.splitlines() if "Set5" in line] == [
        ["Set5", task, "5"] for task in ("sr2", "sr2", "sr4", "sr4")
    ]
    rows = [line.split() for line in published.splitlines() if line.startswith(" Set5")]
    assert [(row[1], row[2], row[4]) for row in rows[:4]] == [
        ("sr2", "IPT", "38.37"),
        ("sr2", "SwinIR", "38.42"),
        ("sr2", "EDSR", "38.11"),
        ("sr2", "HAT", "38.63"),
    ]
    assert [row[2] for row in rows] == ["IPT", "SwinIR", "EDSR", "HAT"] * 4
    y = float(next(line for line in means.splitlines() if "sr4" in line).split()[4])
    assert float(rows[-1][5]) == y
    assert float(rows[-1][6]) == pytest.approx(y - 33.04, abs=0.011)
    assert max(len(line) for line in result.stdout.splitlines() if line.startswith(" ")) <= 80
    assert "sr4: super-resolution, PSNR reported on luma (Y), 4-pixel border excluded; Y of BT.601" in result.stdout
    assert [published.count(f"\n[{number}] ") for number in range(1, 6)] == [1, 1, 1, 1, 0]
    few = iptdata("eval", "--baseline", "bicubic", "--task", "sr3", "--benchmark", benchmark)
    assert "IPT" in few.stdout
    assert "SwinIR" not in few.stdout


def test_published_methods_that_do_not_exist_are_found_before_anything_is_measured(benchmark: Path) -> None:
    command = ("eval", "--baseline", "bicubic", "--task", "sr2", "--benchmark", benchmark / "nowhere")
    assert_refused(iptdata(*command, "--beside", "Swin"), "--beside: found 'Swin', expected one of SwinIR, DRUNet, EDSR, HAT")


def test_a_network_and_every_output(benchmark: Path, ipt_file: str, tmp_path: Path) -> None:  # noqa: F811
    outputs = ("--csv", tmp_path / "a.csv", "--save-images", tmp_path / "images", "--json")
    result = iptdata("eval", "--checkpoint", ipt_file, "--task", "noise30", "--benchmark", benchmark, *outputs)
    assert result.exit_code == 0
    (score,) = json.loads(result.stdout)
    assert score["mean"]["psnr_rgb"] == pytest.approx(score["mean"]["input_psnr_rgb"], abs=1e-9)
    assert score["mean"]["quoted"] == score["mean"]["psnr_rgb"]
    assert [image["name"] for image in score["images"]] == ["0", "1", "2"]
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [float(row["psnr_rgb"]) for row in rows] == [image["psnr_rgb"] for image in score["images"]]
    for number in range(3):
        restored = np.asarray(Image.open(tmp_path / "images" / "Set5" / "noise30" / f"{number}.png")).astype(int)
        assert (restored - natural_image(60, 70, number)).std() == pytest.approx(28, abs=3)
    assert [float(row["input_psnr_y"]) for row in rows] == [image["input_psnr_y"] for image in score["images"]]
    assert score["published"] == []  # Set5 has no figures for noise
    shown = iptdata("eval", "--checkpoint", ipt_file, "--task", "noise30", "--benchmark", benchmark).stdout
    assert "input" in shown
    assert "Published" not in shown
    assert "\u2026" not in shown
    both = iptdata("eval", "--checkpoint", ipt_file, "--task", "noise30", "--benchmark", benchmark, "--markdown", "--no-clip")
    assert re.search(r"\| Set5 \| noise30 \| 3 \|", both.stdout)
    assert "noise not rounded or clipped" in both.stdout


def test_how_a_network_is_run(benchmark: Path, ipt_file: str, tmp_path: Path) -> None:  # noqa: F811
    """The table, JSON and the first line of `restore` have device, precision and overlap."""
    photo = save(tmp_path / "photo.png", natural_image(30, 40))
    commands = {
        12: ("eval", "--checkpoint", ipt_file, "--task", "noise30", "--benchmark", benchmark),
        10: ("restore", photo, "--checkpoint", ipt_file, "--task", "noise30", "--out", tmp_path / "out"),
    }
    for overlap, command in commands.items():
        usual = "--device", "cpu", "--json"
        expected = {"device": "CPU", "precision": "fp32", "tile_size": 24, "overlap": overlap}
        expected |= {"self_ensemble": False, "compiled": False}
        assert json.loads(iptdata(*command, *usual).stdout)[0]["execution"] == expected
        found = json.loads(iptdata(*command, *usual, "--precision", "bf16", "--overlap", 3).stdout)[0]["execution"]
        assert (found["precision"], found["overlap"]) == ("bf16", 3)
        shown = iptdata(*command, "--device", "cpu", "--precision", "fp16").output
        by = "" if command[0] == "eval" else "noise30 by "
        assert f"{by}{ipt_file}: CPU, fp16, tiles of 24x24 with overlap {overlap}\n" in shown
        assert_refused(iptdata(*command, "--precision", "int8"), "--precision: found 'int8', expected one of auto, fp32, bf16")
        assert_refused(iptdata(*command, "--overlap", 24), "--overlap: found 24, expected 0 to 23, less than the tile size 24")
    twice = iptdata(
        "eval", "--checkpoint", ipt_file, "--task", "noise30", "--benchmark", benchmark, benchmark, "--device", "cpu"
    )
    assert twice.stdout.count("with overlap 12\n") == 1, "one network, one line"
    baseline = iptdata("eval", "--baseline", "identity", "--task", "noise30", "--benchmark", benchmark, "--json")
    assert json.loads(baseline.stdout)[0]["execution"] is None


@pytest.mark.parametrize("command", ["eval", "restore"])
def test_notes_on_how_a_network_is_run(
    command: str,
    benchmark: Path,
    huge_file: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are known at the start, and those that follow, once each."""
    monkeypatch.setattr(network, "slowdown", lambda device, dtype: 9.0)
    places = ("--benchmark", benchmark) if command == "eval" else (benchmark, "--out", tmp_path / "out")
    options = ("--checkpoint", huge_file, "--task", "noise30", "--precision", "fp16", "--device", "cpu")
    shown = iptdata(command, *options, *places).stderr
    for note in ("fp16 takes 9 times as long as fp32 on this CPU", "values exceed the range of fp16"):
        assert shown.count(note) == 1


def test_a_head_for_a_task_that_the_network_was_not_trained_on(benchmark: Path, ipt_file: str) -> None:  # noqa: F811
    command = ("eval", "--checkpoint", ipt_file, "--task", "noise10", "--benchmark", benchmark)
    assert_refused(iptdata(*command), "has no task 'noise10', expected one of noise30, rain")
    (score,) = json.loads(iptdata(*command, "--head", "noise30", "--json").stdout)
    assert score["protocol"]["task"] == "noise10"
    assert score["restorer"] == f"{ipt_file}, head noise30"
    assert score["mean"]["psnr_rgb"] == pytest.approx(28.1, abs=0.5)  # of noise with sigma 10
    for options, message in (
        (("--task", "sr2", "--head", "rain"), "sr2 has scale 2, .* has scale 1 for rain"),
        (("--task", "noise10", "--head", "sr2"), "has no task 'sr2'"),
        (("--head", "rain"), "--head: requires --checkpoint and --task"),
    ):
        assert_refused(iptdata("eval", "--checkpoint", ipt_file, "--benchmark", benchmark, *options), message)


def test_all_tasks_of_a_checkpoint_on_what_has_images_for_them(benchmark: Path, edsr_file: str, ipt_file: str) -> None:  # noqa: F811
    result = iptdata("eval", "--checkpoint", ipt_file, "--benchmark", benchmark, "--json")
    assert [score["protocol"]["task"] for score in json.loads(result.stdout)] == ["noise30"]
    assert f"skipped: benchmark {benchmark} has no images for rain" in result.stderr
    found = json.loads(iptdata("eval", "--checkpoint", edsr_file, "--benchmark", benchmark, "--json").stdout)
    assert [score["protocol"]["task"] for score in found] == ["noise30", "sr2"]
    assert_refused(
        iptdata("eval", "--checkpoint", ipt_file, "--task", "noise30", "--task", "rain", "--benchmark", benchmark),
        "has no images for rain",
    )
    (benchmark / "empty").mkdir()
    assert_refused(iptdata("eval", "--checkpoint", ipt_file, "--benchmark", benchmark / "empty"), "empty has no images for")


def test_a_benchmark_that_cannot_be_used_is_one_line(benchmark: Path, ipt_file: str) -> None:  # noqa: F811
    command = ("eval", "--checkpoint", ipt_file, "--benchmark")
    for bad, message in ((benchmark / "nope", "nope does not exist"), (benchmark / "two", "same name without extension")):
        if bad.name == "two":
            save(bad / "a.jpg", natural_image(40, 40))
            save(bad / "a.png", natural_image(40, 40))
        result = iptdata(*command, bad)
        assert result.exit_code == 2
        assert result.stderr.count(message) == 1
    assert_refused(iptdata(*command, benchmark, benchmark / "nope"), "nope does not exist")


def test_numbers_are_shown_before_a_file_fails(benchmark: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = ["eval", "--baseline", "bicubic", "--task", "sr2", "--benchmark", benchmark, "--csv", tmp_path / "file" / "a.csv"]
    result = CliRunner().invoke(group, list(map(str, command)))
    assert result.exception is not None
    assert "Set5" in result.stdout


def test_images_of_two_benchmarks_of_one_name(benchmark: Path, tmp_path: Path) -> None:
    save(tmp_path / "other" / "Set5" / "0.png", natural_image(40, 40))
    given = ("--benchmark", benchmark, tmp_path / "other" / "Set5", "--save-images", tmp_path / "images")
    assert_refused(iptdata("eval", "--baseline", "bicubic", "--task", "sr2", *given), "are both called Set5")


def test_an_image_that_cannot_be_measured(benchmark: Path) -> None:
    (benchmark / "HR" / "1.png").write_bytes(b"torn")
    result = iptdata("eval", "--baseline", "bicubic", "--task", "sr2", "--benchmark", benchmark, "--images")
    assert result.exit_code == 1
    assert "! Set5: HR/1.png: unreadable" in result.stderr
    assert "2 of 3 *" in result.stdout
    assert "Partial (*): some images could not be measured" in result.stdout


def test_photos(tmp_path: Path, edsr_file: str) -> None:  # noqa: F811
    for name in ("a.png", "b.jpg"):
        save(tmp_path / "photos" / name, natural_image(30, 40))
    (tmp_path / "photos" / "c.png").write_bytes(b"torn")
    command = (
        "restore",
        tmp_path / "photos",
        "--checkpoint",
        edsr_file,
        "--task",
        "sr2",
        "--out",
        tmp_path / "out",
        "--compare",
    )
    result = iptdata(*command)
    assert result.exit_code == 1
    assert re.search(r"! .*c\.png cannot be read as an image", result.stderr)
    assert f"2 of 3 restored into {tmp_path}/out" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.jpg", "a-compare.png", "b-compare.png"}
    assert Image.open(tmp_path / "out" / "a.png").size == (80, 60)
    (tmp_path / "photos" / "c.png").unlink()
    again = iptdata(*command)
    assert again.exit_code == 0
    assert "0 of 2 restored" in again.stderr
    assert "2 skipped because they exist (--overwrite replaces them)" in again.stderr
    assert "2 of 2 restored" in iptdata(*command, "--overwrite").stderr
    assert_refused(
        iptdata("restore", tmp_path / "photos", "--checkpoint", edsr_file, "--task", "rain", "--out", tmp_path / "out"),
        "has no task 'rain', expected one of noise30, sr2",
    )


def test_each_problem_of_a_batch_is_one_line(edsr_file: str, tmp_path: Path) -> None:  # noqa: F811
    for name in ("a.png", "b\n\x1b[31m.png", "c.png", "d.png"):
        save(tmp_path / "photos" / name, natural_image(30, 40))
    (tmp_path / "photos" / "b\n\x1b[31m.png").write_bytes(b"")
    save(tmp_path / "photos" / "c.png", natural_image(31, 40))
    exif = b"Exif\0\0MM\0*" + bytes(70_000)
    Image.fromarray(natural_image(30, 40)).save(tmp_path / "photos" / "d.png", exif=exif)
    command = ("restore", tmp_path / "photos", "--checkpoint", edsr_file, "--task", "sr2", "--out", tmp_path / "out")
    result = iptdata(*command, "--max-pixels", 1200)
    assert result.exit_code == 1
    lines = [line.replace(f"{tmp_path}/", "") for line in result.stderr.splitlines()]
    assert lines[0].startswith("sr2 by ")
    assert lines[1:] == [
        r"! photos/b\n\x1b[31m.png cannot be read as an image: found an empty file, expected JPEG, PNG, WebP, BMP or TIFF",
        "! photos/c.png cannot be read as an image: 40x31, more than 1,200. Raise --max-pixels.",
        "! photos/d.png is restored without its EXIF: damaged or too large",
        "2 of 4 restored into out",
    ]
    found = json.loads(iptdata(*command, "--json").stdout)
    assert [(item["status"], item["lost"]) for item in found] == [
        ("skipped", []),
        ("failed", []),
        ("done", []),
        ("skipped", []),
    ]
    assert_refused(iptdata(*command, "--max-pixels", 0), "--max-pixels: found 0, expected a whole number from 1")
