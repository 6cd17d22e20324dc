"""Acknowledged loss: which rows that were acknowledged are gone in the end, and how far back the loss reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.claims import Finding, Verdict
from fixtures.history import Operation
from suites.checks.elements import Level, Times, gather
from suites.checks.replay import replay, set_reads
from suites.checks.set_full import WORST, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What became of the acknowledged rows of one collection, by the last reads of one node.

    Rows that a delete may have taken are left out. `acknowledged` = `kept` + the lost + `unread`, which no read asked
    for late enough. Lost rows are `flushed` where a flush that began after their insert had succeeded before the
    disaster, else `unflushed`: acknowledged since the last flush. `recovery_point_s` is the RPO in seconds: how long
    before the disaster the oldest lost row was acknowledged; 0 if none is lost. In rows it is the number of those lost.
    """

    collection: str
    node: str
    acknowledged: int
    kept: int
    unread: int
    flushed: Rows
    unflushed: Rows
    recovery_point_s: float

    @property
    def lost(self) -> int:
        return self.flushed.count + self.unflushed.count

    @property
    def verdict(self) -> Verdict:
        """Violated by any loss; how much of it is documented, the claim says."""
        if self.lost:
            return Verdict.VIOLATED
        return Verdict.HOLDS if self.kept else Verdict.UNKNOWN

    def findings(self) -> list[Finding]:
        """One finding for flushed rows, one for rows acknowledged since the last flush."""
        kinds = {"flushed": self.flushed, "acknowledged since the last flush": self.unflushed}
        return [
            Finding(
                message=f"{self.collection}: {rows.count} rows {what} are lost, {self._reach()}: {rows}",
                node=self.node,
                facts={"rule": f"lost: {what}", "count": rows.count, "recovery_point_s": self.recovery_point_s},
            )
            for what, rows in kinds.items()
            if rows
        ]

    def _reach(self) -> str:
        return f"acknowledged up to {self.recovery_point_s:.3f} s before"


def check_loss(
    operations: Iterable[Operation],
    *,
    collection: str,
    node: str,
    disasters_s: Sequence[float] = (),
    grace_s: float = 0.0,
    acknowledged_by: Collection[str] | None = None,
    examples: int = WORST,
) -> Loss:
    """Hold the last reads of `node` against every row whose insert succeeded.

    `disasters_s` are the moments at which faults began: a row is measured against the first one after its
    acknowledgement, and only reads that began after that say what became of it. A row without one counts as flushed
    if any flush covered it, and is measured against the end of the last successful insert. A row is lost if the last
    read that asked for it missed it, and began more than `grace_s` after its flush or, for the unflushed, its insert:
    what is not yet flushed may take that long to show.
    """
    history = list(operations)
    called = gather(history, collection=collection, level=Level.CALLED, acknowledged_by=acknowledged_by)
    flushed = gather(history, collection=collection, level=Level.FLUSHED, acknowledged_by=acknowledged_by)
    reads = set_reads(history, collection, node)
    seen = replay(called, reads, grace_s=grace_s, examples=examples, by_reads=False)
    acknowledged_s = called.acknowledged_s
    judged = np.isfinite(acknowledged_s) & np.isinf(called.delete_began_s)
    disaster_s = _next_after(acknowledged_s, disasters_s)
    safe = flushed.acknowledged_s <= np.minimum(disaster_s, np.finfo(np.float64).max)
    promised_s = np.where(safe, flushed.acknowledged_s, acknowledged_s) + grace_s
    # A row without a disaster may be judged by any read.
    from_s = np.maximum(promised_s, np.where(np.isfinite(disaster_s), disaster_s, -np.inf))
    begun_s = np.array([read.invoked_s for read in reads] or [np.nan])
    present, absent = seen.last_present, seen.last_absent
    lost = judged & (absent > present) & (begun_s[absent] > from_s)
    kept = judged & (present > absent) & (np.isinf(disaster_s) | (begun_s[present] > disaster_s))
    last_s = float(acknowledged_s.max(where=np.isfinite(acknowledged_s), initial=-np.inf))
    before_s = np.where(np.isfinite(disaster_s), disaster_s, last_s)[lost] - acknowledged_s[lost]

    def few(rows: NDArray[np.bool_]) -> Rows:
        return Rows(int(rows.sum()), tuple(called.ids[rows][:examples].tolist()))

    return Loss(
        collection=collection,
        node=node,
        acknowledged=int(judged.sum()),
        kept=int(kept.sum()),
        unread=int((judged & ~lost & ~kept).sum()),
        flushed=few(lost & safe),
        unflushed=few(lost & ~safe),
        recovery_point_s=float(before_s.max(initial=0.0)),
    )


def _next_after(times_s: Times, moments_s: Sequence[float]) -> Times:
    """For each time the first of the moments that is not before it; infinity where there is none."""
    ordered = np.append(np.sort(np.asarray(moments_s, dtype=np.float64)), np.inf)
    return ordered[np.minimum(np.searchsorted(ordered, times_s), len(ordered) - 1)]
