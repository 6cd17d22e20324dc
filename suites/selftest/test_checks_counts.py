"""The counts checker: what a history allows a collection to hold, and what nodes say it holds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fixtures.history import Outcome
from suites.checks.counts import RowCount, check_counts, check_stats, expected_count, settled_s
from suites.checks.elements import Level
from suites.selftest.hand_made import COLLECTION, HandMade

pytestmark = pytest.mark.selftest


def expected(history: HandMade, **how: Any) -> RowCount:
    return expected_count(history.operations, collection=COLLECTION, **how)


def rules(findings: list[Any]) -> list[object]:
    return [finding.facts["rule"] for finding in findings]


def test_rows_are_counted_by_their_inserts_and_deletes() -> None:
    history = HandMade()
    history.insert(0, range(100))
    history.insert_without_ids(1, [500, 501])
    history.insert(1, [1000], collection="another")
    history.delete(2, [3, 4, 999])
    assert expected(history) == RowCount(100, 100)
    assert 100 in expected(history)
    assert 99 not in expected(history)


def test_a_row_inserted_twice_counts_twice_and_one_delete_ends_both() -> None:
    history = HandMade()
    history.insert(0, [1, 2])
    history.insert(1, [1])
    assert expected(history) == RowCount(3, 3)
    history.delete(2, [1])
    assert expected(history) == RowCount(1, 1)
    history.insert(3, [1])
    assert expected(history) == RowCount(2, 2)


def test_failed_operations_did_nothing() -> None:
    history = HandMade()
    history.insert(0, [1, 2])
    history.insert(1, [3], outcome=Outcome.FAILED)
    history.delete(2, [1], outcome=Outcome.FAILED)
    assert expected(history) == RowCount(2, 2)


def test_unknown_outcomes_widen_what_is_expected() -> None:
    history = HandMade()
    history.insert(0, [1, 2])
    history.insert(1, [3], outcome=Outcome.UNKNOWN, took=None)
    history.insert_without_ids(1, [4, 5], outcome=Outcome.UNKNOWN)
    history.delete(2, [1], outcome=Outcome.UNKNOWN)
    assert expected(history) == RowCount(1, 5)
    # The unknown insert may still come after this.
    history.delete(9, [3])
    assert expected(history) == RowCount(1, 5)


def test_a_delete_that_overlaps_an_insert_may_have_come_before_it() -> None:
    history = HandMade()
    history.insert(0, [1], took=3)
    history.delete(1, [1])
    assert expected(history) == RowCount(0, 1)


def test_an_unknown_delete_may_still_come_for_what_is_inserted_later() -> None:
    history = HandMade()
    history.delete(0, [1], outcome=Outcome.UNKNOWN)
    history.insert(5, [1])
    assert expected(history) == RowCount(0, 1)


def test_an_unknown_insert_may_still_come_after_a_delete() -> None:
    history = HandMade()
    history.insert(0, [1], outcome=Outcome.UNKNOWN)
    history.delete(5, [1])
    assert expected(history) == RowCount(0, 1)


def test_acknowledgements_of_other_nodes_promise_nothing() -> None:
    history = HandMade()
    history.insert(0, [1, 2])
    history.insert(1, [3], node="reader-1")
    assert expected(history, acknowledged_by={"writer"}) == RowCount(2, 3)


def test_deletes_of_other_nodes_promise_nothing_either() -> None:
    history = HandMade()
    history.insert(0, [1, 2])
    history.delete(2, [1], node="reader-1")
    assert expected(history, acknowledged_by={"writer"}) == RowCount(1, 2)
    assert expected(history) == RowCount(1, 1)


def test_what_touches_in_time_has_no_order() -> None:
    history = HandMade()
    history.insert(0, [1], took=1)
    history.delete(1, [1], took=1)
    assert expected(history) == RowCount(0, 1)
    history.insert(2, [1], took=1)
    assert expected(history) == RowCount(0, 2)


def test_the_ids_of_an_insert_are_counted_rather_than_what_it_says() -> None:
    history = HandMade()
    history.add("insert", 0, {"rows": 9, "ids": [[1, 3]]})
    history.add("insert", 1, {})
    assert expected(history) == RowCount(3, 3)


def test_changes_are_settled_when_the_last_of_them_is_flushed() -> None:
    history = HandMade()
    how: dict[str, Any] = {"collection": COLLECTION}
    assert settled_s(history.operations, **how) == -math.inf
    history.insert(0, [1])
    history.insert(0, [2], collection="another")
    history.insert(0, [3], outcome=Outcome.UNKNOWN)
    assert settled_s(history.operations, **how) == math.inf
    assert settled_s(history.operations, level=Level.CALLED, **how) == 0.5
    history.flush(1)
    assert settled_s(history.operations, **how) == 1.5
    history.delete(2, [1])
    history.flush(2.1, collection="")
    assert settled_s(history.operations, **how) == math.inf
    history.flush(3, collection="")
    assert settled_s(history.operations, **how) == 3.5
    history.insert(4, [9], node="reader-1")
    history.flush(5, node="reader-1")
    assert settled_s(history.operations, **how) == 5.5
    assert settled_s(history.operations, acknowledged_by={"writer"}, **how) == 3.5
    history.insert(6, [9])
    history.flush(7, node="reader-1")
    assert settled_s(history.operations, acknowledged_by={"writer"}, **how) == math.inf


def test_nodes_that_agree_with_the_oracle_have_no_finding() -> None:
    assert check_counts({"writer": 5, "reader-1": 5}, RowCount(5, 5)) == []
    assert check_counts({"writer": 4, "reader-1": 4}, RowCount(3, 5)) == []


def test_a_wrong_count_and_nodes_that_differ_are_found() -> None:
    findings = check_counts({"writer": 5, "reader-1": 4}, RowCount(5, 5))
    assert rules(findings) == ["wrong count", "nodes differ"]
    assert findings[0].node == "reader-1"
    assert "4 rows instead of 5" in findings[0].message
    assert rules(check_counts({"writer": 3, "reader-1": 4}, RowCount(3, 4))) == ["nodes differ"]


def stats(total: int, partition: int, segment: int) -> dict[str, Any]:
    segments = [{"name": "1", "row_count": segment}, {"name": "2", "row_count": 10}]
    empty = {"tag": "p1", "row_count": 0, "segments": None}
    return {
        "row_count": total,
        "partitions": [{"tag": "_default", "row_count": partition, "segments": segments}, empty],
    }


def test_statistics_must_add_up() -> None:
    assert check_stats("writer", stats(15, 15, 5), RowCount(15, 15)) == []
    assert rules(check_stats("writer", stats(15, 15, 5), RowCount(16, 16))) == ["wrong count"]
    assert rules(check_stats("writer", stats(15, 16, 6), RowCount(15, 15))) == ["partitions do not add up"]
    assert rules(check_stats("writer", stats(15, 15, 4), RowCount(15, 15))) == ["segments do not add up"]
    assert check_stats("writer", {"row_count": 0, "partitions": None}, RowCount(0, 0)) == []
