"""`iptdata inspect` as a user meets it: what it prints, writes, draws and refuses."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console

from iptdata.cli import group
from iptdata.cli.views.blocks import Pictures
from iptdata.errors import ShardError
from iptdata.shards.find import find_shards
from tests.conftest import natural_image, save
from tests.inspection.conftest import looked_at  # noqa: F401
from tests.tars import sample, write_tar


def inspect(*arguments: object, **environment: str) -> Result:
    environ = {"COLUMNS": "100", "FORCE_COLOR": None, "NO_COLOR": "1"} | environment
    return CliRunner().invoke(group, ["inspect", *map(str, arguments)], catch_exceptions=False, env=environ)


def shown(*arguments: object, **environment: str) -> str:
    result = inspect(*arguments, **environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*arguments: object, **environment: str) -> str:
    result = inspect(*arguments, **environment)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    return line.removeprefix("iptdata: ")


def test_summary_in_a_narrow_terminal(looked_at: Path) -> None:  # noqa: F811
    lines = shown(looked_at / "rain", COLUMNS="80").splitlines()
    assert lines[0] == "rain/train: light rain, as in Rain100L"
    assert lines[1].startswith(
        "80 pairs, 48x48 clean and 48x48 corrupted; 3 classes; 3 shards, 1.3 MB; 3/3 units complete; seed 0"
    )
    table = [line for line in lines if "layer_mean" in line or "PSNR (dB)" in line]
    assert len(table) == 2
    assert all(len(line.rstrip()) <= 80 and len(line.split()) >= 8 for line in table)
    assert "…" not in "".join(lines)
    assert re.search("[▁-█]", table[0])


def test_pairs_with_all_that_is_known(looked_at: Path) -> None:  # noqa: F811
    shard = find_shards(str(looked_at / "rain"))[1]
    row = shard.row(5)
    text = shown(looked_at, "--sample", row["key"])
    for wanted in (row["source"], str(row["uid"]), f"angle {row['params']['angle']:g}", "rain-train-000001.tar"):
        assert wanted in text
    assert [line.split("/")[0] for line in text.splitlines() if line.endswith(("/train", "strength"))][:1] == ["drawn"]
    assert shown(looked_at, "--sample", 3).count(" shard ") == 12
    text = shown(looked_at / "drawn", "--where", "params.sigma > 30", "--pairs", 1000)
    assert text.count(" shard ") == sum(
        row["params"]["sigma"] > 30 for one in find_shards(str(looked_at / "drawn")) for row in one.rows().to_pylist()
    )


@pytest.mark.parametrize(("height", "width", "columns"), [(48, 48, 100), (47, 30, 100), (96, 96, 100)])
def test_pictures_in_a_terminal_are_the_pixels(height: int, width: int, columns: int) -> None:
    images = [natural_image(height, width, seed) for seed in (0, 1)]
    out = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=columns)
    out.print(Pictures(images))
    pixels = drawn(out.file.getvalue())  # pyright: ignore[reportAttributeAccessIssue]
    if width * 2 + 2 <= columns:
        assert np.array_equal(pixels[:height, :width], images[0])
        assert np.array_equal(pixels[:height, width : 2 * width], images[1])
    else:
        assert pixels.shape == (50, 98, 3)
        shrunken = np.abs(pixels[:48, :48].astype(float).mean() - images[0].mean())
        assert shrunken < 3


def drawn(text: str) -> np.ndarray:
    """Pixels of half blocks in 24-bit colours; what has no lower half is black there."""
    rows = []
    for line in text.splitlines():
        cells = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+)(?:;48;2;(\d+);(\d+);(\d+))?m(▀+)", line)
        upper = [tuple(map(int, cell[:3])) for cell in cells for _ in cell[6]]
        lower = [tuple(int(value or 0) for value in cell[3:6]) for cell in cells for _ in cell[6]]
        rows += [upper, lower]
    return np.array([row for row in rows if row], np.uint8)


def test_show(looked_at: Path) -> None:  # noqa: F811
    forced = {"FORCE_COLOR": "1", "NO_COLOR": "", "COLORTERM": "", "TERM": "xterm-256color"}
    text = shown(looked_at / "sr2", "--show", **forced)
    assert text.count("▀") > 2 * 24 * 49
    assert "\x1b[38;5;" in text
    assert "\x1b[38;2;" not in text
    text = shown(looked_at / "sr2", "--show", **forced | {"COLORTERM": "truecolor"})
    assert "\x1b[38;2;" in text
    assert "expected a terminal with 256 or more. Pass --preview FILE to draw into a file" in refused(looked_at, "--show")
    assert "has no colours" in refused(looked_at, "--show", **forced | {"NO_COLOR": "1"})


def test_files(looked_at: Path, tmp_path: Path) -> None:  # noqa: F811
    sheet, page = tmp_path / "sheet.jpg", tmp_path / "page.html"
    result = inspect(looked_at, "--preview", sheet, "--html", page, "--pairs", 3, "--where", "params.sigma > 0")
    assert "skipped because they lack a requested column: rain/train, sr2/train" in result.stderr
    assert Image.open(sheet).width > 1200
    assert page.read_text().count('<article class="pair"') == 6
    assert "expected a name that ends in .html, .htm" in refused(looked_at, "--html", "page.txt")
    assert "expected a name that ends in .png, .jpg, .jpeg" in refused(looked_at, "--preview", "page.html")


def test_ladders(looked_at: Path, tmp_path: Path) -> None:  # noqa: F811
    photo = save(tmp_path / "photo.png", natural_image(120, 140))
    text = shown("--ladder", photo)
    assert text.startswith("photo.png under 11 recipes, mildest first")
    recipes = re.findall(r"^ +([a-z]+[-a-z0-9]*) +(\d+\.\d\d)", text, re.MULTILINE)
    assert len(recipes) == 11
    assert [float(psnr) for _, psnr in recipes] == sorted((float(psnr) for _, psnr in recipes), reverse=True)
    key = find_shards(str(looked_at / "sr2"))[0].row(0)["key"]
    inspect(looked_at, "--ladder", key, "--preview", tmp_path / "ladder.png")
    assert Image.open(tmp_path / "ladder.png").width > 900
    assert "found 'none', expected an image file, or a PATH with a pair of that key" in refused("--ladder", "none")
    picture = tmp_path / "recipes.png"
    assert CliRunner().invoke(group, ["recipes", "--picture", str(picture)], catch_exceptions=False).exit_code == 0
    assert Image.open(picture).width > 900


def test_pairs_as_json(looked_at: Path) -> None:  # noqa: F811
    found = json.loads(shown(looked_at / "rain", "--sample", 2, "--json"))
    assert [pair["recipe"] for pair in found] == ["rain"] * len(found)
    assert len({pair["key"] for pair in found}) == len(found) >= 2
    assert found[0]["shapes"] == {"clean": [48, 48, 3], "corrupted": [48, 48, 3]}
    assert {"angle", "density"} <= found[0]["params"].keys()
    ladder = json.loads(shown(looked_at, "--ladder", found[0]["key"], "--json"))
    assert {"rain", "noise30"} <= {pair["recipe"] for pair in ladder}


def test_options_that_do_not_go_together(looked_at: Path) -> None:  # noqa: F811
    assert "--where: has no effect with --sample KEY" in refused(looked_at, "--sample", "a-key", "--where", "true")
    assert "is a file, so" in refused(looked_at, "--ladder", __file__)
    assert refused(looked_at, "--html", "a.html", "--show") == "--show: has no effect with --html. Leave one of them out."
    assert refused(looked_at, "--html", "a.html", "--json") == "--json: has no effect with --html. Leave one of them out."
    assert "--where: has no effect with --compare" in refused(looked_at, "--compare", looked_at, "--where", "true")
    assert refused("--show") == "PATH: missing, expected a corpus, a folder in one, or shards"


def test_comparisons(looked_at: Path) -> None:  # noqa: F811
    text = shown(looked_at / "rain", "--compare", looked_at / "rain")
    assert "80 pairs; 80 with the same clean patch, 80 of them the same pair; made with the same recipe" in text
    text = shown(looked_at / "noise50", "--compare", looked_at / "drawn")
    assert "80 with the same clean patch, 0 of them the same pair" in text
    assert re.search(r"recipe\.task +noise50 +drawn", text)
    found = json.loads(shown(looked_at, "--compare", looked_at / "rain", "--json"))
    assert found["only_a"] == ["drawn/train", "noise50/train", "sr2/train"]
    assert found["both"][0]["same"] == 80


def test_shards_of_another_make(tmp_path: Path) -> None:
    write_tar(tmp_path / "mine-0.tar", [sample(number) for number in range(5)] + [{"txt": b"no pair"}])
    (tmp_path / "mine-1.tar").write_bytes((tmp_path / "mine-0.tar").read_bytes()[:5000])
    text = shown(tmp_path)
    assert text.startswith("mine: tars without a manifest")
    assert "2 tars" in text
    assert "16x16 and 8x8" in text
    assert "mine-1.tar is not a valid tar after its first" in text
    assert "0005 has txt; expected one of clean" in text
    (found,) = json.loads(shown(tmp_path, "--json"))
    assert found["members"]["gt.png"] >= 5
    assert shown(tmp_path / "mine-0.tar", "--sample", "0003").count("0003") == 1


def test_check_finds_a_flipped_bit(looked_at: Path, tmp_path: Path) -> None:  # noqa: F811
    shutil.copytree(looked_at / "rain", tmp_path / "rain")
    assert "other bytes" not in shown(tmp_path, "--check")
    tar = tmp_path / "rain" / "train" / "rain-train-000001.tar"
    data = bytearray(tar.read_bytes())
    data[70_000] ^= 1
    tar.write_bytes(data)
    assert "does not match its manifest" not in shown(tmp_path)
    result = inspect(tmp_path, "--check")
    assert result.exit_code == 1
    text = result.stdout
    assert "! " + str(tar) + " does not match its manifest" in text
    assert "48 pairs, " in text
    assert "1 unit is missing (1)" in text
    (found,) = json.loads(inspect(tmp_path, "--check", "--json").stdout)
    assert found["shards"] == 2


@pytest.mark.parametrize("what", [("--preview", "p.png"), ("--html", "p.html"), ("--sample", "2")])
def test_a_damaged_shard_is_named_and_the_others_are_shown(looked_at: Path, tmp_path: Path, what: tuple[str, str]) -> None:  # noqa: F811
    shutil.copytree(looked_at / "rain", tmp_path / "rain")
    os.truncate(tmp_path / "rain" / "train" / "rain-train-000001.tar", 1000)
    option, value = what
    result = inspect(tmp_path / "rain", option, tmp_path / value if "." in value else value)
    assert result.exit_code == 1
    assert "rain-train-000001.tar is 1,000 bytes long" in result.stderr
    assert "." not in value or (tmp_path / value).stat().st_size > 1000
    assert "." in value or "rain-train-0" in result.stdout


@pytest.mark.parametrize("what", [("--preview", "p.png"), ("--html", "p.html"), ("--sample", "9")])
def test_a_bad_sample_of_a_tar_is_named_and_the_others_are_shown(tmp_path: Path, what: tuple[str, str]) -> None:
    write_tar(tmp_path / "a.tar", [sample(1), sample(2) | {"lq.png": b"junk"}, sample(3)])
    option, value = what
    result = inspect(tmp_path / "a.tar", option, tmp_path / value if "." in value else value)
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr


def test_notes_about_nothing_damaged_do_not_fail(looked_at: Path, tmp_path: Path) -> None:  # noqa: F811
    assert inspect(looked_at, "--where", "params.sigma >= 0", "--preview", tmp_path / "p.png").exit_code == 0


def test_one_recipe_that_is_gone_does_not_hide_the_others(looked_at: Path, tmp_path: Path) -> None:  # noqa: F811
    shutil.copytree(looked_at, tmp_path / "c")
    for tar in (tmp_path / "c" / "rain" / "train").glob("*.tar"):
        tar.unlink()
    text = shown(tmp_path / "c")
    assert text.count("Gaussian noise of sigma 50") == 1
    assert "rain-train-000000.tar is missing" in text


def test_an_empty_tar_and_an_empty_path(tmp_path: Path) -> None:
    write_tar(tmp_path / "mine-0.tar", [])
    assert "0 samples" in shown(tmp_path)
    assert refused(tmp_path, "--sample", 1) == "no sample of mine can be shown"
    assert "found an empty path" in refused("")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    record = b'{"label": "\\u001b[31mred\\u009b2J\\u0007", "params": {"\\u001b]52;c;x": 1}}'
    write_tar(tmp_path / "mine-0.tar", [sample(0) | {"json": record, "x\x1b[2J": b""}])
    forced = {"FORCE_COLOR": "1", "NO_COLOR": "", "TERM": "xterm-256color"}
    for arguments in ((), ("--sample", 1), ("--show",)):
        text = shown(tmp_path, *arguments, **forced)
        left = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", left)
        assert "\x1b[31m" not in text
        assert "\\x1b" in left


def test_secrets_in_urls_are_not_written(tmp_path: Path) -> None:
    assert "hush" not in refused("s3://KEY:hush@/")
    assert str(ShardError("s3://KEY:hush@bucket/a.tar is missing")) == "s3://***@bucket/a.tar is missing"


def test_paths_that_are_no_utf_8(looked_at: Path, tmp_path: Path) -> None:  # noqa: F811
    name = os.fsencode(tmp_path) + b"/co\xff"
    shutil.copytree(looked_at / "rain", os.fsdecode(name + b"/rain"))
    for arguments in ([], ["--sample", "1"], ["--html", "a.html"], ["--preview", "a.png"]):
        command = [sys.executable, "-m", "iptdata", "inspect", name, *arguments]
        result = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
        assert result.returncode == 2
        assert re.fullmatch(rb"iptdata: .*/co\\xff/rain/train has a name that is not UTF-8, .*\n", result.stderr), result.stderr
    (tmp_path / "a.tar").write_bytes((looked_at / "rain" / "train" / "rain-train-000000.tar").read_bytes())
    for arguments in (["--sample", b"\xff"], [b"\xff.tar"]):
        command = [sys.executable, "-m", "iptdata", "inspect", "a.tar", *arguments]
        result = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
        assert result.returncode == 2
        assert re.match(rb"iptdata: .*\\(udc|x)ff", result.stderr), result.stderr


def test_nobody_reads_any_more(looked_at: Path) -> None:  # noqa: F811
    command = f"{sys.executable} -m iptdata inspect {looked_at} --sample 20 | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "141"
    assert result.stderr == ""


def test_pictures_of_other_heights() -> None:
    tall, small = np.full((8, 4, 3), 200, np.uint8), np.full((4, 3, 3), 90, np.uint8)
    out = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=100)
    out.print(Pictures([small, tall]))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.file.getvalue().splitlines()]  # pyright: ignore[reportAttributeAccessIssue]
    assert lines == ["▀▀▀  ▀▀▀▀"] * 2 + ["     ▀▀▀▀"] * 2


def test_names_from_files_are_no_markup(tmp_path: Path) -> None:
    write_tar(tmp_path / "[bold]x-0.tar", [sample(0)])
    assert shown(tmp_path).startswith("[bold]x: tars")
    assert "[bold]x-0.tar" in shown(tmp_path, "--sample", 1)
