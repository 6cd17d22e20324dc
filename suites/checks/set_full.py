"""Set-full, after Jepsen: for each row and one node, whether it became readable, stayed so, and how soon.

A read asks for some rows and finds some of them (`Client.search(asked=...)`, `Client.get`); a row's absence is evidence
only in reads that asked for it. A row is *known* once it is acknowledged, or once a read has found it, whichever is
first. A read is held against a row only if it began after the row was known and ended before a delete of the row began:
what overlaps may go either way. The rules for known, stable, lost, never read and stale, and the quantiles, are those
of Jepsen's checker `set-full`, which knows no deletes; it counts times a nanosecond later and in whole milliseconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures import rowids
from fixtures.claims import Finding, Verdict
from fixtures.history import Operation
from fixtures.rowids import Ids
from suites.checks.elements import Level, gather
from suites.checks.replay import Miss, Replay, replay, set_reads, told

__all__ = ["Level", "Miss", "MonotonicReads", "Quantiles", "Rows", "SetFull", "check_monotonic", "check_set_full"]

WORST = 8
LOST = "acknowledged or read, then lost"
DOUBLED = "in one answer twice"
LINGERING = "read after an acknowledged delete"
"""Rules of `SetFull.findings` that may be documented for some version; told in each finding's facts."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows: how many, and the first few of them."""

    count: int
    examples: tuple[int, ...]

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = f" and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
        return ", ".join(str(row) for row in self.examples) + more


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Latencies in seconds: the least, the median, the 95 and 99 per cent ones, the greatest."""

    p0: float
    p50: float
    p95: float
    p99: float
    p100: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A row that a read missed although it was known, and that came back: `operation` is the last such read."""

    row: int
    known_s: float
    latency_s: float
    operation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFull:
    """What one node did with the rows of one collection. Latencies are counted from when a row was known.

    - `stable`: found by the last read that asked for it; `stale` of these had been missed longer than allowed.
    - `lost`: missed by that read, later than allowed. `never_read`: all others, of which no read says enough.
    - `doubled`: came twice in one answer although inserted once. `invented`: read, but no insert can have stored it.
    - `lingering`: read later than allowed after its delete was acknowledged. `resurrected`: the same, after a read had
      missed it.
    - `misses`: the reads that missed rows longer than allowed, those of lost rows included.
    """

    collection: str
    node: str
    level: Level
    attempted: int
    acknowledged: int
    reads: int
    stable: int
    stale: int
    never_read: int
    lost: Rows
    doubled: Rows
    invented: Rows
    lingering: Rows
    resurrected: Rows
    stable_latency_s: Quantiles | None
    lost_latency_s: Quantiles | None
    worst_stale: tuple[Stale, ...]
    misses: tuple[Miss, ...]

    @property
    def verdict(self) -> Verdict:
        """As Jepsen's: violated if anything is broken for good, unknown if nothing was stable; stale is no breach."""
        if self.lost or self.doubled or self.invented or self.lingering or self.resurrected:
            return Verdict.VIOLATED
        return Verdict.HOLDS if self.stable else Verdict.UNKNOWN

    @property
    def staleness(self) -> Verdict:
        """Bounded staleness, the bound being the grace: violated if any read missed a row known for longer."""
        if self.misses:
            return Verdict.VIOLATED
        return self.verdict if self.stable else Verdict.UNKNOWN

    def findings(self) -> list[Finding]:
        """One finding for each kind of broken promise, with the rows concerned."""
        broken = {
            LOST: self.lost,
            DOUBLED: self.doubled,
            "read but never inserted": self.invented,
            LINGERING: self.lingering,
            "gone after a delete, then read again": self.resurrected,
        }
        return [
            Finding(
                message=f"{self.collection}: {rows.count} rows {what}: {rows}",
                node=self.node,
                facts={"rule": what, "count": rows.count, "rows": rows.examples},
            )
            for what, rows in broken.items()
            if rows
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotonicReads:
    """Whether rows once seen on a node stayed seen: `gaps` are the reads that missed rows which earlier reads found."""

    collection: str
    node: str
    reads: int
    seen: int
    gaps: tuple[Miss, ...]

    @property
    def verdict(self) -> Verdict:
        if self.gaps:
            return Verdict.VIOLATED
        return Verdict.HOLDS if self.seen else Verdict.UNKNOWN

    def findings(self) -> list[Finding]:
        return told(self.gaps, self.node, "missed a row that an earlier one had found", "gap")


def check_set_full(
    operations: Iterable[Operation],
    *,
    collection: str,
    node: str,
    level: Level = Level.FLUSHED,
    grace_s: float = 0.0,
    acknowledged_by: Collection[str] | None = None,
    examples: int = WORST,
) -> SetFull:
    """Judge every row of `collection` by the reads of `node`.

    `level` says when a row is acknowledged: after its insert, or after a flush that began when that had succeeded.
    `grace_s` is how long a known row may stay unread, and a deleted one be read: what exceeds it is stale, a miss, or,
    at the end, lost; or lingering.
    `acknowledged_by` names the nodes whose acknowledgements count (None: all). An insert of unknown outcome may have
    happened or not; its rows count from when they are read.
    """
    history = list(operations)
    elements = gather(history, collection=collection, level=level, acknowledged_by=acknowledged_by)
    seen = replay(elements, set_reads(history, collection, node), grace_s=grace_s, examples=examples)
    known_s = seen.known_s
    begun_s = np.array([read.invoked_s for read in seen.reads] or [np.nan])
    present, absent = seen.last_present, seen.last_absent
    stable = present > absent
    delay_s = np.where(absent >= 0, np.maximum(begun_s[absent] - known_s, 0.0), 0.0)
    lost = (absent > present) & (delay_s > grace_s)
    held_s = np.where(present >= 0, np.maximum(begun_s[present] - known_s, 0.0), 0.0)

    def few(ids: Ids) -> Rows:
        return Rows(len(ids), tuple(ids[:examples].tolist()))

    return SetFull(
        collection=collection,
        node=node,
        level=level,
        attempted=len(elements.ids),
        acknowledged=int(np.isfinite(elements.acknowledged_s).sum()),
        reads=len(seen.reads),
        stable=int(stable.sum()),
        stale=int((stable & (delay_s > grace_s)).sum()),
        never_read=int((~stable & ~lost).sum()),
        lost=few(elements.ids[lost]),
        doubled=few(seen.doubled),
        invented=few(rowids.EMPTY if elements.unattributed else seen.invented),
        lingering=few(seen.lingering),
        resurrected=few(seen.resurrected),
        stable_latency_s=_quantiles(delay_s[stable]),
        lost_latency_s=_quantiles(held_s[lost]),
        worst_stale=_worst(elements.ids, stable & (delay_s > grace_s), delay_s, seen, examples),
        misses=tuple(seen.misses),
    )


def check_monotonic(
    operations: Iterable[Operation], *, collection: str, node: str, examples: int = WORST
) -> MonotonicReads:
    """Find the reads of `node` that missed a row which an earlier read of that node had found, up to its delete."""
    history = list(operations)
    elements = gather(history, collection=collection, level=Level.CALLED)
    unacknowledged = dataclasses.replace(elements, acknowledged_s=np.full(len(elements.ids), np.inf))
    seen = replay(unacknowledged, set_reads(history, collection, node), grace_s=0.0, examples=examples)
    return MonotonicReads(
        collection=collection,
        node=node,
        reads=len(seen.reads),
        seen=int((seen.last_present >= 0).sum()),
        gaps=tuple(seen.misses),
    )


def _worst(
    ids: Ids, stale: NDArray[np.bool_], delay_s: NDArray[np.float64], seen: Replay, examples: int
) -> tuple[Stale, ...]:
    rows = np.flatnonzero(stale)
    worst = rows[np.lexsort((ids[rows], -delay_s[rows]))[:examples]]
    return tuple(
        Stale(
            row=int(ids[row]),
            known_s=float(seen.known_s[row]),
            latency_s=float(delay_s[row]),
            operation=seen.reads[seen.last_absent[row]].index,
        )
        for row in worst
    )


def _quantiles(latencies_s: NDArray[np.float64]) -> Quantiles | None:
    if not latencies_s.size:
        return None
    ordered = np.sort(latencies_s)
    at = [min(ordered.size - 1, int(ordered.size * share)) for share in (0.0, 0.5, 0.95, 0.99, 1.0)]
    return Quantiles(*ordered[at].tolist())
