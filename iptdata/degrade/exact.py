"""Arithmetic that gives the same bits on every machine.

IEEE additions, multiplications and divisions are exact to the bit everywhere; `exp` and its like are not, since each C
library and each vector unit has its own. Where a result is rounded to a pixel in the end, the road there uses only the
former, or integers.
"""

import numpy as np

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_COEFFICIENTS = [1.0]
for _n in range(1, 14):
    _COEFFICIENTS.append(_COEFFICIENTS[-1] / _n)


def exp(x: np.ndarray | float) -> np.ndarray:
    """e**x for float64 in [-700, 700], relative error below 1e-15, by range reduction and a Taylor polynomial.

    The split of ln 2 in two (Cody and Waite) keeps the reduced argument exact.
    """
    x = np.asarray(x, np.float64)
    k = np.rint(x * _LOG2E)
    r = x - k * _LN2_HIGH - k * _LN2_LOW
    result = np.full_like(r, _COEFFICIENTS[-1])
    for coefficient in reversed(_COEFFICIENTS[:-1]):
        result *= r
        result += coefficient
    return np.ldexp(result, k.astype(np.int32))


def poisson(rate: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Poisson counts by inversion: the least n with P(X <= n) > uniform; int64, the shape of `rate` (one axis).

    `rate` in [0, 600] so that e**rate stays finite.
    """
    limit = int(rate.max(initial=0.0))
    limit += 12 * int(limit**0.5) + 20
    terms = np.empty((len(rate), limit))
    terms[:, 0] = exp(-rate)
    terms[:, 1:] = rate[:, None] / np.arange(1, limit)
    np.cumprod(terms, axis=1, out=terms)
    np.cumsum(terms, axis=1, out=terms)
    return (terms <= uniform[:, None]).sum(axis=1)
