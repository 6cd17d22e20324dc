"""Set-full on histories made by hand, one for each rule."""

from __future__ import annotations

import pytest

from fixtures.claims import Verdict
from fixtures.history import Outcome
from suites.checks.set_full import Level, Rows, SetFull, check_set_full
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed

pytestmark = pytest.mark.selftest


def check(history: HandMade, **how: object) -> SetFull:
    return check_set_full(history.operations, collection=COLLECTION, node=NODE, **how)  # type: ignore[arg-type]


def test_rows_that_are_read_as_soon_as_they_are_known_are_stable() -> None:
    history = flushed([1, 2, 3])
    history.read(2, [1, 2, 3], [1, 2, 3])
    result = check(history)
    assert (result.attempted, result.acknowledged, result.stable, result.reads) == (3, 3, 3, 1)
    assert (result.stale, result.never_read, result.misses, result.findings()) == (0, 0, (), [])
    assert result.stable_latency_s is not None
    assert result.stable_latency_s.p100 == 0.0
    assert result.verdict is Verdict.HOLDS


def test_a_known_row_that_the_last_read_misses_is_lost() -> None:
    history = flushed([1, 2, 3])
    history.read(2, [1, 2, 3], [1, 2, 3])
    history.read(4, [1, 2, 3], [1, 3])
    result = check(history)
    assert result.lost.examples == (2,)
    assert result.verdict is Verdict.VIOLATED
    assert [finding.facts["rule"] for finding in result.findings()] == ["acknowledged or read, then lost"]
    # Known at 1.5, last seen by the read of 2.
    assert result.lost_latency_s is not None
    assert result.lost_latency_s.p50 == 0.5


def test_a_row_that_no_read_ever_finds_is_lost_at_once() -> None:
    history = flushed([1])
    history.read(2, [1], [])
    result = check(history)
    assert result.lost.count == 1
    assert result.lost_latency_s is not None
    assert result.lost_latency_s.p100 == 0.0


def test_a_row_is_not_missed_by_a_read_that_did_not_ask_for_it() -> None:
    history = flushed([1, 2])
    history.read(2, [1], [1])
    result = check(history)
    assert (result.stable, result.never_read, result.lost.count) == (1, 1, 0)


def test_a_row_that_is_missed_and_comes_back_is_stale_with_its_latency() -> None:
    history = flushed([1, 2])
    history.read(2, [1, 2], [1])
    history.read(3, [1, 2], [])
    last = history.read(5, [1, 2], [1])
    history.read(7, [1, 2], [1, 2])
    result = check(history)
    assert (result.stable, result.stale, result.lost.count) == (2, 2, 0)
    worst = result.worst_stale[0]
    assert (worst.row, worst.known_s, worst.latency_s, worst.operation) == (2, 1.5, 3.5, last.index)
    assert [row.row for row in result.worst_stale] == [2, 1]
    assert [(miss.rows, miss.examples) for miss in result.misses] == [(1, (2,)), (2, (1, 2)), (1, (2,))]
    assert result.misses[2].age_s == 3.5
    assert result.verdict is Verdict.HOLDS


def test_what_is_missed_within_the_grace_is_neither_stale_nor_lost_but_counts_as_latency() -> None:
    history = flushed([1, 2])
    history.read(2, [1, 2], [1])
    assert check(history).lost.count == 1
    patient = check(history, grace_s=1.0)
    assert (patient.lost.count, patient.never_read, patient.misses) == (0, 1, ())
    history.read(3, [1, 2], [1, 2])
    patient = check(history, grace_s=1.0)
    assert (patient.stale, patient.stable, patient.misses) == (0, 2, ())
    assert patient.stable_latency_s is not None
    assert patient.stable_latency_s.p100 == 0.5
    assert check(history, grace_s=0.4).stale == 1


def test_only_a_flush_that_began_after_the_insert_acknowledges_it() -> None:
    history = HandMade()
    history.insert(0, [1], took=2)
    history.flush(1, took=2)
    history.read(4, [1], [])
    assert check(history).acknowledged == 0
    assert check(history).lost.count == 0
    assert check(history, level=Level.CALLED).lost.count == 1
    history.flush(5, collection="")
    history.read(6, [1], [])
    assert check(history).lost.count == 1


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED])
def test_a_flush_that_did_not_succeed_acknowledges_nothing(outcome: Outcome) -> None:
    history = HandMade()
    history.insert(0, [1])
    history.flush(1, outcome=outcome)
    history.flush(1, collection="another")
    history.read(2, [1], [])
    assert (check(history).acknowledged, check(history).lost.count) == (0, 0)


def test_a_row_that_a_read_has_found_is_known_without_an_acknowledgement() -> None:
    history = HandMade()
    history.insert(0, [1])
    history.read(1, [1], [1])
    history.read(2, [1], [])
    assert check(history).lost.count == 1


@pytest.mark.parametrize("found", [[], [1]])
def test_an_insert_of_unknown_outcome_may_appear_or_not(found: list[int]) -> None:
    history = HandMade()
    history.insert(0, [1], outcome=Outcome.UNKNOWN, took=None)
    history.flush(1)
    history.read(2, [1], found)
    result = check(history)
    assert (result.lost.count, result.invented.count, result.stable) == (0, 0, len(found))


def test_acknowledgements_of_other_nodes_do_not_count_when_told_so() -> None:
    history = HandMade()
    history.insert(0, [1], node=NODE)
    history.flush(1, node=NODE)
    history.read(2, [1], [])
    assert check(history).lost.count == 1
    assert check(history, acknowledged_by={"writer"}).lost.count == 0


def test_a_row_that_comes_twice_in_one_answer_is_doubled_unless_it_was_inserted_twice() -> None:
    history = flushed([1, 2])
    history.insert(3, [2])
    history.read(5, [1, 2], [1, 2], doubled=[1, 2])
    result = check(history)
    assert result.doubled.examples == (1,)
    assert result.verdict is Verdict.VIOLATED


def test_a_row_that_nobody_inserted_is_invented() -> None:
    history = flushed([1])
    history.insert(0, [7], outcome=Outcome.FAILED)
    history.read(2, [1, 7], [1, 7], others=[99])
    result = check(history)
    assert result.invented.examples == (7, 99)
    assert result.verdict is Verdict.VIOLATED


def test_a_row_that_is_read_before_its_insert_began_is_invented() -> None:
    history = flushed([1])
    history.read(2, [1, 5], [1, 5])
    history.insert(4, [5])
    history.read(6, [1, 5], [1, 5])
    assert check(history).invented.examples == (5,)


def test_nothing_is_called_invented_while_the_ids_of_some_rows_are_unknown() -> None:
    history = flushed([1])
    history.insert_without_ids(1, [7], outcome=Outcome.UNKNOWN)
    history.read(2, [1], [1], others=[7])
    assert check(history).invented.count == 0


def test_ids_that_the_node_chose_are_taken_from_its_reply() -> None:
    history = HandMade()
    history.insert_without_ids(0, [10, 11])
    history.flush(1)
    history.read(2, [10, 11], [10])
    assert check(history).lost.examples == (11,)


def test_failed_reads_other_nodes_and_other_collections_say_nothing() -> None:
    history = flushed([1])
    history.read(2, [1], [], outcome=Outcome.FAILED)
    history.read(2, [1], [], node="reader-2")
    history.read(2, [1], [], collection="another")
    result = check(history)
    assert (result.reads, result.never_read) == (0, 1)
    assert result.verdict is Verdict.UNKNOWN
    assert result.stable_latency_s is None


def test_what_touches_in_time_has_no_order_and_is_not_judged() -> None:
    """A read that begins in the instant in which the row became known, or was deleted, or was found gone."""
    history = flushed([1])
    history.read(1.5, [1], [])
    assert check(history).lost.count == 0
    history.read(3, [1], [1], took=1)
    history.read(4, [1], [1], took=1)
    history.delete(5, [1], took=1)
    history.flush(7, took=1)
    history.read(8, [1], [1], took=1)
    assert check(history).findings() == []
    history.read(10, [1], [], took=2)
    history.read(12, [1], [1])
    result = check(history)
    assert (result.lingering.count, result.resurrected.count) == (1, 0)


def test_a_row_is_known_by_the_first_flush_to_end_of_those_that_began_after_its_insert() -> None:
    history = HandMade()
    history.insert(0, [1])
    history.flush(1, took=9)
    history.flush(2, took=1)
    history.read(4, [1], [])
    assert check(history).lost.count == 1


def test_the_grace_itself_is_still_allowed() -> None:
    history = flushed([1])
    history.read(3.5, [1], [])
    assert check(history, grace_s=2.0).misses == ()
    assert len(check(history, grace_s=1.9).misses) == 1


def test_an_empty_history_is_unknown() -> None:
    assert check(HandMade()).verdict is Verdict.UNKNOWN


def test_long_lists_of_rows_are_counted_and_shown_in_part() -> None:
    history = flushed(list(range(1000)))
    history.read(2, list(range(1000)), list(range(0, 1000, 2)))
    result = check(history)
    assert (result.lost.count, result.lost.examples[:3], len(result.lost.examples)) == (500, (1, 3, 5), 8)
    assert "500 rows acknowledged or read, then lost: 1, 3, 5" in result.findings()[0].message


def test_quantiles_are_taken_over_all_stable_rows() -> None:
    history = flushed(list(range(100)))
    history.read(2.5, list(range(100)), list(range(90)))
    history.read(4.5, list(range(100)), list(range(98)))
    history.read(6, list(range(100)), list(range(100)))
    latencies = check(history).stable_latency_s
    assert latencies is not None
    assert (latencies.p0, latencies.p50, latencies.p95, latencies.p99, latencies.p100) == (0.0, 0.0, 1.0, 3.0, 3.0)


def test_a_row_found_and_missed_by_reads_that_overlap_is_never_read() -> None:
    """As Jepsen has it: no read that began after the row was known says anything."""
    history = HandMade()
    history.insert(0, [1], outcome=Outcome.UNKNOWN, took=None)
    history.read(1, [1], [1], took=3)
    history.read(2, [1], [], took=3)
    result = check(history)
    assert (result.stable, result.lost.count, result.never_read) == (0, 0, 1)
    history.read(6, [1], [1])
    assert (check(history).stable, check(history).stale) == (1, 0)


@pytest.mark.parametrize("narrow", [{"tags": ["a"]}, {"files": [1]}])
def test_a_read_of_a_part_of_the_collection_is_no_evidence(narrow: dict[str, object]) -> None:
    history = flushed([1])
    history.add("search", 2, {"asked": [1], **narrow}, {"found": []}, node=NODE)
    assert (check(history).reads, check(history).lost.count) == (0, 0)


def test_bounded_staleness_is_broken_by_a_single_late_miss() -> None:
    history = flushed([1])
    history.read(3, [1], [])
    history.read(5, [1], [1])
    result = check(history, grace_s=1.0)
    assert (result.verdict, result.staleness) == (Verdict.HOLDS, Verdict.VIOLATED)
    assert check(history, grace_s=1.5).staleness is Verdict.HOLDS
    assert check(HandMade()).staleness is Verdict.UNKNOWN


def test_the_result_says_what_it_judged() -> None:
    history = flushed(list(range(20)))
    history.read(2, list(range(20)), [])
    history.read(4, list(range(20)), list(range(20)))
    result = check(history, level=Level.CALLED)
    assert (result.collection, result.node, result.level) == (COLLECTION, NODE, Level.CALLED)
    assert [(miss.invoked_s, miss.rows, miss.examples) for miss in result.misses] == [(2, 20, tuple(range(8)))]
    assert [row.row for row in result.worst_stale] == list(range(8))


def test_a_long_run_in_the_midst_of_the_rows_is_missed_as_it_is() -> None:
    history = flushed(list(range(400)))
    history.read(2, list(range(100, 300)), list(range(150, 300)))
    assert check(history).lost == Rows(50, tuple(range(100, 108)))


def test_rows_of_a_long_run_that_were_inserted_twice_may_come_twice() -> None:
    history = flushed(list(range(200)))
    history.insert(2, list(range(100, 200)))
    history.read(4, list(range(200)), list(range(200)), doubled=list(range(200)))
    assert check(history).doubled == Rows(100, tuple(range(8)))


def test_the_greatest_latency_is_not_that_of_99_per_cent() -> None:
    history = flushed(list(range(200)))
    history.read(2.5, list(range(200)), list(range(199)))
    history.read(4, list(range(200)), list(range(200)))
    latencies = check(history).stable_latency_s
    assert latencies is not None
    assert (latencies.p99, latencies.p100) == (0.0, 1.0)
