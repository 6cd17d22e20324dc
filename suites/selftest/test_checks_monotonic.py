"""Monotonic reads: what is a gap, and what is none."""

from __future__ import annotations

import pytest

from fixtures.claims import Verdict
from suites.checks.set_full import MonotonicReads, check_monotonic
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed

pytestmark = pytest.mark.selftest


def monotonic(history: HandMade) -> MonotonicReads:
    return check_monotonic(history.operations, collection=COLLECTION, node=NODE)


def test_an_empty_history_is_unknown() -> None:
    assert monotonic(HandMade()).verdict is Verdict.UNKNOWN


def test_a_gap_is_a_read_that_misses_what_an_earlier_read_found() -> None:
    history = flushed([1, 2, 3])
    history.read(2, [1, 2, 3], [1, 2])
    gap = history.read(4, [1, 2, 3], [1])
    history.read(5, [1, 2, 3], [1, 2, 3])
    result = monotonic(history)
    assert (result.reads, result.seen) == (3, 3)
    assert [(found.operation, found.rows, found.examples, found.age_s) for found in result.gaps] == [
        (gap.index, 1, (2,), 1.5)
    ]
    assert result.verdict is Verdict.VIOLATED


def test_a_row_that_is_acknowledged_but_not_yet_seen_leaves_no_gap() -> None:
    history = flushed([1, 2])
    history.read(2, [1, 2], [1])
    history.read(3, [1, 2], [1, 2])
    assert monotonic(history).gaps == ()
    assert monotonic(history).verdict is Verdict.HOLDS


def test_reads_that_overlap_and_deletes_leave_no_gap() -> None:
    history = flushed([1])
    history.read(2, [1], [1], took=5)
    history.read(3, [1], [])
    history.delete(8, [1])
    history.read(9, [1], [])
    assert monotonic(history).gaps == ()


def test_what_was_seen_and_missed_is_counted_and_listed_in_part() -> None:
    history = flushed(list(range(20)))
    history.read(2, list(range(20)), list(range(15)))
    history.read(4, list(range(20)), [])
    result = monotonic(history)
    assert (result.collection, result.node, result.reads, result.seen) == (COLLECTION, NODE, 2, 15)
    assert [(gap.rows, gap.examples) for gap in result.gaps] == [(15, tuple(range(8)))]
