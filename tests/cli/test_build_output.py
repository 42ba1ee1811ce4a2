"""What `iptdata build` prints about its source: entries that cannot be used, names that are not the original ones, windows."""

import re
from pathlib import Path

from click.testing import CliRunner

from iptdata.cli import group
from tests.conftest import natural_image
from tests.source.every_form import parquet, webdataset
from tests.tars import png, write_members


def test_rejects_are_printed_escaped_and_the_first_of_many(photos: Path, tmp_path: Path) -> None:
    (photos / "\x1b[31m\n.png").symlink_to("nowhere")
    for number in range(24):
        (photos / f"link{number}.png").symlink_to("nowhere")
    arguments = ["build", "--recipe", "noise30", "--source", str(photos), "--out", str(tmp_path / "out"), "--workers", "0"]
    result = CliRunner().invoke(group, [*arguments, "--max-rejects", "25"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "skipped: \\x1b[31m\\n.png (dangling link)\n" in result.stderr
    assert len(re.findall(r"^skipped: .* \(dangling link\)$", result.stderr, re.MULTILINE)) == 20
    assert "skipped: 5 more, see rejects.parquet\n" in result.stderr
    assert "25 dangling" in re.sub(r"\s+", " ", result.stdout)


def printed(source: Path, out: Path, *more: str) -> str:
    """What a dry run prints on standard error, on one line."""
    arguments = ["build", "--recipe", "noise30", "--source", str(source), "--out", str(out), "--dry-run", *more]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert not out.exists()
    return re.sub(r"\s+", " ", result.stderr)


def test_names_that_are_not_the_original_ones_are_announced(tmp_path: Path) -> None:
    data = png(natural_image(60, 60))
    numbered = write_members(tmp_path / "a.tar", [("0000.cls", b"1"), ("0000.png", data)])
    assert "The names are not the original ones: the pairs are those of this source" in printed(numbered, tmp_path / "out")
    named = webdataset({"n01440764/n01440764_1.JPEG": data, "n01440764/n01440764_2.JPEG": data}, tmp_path)
    assert "not the original ones" not in printed(named, tmp_path / "out")


def test_windows_of_blocks_are_announced(tmp_path: Path) -> None:
    images = {f"n01440764/n01440764_{number}.JPEG": png(natural_image(60, 60, number)) for number in range(40)}
    text = printed(parquet(2)(images, tmp_path), tmp_path / "out", "--images-per-shard", "4")
    assert "Parquet file data/train-*.parquet: 40 images, 40 train; seed 0" in text
    assert "20 row groups in 2 windows, whose images are mixed: 10 units" in text
    assert "windows" not in printed(parquet(1)(images, tmp_path), tmp_path / "out")
