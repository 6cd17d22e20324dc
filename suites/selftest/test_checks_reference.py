"""The set-full checker against one written for nothing but being obviously right, on thousands of small histories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.history import Operation, Outcome
from fixtures.rowids import decode
from suites.checks.set_full import Level, SetFull, check_monotonic, check_set_full
from suites.selftest.hand_made import COLLECTION, NODE, HandMade

pytestmark = pytest.mark.selftest

ALL = 1000
OUTCOMES = st.sampled_from([Outcome.OK, Outcome.OK, Outcome.OK, Outcome.UNKNOWN, Outcome.FAILED])
ROWS = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Inserts, flushes, deletes and reads of three rows, at whole seconds, so that many overlap or touch."""
    history = HandMade()
    for _ in range(draw(st.integers(1, 20))):
        at = draw(st.integers(0, 10))
        kind = draw(st.sampled_from(["insert", "flush", "delete", "read", "read", "read"]))
        how: dict[str, Any] = {"took": draw(st.integers(0, 3)), "outcome": draw(OUTCOMES)}
        if kind == "insert":
            history.insert(at, draw(ROWS), **how)
        elif kind == "flush":
            history.flush(at, **how)
        elif kind == "delete":
            history.delete(at, draw(ROWS), **how)
        else:
            asked = draw(ROWS)
            found = [row for row in asked if draw(st.booleans())]
            doubled = found[:1] if draw(st.integers(0, 9)) == 0 else []
            history.read(at, asked, found, doubled, **how)
    return history.operations


@dataclass
class Row:
    """All that the slow checker finds out about one row."""

    attempts: int = 0
    settled_s: float = -math.inf
    attempted_s: float = math.inf
    known_s: float = math.inf
    delete_began_s: float = math.inf
    final_delete_s: float = math.inf
    deleted_s: float = math.inf
    present: list[int] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
    doubled: bool = False
    lingering: bool = False
    resurrected: bool = False


def ended_s(operation: Operation) -> float:
    assert operation.completed_s is not None
    return operation.completed_s


def acknowledged_s(change: Operation, operations: Sequence[Operation], level: Level) -> float:
    if change.outcome is not Outcome.OK:
        return math.inf
    if level is Level.CALLED:
        return ended_s(change)
    flushes = [
        ended_s(flush)
        for flush in operations
        if flush.kind == "flush" and flush.outcome is Outcome.OK and flush.invoked_s > ended_s(change)
    ]
    return min(flushes, default=math.inf)


def slow_rows(operations: Sequence[Operation], level: Level) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    possible = [operation for operation in operations if operation.outcome is not Outcome.FAILED]
    for insert in possible:
        if insert.kind == "insert":
            for number in decode(insert.request["ids"]).tolist():
                row = rows.setdefault(number, Row())
                row.attempts += 1
                row.attempted_s = min(row.attempted_s, insert.invoked_s)
                sure = insert.outcome is Outcome.OK
                row.settled_s = max(row.settled_s, ended_s(insert) if sure else math.inf)
                row.known_s = min(row.known_s, acknowledged_s(insert, operations, level))
    for delete in possible:
        if delete.kind == "delete":
            for number in decode(delete.request["ids"]).tolist():
                if number in rows:
                    row = rows[number]
                    row.delete_began_s = min(row.delete_began_s, delete.invoked_s)
                    if delete.invoked_s > row.settled_s:
                        row.final_delete_s = min(row.final_delete_s, delete.invoked_s)
                        row.deleted_s = min(row.deleted_s, acknowledged_s(delete, operations, level))
    return rows


def slow_reads(operations: Sequence[Operation]) -> list[Operation]:
    reads = [operation for operation in operations if operation.kind == "search" and operation.outcome is Outcome.OK]
    return sorted(reads, key=lambda read: read.invoked_s)


def judge_deletes(row: Row, reads: Sequence[Operation], number: int, grace_s: float) -> None:
    """Every read of a deleted row: was it still there, or there again?"""
    for read in reads:
        found = number in decode(read.reply["found"])
        if found and read.invoked_s > row.deleted_s:
            gone_before = any(
                number in decode(other.request["asked"])
                and number not in decode(other.reply["found"])
                and other.invoked_s > row.final_delete_s
                and ended_s(other) < read.invoked_s
                for other in reads
            )
            row.resurrected |= gone_before
            row.lingering |= not gone_before and read.invoked_s > row.deleted_s + grace_s


def judge_read(row: Row, order: int, read: Operation, number: int) -> float:
    """One read of one row: found, or missing; and if that may be held against a known row, since when it was known."""
    if number in decode(read.reply["found"]):
        row.present.append(order)
        row.doubled |= row.attempts == 1 and number in decode(read.reply.get("doubled", []))
        return -1.0
    if row.attempted_s < ended_s(read) < row.delete_began_s:
        row.absent.append(order)
        return read.invoked_s - row.known_s
    return -1.0


def slow_check(operations: Sequence[Operation], level: Level, grace_s: float) -> dict[str, object]:
    rows = slow_rows(operations, level)
    reads = slow_reads(operations)
    invented: set[int] = set()
    for read in reads:
        for number in decode(read.reply["found"]).tolist():
            if number not in rows or rows[number].attempted_s > ended_s(read):
                invented.add(number)
            if number in rows:
                rows[number].known_s = min(rows[number].known_s, ended_s(read))
    misses: dict[int, list[int]] = {}
    for order, read in enumerate(reads):
        for number in set(decode(read.request["asked"]).tolist()) & set(rows):
            if judge_read(rows[number], order, read, number) > grace_s:
                misses.setdefault(read.index, []).append(number)
    for number, row in rows.items():
        judge_deletes(row, reads, number, grace_s)
    return summary(rows, reads, invented, misses, grace_s)


def summary(
    rows: dict[int, Row],
    reads: Sequence[Operation],
    invented: set[int],
    misses: dict[int, list[int]],
    grace_s: float,
) -> dict[str, object]:
    def late_s(row: Row) -> float:
        return max(0.0, reads[row.absent[-1]].invoked_s - row.known_s) if row.absent else 0.0

    stable = {n for n, row in rows.items() if max(row.present, default=-1) > max(row.absent, default=-1)}
    unseen_last = {n for n, row in rows.items() if max(row.absent, default=-1) > max(row.present, default=-1)}
    lost = {n for n in unseen_last if late_s(rows[n]) > grace_s}
    return {
        "attempted": len(rows),
        "reads": len(reads),
        "stable": len(stable),
        "stale": sorted((n, late_s(rows[n])) for n in stable if late_s(rows[n]) > grace_s),
        "never_read": len(rows) - len(stable) - len(lost),
        "lost": tuple(sorted(lost)),
        "doubled": tuple(sorted(n for n, row in rows.items() if row.doubled)),
        "invented": tuple(sorted(invented)),
        "lingering": tuple(sorted(n for n, row in rows.items() if row.lingering)),
        "resurrected": tuple(sorted(n for n, row in rows.items() if row.resurrected)),
        "misses": {read: tuple(sorted(missed)) for read, missed in misses.items()},
        "greatest latency": max((late_s(rows[n]) for n in stable), default=None),
    }


def as_dict(result: SetFull) -> dict[str, object]:
    return {
        "attempted": result.attempted,
        "reads": result.reads,
        "stable": result.stable,
        "stale": sorted((row.row, row.latency_s) for row in result.worst_stale),
        "never_read": result.never_read,
        "lost": result.lost.examples,
        "doubled": result.doubled.examples,
        "invented": result.invented.examples,
        "lingering": result.lingering.examples,
        "resurrected": result.resurrected.examples,
        "misses": {miss.operation: miss.examples for miss in result.misses},
        "greatest latency": result.stable_latency_s.p100 if result.stable_latency_s else None,
    }


@settings(derandomize=True, max_examples=1200, deadline=None)
@given(histories(), st.sampled_from(Level), st.sampled_from([0.0, 2.0]))
def test_set_full_says_what_the_slow_checker_says(history: list[Operation], level: Level, grace_s: float) -> None:
    result = check_set_full(history, collection=COLLECTION, node=NODE, level=level, grace_s=grace_s, examples=ALL)
    assert as_dict(result) == slow_check(history, level, grace_s)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(histories())
def test_gaps_are_reads_that_miss_what_a_read_before_them_found(history: list[Operation]) -> None:
    rows, reads = slow_rows(history, Level.CALLED), slow_reads(history)
    expected: dict[int, set[int]] = {}
    for read in reads:
        for number in set(decode(read.request["asked"]).tolist()) - set(decode(read.reply["found"]).tolist()):
            seen = any(number in decode(other.reply["found"]) and ended_s(other) < read.invoked_s for other in reads)
            if number in rows and seen and rows[number].attempted_s < ended_s(read) < rows[number].delete_began_s:
                expected.setdefault(read.index, set()).add(number)
    result = check_monotonic(history, collection=COLLECTION, node=NODE, examples=ALL)
    assert {gap.operation: set(gap.examples) for gap in result.gaps} == expected


def test_long_runs_are_judged_as_short_ones_are() -> None:
    """A thousand rows go through slices instead of positions."""
    history = HandMade()
    history.insert(0, range(1000))
    history.insert(0, range(5000, 5100, 2))
    history.flush(1)
    history.read(2, range(1000), [*range(500), *range(700, 1000)])
    history.delete(3, range(100, 300))
    history.flush(4)
    history.read(5, [*range(1000), *range(5000, 5100)], [*range(150), *range(300, 1000), 5000, 5002])
    result = check_set_full(history.operations, collection=COLLECTION, node=NODE, examples=ALL)
    assert as_dict(result) == slow_check(history.operations, Level.FLUSHED, 0.0)
    assert result.lost.count == 48
    assert result.lingering.count == 50
