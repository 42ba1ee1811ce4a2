"""PSNR and MSE against their formulas, and that no other module has them."""

import hashlib
import math
import re
import runpy
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

import iptdata
from iptdata.image.psnr import (
    MAX_DB,
    capped_psnr,
    capped_psnrs,
    mean_squared_errors,
    mse,
    psnr,
    psnr_from_mse,
    psnr_from_mse_tensor,
    psnr_sql,
)
from tests.conftest import natural_image

PACKAGE = Path(iptdata.__file__).parent
FORMULA = re.compile(r"65[,_]?025|255(\.0*)?\s*\*\*\s*2|10(\.0*)?\s*\*[^\n]*log10|20(\.0*)?\s*\*[^\n]*log10")


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    clean = natural_image(24, 19)
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    return clean, np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def test_psnr(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    total = sum((int(a) - int(b)) ** 2 for a, b in zip(clean.ravel(), noisy.ravel(), strict=True))
    assert psnr(clean, noisy) == pytest.approx(10 * math.log10(65025 * clean.size / total), abs=1e-12)
    assert psnr(clean, clean) == math.inf
    assert psnr(np.zeros((4, 4, 1)), np.full((4, 4, 1), 255)) == 0


def test_mean_squared_errors(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    total = sum((int(a) - int(b)) ** 2 for a, b in zip(clean.ravel(), noisy.ravel(), strict=True))
    found = mean_squared_errors(np.stack([clean, clean]), np.stack([noisy, clean]))
    assert found == [total / clean.size, 0]
    assert mse(clean, noisy) == pytest.approx(found[0], rel=1e-14)
    assert mean_squared_errors(np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)) == [65025]


@pytest.mark.parametrize(("error", "decibels"), [(65025, 0), (650.25, 20), (6.5025, 40), (1, 48.1308036086791)])
def test_same_value_for_numbers_tensors_and_sql(error: float, decibels: float) -> None:
    (row,) = duckdb.connect().execute(f"SELECT {psnr_sql('e')} FROM (SELECT {error}::DOUBLE AS e)").fetchall()
    found = [psnr_from_mse(error), psnr_from_mse_tensor(torch.tensor([error], dtype=torch.float64)).item(), row[0]]
    assert found == pytest.approx([decibels] * 3, abs=1e-12)


def test_no_error() -> None:
    assert psnr_from_mse(0) == math.inf
    assert psnr_from_mse_tensor(torch.zeros(1)).clamp(max=MAX_DB).tolist() == [100]


@pytest.mark.parametrize("error", [0, 1e-9, 6.5e-6, 6.6e-6, 1 / 3, 24.0, 1000.1, 65024.99999, 65025, None, -1])
def test_psnr_of_a_pair_is_the_same_in_every_form(error: float | None) -> None:
    ((row,),) = duckdb.connect().execute(f"SELECT {psnr_sql('e')} FROM (SELECT ?::DOUBLE AS e)", [error]).fetchall()
    (array,) = capped_psnrs(np.array([math.nan if error is None else error]))
    if error is None or error < 0:
        assert row is None
        assert math.isnan(array)
        return
    exact = min((10 * (65025 / Decimal(error)).log10() if error else Decimal(100)), Decimal(100))
    assert [row, array, capped_psnr(error)] == pytest.approx([float(exact)] * 3, abs=3e-14)


def test_psnr_of_pairs_has_the_same_bits_on_every_machine() -> None:
    """The values of another machine; a logarithm of a C library would change some of them."""
    errors = np.arange(1, 65_025 * 8, 7) / 8
    found = capped_psnrs(errors)
    assert (
        hashlib.sha256(found.astype("<f8").tobytes()).hexdigest()
        == "1679e4b5ed85495c7ead00787a9617a656510730342aed62985b1a290c8f4710"
    )
    assert np.abs(found - 10 * np.log10(65025 / errors)).max() < 5e-14


def test_the_decimal_precision_of_a_program_does_not_change_them() -> None:
    with localcontext() as context:
        context.prec = 5
        again = runpy.run_path(str(PACKAGE / "image" / "psnr.py"))
    assert again["capped_psnrs"](np.array([3.0])) == capped_psnrs(np.array([3.0]))


def test_formula_is_in_one_place() -> None:
    found = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if FORMULA.search(path.read_text())]
    assert found == ["image/psnr.py"]
