"""How soon a node showed what was flushed: between which moments each row became visible there.

A row became visible somewhere between the call of the last read that asked for it in vain (what Jepsen's set-full calls
its latency) and the reply of the first that found it. Both are told, since the second alone says no more than when
somebody asked. Rows and reads are those of the checker set-full; a row counts from the end of the flush that
acknowledged it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.history import Operation, Stored
from suites.checks.elements import Level, Times, gather, locate, lower
from suites.checks.judge import until_dropped, written_collections
from suites.checks.replay import Absence, end_s, set_reads
from tools.report.timeline import AUDIT

_POINTS = 100
_QUANTILES = (0.5, 0.99, 1.0)
_SHORTEST_S = 1e-3
"""Where the logarithmic axis begins; what is shorter counts as at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """The flushed rows that a node was asked for, in seconds after their flush; one entry per row that was found.

    `unseen` rows were asked for after their flush and never found.
    """

    node: str
    missed_until_s: NDArray[np.float64]
    seen_by_s: NDArray[np.float64]
    unseen: int

    @property
    def rows(self) -> int:
        return len(self.seen_by_s) + self.unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The share of the rows of one node over seconds after their flush, to be drawn in a square of 100 by 100.

    The quantiles (median, 99 %, all) are of all rows: None for those that were never seen.
    """

    node: str
    rows: int
    unseen: int
    missed_until: str
    seen_by: str
    missed_until_s: Sequence[float | None]
    seen_by_s: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of a history, on one logarithmic scale; `axis` are times and where they stand in per cent."""

    nodes: Sequence[Curve]
    axis: Sequence[tuple[float, str]]


def curves(stored: Stored) -> Curves | None:
    """The curves of the nodes of a history; None where no node was asked for a flushed row."""
    by_node: dict[str, list[Lags]] = {}
    for collection in written_collections(stored.operations):
        kept, _ = until_dropped(stored.operations, collection)
        asked = dict.fromkeys(each.node for each in kept if each.collection == collection and "asked" in each.request)
        for node in asked:
            # An audit comes long after; that it finds a row is no news of when the row became visible.
            if AUDIT not in node:
                by_node.setdefault(node, []).append(lags(kept, collection, node))
    found = [each for each in (_joined(node, parts) for node, parts in by_node.items()) if each.rows]
    if not found:
        return None
    longest_s = max(float(each.seen_by_s.max(initial=10 * _SHORTEST_S)) for each in found)
    decades = np.log10(longest_s / _SHORTEST_S)
    labels = ("1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1000 s")
    axis = [(100 * place / decades, label) for place, label in enumerate(labels) if place <= decades + 1e-9]
    return Curves(nodes=[_curve(each, longest_s) for each in found], axis=axis)


def lags(operations: Sequence[Operation], collection: str, node: str) -> Lags:
    """The lags of the rows of one collection at one node."""
    elements = gather(operations, collection=collection, level=Level.FLUSHED)
    seen_s = np.full(len(elements.ids), np.inf)
    missed_s = np.full(len(elements.ids), -np.inf)
    absence = Absence(len(elements.ids))
    for read in set_reads(operations, collection, node):
        found, _ = locate(read.reply.get("found"), elements.ids)
        with absence.of(elements, read, found):
            absent = absence.where(elements.attempted_s, end_s(read))
        # Once a row was seen, or its delete had begun, that it is missed is no delay.
        absent = absent[(end_s(read) < elements.delete_began_s[absent]) & (read.invoked_s < seen_s[absent])]
        missed_s[absent] = read.invoked_s
        for index in found:
            lower(seen_s, index, end_s(read))
    known_s = elements.acknowledged_s
    seen = np.isfinite(known_s) & np.isfinite(seen_s)
    unseen = np.isfinite(known_s) & ~np.isfinite(seen_s) & (missed_s >= known_s)
    seen_by_s = _after(seen_s[seen], known_s[seen])
    missed_until_s = np.minimum(_after(missed_s[seen], known_s[seen]), seen_by_s)
    return Lags(node=node, missed_until_s=missed_until_s, seen_by_s=seen_by_s, unseen=int(unseen.sum()))


def _after(times_s: Times, known_s: Times) -> Times:
    """How long after a row was known; what was before counts as at once."""
    return np.maximum(times_s - known_s, 0.0)


def _joined(node: str, parts: Sequence[Lags]) -> Lags:
    return Lags(
        node=node,
        missed_until_s=np.concatenate([part.missed_until_s for part in parts]),
        seen_by_s=np.concatenate([part.seen_by_s for part in parts]),
        unseen=sum(part.unseen for part in parts),
    )


def _curve(of: Lags, longest_s: float) -> Curve:
    return Curve(
        node=of.node,
        rows=of.rows,
        unseen=of.unseen,
        missed_until=_path(of.missed_until_s, of.rows, longest_s),
        seen_by=_path(of.seen_by_s, of.rows, longest_s),
        missed_until_s=_quantiles(of.missed_until_s, of.rows),
        seen_by_s=_quantiles(of.seen_by_s, of.rows),
    )


def _quantiles(lags_s: NDArray[np.float64], rows: int) -> list[float | None]:
    ordered = np.sort(lags_s)
    places = [min(rows - 1, int(rows * share)) for share in _QUANTILES]
    return [float(ordered[place]) if place < ordered.size else None for place in places]


def _path(lags_s: NDArray[np.float64], rows: int, longest_s: float) -> str:
    """The share of rows whose lag is at most so long, as steps over the logarithm of that time."""
    at_s = np.geomspace(_SHORTEST_S, longest_s, _POINTS + 1)
    at_s[-1] = np.inf
    heights = 100 - 100 * np.searchsorted(np.sort(lags_s), at_s, side="right") / rows
    path, before = ["M0 100"], 100.0
    for x, height in enumerate(heights.round(1).tolist()):
        if height != before:
            path.append(f"H{x * 100 // _POINTS}V{height:g}")
            before = height
    return "".join([*path, "H100"])
