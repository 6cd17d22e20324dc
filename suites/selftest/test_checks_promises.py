"""Whose acknowledgements count, which flushes do, and what a judgement says where only one of two things is broken."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from fixtures.claims import Verdict
from fixtures.history import Operation
from suites.checks.elements import Level
from suites.checks.judge import Judgement, Rules, judge_history, until_dropped
from suites.checks.loss import check_loss
from suites.checks.sessions import check_monotonic_writes, check_read_your_writes
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed

pytestmark = pytest.mark.selftest

WRITER_ONLY = ("writer",)


def judged(history: HandMade, checker: str, **rules: Any) -> list[Judgement]:
    return [one for one in judge_history(history.operations, [], Rules(**rules)) if one.checker == checker]


def written_to_a_reader() -> HandMade:
    """A session inserts 1 and then 2 at a reader, which promises nothing; a later read has 2 and not 1."""
    history = HandMade()
    history.insert(0, [1], client="ann of reader-1", node=NODE)
    history.insert(1, [2], client="ann of reader-1", node=NODE)
    history.flush(2, node=NODE)
    history.read(4, [1, 2], [2], client="ben of reader-1")
    return history


@pytest.mark.parametrize(("by", "lost"), [(None, (1,)), (WRITER_ONLY, ())])
def test_a_row_that_only_a_reader_acknowledged_is_not_lost(by: Collection[str] | None, lost: tuple[int, ...]) -> None:
    history = written_to_a_reader().operations
    result = check_loss(history, collection=COLLECTION, node=NODE, acknowledged_by=by)
    assert result.flushed.examples == lost
    assert result.acknowledged == (0 if by else 2)


def test_a_flush_of_a_node_that_promises_nothing_flushes_nothing() -> None:
    history = HandMade()
    history.insert(0, [1])
    history.flush(2, node=NODE)
    history.read(4, [1], [])
    told = check_loss(history.operations, collection=COLLECTION, node=NODE, acknowledged_by=WRITER_ONLY)
    assert (told.flushed.examples, told.unflushed.examples) == ((), (1,))


@pytest.mark.parametrize(("by", "disorders"), [(None, 1), (WRITER_ONLY, 0)])
def test_writes_that_only_a_reader_acknowledged_have_no_order(by: Collection[str] | None, disorders: int) -> None:
    history = written_to_a_reader()
    result = check_monotonic_writes(history.operations, collection=COLLECTION, node=NODE, acknowledged_by=by)
    assert len(result.disorders) == disorders
    (said,) = judged(history, "monotonic writes", acknowledged_by=by)
    assert len(said.findings) == disorders


def test_a_read_that_ends_as_a_delete_begins_may_miss_the_row() -> None:
    def history(deleted_at: float) -> list[Operation]:
        told = HandMade()
        told.insert(0, [1], client="ann of writer")
        told.insert(1, [2], client="ann of writer")
        told.read(2, [1, 2], [2])
        told.delete(deleted_at, [1])
        return told.operations

    for deleted_at, disorders in ((2.5, 0), (2.75, 1)):
        result = check_monotonic_writes(history(deleted_at), collection=COLLECTION, node=NODE)
        assert len(result.disorders) == disorders, deleted_at


def test_of_many_missed_rows_as_many_are_named_as_asked() -> None:
    history = HandMade()
    history.insert(0, range(9), client="ann of writer")
    history.insert(1, [9], client="ann of writer")
    history.read(2, range(10), [9])
    (disorder,) = check_monotonic_writes(history.operations, collection=COLLECTION, node=NODE, examples=3).disorders
    assert disorder.examples == (0, 1, 2)


def test_a_flush_of_all_collections_flushes_this_one_for_its_session() -> None:
    history = HandMade()
    history.insert(0, [1], client="ann of writer")
    history.flush(1, collection="", client="ann of writer")
    history.read(3, [1], [], client="ann of reader-1")
    (session,) = check_read_your_writes(history.operations, collection=COLLECTION)
    assert len(session.misses) == 1


def test_a_flush_that_ends_as_a_disaster_begins_was_in_time() -> None:
    for disaster_s, (safe, unsafe) in ((1.5, ((1,), ())), (1.25, ((), (1,)))):
        history = flushed([1])
        history.read(3, [1], [])
        told = check_loss(history.operations, collection=COLLECTION, node=NODE, disasters_s=[disaster_s])
        assert (told.flushed.examples, told.unflushed.examples) == (safe, unsafe), disaster_s


def test_a_loss_needs_no_grace_unless_it_is_given_one() -> None:
    history = flushed([1])
    history.read(1.75, [1], [])
    assert check_loss(history.operations, collection=COLLECTION, node=NODE).lost == 1
    assert check_loss(history.operations, collection=COLLECTION, node=NODE, grace_s=1.0).lost == 0


def test_some_rows_kept_do_not_excuse_a_lost_one() -> None:
    history = flushed([1, 2])
    history.read(3, [1, 2], [2])
    (loss,) = judged(history, "loss")
    assert loss.verdict is Verdict.VIOLATED


def test_staleness_alone_violates_only_where_there_is_a_bound() -> None:
    history = flushed([1, 2])
    history.read(4, [1, 2], [1])
    history.read(6, [1, 2], [1, 2])
    (told,) = judged(history, "set-full")
    assert (told.verdict, told.findings) == (Verdict.HOLDS, [])
    (told,) = judged(history, "set-full", bound_s=1.0)
    assert told.verdict is Verdict.VIOLATED
    assert [finding.facts["rule"] for finding in told.findings] == ["staleness"]


def test_a_session_waits_for_its_flushed_rows_at_no_time() -> None:
    history = HandMade()
    history.insert(0, [1], client="ann of writer")
    history.flush(1, client="ann of writer")
    history.read(2, [1], [], client="ann of writer", node="writer")
    for level, missed in ((Level.FLUSHED, 1), (Level.CALLED, 0)):
        (session,) = judged(history, "read your writes", level=level, bound_s=5.0)
        assert len(session.findings) == missed, level


def test_a_count_is_judged_once_its_rows_are_flushed() -> None:
    history = HandMade()
    history.insert(0, [1])
    history.add("count", 1, {}, {"value": 0}, node=NODE)
    history.flush(2)
    history.add("count", 3, {}, {"value": 0}, node=NODE)
    history.add("count", 4, {}, {"value": 5}, node=NODE, collection="another")
    history.add("search", 5, {}, {"value": 5}, node=NODE)
    assert [count.says for count in judged(history, "count")] == ["0 rows of 1 (operation 3)"]


@pytest.mark.parametrize("kind", ["count", "stats"])
def test_an_answer_that_came_after_the_drop_is_left_out(kind: str) -> None:
    history = flushed([1])
    history.add(kind, 2, {}, {"value": 0}, took=2)
    history.insert(2, [2], took=2)
    history.add("drop_collection", 3, {}, {})
    kept, dropped_s = until_dropped(history.operations, COLLECTION)
    assert ([each.kind for each in kept], dropped_s) == (["insert", "flush", "insert"], 3)
