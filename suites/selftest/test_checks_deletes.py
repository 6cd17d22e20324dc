"""Set-full on histories with deletes: rows that linger, come back, or may do so."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.claims import Verdict
from fixtures.history import Outcome
from suites.checks.set_full import SetFull, check_set_full
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed

pytestmark = pytest.mark.selftest


def check(history: HandMade, **how: Any) -> SetFull:
    return check_set_full(history.operations, collection=COLLECTION, node=NODE, **how)


def test_a_deleted_row_may_be_missing_from_when_its_delete_began() -> None:
    history = flushed([1, 2])
    history.read(2, [1, 2], [1, 2])
    history.delete(3, [1], took=2)
    history.read(4, [1, 2], [2])
    history.read(9, [1, 2], [2])
    result = check(history)
    assert (result.lost.count, result.misses, result.stable) == (0, (), 2)


def test_a_read_that_overlaps_a_delete_is_not_judged() -> None:
    history = flushed([1])
    history.read(2, [1], [], took=3)
    history.delete(4, [1])
    assert check(history).lost.count == 0


def test_a_row_read_after_its_delete_was_flushed_lingers() -> None:
    history = flushed([1, 2])
    history.delete(2, [1])
    history.read(2.6, [1], [1])
    assert check(history).lingering.count == 0
    history.flush(3)
    history.read(4, [1], [1])
    result = check(history)
    assert (result.lingering.examples, result.resurrected.count) == ((1,), 0)
    assert result.verdict is Verdict.VIOLATED


def test_a_row_that_was_gone_after_its_delete_and_comes_back_is_resurrected() -> None:
    history = flushed([1, 2])
    history.delete(2, [1])
    history.flush(3)
    history.read(4, [1, 2], [2])
    history.read(5, [1, 2], [1, 2])
    result = check(history)
    assert (result.lingering.count, result.resurrected.examples) == (0, (1,))
    assert result.verdict is Verdict.VIOLATED


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED])
def test_a_row_may_stay_when_its_delete_was_not_acknowledged(outcome: Outcome) -> None:
    history = flushed([1])
    history.delete(2, [1], outcome=outcome)
    history.flush(3)
    history.read(4, [1], [1])
    assert check(history).findings() == []
    history.read(5, [1], [])
    assert check(history).lost.count == (1 if outcome is Outcome.FAILED else 0)


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.UNKNOWN])
def test_a_row_that_is_inserted_again_may_come_back(outcome: Outcome) -> None:
    history = flushed([1])
    history.delete(2, [1])
    history.flush(3)
    history.read(4, [1], [])
    history.insert(5, [1], outcome=outcome)
    history.read(6, [1], [1])
    result = check(history)
    assert (result.lingering.count, result.resurrected.count) == (0, 0)


@pytest.mark.parametrize("found", [[], [1]])
def test_an_insert_that_overlaps_a_delete_blames_nobody(found: list[int]) -> None:
    """Which of the two came last only the node knows."""
    history = HandMade()
    history.insert(0, [1], took=3)
    history.delete(1, [1], took=1)
    history.flush(4)
    history.read(5, [1], [])
    history.read(6, [1], found)
    result = check(history)
    assert result.findings() == []
    assert result.misses == ()


def test_a_row_that_is_inserted_again_and_deleted_again_is_judged_by_its_last_delete() -> None:
    history = flushed([1, 2])
    history.delete(2, [1, 2])
    history.read(3, [1, 2], [])
    history.insert(4, [1, 2])
    history.read(5, [1, 2], [1, 2])
    history.delete(6, [1, 2])
    history.flush(7)
    history.read(8, [1, 2], [1])
    history.read(9, [1, 2], [2])
    result = check(history)
    assert (result.lingering.examples, result.resurrected.examples) == ((1,), (2,))


def test_an_acknowledged_delete_before_the_last_insert_promises_nothing() -> None:
    history = flushed([1])
    history.delete(2, [1])
    history.flush(3)
    history.insert(4, [1])
    history.delete(5, [1], outcome=Outcome.UNKNOWN)
    history.flush(6)
    history.read(7, [1], [1])
    assert check(history).findings() == []


def test_a_deleted_row_may_be_read_within_the_grace_and_even_come_back() -> None:
    """A reader that shows changes late may first show the insert, when the delete has long been acknowledged."""
    history = flushed([1, 2])
    history.delete(2, [1, 2])
    history.flush(3)
    history.read(4, [1, 2], [1])
    history.read(5.5, [1, 2], [1, 2])
    assert check(history, grace_s=2.0).findings() == []
    late = check(history, grace_s=1.9)
    assert (late.lingering.examples, late.resurrected.examples) == ((1,), (2,))


def test_an_insert_of_unknown_outcome_may_still_come_after_a_delete() -> None:
    history = flushed([1])
    history.insert(0, [1], outcome=Outcome.UNKNOWN)
    history.delete(2, [1])
    history.flush(3)
    history.read(4, [1], [1])
    assert check(history).findings() == []


def test_a_delete_in_the_instant_in_which_an_insert_ended_is_not_after_it() -> None:
    history = HandMade()
    history.insert(0, [1], took=2)
    history.delete(2, [1])
    history.flush(3)
    history.read(4, [1], [1])
    assert check(history).findings() == []


@pytest.mark.parametrize("kind", ["insert", "delete", "flush"])
def test_what_another_node_acknowledges_counts_only_where_it_is_asked_to(kind: str) -> None:
    """The reader did one of the three; without it neither the row nor its delete is acknowledged by the writer."""
    who = dict.fromkeys(("insert", "delete", "flush"), "writer") | {kind: NODE}
    history = HandMade()
    history.insert(0, [1, 2], node=who["insert"])
    history.flush(1, node=who["flush"])
    history.delete(2, [1], node=who["delete"])
    history.flush(3, node=who["flush"])
    history.read(4, [1], [1])
    everybody, writer = check(history), check(history, acknowledged_by={"writer"})
    assert (everybody.acknowledged, everybody.lingering.count) == (2, 1)
    assert (writer.acknowledged, writer.lingering.count) == ((2, 0) if kind == "delete" else (0, int(kind == "insert")))
