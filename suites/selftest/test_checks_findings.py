"""What the findings say, word for word: whoever reads a report sees nothing else of a broken promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fixtures.claims import Finding
from fixtures.history import Outcome
from suites.checks.counts import RowCount, check_counts, check_stats
from suites.checks.knn import Expected, check_knn, recall
from suites.checks.loss import check_loss
from suites.checks.recall import near_enough
from suites.checks.replay import Miss, told
from suites.checks.same_neighbours import Answer, same_neighbours
from suites.checks.sessions import check_monotonic_writes, check_read_your_writes
from suites.checks.set_full import Rows, check_monotonic, check_set_full
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed

pytestmark = pytest.mark.selftest

WHERE: dict[str, Any] = {"collection": COLLECTION, "node": NODE}


def test_a_wrong_count() -> None:
    assert check_counts({"writer": 5, "reader-1": 4}, RowCount(5, 5)) == [
        Finding(
            message="reader-1 counts 4 rows instead of 5",
            node="reader-1",
            facts={"rule": "wrong count", "count": 4, "least": 5, "most": 5},
        ),
        Finding(
            message="the nodes differ: writer 5, reader-1 4",
            facts={"rule": "nodes differ", "writer": 5, "reader-1": 4},
        ),
    ]
    assert str(RowCount(3, 5)) == "3 to 5"


def test_statistics_that_do_not_add_up() -> None:
    segments = [{"row_count": 3}, {"row_count": 4}]
    stats = {"row_count": 9, "partitions": [{"tag": "p", "row_count": 8, "segments": segments}]}
    assert check_stats("writer", stats, RowCount(9, 9)) == [
        Finding(
            message="the partitions have 8 rows together, the collection 9",
            node="writer",
            facts={"rule": "partitions do not add up"},
        ),
        Finding(
            message="the segments of partition p have 7 rows together, the partition 8",
            node="writer",
            facts={"rule": "segments do not add up"},
        ),
    ]


def test_rows_that_are_broken_for_good() -> None:
    history = flushed([1, 2, 3, 4, 5])
    history.read(2, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], doubled=[2], others=[9])
    history.delete(3, [3, 4])
    history.flush(4)
    history.read(5, [1, 4], [])
    history.read(6, [3, 4], [3, 4])
    what = {
        "acknowledged or read, then lost": 1,
        "in one answer twice": 2,
        "read but never inserted": 9,
        "read after an acknowledged delete": 3,
        "gone after a delete, then read again": 4,
    }
    assert check_set_full(history.operations, **WHERE).findings() == [
        Finding(message=f"c: 1 rows {rule}: {row}", node=NODE, facts={"rule": rule, "count": 1, "rows": (row,)})
        for rule, row in what.items()
    ]


def test_rows_are_listed_in_part() -> None:
    assert str(Rows(3, (7, 8, 9))) == "7, 8, 9"
    assert str(Rows(10, (7, 8, 9))) == "7, 8, 9 and 7 more"
    assert not Rows(0, ())


def test_misses_are_told_by_the_first_of_them() -> None:
    misses = [Miss(operation=n, invoked_s=1.0, rows=12, examples=(4, 5), age_s=1.0) for n in range(7)]
    assert told([], NODE, "missed", "gap") == []
    assert told(misses, NODE, "missed something", "gap") == [
        Finding(
            message="7 reads missed something; the first: operation 0, rows 4, 5 of 12",
            node=NODE,
            facts={"rule": "gap", "count": 7, "operations": [0, 1, 2, 3, 4]},
        )
    ]


def test_a_gap() -> None:
    history = flushed([1, 2])
    history.read(2, [1, 2], [1, 2])
    history.read(4, [1, 2], [])
    assert check_monotonic(history.operations, **WHERE).findings() == [
        Finding(
            message="1 reads missed a row that an earlier one had found; the first: operation 3, rows 1, 2",
            node=NODE,
            facts={"rule": "gap", "count": 1, "operations": [3]},
        )
    ]


def test_sessions() -> None:
    history = HandMade()
    history.insert(0, [1], client="ann of writer")
    history.insert(1, [2], client="ann of writer")
    history.flush(2)
    history.read(4, [1, 2], [2], client="ann of reader-1")
    (own,) = check_read_your_writes(history.operations, collection=COLLECTION)
    assert (own.collection, own.node, own.session, own.written, own.reads) == (COLLECTION, NODE, "ann", 2, 1)
    assert own.findings() == [
        Finding(
            message="1 reads missed rows that ann itself wrote; the first: operation 3, rows 1",
            node=NODE,
            facts={"rule": "own write not read", "count": 1, "operations": [3]},
        )
    ]
    order = check_monotonic_writes(history.operations, **WHERE)
    assert (order.collection, order.node, order.reads, order.shown) == (COLLECTION, NODE, 1, True)
    assert [(each.rows, each.age_s) for each in order.disorders] == [(1, 3.5)]
    assert order.findings() == [
        Finding(
            message="1 reads saw a session's later write without its earlier one; the first: operation 3, rows 1",
            node=NODE,
            facts={"rule": "writes out of order", "count": 1, "operations": [3]},
        )
    ]


def test_lost_rows() -> None:
    history = flushed([1, 2])
    history.insert(2, [3])
    history.read(5, [1, 2, 3], [2])
    result = check_loss(history.operations, disasters_s=[4], **WHERE)
    assert (result.collection, result.node, result.lost) == (COLLECTION, NODE, 2)
    assert result.findings() == [
        Finding(
            message="c: 1 rows flushed are lost, acknowledged up to 3.500 s before: 1",
            node=NODE,
            facts={"rule": "lost: flushed", "count": 1, "recovery_point_s": 3.5},
        ),
        Finding(
            message="c: 1 rows acknowledged since the last flush are lost, acknowledged up to 3.500 s before: 3",
            node=NODE,
            facts={"rule": "lost: acknowledged since the last flush", "count": 1, "recovery_point_s": 3.5},
        ),
    ]


def knn(ids: list[int], distances: list[float], truth: list[float], deleted: list[int]) -> list[Finding]:
    """An answer to one query whose three nearest rows are 1, 2, 3 at distances 1, 2, 3."""
    expected = Expected(
        ids=np.array([[1, 2, 3]]),
        distances=np.array([[1.0, 2.0, 3.0]]),
        true_distances=np.array([truth]),
        scale=np.array([1.0]),
    )
    return check_knn(
        np.array([ids]), np.array([distances], np.float32), expected=expected, deleted=deleted, node="writer"
    )


NAN = float("nan")


@pytest.mark.parametrize(
    ("ids", "distances", "truth", "rules"),
    [
        ([1, 2, 3], [1, 2, 3], [1, 2, 3], {}),
        ([1, 2, 2], [1, 2, 2], [1, 2, 2], {"duplicate id": "2", "missing neighbour": "3"}),
        ([7, 2, 3], [1, 2, 3], [NAN, 2, 3], {"deleted id": "7", "missing neighbour": "1"}),
        ([8, 2, 3], [1, 2, 3], [NAN, 2, 3], {"invented id": "8", "missing neighbour": "1"}),
        ([1, 2, 4], [1, 2, 5], [1, 2, 5], {"wrong neighbour": "4"}),
        ([1, 2, -1], [1, 2, 9], [1, 2, NAN], {"missing neighbour": "3", "wrong width": "2 neighbours instead of 3"}),
        (
            [1, -1, 2],
            [1, 9, 2],
            [1, NAN, 2],
            {
                "missing neighbour": "3",
                "wrong width": "2 neighbours instead of 3",
                "pad inside": "-1 before the last of 2 neighbours",
            },
        ),
        ([1, 2, 3], [1, 2.5, 3], [1, 2, 3], {"wrong distance": "2.5 instead of 2 for id 2"}),
        ([1, 3, 2], [1, 3, 2], [1, 3, 2], {"wrong order": "position 2 is nearer than the one before it"}),
    ],
)
def test_an_answer_that_is_not_exact(
    ids: list[int], distances: list[float], truth: list[float], rules: dict[str, str]
) -> None:
    assert knn(ids, distances, truth, deleted=[7]) == [
        Finding(message=f"query 0: {rule}: {text}", node="writer", facts={"rule": rule, "query": 0})
        for rule, text in rules.items()
    ]


def test_an_answer_of_another_shape() -> None:
    assert knn([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], deleted=[]) == [
        Finding(
            message="an answer of shape (1, 4), distances (1, 4), to 1 queries for the top 3",
            node="writer",
            facts={"rule": "shape"},
        )
    ]


def compared(ids: list[int], distances: list[float], topk: int = 3) -> list[Finding]:
    """Beside an answer to one query: 1, 2, 3 at distances 1, 2, 3."""
    reference = Answer(np.array([[1, 2, 3]]), np.array([[1, 2, 3]], np.float32))
    other = Answer(np.array([ids]), np.array([distances], np.float32))
    return same_neighbours(reference, other, topk=topk, scale=np.array([1.0]), node="gpu")


@pytest.mark.parametrize(
    ("ids", "distances", "rules"),
    [
        ([1, 2, 3], [1, 2, 3], {}),
        ([1, 2, -1], [1, 2, 9], {"width": "2 neighbours instead of 3"}),
        ([1, 2, 2], [1, 2, 2], {"duplicate id": "2"}),
        (
            [1, 2, 3],
            [1, 2.5, 3],
            {
                "distances": "2.5 instead of 2 at place 1",
                "distance of a row": "2.5 instead of 2 for id 2",
            },
        ),
        (
            [1, 3, 2],
            [1, 3, 2],
            {"distances": "3 instead of 2 at place 1", "order": "place 2 is nearer than the one before"},
        ),
        ([1, 4, 3], [1, 2, 3], {"rows": "only one of the two has 2, 4"}),
    ],
)
def test_answers_that_differ(ids: list[int], distances: list[float], rules: dict[str, str]) -> None:
    assert compared(ids, distances) == [
        Finding(message=f"query 0: {rule}: {text}", node="gpu", facts={"rule": rule, "query": 0})
        for rule, text in rules.items()
    ]


def test_answers_of_different_shapes() -> None:
    assert compared([1, 2, 3], [1, 2, 3], topk=2) == [
        Finding(
            message="answers of shapes (1, 3) and (1, 3) to 1 queries for the top 2",
            node="gpu",
            facts={"rule": "shape"},
        )
    ]


def test_answers_to_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        recall(np.array([[1], [2]]), np.array([[1]]))
    with pytest.raises(ValueError):
        near_enough(np.array([[1], [2]]), np.array([[1.0]]), np.array([[1.0]]))


def test_recall_allows_for_rounding_in_proportion_to_the_distance() -> None:
    def found(truth: float, exact: float) -> float:
        return near_enough(np.array([[1]]), np.array([[truth]]), np.array([[exact]]))

    assert (found(1000.009, 1000.0), found(1000.011, 1000.0)) == (1.0, 0.0)
    assert (found(0.100009, 0.1), found(0.100011, 0.1)) == (1.0, 0.0)


def test_ids_that_are_no_list_are_refused_with_the_operation() -> None:
    history = HandMade()
    history.add("insert", 0, {"ids": 7})
    with pytest.raises(ValueError, match=r"^operation 0: ids must be a list, not 7$"):
        check_set_full(history.operations, **WHERE)


def test_what_is_lost_is_measured_to_an_acknowledgement_that_came() -> None:
    history = flushed([1])
    history.insert(1, [2], outcome=Outcome.UNKNOWN)
    history.insert(2, [3])
    history.read(5, [1, 3], [3])
    assert check_loss(history.operations, **WHERE).recovery_point_s == 2.0


def test_own_rows_are_listed_in_part() -> None:
    history = flushed(list(range(20)))
    history.read(5, list(range(20)), [], node="writer")
    (own,) = check_read_your_writes(history.operations, collection=COLLECTION)
    assert [(miss.rows, miss.examples) for miss in own.misses] == [(20, tuple(range(8)))]
