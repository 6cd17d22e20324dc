"""When did it happen, if all that is known of each case is that it was after one moment and by another?

Turnbull's estimator: the distribution under which such intervals are most likely. A case of which nobody asked for a
long time has a long interval and says next to nothing; the narrow ones decide. (B. W. Turnbull, The empirical
distribution function with arbitrarily grouped, censored and truncated data, J. R. Stat. Soc. B 38, 1976.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_ROUNDS = 2000
_CLOSE = 1e-6


def shares(after: NDArray[np.intp], by: NDArray[np.intp], places: int) -> NDArray[np.float64]:
    """The share of the cases in each of `places` places, each case being at one from `after` to `by`, both included.

    By expectation and maximisation. Where the cases leave a choice, it is made for the later place: no one looks
    faster than was seen.
    """
    # Cases with the same interval are one, with a weight.
    pairs, weights = np.unique(after * places + by, return_counts=True)
    first, last = pairs // places, pairs % places
    share = _innermost(first, last, places).astype(np.float64)
    share /= share.sum()
    for _ in range(_MAX_ROUNDS):
        up_to = np.concatenate([[0.0], np.cumsum(share)])
        pull = weights / np.maximum(up_to[last + 1] - up_to[first], 1e-300)
        change = np.zeros(places + 1)
        np.add.at(change, first, pull)
        np.add.at(change, last + 1, -pull)
        better = share * np.maximum(np.cumsum(change[:-1]), 0.0)
        better /= better.sum()
        if np.abs(better - share).max() < _CLOSE:
            return better
        share = better
    return share


def _innermost(first: NDArray[np.intp], last: NDArray[np.intp], places: int) -> NDArray[np.bool_]:
    """Where the likeliest distribution can have anything: the ends of intervals that have no other end inside."""
    begins, ends = np.zeros(places, dtype=bool), np.zeros(places, dtype=bool)
    begins[first], ends[last] = True, True
    begun = False
    for place in range(places):
        begun = begun or bool(begins[place])
        ends[place] &= begun
        begun = begun and not ends[place]
    return ends
