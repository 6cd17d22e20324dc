"""The exact-kNN checker beside the oracle of `fixtures.data`: an answer is held against the rows it was drawn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fixtures import data
from fixtures.claims import Finding
from fixtures.rowids import Ids
from fixtures.wire import MetricType
from suites.checks.knn import Expected, check_knn


def check_exact(
    ids: Ids,
    distances: NDArray[np.float32],
    *,
    rows: data.Floats | data.Bits,
    row_ids: ArrayLike,
    queries: data.Floats | data.Bits,
    topk: int,
    metric: MetricType,
    deleted: ArrayLike = (),
    node: str = "",
) -> list[Finding]:
    """Findings for an answer of a node to `queries`, where `rows` (n, dim) named `row_ids` (n,) are all that is stored.

    `row_ids` must be distinct and without the deleted ones; those in `deleted` are told from ids that never existed.
    """
    exact = data.exact_top_k(rows, row_ids, queries, topk, metric)
    expected = Expected(
        ids=exact.ids,
        distances=exact.distances,
        true_distances=data.distances_to(rows, row_ids, queries, ids, metric),
        scale=data.rounding_scale(queries, metric),
        descending=metric is MetricType.IP,
    )
    return check_knn(ids, distances, expected=expected, deleted=deleted, node=node)
