"""Is an answer to a search the exact one? Distances, order, completeness, ids, width; ties may come in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fixtures.claims import Finding
from fixtures.rowids import Ids, first_few

Distances = NDArray[np.float64]

PAD_ID = -1
RELATIVE_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The exact answer to nq queries, as `fixtures.data` computes it.

    `ids` and `distances` (nq, k) are the k nearest rows, best first, -1 where fewer exist or match. `true_distances`
    (nq, width) are those of the ids that were answered, NaN for ids that are not in the collection. `scale` (nq,) is
    what the relative tolerance is relative to, at least. `descending` is true for IP, where the greatest is the best.
    """

    ids: Ids
    distances: Distances
    true_distances: Distances
    scale: Distances
    descending: bool = False


@dataclass(frozen=True, slots=True)
class _Query:
    """One row of an answer beside the exact one; distances negated for IP, so that less is always nearer."""

    ids: Ids
    distances: Distances
    truth: Distances
    expected_ids: Ids
    expected: Distances
    tolerance: float

    @property
    def worst_expected(self) -> float:
        return float(self.expected[-1]) if self.expected.size else -np.inf


def check_knn(
    ids: Ids,
    distances: NDArray[np.float32],
    *,
    expected: Expected,
    deleted: ArrayLike = (),
    tolerance: float = RELATIVE_TOLERANCE,
    node: str = "",
) -> list[Finding]:
    """Findings for an answer, `ids` and `distances` (nq, width) as the node sent them; none if it is exact.

    At most one finding for each query and rule (`facts["rule"]`): shape, wrong width, pad inside, duplicate id, deleted
    id, invented id, wrong distance, wrong order, missing neighbour, wrong neighbour. The width of a row is the number
    of its ids other than -1: Milvus answers up to topk columns and fills what it has no row for.
    """
    queries, k = expected.ids.shape
    if ids.shape != distances.shape or len(ids) != queries or ids.shape[1] > k:
        message = f"an answer of shape {ids.shape}, distances {distances.shape}, to {queries} queries for the top {k}"
        return [Finding(message=message, node=node, facts={"rule": "shape"})]
    gone = np.asarray(deleted, dtype=np.int64)
    findings = []
    for number in range(queries):
        query = _query(ids[number], distances[number], expected, number, tolerance)
        for rule, message in _broken(ids[number], query, gone):
            facts = {"rule": rule, "query": number}
            findings.append(Finding(message=f"query {number}: {rule}: {message}", node=node, facts=facts))
    return findings


def recall(ids: Ids, expected_ids: Ids) -> float:
    """The share of the exact neighbours that an answer of an approximate index has; 1 where there are none."""
    exact = int((expected_ids != PAD_ID).sum())
    hits = sum(
        int(np.isin(wanted[wanted != PAD_ID], found).sum()) for wanted, found in zip(expected_ids, ids, strict=True)
    )
    return hits / exact if exact else 1.0


def _query(ids: Ids, distances: NDArray[np.float32], expected: Expected, number: int, tolerance: float) -> _Query:
    sign = -1.0 if expected.descending else 1.0
    real, wanted = ids != PAD_ID, expected.ids[number] != PAD_ID
    nearest = sign * expected.distances[number][wanted]
    finite = np.abs(nearest[np.isfinite(nearest)])
    return _Query(
        ids=ids[real],
        distances=sign * distances[real].astype(np.float64),
        truth=sign * expected.true_distances[number][real],
        expected_ids=expected.ids[number][wanted],
        expected=nearest,
        tolerance=tolerance * max(float(expected.scale[number]), float(finite.max(initial=0.0))),
    )


def _broken(raw: Ids, query: _Query, deleted: Ids) -> list[tuple[str, str]]:
    """Rule and message of each rule that one row of an answer breaks."""
    broken = []
    ids, counts = np.unique(query.ids, return_counts=True)
    foreign = query.ids[np.isnan(query.truth)]
    back = np.isin(foreign, deleted)
    rows: dict[str, Ids] = {
        "duplicate id": ids[counts > 1],
        "deleted id": foreign[back],
        "invented id": foreign[~back],
        "missing neighbour": _missing(query),
        "wrong neighbour": _too_far(query),
    }
    broken += [(rule, first_few(found.tolist())) for rule, found in rows.items() if found.size]
    width = len(query.ids)
    if width != len(query.expected_ids):
        broken.append(("wrong width", f"{width} neighbours instead of {len(query.expected_ids)}"))
    if (raw[:width] == PAD_ID).any():
        broken.append(("pad inside", f"-1 before the last of {width} neighbours"))
    off = _off(query)
    if off.size:
        at = int(off[0])
        told, true = abs(query.distances[at]), abs(query.truth[at])
        broken.append(("wrong distance", f"{told:.7g} instead of {true:.7g} for id {query.ids[at]}"))
    steps = np.flatnonzero(query.distances[1:] < query.distances[:-1])
    if steps.size:
        broken.append(("wrong order", f"position {int(steps[0]) + 1} is nearer than the one before it"))
    return broken


def _missing(query: _Query) -> Ids:
    """Expected ids that are nearer than the farthest expected one, which equals may replace, and that did not come."""
    certain = query.expected < query.worst_expected - 2 * query.tolerance
    absent = query.expected_ids[~np.isin(query.expected_ids, query.ids)]
    if len(np.unique(query.ids)) < len(query.expected_ids):
        # Too few came, so that nothing replaced those that are missing.
        return absent
    return absent[np.isin(absent, query.expected_ids[certain])]


def _too_far(query: _Query) -> Ids:
    """Ids of the collection that came although enough rows are nearer, or that do not match at all."""
    return query.ids[query.truth > query.worst_expected + 2 * query.tolerance]


def _off(query: _Query) -> NDArray[np.intp]:
    """Positions whose reported distance is not the true one; infinite ones must be infinite, or float32's greatest."""
    known = ~np.isnan(query.truth)
    infinite = np.isinf(query.truth)
    far = np.abs(query.distances) >= float(np.finfo(np.float32).max)
    with np.errstate(invalid="ignore"):
        error = np.abs(query.distances - query.truth)
    allowed = np.maximum(query.tolerance, RELATIVE_TOLERANCE * np.abs(query.truth))
    wrong = np.where(infinite, ~far, ~(error <= allowed))
    return np.flatnonzero(known & wrong)
