"""Benchmarks in every layout, measured as the field does: published figures come out, and what cannot be measured is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from iptdata.degradations.bicubic import imresize
from iptdata.errors import EvaluateError
from iptdata.evaluation.benchmark import open_benchmark, pair_of_folders
from iptdata.evaluation.measurements import plan_measurements
from iptdata.evaluation.protocol import Protocol, protocol_of
from iptdata.evaluation.score import Score, evaluate
from iptdata.image.psnr import psnr
from iptdata.recipe import Recipe, load
from iptdata.restoration.restorer import Bicubic, Identity
from tests.conftest import natural_image, save


def protocol(task: str, **options) -> Protocol:
    recipe = load(task)
    assert isinstance(recipe, Recipe)
    return protocol_of(recipe, **options)


def baseline(folder: Path, task: str, **options) -> Score:
    measured = protocol(task, **options)
    return evaluate(
        Bicubic(measured.scale) if measured.scale > 1 else Identity(), open_benchmark(str(folder), measured), measured
    )


@pytest.mark.parametrize(
    ("name", "task", "published", "within"),
    [
        ("Set5", "sr2", 33.66, 0.03),
        ("Set5", "sr3", 30.39, 0.03),
        ("Set5", "sr4", 28.42, 0.03),
        ("Set14", "sr2", 30.24, 0.12),
        ("Set14", "sr3", 27.55, 0.12),
        ("Set14", "sr4", 26.00, 0.12),
        ("Rain100L", "rain", 26.55, 0.02),
    ],
)
def test_published_baselines(shared: Path, name: str, task: str, published: float, within: float) -> None:
    """Bicubic as papers on super-resolution quote it; the input of Rain100L's first 50 pairs."""
    score = baseline(shared / "data" / "benchmark" / name, task)
    assert score.problems == []
    assert score.quoted == pytest.approx(published, abs=within)


@pytest.mark.parametrize(("clip", "wanted"), [(True, 14.99), (False, 14.15)])
def test_noise_of_cbsd68(shared: Path, clip: bool, wanted: float) -> None:
    """14.15 dB is 20 log10(255 / 50): what is added when nothing is clipped; the corpus and the IPT code clip."""
    score = baseline(shared / "data" / "benchmark" / "CBSD68", "noise50", clip=clip)
    assert score.mean("input_psnr") == pytest.approx(wanted, abs=0.01)


def test_low_resolution_is_that_of_the_benchmark_or_made(tmp_path: Path) -> None:
    image = natural_image(51, 50)
    save(tmp_path / "HR" / "a.png", image)
    (case,) = open_benchmark(str(tmp_path), protocol("sr4")).cases
    benchmark = open_benchmark(str(tmp_path), protocol("sr4"))
    corrupted, clean = benchmark.load(case, protocol("sr4"))
    assert np.array_equal(clean, image[:48, :48])
    assert np.array_equal(corrupted, imresize(image[:48, :48].copy(), 0.25))
    given = natural_image(12, 12, 1)
    save(tmp_path / "LR_bicubic" / "X4" / "ax4.png", given)
    benchmark = open_benchmark(str(tmp_path), protocol("sr4"))
    corrupted, _ = benchmark.load(benchmark.cases[0], protocol("sr4"))
    assert np.array_equal(corrupted, given)
    plain = open_benchmark(str(tmp_path / "HR"), protocol("sr3"))
    assert plain.load(plain.cases[0], protocol("sr3"))[1].shape == (51, 48, 3)


def test_noise_depends_on_seed_and_name_alone(tmp_path: Path) -> None:
    clean = np.full((200, 200, 3), 128, np.uint8)
    noisy = [
        protocol("noise30", seed=seed).noisy(clean, name).astype(float)
        for seed, name in ((0, "a"), (0, "a"), (0, "b"), (1, "a"))
    ]
    assert np.array_equal(noisy[0], noisy[1])
    assert all(abs(np.corrcoef(noisy[0].ravel(), other.ravel())[0, 1]) < 0.02 for other in noisy[2:])
    assert (noisy[0] - 128).std() == pytest.approx(30, rel=0.01)
    raw = protocol("noise50", clip=False).noisy(np.zeros((200, 200, 3), np.uint8), "a")
    assert raw.dtype == np.float32
    assert raw.std() == pytest.approx(50, rel=0.01)
    assert raw.min() < -150


@pytest.mark.parametrize(
    "names",
    [
        ("rain-{}.png", "norain-{}.png"),
        ("rain/{}.png", "norain/{}.png"),
        ("input/{}.jpg", "target/{}.png"),
        ("lq/{}.bmp", "gt/{}.tif"),
    ],
)
def test_pairs(tmp_path: Path, names: tuple[str, str]) -> None:
    clean = natural_image(40, 50)
    for number in (1, 2):
        for name, image in zip(names, (255 - clean, clean), strict=True):
            save(tmp_path / name.format(f"00{number}"), image)
    score = baseline(tmp_path, "rain")
    assert [row.name[-3:] for row in score.rows] == ["001", "002"]
    assert score.mean("psnr_rgb") == pytest.approx(psnr(255 - clean, clean), abs=0.3 if "jpg" in names[0] else 1e-9)


def test_two_folders_anywhere(tmp_path: Path) -> None:
    for name in ("x", "y"):
        save(tmp_path / "before" / f"{name}.jpg", natural_image(40, 50))
        save(tmp_path / "after" / f"{name}.png", natural_image(40, 50))
    measured = protocol("rain")
    score = evaluate(Identity(), pair_of_folders(str(tmp_path / "before"), str(tmp_path / "after")), measured)
    assert (score.benchmark, len(score.rows)) == (tmp_path.name, 2)
    save(tmp_path / "deep" / "er" / "x.png", natural_image(40, 50))
    assert pair_of_folders(str(tmp_path / "before"), str(tmp_path / "deep" / "er")).name == "er"
    with pytest.raises(EvaluateError, match="have no image of the same name"):
        pair_of_folders(str(tmp_path / "before"), str(tmp_path))
    with pytest.raises(EvaluateError, match="none does not exist"):
        pair_of_folders(str(tmp_path / "none"), str(tmp_path))


def test_what_cannot_be_measured_is_named(tmp_path: Path) -> None:
    for name in ("good", "small", "torn", "alone"):
        save(tmp_path / f"rain-{name}.png", natural_image(40, 50))
        save(tmp_path / f"norain-{name}.png", natural_image(40, 50))
    save(tmp_path / "rain-small.png", natural_image(40, 49))
    (tmp_path / "norain-torn.png").write_bytes(b"torn")
    (tmp_path / "norain-alone.png").unlink()
    score = baseline(tmp_path, "rain")
    assert [row.name for row in score.rows] == ["rain-good"]
    assert score.problems == [
        "rain-alone.png has no clean image beside it",
        "rain-small.png is 49x40, expected 50x40, the size of norain-small.png",
        score.problems[2],
    ]
    assert score.problems[2].startswith("norain-torn.png: unreadable: ")


def test_grey_images_and_other_formats(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.bmp", "d.tif"):
        cv2.imwrite(str(tmp_path / name), natural_image(64, 64)[..., 0])
    (tmp_path / "notes.txt").write_text("no image")
    score = baseline(tmp_path, "noise30")
    assert [row.name for row in score.rows] == ["a", "b", "c", "d"]


def test_images_that_are_the_same_and_small_ones(tmp_path: Path) -> None:
    for name in ("rain", "norain"):
        save(tmp_path / name / "x.png", natural_image(9, 9))
    score = baseline(tmp_path, "rain")
    assert (score.rows[0].psnr_y, score.mean("ssim_y")) == (100, None)


def test_a_size_that_comes_out_wrong(tmp_path: Path) -> None:
    save(tmp_path / "a.png", natural_image(40, 40))
    measured = protocol("sr2")
    score = evaluate(Identity(), open_benchmark(str(tmp_path), measured), measured)
    assert score.problems == ["a became 20x20, its clean image is 40x40"]


def test_images_that_are_too_small(tmp_path: Path) -> None:
    for side in (1, 4, 8):
        save(tmp_path / f"{side}.png", natural_image(side, 30))
    score = baseline(tmp_path, "sr2")
    assert [row.name for row in score.rows] == ["8"]
    assert score.problems == [
        "1.png is 30x0, too small to leave out 2 pixels of border",
        "4.png is 30x4, too small to leave out 2 pixels of border",
    ]


def test_what_is_missing_on_either_side_is_named(tmp_path: Path) -> None:
    for name in ("input/a.png", "target/a.png", "target/b.png", "input/c.png"):
        save(tmp_path / "pairs" / name, natural_image(20, 20))
    score = baseline(tmp_path / "pairs", "rain")
    assert [row.name for row in score.rows] == ["a"]
    assert score.problems == ["target/b.png has no corrupted image beside it", "input/c.png has no clean image beside it"]
    for name in ("HR/a.png", "HR/b.png"):
        save(tmp_path / "sr" / name, natural_image(40, 40))
    save(tmp_path / "sr" / "LR_bicubic" / "X2" / "ax2.png", natural_image(20, 20))
    assert baseline(tmp_path / "sr", "sr2").problems == ["HR/b.png has no corrupted image beside it"]


def test_folders_that_do_not_say_what_is_clean(tmp_path: Path) -> None:
    for name in ("rain-1.png", "norain-1.png"):
        save(tmp_path / name, natural_image(20, 20))
    for task in ("noise30", "sr2"):
        with pytest.raises(EvaluateError, match=f"holds pairs, rain-1.png with norain-1.png; {task} is measured"):
            open_benchmark(str(tmp_path), protocol(task))
    save(tmp_path / "two" / "a.png", natural_image(20, 20))
    save(tmp_path / "two" / "a.jpg", natural_image(20, 20))
    with pytest.raises(EvaluateError, match=r"a\.jpg and a\.png in .*two have one name"):
        open_benchmark(str(tmp_path / "two"), protocol("noise30"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"benchmarks": ["x"]}, "give either --checkpoint FILE or --baseline"),
        ({"baseline": "bicubic", "checkpoint": "x", "benchmarks": ["x"]}, "give either"),
        ({"baseline": "bicubic"}, "there is no benchmark to measure on"),
        ({"baseline": "bicubic", "benchmarks": ["x"]}, "there is no task to measure; give --task NAME, such as ipt, noise10"),
        ({"baseline": "bicubic", "benchmarks": ["x"], "tasks": ["sr9"]}, "task: found recipe 'sr9', expected one of sr"),
        ({"baseline": "bicubic", "benchmarks": ["x"], "tasks": ["ipt"]}, "ipt is a suite; name one of its recipes, sr2"),
        ({"baseline": "bicubic", "benchmarks": ["x"], "tasks": ["rain"]}, "rain does not enlarge; use --baseline identity"),
        ({"baseline": "identity", "benchmarks": ["x"], "tasks": ["sr2"]}, "sr2 enlarges, which --baseline identity does not"),
        ({"baseline": "bicubic", "benchmarks": ["nowhere"], "tasks": ["sr2"]}, "benchmark nowhere does not exist"),
    ],
)
def test_mistakes(options: dict, says: str) -> None:
    with pytest.raises(EvaluateError, match=says):
        plan_measurements(**options)


def test_folders_without_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match="has no images for sr2; looked for HR/"):
        open_benchmark(str(tmp_path), protocol("sr2"))
    save(tmp_path / "a.png", natural_image(40, 40))
    with pytest.raises(EvaluateError, match="has no images for rain; looked for rain-NAME and norain-NAME, or the folders"):
        open_benchmark(str(tmp_path), protocol("rain"))
    blind = tmp_path / "blind.yaml"
    blind.write_text("task: blind\nsteps: [{gaussian_noise: {sigma: {uniform: [5, 50]}}}]\n")
    with pytest.raises(EvaluateError, match="blind draws sigma from 5 to 50; name a task with one sigma"):
        protocol(str(blind))
