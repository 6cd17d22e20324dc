"""Goes through the reads of one node in the order in which they began, and notes what each says about each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fixtures import rowids
from fixtures.claims import Finding
from fixtures.history import Operation, Outcome
from fixtures.rowids import Ids, first_few
from suites.checks.elements import Elements, Index, Times, locate, lower

Positions = NDArray[np.intp]

_NARROW = {"tags", "files"}
"""What a request names that looks at a part of its collection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A read that missed known rows: `rows` of them, of which `age_s` is how long the oldest one had been known."""

    operation: int
    invoked_s: float
    rows: int
    examples: tuple[int, ...]
    age_s: float

    @staticmethod
    def of(read: Operation, rows: Ids, ages_s: Times, examples: int) -> Miss:
        """That `read` missed `rows`, at least one, with the first few of them as examples."""
        few = tuple(rows[:examples].tolist())
        age_s = float(ages_s.max())
        return Miss(operation=read.index, invoked_s=read.invoked_s, rows=len(rows), examples=few, age_s=age_s)


def told(misses: Sequence[Miss], node: str, what: str, rule: str) -> list[Finding]:
    """One finding for all the misses of a kind, with the first of them; none for none."""
    if not misses:
        return []
    first = misses[0]
    rows = f"rows {first_few(first.examples)}" + (f" of {first.rows}" if first.rows > len(first.examples) else "")
    message = f"{len(misses)} reads {what}; the first: operation {first.operation}, {rows}"
    facts = {"rule": rule, "count": len(misses), "operations": [miss.operation for miss in misses[:5]]}
    return [Finding(message=message, node=node, facts=facts)]


@dataclass(slots=True, kw_only=True)
class Replay:
    """What the reads said, one array entry per row.

    `known_s` is when a row was acknowledged or first read; `last_present` and `last_absent` number the reads (in
    `reads`) that found it, or missed it after its insert and before its delete had begun, -1 for none. `gone_s` is the
    end of the first read that missed it after its final delete had begun.
    """

    reads: Sequence[Operation]
    known_s: Times
    last_present: NDArray[np.int32]
    last_absent: NDArray[np.int32]
    gone_s: Times
    misses: list[Miss] = field(default_factory=list)
    doubled: Ids = field(default_factory=lambda: rowids.EMPTY)
    invented: Ids = field(default_factory=lambda: rowids.EMPTY)
    lingering: Ids = field(default_factory=lambda: rowids.EMPTY)
    resurrected: Ids = field(default_factory=lambda: rowids.EMPTY)


def set_reads(operations: Iterable[Operation], collection: str, node: str) -> list[Operation]:
    """The answered reads of `node` that asked for rows of `collection`, in the order in which they began.

    Not those of some partitions or files only: that they miss a row is no evidence.
    """
    reads = [
        operation
        for operation in operations
        if operation.node == node
        and operation.collection == collection
        and operation.outcome is Outcome.OK
        and "asked" in operation.request
        and not _NARROW & operation.request.keys()
    ]
    return sorted(reads, key=lambda read: read.invoked_s)


def replay(
    elements: Elements, reads: Sequence[Operation], *, grace_s: float, examples: int, by_reads: bool = True
) -> Replay:
    """Hold `reads`, in the order in which they began, against the rows.

    A miss counts when later than `grace_s` after the row was known, and so does a deleted row that is still there.

    With `by_reads` a row is known as well once a read has found it, else by its acknowledgement alone.
    """
    rows = len(elements.ids)
    seen = Replay(
        reads=reads,
        known_s=elements.acknowledged_s.copy(),
        last_present=np.full(rows, -1, dtype=np.int32),
        last_absent=np.full(rows, -1, dtype=np.int32),
        gone_s=np.full(rows, np.inf),
    )
    absence = Absence(rows)
    deleted = np.flatnonzero(np.isfinite(elements.final_delete_s))
    lingering = np.zeros(rows, dtype=bool)
    resurrected = np.zeros(rows, dtype=bool)
    for number, read in enumerate(reads):
        found = _note_present(elements, seen, number, read, by_reads)
        with absence.of(elements, read, found):
            absent = absence.where(elements.attempted_s, end_s(read))
            gone = absence.where(elements.final_delete_s, read.invoked_s) if deleted.size else absent[:0]
        _note_absent(elements, seen, number, absent, grace_s, examples)
        if deleted.size:
            late = elements.deleted_s[deleted] + grace_s < read.invoked_s
            back = deleted[(seen.last_present[deleted] == number) & late]
            returned = seen.gone_s[back] < read.invoked_s
            resurrected[back[returned]] = True
            lingering[back[~returned]] = True
            lower(seen.gone_s, gone, end_s(read))
    seen.lingering, seen.resurrected = elements.ids[lingering], elements.ids[resurrected]
    seen.doubled, seen.invented = rowids.distinct(seen.doubled), rowids.distinct(seen.invented)
    return seen


class Absence:
    """The rows that a read asked for and did not find, in an array that is kept from read to read."""

    def __init__(self, rows: int) -> None:
        self._absent = np.zeros(rows, dtype=bool)
        self._asked: list[Index] = []

    @contextmanager
    def of(self, elements: Elements, read: Operation, found: list[Index]) -> Iterator[None]:
        self._asked, _ = locate(read.request["asked"], elements.ids)
        for index in self._asked:
            self._absent[index] = True
        for index in found:
            self._absent[index] = False
        yield
        for index in self._asked:
            self._absent[index] = False

    def where(self, times: Times, before_s: float) -> Positions:
        """Positions of the absent rows whose time is earlier than `before_s`, each once."""
        parts = []
        for index in self._asked:
            there = np.flatnonzero(self._absent[index] & (times[index] < before_s))
            parts.append(there + index.start if isinstance(index, slice) else index[there])
        # An id may be asked for twice, alone and in a run.
        return rowids.distinct(np.concatenate(parts)) if parts else np.empty(0, dtype=np.intp)


def _note_present(elements: Elements, seen: Replay, number: int, read: Operation, by_reads: bool) -> list[Index]:
    found, unknown = locate(read.reply.get("found"), elements.ids)
    ended_s = end_s(read)
    for index in found:
        if by_reads:
            lower(seen.known_s, index, ended_s)
        seen.last_present[index] = number
        early = elements.attempted_s[index] > ended_s
        if early.any():
            seen.invented = np.concatenate([seen.invented, elements.ids[index][early]])
    _, others = locate(read.reply.get("others"), elements.ids)
    if unknown.size or others.size:
        seen.invented = np.concatenate([seen.invented, unknown, others])
    for index in locate(read.reply.get("doubled"), elements.ids)[0]:
        once = elements.ids[index][elements.attempts[index] == 1]
        seen.doubled = np.concatenate([seen.doubled, once])
    return found


def _note_absent(
    elements: Elements, seen: Replay, number: int, absent: Positions, grace_s: float, examples: int
) -> None:
    read = seen.reads[number]
    absent = absent[end_s(read) < elements.delete_began_s[absent]]
    if not absent.size:
        return
    seen.last_absent[absent] = number
    ages_s = read.invoked_s - seen.known_s[absent]
    late = ages_s > grace_s
    if late.any():
        seen.misses.append(Miss.of(read, elements.ids[absent[late]], ages_s[late], examples))


def end_s(read: Operation) -> float:
    """When a read had ended, on the run's clock."""
    return np.inf if read.completed_s is None else read.completed_s
