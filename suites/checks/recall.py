"""Does an approximate index find enough? The floor follows from what a search looks at, not from what it once found."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fixtures.rowids import Ids

Distances = NDArray[np.float64]

_SIGMAS = 3.0


def floor(share: float, queries: int) -> float:
    """The least recall to be asked of an index whose search looks at this `share` of the rows: that of rows at random.

    Less three standard deviations of what `queries` queries show: neighbours of one query lie together and come, or
    don't, together. A search that looks at all rows must find all.
    """
    return max(0.0, share - _SIGMAS * math.sqrt(share * (1 - share) / queries))


def near_enough(ids: Ids, truth: Distances, exact: Distances, slack: float | Distances = 0.0) -> float:
    """The recall: the share of the exact k that an answer has something as near for, give or take `slack`.

    `ids` (nq, width) as answered, `truth` their true distances, NaN for what is not in the collection; `exact` (nq, k)
    those of the k nearest. Less is nearer. `slack`, one for each query or for all, is what an index that keeps rounded
    vectors cannot tell apart; rounding of the distances themselves is allowed for. An id that comes twice counts once.
    """
    limit = exact[:, -1] + slack
    limit = limit + 1e-5 * np.maximum(1.0, np.abs(limit))
    hits = truth <= limit[:, None]
    for row, found in zip(ids, hits, strict=True):
        _, first = np.unique(row, return_index=True)
        again = np.ones(row.size, dtype=np.bool_)
        again[first] = False
        found[again] = False
    return float(hits.sum()) / exact.size
