"""Arithmetic that gives the same bits on every machine.

IEEE additions, multiplications and divisions give the same bits everywhere; `exp` and similar functions do not, since C
libraries and vector units implement them differently. Results that end up rounded to a pixel are computed with the former
only, or with integers.
"""

from decimal import Decimal
from functools import lru_cache
from itertools import accumulate

import numpy as np

_ENTRIES = 64
_PER_LN2 = _ENTRIES / 0.69314718055994530942
# ln 2 / 64 in two parts, the first with 32 bits, so that its product with a whole number below 2^17 is exact.
_STEP_HIGH = float.fromhex("0x1.62e42fee00000p-7")
_STEP_LOW = float.fromhex("0x1.a39ef35793c76p-39")
_ROOTS = np.array([float(Decimal(2) ** (Decimal(j) / _ENTRIES)) for j in range(_ENTRIES)])

_NEGLIGIBLE = 1e-20
_LOG_STEPS = 1 << 30


def exp(x: np.ndarray | list[float] | float) -> np.ndarray:
    """e**x with a relative error below 1e-13.

    With x = k ln 2 / 64 + r and a small r, e^x = 2^(k // 64) * 2^(k % 64 / 64) * (1 + r + ... + r^4 / 24).

    Args:
        x: float64 in [-700, 700].
    """
    x = np.asarray(x, np.float64)
    k = np.rint(x * _PER_LN2)
    r = x - k * _STEP_HIGH
    r -= k * _STEP_LOW
    k = k.astype(np.int32)
    series = r * (1 / 24)
    for coefficient in (1 / 6, 1 / 2, 1.0):
        series += coefficient
        series *= r
    series += 1.0
    return np.ldexp(series * _ROOTS[k & (_ENTRIES - 1)], k >> 6)


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of max(x, 1e-6), snapped to 2**-30, which removes the differences between C libraries."""
    return np.rint(np.log(np.maximum(x, 1e-6)) * _LOG_STEPS) / _LOG_STEPS


@lru_cache(maxsize=4096)
def poisson_table(rate: float) -> list[float]:
    """P(X <= n) of a Poisson distribution for n = 0, 1, ... up to 1 in float64.

    For a uniform u in [0, 1), `bisect_right(table, u)` is a draw. The terms are computed from the largest one outwards and
    divided by their sum, so that no exponential can underflow.
    """
    mode = int(rate)
    terms = [1.0]
    while terms[-1] > _NEGLIGIBLE and len(terms) <= mode:
        terms.append(terms[-1] * (mode + 1 - len(terms)) / rate)
    terms = [0.0] * (mode + 1 - len(terms)) + terms[::-1]
    while terms[-1] > _NEGLIGIBLE and rate > 0:
        terms.append(terms[-1] * rate / len(terms))
    table = list(accumulate(terms))
    return [value / table[-1] for value in table]
