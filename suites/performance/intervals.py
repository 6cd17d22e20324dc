"""How sure a figure is: bootstrap intervals of medians, of ratios of medians, and of a fitted exponent.

Pure numbers in, numbers out. The bootstrap draws with replacement from what was measured and asks how far the statistic
moves; nothing is assumed about the distribution, which for latencies has a long tail. Draws come from a seed, so a
stored run gives the same interval again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.plugin.figures import number

LEVEL = 0.95
DRAWS = 2000
"""So many that the ends of an interval move by less than 1 % from seed to seed."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic of what was measured, and the ends between which 95 of 100 bootstrap draws lie."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "level": LEVEL}


def percentile(values: Sequence[float], percent: float, seed: int) -> Interval:
    """A percentile and its interval. ValueError for no values.

    A percentile near the edge of few values cannot lie beyond the outermost of them, so its interval is too narrow
    there: p99 of ten values is their maximum, and says so.
    """
    return _resampled(_column(values), lambda drawn: np.percentile(drawn[..., 0], percent, axis=-1), seed)


def mean(values: Sequence[float], seed: int) -> Interval:
    """The mean and its interval, which is what the article gives. ValueError for no values."""
    return _resampled(_column(values), lambda drawn: np.mean(drawn[..., 0], axis=-1), seed)


def ratio_of_medians(pairs: Sequence[tuple[float, float]], seed: int) -> Interval:
    """median(second) / median(first), and its interval. ValueError for no pairs, or a value that is not above zero.

    Whole pairs are drawn: both of a pair were measured at the same moment, so what the machine did then is in both.
    """
    table = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    if (table <= 0).any():
        raise ValueError("a ratio is of values above zero")
    return _resampled(table, lambda drawn: np.median(drawn[..., 1], axis=-1) / np.median(drawn[..., 0], axis=-1), seed)


def exponent(sizes: Sequence[float], values: Sequence[float], seed: int) -> Interval:
    """The e of value = c * size ** e by least squares of the logarithms: 0 is no growth, 1 linear.

    ValueError for fewer than two sizes, or a number that is not above zero. Values are drawn within each size, so that
    no draw lacks one.
    """
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) != len(y) or len(np.unique(x)) < 2:
        raise ValueError("an exponent needs a value for each size, and two sizes at least")
    if (x <= 0).any() or (y <= 0).any():
        raise ValueError("an exponent is of numbers above zero")
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(x == size) for size in np.unique(x)]
    drawn = np.concatenate([group[rng.integers(0, len(group), (DRAWS, len(group)))] for group in groups], axis=1)
    slopes = _slope(np.log(x[drawn]), np.log(y[drawn]))
    low, high = np.quantile(slopes, _ENDS)
    return Interval(float(_slope(np.log(x), np.log(y))), float(low), float(high))


_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _slope(x: Values, y: Values) -> Values:
    centred = x - x.mean(axis=-1, keepdims=True)
    slope: Values = (centred * y).sum(axis=-1) / (centred**2).sum(axis=-1)
    return slope


def _column(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def _resampled(rows: Values, statistic: Callable[[Values], Values], seed: int) -> Interval:
    """`rows` (n, columns); the statistic takes (..., n, columns) and gives (...)."""
    if not len(rows):
        raise ValueError("an interval needs at least one value")
    picked = np.random.default_rng(seed).integers(0, len(rows), (DRAWS, len(rows)))
    low, high = np.quantile(statistic(rows[picked]), _ENDS)
    return Interval(float(statistic(rows)), float(low), float(high))
