"""How soon a node showed what was flushed: between which moments each row became visible there.

A row became visible somewhere between the call of the last read that asked for it in vain (what Jepsen's set-full calls
its latency) and the reply of the first that found it. Both are told, since the second alone says no more than when
somebody asked, and what is most likely between them. Rows and reads are those of the checker set-full; a row counts
from the end of the flush that acknowledged it.
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
from tools.report import turnbull
from tools.report.timeline import AUDIT

_POINTS = 100
_SHORTEST_S = 1e-3
"""Where the logarithmic axis begins; what is shorter counts as at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """The flushed rows that a node was asked for, in seconds after their flush; one entry per row.

    Rows that were asked for after their flush and never found are seen by infinity.
    """

    node: str
    missed_until_s: NDArray[np.float64]
    seen_by_s: NDArray[np.float64]

    @property
    def rows(self) -> int:
        return len(self.seen_by_s)

    @property
    def unseen(self) -> int:
        return int(np.isinf(self.seen_by_s).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The share of the rows of one node that were visible over seconds after their flush, in a square of 100 by 100.

    It lies in `band`, most likely on `likely`. The median and the 99 % are of the latter, None for never.
    `proven_s` is the longest time for which a row was certainly not visible, `seen_by_s` the one by which all were.
    """

    node: str
    rows: int
    unseen: int
    band: str
    likely: str
    median_s: float | None
    most_s: float | None
    proven_s: float
    seen_by_s: float | None


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
    known_s = np.concatenate([times_s for each in found for times_s in (each.missed_until_s, each.seen_by_s)])
    longest_s = float(known_s[np.isfinite(known_s)].max(initial=10 * _SHORTEST_S))
    return Curves(nodes=[_curve(each, longest_s) for each in found], axis=_axis(longest_s))


def _axis(longest_s: float) -> list[tuple[float, str]]:
    decades = float(np.log10(longest_s / _SHORTEST_S))
    labels = ("1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1000 s")
    # More than five do not fit below a small drawing.
    return [
        (100 * place / decades, label if decades < 4.5 or place % 2 == 0 else "")
        for place, label in enumerate(labels)
        if place <= decades + 1e-9
    ]


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
    asked = np.isfinite(known_s) & (np.isfinite(seen_s) | (missed_s >= known_s))
    seen_by_s = _after(seen_s[asked], known_s[asked])
    missed_until_s = np.minimum(_after(missed_s[asked], known_s[asked]), seen_by_s)
    return Lags(node=node, missed_until_s=missed_until_s, seen_by_s=seen_by_s)


def _after(times_s: Times, known_s: Times) -> Times:
    """How long after a row was known; what was before counts as at once."""
    return np.maximum(times_s - known_s, 0.0)


def _joined(node: str, parts: Sequence[Lags]) -> Lags:
    return Lags(
        node=node,
        missed_until_s=np.concatenate([part.missed_until_s for part in parts]),
        seen_by_s=np.concatenate([part.seen_by_s for part in parts]),
    )


def _curve(of: Lags, longest_s: float) -> Curve:
    # Place 0 is for at once, the last one for what is later than the drawing shows, or never.
    at_s = np.geomspace(_SHORTEST_S, longest_s * (1 + 1e-9), _POINTS + 1)
    after, by = np.searchsorted(at_s, of.missed_until_s), np.searchsorted(at_s, of.seen_by_s)
    likely = np.cumsum(turnbull.shares(after, by, _POINTS + 2))[:-1]
    sooner, later = (np.cumsum(np.bincount(places, minlength=_POINTS + 2))[:-1] / of.rows for places in (after, by))
    seen_by_s = float(of.seen_by_s.max())
    return Curve(
        node=of.node,
        rows=of.rows,
        unseen=of.unseen,
        band=f"M{_steps(sooner)}L{_steps(later, backwards=True)}z",
        likely=f"M0 100L{_steps(likely)}",
        median_s=_quantile(likely, at_s, 0.5),
        most_s=_quantile(likely, at_s, 0.99),
        proven_s=float(of.missed_until_s.max()),
        seen_by_s=seen_by_s if seen_by_s < np.inf else None,
    )


def _quantile(shares: NDArray[np.float64], at_s: NDArray[np.float64], share: float) -> float | None:
    """By when so many rows were visible, as exact as the drawing; 0 for at once."""
    place = int(np.searchsorted(shares, share - 1e-6))
    return None if place >= len(at_s) else float(at_s[place]) if place else 0.0


def _steps(shares: NDArray[np.float64], *, backwards: bool = False) -> str:
    """Points of a line of steps from left to right, or the other way round; those that change nothing left out."""
    heights = (100 - 100 * shares).round(1).tolist()
    points = [(0, heights[0])]
    for x, height in enumerate(heights):
        if height != points[-1][1]:
            points += [(x, points[-1][1]), (x, height)]
    points.append((_POINTS, heights[-1]))
    return " ".join(f"{x} {height:g}" for x, height in (reversed(points) if backwards else points))
