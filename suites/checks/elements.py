"""The rows of a collection as a history tells them: what was attempted, acknowledged and deleted, and when.

Rows are arrays, one entry per distinct id in ascending order; ids stay in runs as long as they can, so that a history
of a million rows is a matter of array slices. Times are seconds on the run's clock, infinity for what never happened.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures import rowids
from fixtures.history import Operation, Outcome
from fixtures.rowids import Ids

Times = NDArray[np.float64]
Index = slice | NDArray[np.intp]

# Runs at least this long are worth an array slice of their own; shorter ones are gathered into one list of positions.
_LONG_RUN = 64


class Level(str, enum.Enum):
    """When a change counts as acknowledged: when its own call has succeeded, or when a flush begun after that has."""

    CALLED = "called"
    FLUSHED = "flushed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """What a history says about the rows of one collection, one array entry per row id.

    `attempted_s` is the begin of the first insert of the row, `settled_s` the end of the last one (infinity if one of
    unknown outcome may still be carried out), `attempts` their number. `delete_began_s` is the begin of the first
    delete that may have worked: from then on the row may be absent. `final_delete_s` is that of the first delete that
    began after all inserts of the row had ended, and `deleted_s` is when such a one was acknowledged: from then on the
    row must not be there. An insert that overlaps a delete may come after it, so that the two decide nothing.
    `unattributed` says that rows may exist whose ids nobody knows: those of an insert without ids whose outcome is
    unknown.
    """

    ids: Ids
    attempted_s: Times
    settled_s: Times
    attempts: NDArray[np.int32]
    acknowledged_s: Times
    delete_began_s: Times
    final_delete_s: Times
    deleted_s: Times
    unattributed: bool


def gather(
    operations: Iterable[Operation], *, collection: str, level: Level, acknowledged_by: Collection[str] | None = None
) -> Elements:
    """The rows of `collection` that any insert may have stored; a failed insert stored none.

    `acknowledged_by` names the nodes whose acknowledgement is a promise (None: all): not a reader, say, which accepts
    writes that it cannot store.
    """
    inserts, deletes, flushes = [], [], []
    for operation in operations:
        if operation.outcome is Outcome.FAILED or operation.collection not in (collection, ""):
            continue
        if operation.kind == "insert":
            inserts.append(operation)
        elif operation.kind == "delete":
            deletes.append(operation)
        elif operation.kind == "flush" and promised(operation, acknowledged_by):
            flushes.append(operation)
    known_from = Acknowledgement(flushes, level)
    written = [(operation, inserted_ids(operation)) for operation in inserts]
    listed = [ids for _, ids in written if ids is not None]
    ids = rowids.distinct(np.concatenate([rowids.decode(part) for part in listed])) if listed else rowids.EMPTY
    never = np.full(len(ids), np.inf)
    elements = Elements(
        ids=ids,
        attempted_s=never.copy(),
        settled_s=-never,
        attempts=np.zeros(len(ids), dtype=np.int32),
        acknowledged_s=never.copy(),
        delete_began_s=never.copy(),
        final_delete_s=never.copy(),
        deleted_s=never.copy(),
        unattributed=any(part is None for _, part in written),
    )
    for operation, part in written:
        acknowledged_s = known_from(operation) if promised(operation, acknowledged_by) else np.inf
        ended_s = operation.completed_s
        last_s = ended_s if operation.outcome is Outcome.OK and ended_s is not None else np.inf
        for index in locate(part or [], ids)[0]:
            lower(elements.attempted_s, index, operation.invoked_s)
            elements.settled_s[index] = np.maximum(elements.settled_s[index], last_s)
            _count(elements.attempts, index)
            lower(elements.acknowledged_s, index, acknowledged_s)
    for operation in deletes:
        deleted_s = known_from(operation) if promised(operation, acknowledged_by) else np.inf
        for index in locate(operation.request["ids"], ids)[0]:
            lower(elements.delete_began_s, index, operation.invoked_s)
            last = elements.settled_s[index] < operation.invoked_s
            lower(elements.final_delete_s, index, np.where(last, operation.invoked_s, np.inf))
            lower(elements.deleted_s, index, np.where(last, deleted_s, np.inf))
    return elements


def inserted_ids(insert: Operation) -> Sequence[object] | None:
    """The encoded ids of an insert: those it asked for, else those the node chose; None where nobody knows them."""
    ids = insert.request.get("ids", insert.reply.get("ids"))
    if ids is not None and not isinstance(ids, Sequence):
        raise ValueError(f"operation {insert.index}: ids must be a list, not {ids!r}")
    return ids


def locate(encoded: object, ids: Ids) -> tuple[list[Index], Ids]:
    """Where encoded ids are in the sorted array `ids`, as slices and at most one array of positions; then the others.

    A position occurs as often as its id does.
    """
    if not encoded:
        return [], rowids.EMPTY
    firsts, lasts = rowids.runs(encoded)
    low = np.searchsorted(ids, firsts)
    high = np.searchsorted(ids, lasts, side="right")
    held = high - low
    short = lasts - firsts >= held
    missing = _missing(rowids.expand(firsts[short], lasts[short]), ids) if short.any() else rowids.EMPTY
    long = held >= _LONG_RUN
    found: list[Index] = [slice(a, b) for a, b in zip(low[long].tolist(), high[long].tolist(), strict=True)]
    few = ~long & (held > 0)
    if few.any():
        found.append(rowids.expand(low[few], high[few] - 1))
    return found, missing


def _missing(ids: Ids, among: Ids) -> Ids:
    """Those of `ids` that are not in the sorted array `among`, each once."""
    if not among.size:
        return rowids.distinct(ids)
    at = np.minimum(np.searchsorted(among, ids), among.size - 1)
    return rowids.distinct(ids[among[at] != ids])


def lower(times: Times, index: Index, time_s: float | Times) -> None:
    """Set `times[index]` to the earlier of what is there and `time_s`, one for all or one for each."""
    if isinstance(index, slice):
        np.minimum(times[index], time_s, out=times[index])
    else:
        times[index] = np.minimum(times[index], time_s)


class Acknowledgement:
    """When a change is acknowledged: a function of its operation, infinity if it never is."""

    def __init__(self, flushes: Sequence[Operation], level: Level) -> None:
        self._level = level
        done = sorted(
            (flush.invoked_s, flush.completed_s)
            for flush in flushes
            if flush.outcome is Outcome.OK and flush.completed_s is not None
        )
        self._begun_s = np.array([begun_s for begun_s, _ in done])
        # The earliest end among the flushes that began at this one or later.
        ends_s = np.array([ended_s for _, ended_s in done])
        self._ended_s = np.minimum.accumulate(ends_s[::-1])[::-1]

    def __call__(self, operation: Operation) -> float:
        if operation.outcome is not Outcome.OK or operation.completed_s is None:
            return np.inf
        if self._level is Level.CALLED:
            return operation.completed_s
        after = int(np.searchsorted(self._begun_s, operation.completed_s, side="right"))
        return float(self._ended_s[after]) if after < len(self._ended_s) else np.inf


def _count(counts: NDArray[np.int32], index: Index) -> None:
    if isinstance(index, slice):
        counts[index] += 1
    else:
        np.add.at(counts, index, 1)


def promised(operation: Operation, acknowledged_by: Collection[str] | None) -> bool:
    return acknowledged_by is None or operation.node in acknowledged_by
