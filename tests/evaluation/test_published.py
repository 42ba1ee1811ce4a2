"""Published figures: the data file is consistent, and a difference is shown on the same channel and protocol alone."""

from collections import Counter
from collections.abc import Iterable

import pytest
import yaml

from iptdata.errors import EvaluateError
from iptdata.evaluation.protocol import Protocol, protocol_of
from iptdata.evaluation.published import FILE, all_published, find_methods, find_published, methods
from iptdata.evaluation.score import ImageScore, Score
from iptdata.recipe import Recipe, load

DATA = yaml.safe_load(FILE.read_text())
GROUPS = [(method, group) for method, groups in DATA["methods"].items() for group in groups]


def protocol(task: str, **options) -> Protocol:
    recipe = load(task)
    assert isinstance(recipe, Recipe)
    return protocol_of(recipe, **options)


def measured(benchmark: str, task: str, images: int, **options) -> Score:
    """A score of 20 dB on luma and 15 dB on RGB."""
    row = ImageScore(name="a", psnr_y=20, psnr_rgb=15, ssim_y=0.5, ssim_rgb=0.5, input_psnr_y=18, input_psnr_rgb=14)
    return Score(benchmark=benchmark, protocol=protocol(task, **options), restorer="x", rows=[row] * images, problems=[])


def differences(score: Score, beside: Iterable[str] = ()) -> dict[tuple[str, str, str], float | None]:
    return {
        (item.published.method, item.published.channel, item.published.noise): item.difference
        for item in score.published(beside)
    }


def test_each_figure_has_what_a_comparison_needs() -> None:
    assert {*DATA} == {"benchmarks", "tasks", "methods"}
    assert {"IPT", "EDSR", "RCAN", "SwinIR", "Restormer", "HAT", "DRUNet"} <= {*methods()}
    for method, group in GROUPS:
        assert {"source", "note", "channel", "psnr"} <= {*group} <= {"source", "note", "channel", "psnr", "noise", "differs"}, (
            method
        )
        assert group["channel"] in ("Y", "RGB")
        assert min(len(group["source"]), len(group["note"])) > 10
        for task, row in group["psnr"].items():
            is_denoising = DATA["tasks"][task]["kind"] == "denoising"
            assert group.get("noise", "") in (("clipped", "unclipped", "unknown") if is_denoising else ("",)), (method, task)
            assert {*row} <= {*DATA["benchmarks"]}
    assert all(isinstance(item.psnr, float) and 26 < item.psnr < 42 for item in all_published())
    assert all(item.psnr == round(item.psnr, 3) and item.images > 4 for item in all_published())
    keys = Counter((item.method, item.benchmark, item.task, item.channel, item.noise) for item in all_published())
    assert max(keys.values()) == 1


def test_tasks_are_measured_as_they_were_published() -> None:
    for task, conditions in DATA["tasks"].items():
        own = protocol(task)
        assert {key: getattr(own, key) for key in conditions} == conditions
        assert {"kind", "border"} < {*conditions}


def test_figures_are_of_a_plausible_size() -> None:
    """A digit that was copied wrongly would stand out: networks differ by less than 2 dB, neighbouring tasks by 1 to 5 dB."""
    for one in all_published():
        for other in all_published():
            if (one.benchmark, one.channel) == (other.benchmark, other.channel) and one.task == other.task != "rain":
                assert abs(one.psnr - other.psnr) < 2, (one, other)
            if (one.method, one.benchmark, one.channel, one.noise) == (
                other.method,
                other.benchmark,
                other.channel,
                other.noise,
            ):
                neighbours = (
                    ("sr2", "sr3"),
                    ("sr3", "sr4"),
                    ("noise15", "noise25"),
                    ("noise25", "noise50"),
                    ("noise30", "noise50"),
                )
                assert (one.task, other.task) not in neighbours or 1 < one.psnr - other.psnr < 5.5, (one, other)


@pytest.mark.parametrize("name", ["CBSD68", "cbsd68", "CBSD-68", "BSD68_color"])
def test_benchmarks_by_their_names(name: str) -> None:
    assert [item.psnr for item in find_published(name, protocol("noise50"), ["IPT"])] == [29.88, 28.39]
    for own, other in (("BSD100", "B100"), ("bsds100", "b100"), ("Kodak", "Kodak24")):
        for task in ("sr2", "noise50"):
            assert find_published(own, protocol(task), ["IPT"]) == find_published(other, protocol(task), ["IPT"])


def test_names_belong_to_one_benchmark() -> None:
    names = [alias for name, about in DATA["benchmarks"].items() for alias in (name, *about.get("aliases", ()))]
    assert len({name.lower() for name in names}) == len(names)
    for name in ("BSD68", "my set", "", "Set5 stand-in", "Set"):
        assert find_published(name, protocol("sr2"), methods()) == []


def test_a_task_that_has_only_its_name_in_common_has_no_figures() -> None:
    for own in (
        Protocol(task="noise50", kind="denoising", sigma=40, channel="RGB"),
        Protocol(task="noise50", kind="pairs"),
        Protocol(task="sr2", kind="pairs", scale=2),
        Protocol(task="sr2", kind="super-resolution", scale=2, border=0),
        Protocol(task="my-noise", kind="denoising", sigma=50, channel="RGB"),
    ):
        assert find_published("Urban100", own, methods()) == []


def test_no_difference_across_channels_or_protocols() -> None:
    """IPT's table 2 is luma with clipped noise: it is never subtracted from RGB, nor from noise that is not clipped."""
    clipped = differences(measured("CBSD68", "noise50", 68), ["SwinIR", "drunet"])
    assert clipped == {
        ("IPT", "Y", "clipped"): pytest.approx(20 - 29.88),
        ("DRUNet", "Y", "unclipped"): None,
        ("SwinIR", "RGB", "unclipped"): None,
        ("DRUNet", "RGB", "unclipped"): None,
        ("IPT", "RGB", "unknown"): None,
    }
    unclipped = differences(measured("CBSD68", "noise50", 68, clip=False), ["SwinIR", "DRUNet"])
    assert unclipped == {
        ("IPT", "Y", "clipped"): None,
        ("DRUNet", "Y", "unclipped"): pytest.approx(20 - 30.09),
        ("SwinIR", "RGB", "unclipped"): pytest.approx(15 - 28.56),
        ("DRUNet", "RGB", "unclipped"): pytest.approx(15 - 28.51),
        ("IPT", "RGB", "unknown"): None,
    }
    assert differences(measured("CBSD68", "noise30", 68))[("IPT", "RGB", "clipped")] == pytest.approx(15 - 30.748)


def test_why_there_is_no_difference() -> None:
    score = measured("CBSD68", "noise50", 68)
    reasons = {(item.published.method, item.published.channel): item.reason for item in score.published(["SwinIR"])}
    assert reasons[("IPT", "Y")] == ""
    assert reasons[("SwinIR", "RGB")] == "published for unclipped noise; use `clip=False` to compare"
    assert reasons[("IPT", "RGB")] == "the source does not tell whether the noise was clipped"
    (part,) = measured("Set5", "sr2", 3).published()
    assert (part.measured, part.difference) == (20, None)
    assert part.reason == "published for all 5 images of Set5, measured on 3"
    (whole,) = measured("Set5", "sr2", 5).published()
    assert (whole.difference, whole.reason) == (pytest.approx(20 - 38.37), "")
    _, restormer = measured("Rain100L", "rain", 100).published("restormer")
    assert (restormer.difference, restormer.reason) == (None, "its luma was rounded to whole numbers")
    (none,) = measured("Set5", "sr2", 0).published()
    assert (none.measured, none.difference) == (None, None)


def test_methods_by_their_names() -> None:
    assert find_methods(["swinir", "IPT", "SWINIR", "restormer-BLIND"]) == ["SwinIR", "IPT", "Restormer-blind"]
    with pytest.raises(EvaluateError, match=r"beside: found 'restorer', expected one of Restormer, .*EDSR"):
        find_methods(["restorer"])
    with pytest.raises(EvaluateError, match="beside: found 'x'"):
        measured("Set5", "sr2", 5).published(["x"])
