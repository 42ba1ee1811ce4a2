"""What `iptdata build` prints about entries of the source that cannot be used."""

import re
from pathlib import Path

from click.testing import CliRunner

from iptdata.cli import group


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
