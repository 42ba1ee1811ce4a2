"""Sheets show each pixel as a square; ladders show one patch under many recipes."""

from pathlib import Path

import numpy as np
import pytest

from iptdata.errors import InspectError
from iptdata.image.decode import decode
from iptdata.inspection.choose import PairSelection, choose, find_pair_by_key
from iptdata.inspection.ladder import ladder_of_image, ladder_of_pair
from iptdata.inspection.pair import Pair, enlarge
from iptdata.inspection.sheet import contact_sheet, ladder_sheet
from iptdata.pairs.make import make_pairs
from iptdata.recipe import load_recipes, shipped_recipes
from iptdata.shards.find import find_groups
from tests.conftest import natural_image, save


def holds(picture: np.ndarray, part: np.ndarray) -> bool:
    """Whether a picture holds another one somewhere, bit for bit."""
    height, width = part.shape[:2]
    corners = np.argwhere((picture[: 1 - height or None, : 1 - width or None] == part[0, 0]).all(-1))
    return any(np.array_equal(picture[top : top + height, left : left + width], part) for top, left in corners)


def test_the_sheet_holds_every_pixel(looked_at: Path) -> None:
    chosen, _ = choose(find_groups([str(looked_at)]), count=2)
    sheet = np.asarray(contact_sheet(chosen))
    assert len(chosen) == 4
    for _, _, pairs in chosen:
        for pair in pairs:
            zoom = 192 // len(pair.clean)
            assert holds(sheet, enlarge(pair.clean, zoom))
            assert holds(sheet, enlarge(pair.corrupted, 192 // len(pair.corrupted)))
            assert pair.difference is not None
            assert holds(sheet, enlarge(pair.difference[0], zoom))


def test_letters_without_a_glyph_and_long_names(looked_at: Path) -> None:
    pair = find_pair_by_key(find_groups([str(looked_at / "rain")]), choose_key(looked_at))[0]
    long = Pair(task="rain", split="", key="k" * 500, clean=pair.clean, corrupted=pair.corrupted, params=pair.params)
    sheet = contact_sheet([PairSelection("雨", "дождь " * 100, [long])])
    assert sheet.width < 700


def test_a_sheet_larger_than_a_jpeg() -> None:
    pair = Pair(task="t", split="", key="k", clean=natural_image(48, 48), corrupted=natural_image(48, 48))
    with pytest.raises(InspectError, match=r"the sheet would be .* at most 65,500 per side\. Pass a smaller number of pairs"):
        contact_sheet([PairSelection("t", "", [pair] * 1000)])
    thin = Pair(task="t", split="", key="k", clean=natural_image(4, 1000), corrupted=natural_image(4, 1000))
    assert contact_sheet([PairSelection("t", "", [thin])]).width < 3100


def choose_key(folder: Path) -> str:
    return choose(find_groups([str(folder / "rain")]), count=1)[0][0].pairs[0].key


def test_a_difference_is_amplified_as_far_as_it_fits() -> None:
    clean = np.full((48, 48, 3), 100, np.uint8)
    for step, factor in ((1, 16), (20, 13), (120, 2), (0, 16)):
        pair = Pair(task="t", split="", key="k", clean=clean, corrupted=clean + np.uint8(step))
        assert pair.difference is not None
        assert pair.difference[1] == factor
        assert pair.difference[0].max() == min(step * factor, 255)
    odd = Pair(task="t", split="", key="k", clean=clean, corrupted=np.zeros((17, 17, 3), np.uint8))
    assert (odd.scale, odd.psnr, odd.difference) == (None, None, None)


def test_the_ladder_of_an_image(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", natural_image(200, 260))
    recipes = shipped_recipes()
    steps = ladder_of_image(path.read_bytes(), str(path), recipes)
    assert {step.task for step in steps} == {recipe.task for recipe in recipes}
    psnr = [step.psnr for step in steps if step.psnr is not None]
    assert psnr == sorted(psnr, reverse=True)
    assert len(psnr) == len(steps)
    image = decode(path.read_bytes()).pixels
    middle = image[48:144, 72:168]
    for step in steps:
        assert np.array_equal(step.clean, middle)
        assert step.scale == 1 or step.task == f"sr{step.scale}"
    by_task = {step.task: step for step in steps}
    assert by_task["noise50"].params == {"sigma": 50}
    assert by_task["noise50"].psnr == pytest.approx(15, abs=1)
    assert ladder_sheet(steps).width > 900


def test_a_step_is_what_a_build_makes(tmp_path: Path) -> None:
    """When the box is the whole image, the ladder and a build can only choose the same patch."""
    image = natural_image(96, 96)
    path = save(tmp_path / "photo.png", image)
    for recipe in load_recipes(["noise30", "rain", "sr2"]):
        sized = recipe.with_patch_size(96 // recipe.scale)
        built = make_pairs(image, sized, "photo.png", 0, 1)
        (step,) = ladder_of_image(path.read_bytes(), str(path), [recipe])
        assert np.array_equal(step.corrupted, built.corrupted[0])


def test_the_ladder_of_a_pair(looked_at: Path) -> None:
    pair = find_pair_by_key(find_groups([str(looked_at / "sr2")]), choose_key(looked_at))[0]
    steps = ladder_of_pair(pair, shipped_recipes())
    assert {len(step.corrupted) for step in steps} == {96, 48, 32, 24}
    assert all(np.array_equal(step.clean, pair.clean) for step in steps)


def test_images_without_a_ladder(tmp_path: Path) -> None:
    with pytest.raises(
        InspectError,
        match=r"ladder: x.jpg is unreadable, expected an image or the key of a pair: found a file that begins with b.no image",
    ):
        ladder_of_image(b"no image", "x.jpg", shipped_recipes())
    small = save(tmp_path / "small.png", natural_image(20, 30))
    with pytest.raises(InspectError, match="is 30x20, expected at least 24x24"):
        ladder_of_image(small.read_bytes(), "small.png", shipped_recipes())
    odd = Pair(task="t", split="", key="k", clean=natural_image(25, 25), corrupted=natural_image(25, 25))
    with pytest.raises(InspectError, match="ladder: k has a side of 25, which no scale of sr2, sr4 divides"):
        ladder_of_pair(odd, load_recipes(["sr2", "sr4"]))
