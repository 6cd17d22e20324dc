"""Do two nodes give the same neighbours? Distances may differ by rounding, and rows that tie may change places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.claims import Finding
from fixtures.rowids import Ids, first_few
from suites.checks.knn import PAD_ID, RELATIVE_TOLERANCE

Distances = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node sent: `ids` and `distances` (nq, width), best first, -1 where it had no row."""

    ids: Ids
    distances: NDArray[np.float32]


def same_neighbours(
    reference: Answer,
    other: Answer,
    *,
    topk: int,
    scale: Distances,
    descending: bool = False,
    tolerance: float = RELATIVE_TOLERANCE,
    node: str = "",
) -> list[Finding]:
    """Findings where `other` is not the answer that `reference` is; none if they are the same.

    At most one finding for each query and rule (`facts["rule"]`): shape, width, duplicate id, distances, distance of a
    row, order, rows. A row may be missing in one answer only if it ties with the last of `topk` places. `scale` (nq,)
    is what `tolerance` is relative to, at least (`fixtures.data.rounding_scale`). `descending` is true for IP.
    """
    queries = len(scale)
    shapes = [answer.ids.shape for answer in (reference, other)]
    if any(len(shape) != 2 or shape[0] != queries or shape[1] > topk for shape in shapes) or any(
        answer.ids.shape != answer.distances.shape for answer in (reference, other)
    ):
        message = f"answers of shapes {shapes[0]} and {shapes[1]} to {queries} queries for the top {topk}"
        return [Finding(message=message, node=node, facts={"rule": "shape"})]
    sign = -1.0 if descending else 1.0
    findings = []
    for query in range(queries):
        one, two = _row(reference, query, sign), _row(other, query, sign)
        within = tolerance * max(float(scale[query]), float(np.abs(one.distances).max(initial=0.0)))
        for rule, message in _differences(one, two, topk, within):
            facts = {"rule": rule, "query": query}
            findings.append(Finding(message=f"query {query}: {rule}: {message}", node=node, facts=facts))
    return findings


@dataclass(frozen=True, slots=True)
class _Row:
    """One answered query without pads; distances negated for IP, so that less is always nearer."""

    ids: Ids
    distances: Distances


def _row(answer: Answer, query: int, sign: float) -> _Row:
    real = answer.ids[query] != PAD_ID
    return _Row(answer.ids[query][real], sign * answer.distances[query][real].astype(np.float64))


def _differences(one: _Row, two: _Row, topk: int, within: float) -> list[tuple[str, str]]:
    if len(one.ids) != len(two.ids):
        return [("width", f"{len(two.ids)} neighbours instead of {len(one.ids)}")]
    ids, counts = np.unique(two.ids, return_counts=True)
    if len(ids) < len(two.ids):
        return [("duplicate id", first_few(ids[counts > 1].tolist()))]
    found = []
    # Written so that a NaN is never within the tolerance.
    apart = np.flatnonzero(~(np.abs(one.distances - two.distances) <= within))
    if apart.size:
        at = int(apart[0])
        found.append(("distances", f"{_told(two, at)} instead of {_told(one, at)} at place {at}"))
    if (np.diff(two.distances) < 0).any():
        found.append(("order", f"place {int(np.argmax(np.diff(two.distances) < 0)) + 1} is nearer than the one before"))
    _, first, second = np.intersect1d(one.ids, two.ids, return_indices=True)
    moved = np.flatnonzero(~(np.abs(one.distances[first] - two.distances[second]) <= within))
    if moved.size:
        at, there = int(first[moved[0]]), int(second[moved[0]])
        message = f"{_told(two, there)} instead of {_told(one, at)} for id {one.ids[at]}"
        found.append(("distance of a row", message))
    strangers = [*_not_in(one, two, topk, within), *_not_in(two, one, topk, within)]
    if strangers:
        found.append(("rows", f"only one of the two has {first_few(sorted(strangers))}"))
    return found


def _not_in(one: _Row, two: _Row, topk: int, within: float) -> list[int]:
    """Ids of `one` that `two` must have and has not: all but those that tie with the last place of a full answer."""
    absent = ~np.isin(one.ids, two.ids)
    if len(one.ids) == topk and topk:
        absent &= ~(np.abs(one.distances - one.distances[-1]) <= 2 * within)
    return [int(row) for row in one.ids[absent]]


def _told(row: _Row, place: int) -> str:
    return f"{abs(row.distances[place]):.7g}"
