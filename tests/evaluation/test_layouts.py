"""Benchmarks in the layouts in which they are published, as one folder and as two."""

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from iptdata.errors import EvaluateError
from iptdata.evaluation.benchmark import Benchmark, open_benchmark, pair_of_folders
from iptdata.evaluation.protocol import Protocol, protocol_of
from iptdata.evaluation.score import score
from iptdata.recipe import Recipe, load
from iptdata.restoration import Bicubic, Identity
from tests.conftest import natural_image, save

# Task, and the files of a published benchmark: corrupted, clean; {} is the number of the image.
PUBLISHED = {
    "Rain100L in two folders": ("rain", "rain/rain-{}.png", "norain/norain-{}.png"),
    "Rain100L in one folder": ("rain", "rain-{}.png", "norain-{}.png"),
    "Rain100H as first published": ("rain", "rain/X2/norain-{}x2.png", "norain/norain-{}.png"),
    "Rain100H without a folder of rain": ("rain", "X2/norain-{}x2.png", "norain-{}.png"),
    "Rain100H with X2 in its names": ("rain", "rain/norain-{}x2.png", "norain/norain-{}.png"),
    "rain beside plain names": ("rain", "rain/rain-{}.png", "norain/{}.png"),
    "Restormer": ("rain", "input/{}.png", "target/{}.png"),
    "case of names": ("rain", "Rain/Rain-{}.PNG", "NoRain/NoRain-{}.png"),
    "case of names of low resolution": ("sr2", "LR_bicubic/X2/{}X2.png", "HR/{}.png"),
    "RCAN": ("sr2", "LR/x2/{}_LRBI_x2.png", "HR/x2/{}_HR_x2.png"),
    "SelfExSR in lower case": ("sr2", "img_{}_srf_2_lr.png", "img_{}_srf_2_hr.png"),
    "other case": ("rain", "Input/{}.PNG", "Target/{}.jpg"),
    "real": ("rain", "LQ/{}.png", "GT/{}.png"),
    "RainDrop": ("rain", "data/{}_rain.png", "gt/{}_clean.png"),
    "EDSR": ("sr2", "LR_bicubic/X2/{}x2.png", "HR/{}.png"),
    "DIV2K": ("sr4", "DIV2K_valid_LR_bicubic/X4/{}x4.png", "DIV2K_valid_HR/{}.png"),
    "EDT": ("sr2", "LR/x2/{}.png", "HR/x2/{}.png"),
    "EDT with the names of EDSR": ("sr3", "LR/x3/{}x3.png", "HR/x3/{}.png"),
    "one folder of clean images": ("sr2", "LR/x2/{}.png", "HR/{}.png"),
    "BasicSR": ("sr4", "LRbicx4/{}.png", "GTmod12/{}.png"),
    "SelfExSR": ("sr2", "image_SRF_2/img_{}_SRF_2_LR.png", "image_SRF_2/img_{}_SRF_2_HR.png"),
    "SelfExSR without its folder": ("sr4", "img_{}_SRF_4_LR.png", "img_{}_SRF_4_HR.png"),
    "X2 in the folder of the clean images": ("sr2", "X2/norain-{}x2.png", "norain-{}.png"),
}


def protocol(task: str) -> Protocol:
    recipe = load(task)
    assert isinstance(recipe, Recipe)
    return protocol_of(recipe)


def write(folder: Path, task: str, corrupted: str, clean: str, numbers: Mapping[int, int]) -> None:
    side = 48 // protocol(task).scale
    for number, seed in numbers.items():
        save(folder / corrupted.format(f"{number:03}"), natural_image(side, side, seed))
        save(folder / clean.format(f"{number:03}"), natural_image(48, 48, seed + 50))


def problems(benchmark: Benchmark, task: str) -> list[str]:
    measured = protocol(task)
    found = score(Bicubic(measured.scale) if measured.scale > 1 else Identity(), benchmark, measured)
    assert len(found.rows) + len(found.problems) >= 1
    return list(found.problems)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layouts(tmp_path: Path, name: str) -> None:
    task, corrupted, clean = PUBLISHED[name]
    write(tmp_path, task, corrupted, clean, {1: 1, 2: 2})
    low_folder, high_folder = (str(tmp_path / os.path.dirname(pattern)) for pattern in (corrupted, clean))
    for found in (open_benchmark(str(tmp_path), protocol(task)), pair_of_folders(low_folder, high_folder, protocol(task))):
        assert [(case.corrupted is not None, bool(case.clean)) for case in found.cases] == [(True, True)] * 2
        assert problems(found, task) == []
        for case, seed in zip(found.cases, (1, 2), strict=True):
            if corrupted.endswith(".png") and clean.endswith(".png"):
                low, high = found.load(case, protocol(task))
                assert np.array_equal(low, natural_image(low.shape[0], low.shape[1], seed))
                assert np.array_equal(high, natural_image(48, 48, seed + 50))


def test_other_scales_in_the_folder_are_left_out(tmp_path: Path) -> None:
    for task in ("sr2", "sr3", "sr4"):
        scale = task[-1]
        write(tmp_path / "SRF", task, f"a_{{}}_SRF_{scale}_LR.png", f"a_{{}}_SRF_{scale}_HR.png", {1: 1, 2: 2})
        write(tmp_path / "EDSR", task, f"LR/{{}}x{scale}.png", "HR/{}.png", {1: 1, 2: 2})
    for task in ("sr2", "sr3", "sr4"):
        for layout in ("SRF", "EDSR"):
            found = open_benchmark(str(tmp_path / layout), protocol(task))
            assert len(found.cases) == 2
            assert problems(found, task) == []


def test_what_has_no_partner_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "rain", "rain/rain-{}.png", "norain/norain-{}.png", {1: 1, 2: 2, 3: 3, 4: 4, 5: 5})
    (tmp_path / "rain" / "rain-002.png").unlink()
    (tmp_path / "norain" / "norain-003.png").write_bytes(b"torn")
    save(tmp_path / "rain" / "rain-004.png", natural_image(40, 48))
    save(tmp_path / "rain" / "odd.png", natural_image(48, 48))
    (tmp_path / "norain" / "gone.png").symlink_to("nowhere")
    (tmp_path / "rain" / "._rain-001.png").write_bytes(b"left by a system")
    found = problems(open_benchmark(str(tmp_path), protocol("rain")), "rain")
    for start in (
        "norain/gone.png",
        "norain/norain-002.png has no matching corrupted image",
        "norain/norain-003.png: ",
        "rain/rain-004.png is 48x40, expected 48x48",
        "rain/odd.png has no matching clean image",
    ):
        assert [problem for problem in found if problem.startswith(start)], (start, found)
    assert len(found) == 5


def test_names_are_equal_in_every_unicode_form(tmp_path: Path) -> None:
    save(tmp_path / "input" / f"{unicodedata.normalize('NFD', 'é')}.png", natural_image(48, 48))
    save(tmp_path / "target" / f"{unicodedata.normalize('NFC', 'é')}.png", natural_image(48, 48))
    assert problems(open_benchmark(str(tmp_path), protocol("rain")), "rain") == []


def test_pairs_in_two_layouts(tmp_path: Path) -> None:
    write(tmp_path, "rain", "rain/rain-{}.png", "norain/norain-{}.png", {1: 1})
    write(tmp_path, "rain", "input/{}.png", "target/{}.png", {1: 1})
    expected = r"has pairs in two layouts: rain/rain-001.png with norain/norain-001.png, and input/001.png with target/001.png"
    with pytest.raises(EvaluateError, match=expected):
        open_benchmark(str(tmp_path), protocol("rain"))


@pytest.mark.parametrize(
    ("corrupted", "clean"),
    [
        ("rain-{}.png", "norain-{}.png"),
        ("a{}_LR.png", "a{}_HR.png"),
        ("a{}_SRF_3_LR.png", "a{}_SRF_3_HR.png"),
        ("Rain-{}.PNG", "NoRain-{}.PNG"),
        ("{}_noisy.png", "{}_clean.png"),
        ("{}_IN.png", "{}_gt.png"),
        ("{}_input.png", "{}_target.png"),
        ("{}x2.png", "{}.png"),
        ("{}x4.png", "{}x4.png"),
        ("rain-{}.png", "rain-{}.png"),
        ("input/{}.png", "target/{}.png"),
        ("rain/rain-{}.png", "norain/norain-{}.png"),
    ],
)
def test_pairs_are_no_clean_images(tmp_path: Path, corrupted: str, clean: str) -> None:
    write(tmp_path, "rain", corrupted, clean, {1: 1, 2: 2})
    with pytest.raises(EvaluateError, match=r"contains pairs, such as .*is measured on clean images\. Pass a folder of clean"):
        open_benchmark(str(tmp_path), protocol("noise30"))


def test_the_folder_above_a_benchmark(tmp_path: Path) -> None:
    write(tmp_path / "Rain100L", "rain", "rain/rain-{}.png", "norain/norain-{}.png", {1: 1})
    save(tmp_path / "Kodak" / "1.png", natural_image(48, 48))
    with pytest.raises(EvaluateError, match=rf"has no images for rain, .*\. Pass {tmp_path}/Rain100L\."):
        open_benchmark(str(tmp_path), protocol("rain"))
    with pytest.raises(EvaluateError, match=rf"has no images for noise30, .*\. Pass {tmp_path}/Kodak\."):
        open_benchmark(str(tmp_path), protocol("noise30"))


def test_no_hint_to_the_corrupted_half(tmp_path: Path) -> None:
    for name in ("LRbicx2", "noisy25", "original"):
        save(tmp_path / name / "1.png", natural_image(48, 48))
    with pytest.raises(EvaluateError, match=rf"has no images for noise30, .*\. Pass {tmp_path}/original\."):
        open_benchmark(str(tmp_path), protocol("noise30"))
