"""Tables of scores: a result that is worse than its input is marked, and what was published is beside the same channel."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from iptdata.cli.commands.eval import command
from iptdata.cli.views.published import print_published, print_published_markdown
from iptdata.cli.views.scores import print_markdown, print_scores, print_scores_as_json
from iptdata.evaluation.marks import WORSE_NOTE
from iptdata.evaluation.score import Score
from tests.evaluation.test_published import measured

METHODS = ["SwinIR", "Restormer-blind", "DRUNet"]


def in_terminal(scores: list[Score], *, images: bool = False, color: bool = False) -> str:
    out = Console(file=io.StringIO(), width=80, highlight=False, no_color=not color, force_terminal=color)
    print_scores(out, scores, images)
    print_published(out, scores, METHODS, command.spelling)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def worse(score: Score) -> Score:
    """The same score, 2 dB below its input on luma and above it on RGB."""
    return replace(score, rows=[replace(row, input_psnr_y=row.psnr_y + 2) for row in score.rows])


def test_a_result_below_its_input_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = measured("CBSD68", "noise50", 2), worse(measured("CBSD68", "noise50", 2))
    print_markdown([good])
    assert "!" not in in_terminal([good]) + capsys.readouterr().out
    for text in (in_terminal([bad]), in_terminal([bad], images=True)):
        assert "22.00 !20.00 14.00 15.00" in " ".join(text.split())
        assert WORSE_NOTE in text
    assert in_terminal([bad], images=True).count("!20.00") == 3
    assert "\x1b[31m!20.00" in in_terminal([bad], color=True)
    print_markdown([bad])
    text = capsys.readouterr().out
    assert "| CBSD68 | noise50 | 2 | 22.00 | !20.00 | 14.00 | 15.00 | 0.5000 | 0.5000 |" in text
    assert f"- {WORSE_NOTE}" in text


def test_differences_too_small_to_be_shown_are_not_marked() -> None:
    score = measured("CBSD68", "noise50", 1)
    assert "!" not in in_terminal([replace(score, rows=[replace(row, input_psnr_y=row.psnr_y + 1e-9) for row in score.rows])])


def test_tables_fit_into_a_terminal_and_name_the_flag() -> None:
    text = in_terminal([measured("CBSD68", "noise50", 68)])
    assert max(len(line) for line in text.splitlines() if line.startswith(" ")) <= 80
    assert "\u2026" not in text
    assert "CBSD68    noise50 IPT             Y clipped         29.88 20.00      -9.88 [1]" in text
    assert "Restormer-blind RGB unclipped     28.59 15.00            [" in text
    assert (
        "no difference from DRUNet Y, SwinIR RGB, Restormer-blind RGB, DRUNet RGB: published for unclipped noise; use " in text
    )
    assert "use --no-clip to compare" in " ".join(text.split())
    unclipped = in_terminal([measured("CBSD68", "noise50", 68, clip=False)])
    assert "no difference from IPT Y: published for clipped noise; use --clip to compare" in unclipped


def test_markdown_has_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_published_markdown([measured("CBSD68", "noise50", 68)], ["DRUNet"], command.spelling)
    text = capsys.readouterr().out
    assert "| CBSD68 | noise50 | IPT | Y clipped | 29.88 | 20.00 | -9.88 | [1] |" in text
    assert "| CBSD68 | noise50 | DRUNet | RGB unclipped | 28.51 | 15.00 |  | [3] |" in text
    assert "- [1] Chen et al., Pre-Trained Image Processing Transformer, CVPR 2021, table 2" in text
    print_published_markdown([measured("mine", "noise50", 68)], ["DRUNet"], command.spelling)
    assert capsys.readouterr().out == ""


def test_json_has_channel_protocol_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores_as_json([measured("CBSD68", "noise50", 68)], ["DRUNet"], command.spelling)
    (score,) = json.loads(capsys.readouterr().out)
    assert "paper" not in score["mean"]
    assert (score["mean"]["quoted"], score["mean"]["quoted_input"], score["mean"]["input_psnr_y"]) == (15, 14, 18)
    first, second = score["published"][:2]
    assert first["source"].endswith("CVPR 2021, table 2")
    assert (first["method"], first["channel"], first["noise"], first["psnr"]) == ("IPT", "Y", "clipped", 29.88)
    assert (first["measured"], first["difference"], first["reason"]) == (20, pytest.approx(-9.88), None)
    assert (second["difference"], second["reason"]) == (None, "published for unclipped noise; use --no-clip to compare")
