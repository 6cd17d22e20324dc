"""Answers exactly as far off as is allowed, and a little farther; powers of two, so that nothing is rounded."""

from __future__ import annotations

import numpy as np
import pytest

from suites.checks.knn import Expected, check_knn
from suites.checks.same_neighbours import Answer, same_neighbours

pytestmark = pytest.mark.selftest

FAR = float(np.finfo(np.float32).max)
INF = float("inf")


def knn(
    ids: list[int],
    truth: list[float],
    told: list[float] | None = None,
    *,
    exact: tuple[float, ...] = (1, 2, 4),
    descending: bool = False,
    scale: float = 1.0,
) -> list[object]:
    """The rules that an answer breaks; rows 1, 2, 3 are the nearest. A quarter of the farthest is allowed."""
    expected = Expected(
        ids=np.array([[1, 2, 3]]),
        distances=np.array([exact], dtype=np.float64),
        true_distances=np.array([truth]),
        scale=np.array([scale]),
        descending=descending,
    )
    distances = np.array([truth if told is None else told], np.float32)
    found = check_knn(np.array([ids]), distances, expected=expected, tolerance=0.25)
    assert all(finding.node == "" for finding in found)
    return [finding.facts["rule"] for finding in found]


def test_a_row_that_may_tie_with_the_last_one_need_not_come() -> None:
    """The farthest is at 4, so 1 may be off; 2 is nearer than 4 by just what two such errors may be."""
    assert knn([1, 9, 3], [1, 4, 4]) == []
    assert knn([2, 9, 3], [2, 4, 4]) == ["missing neighbour"]


def test_a_row_that_may_tie_with_the_last_one_may_come() -> None:
    assert knn([1, 2, 9], [1, 2, 6]) == []
    assert knn([1, 2, 9], [1, 2, 6.5]) == ["wrong neighbour"]


def test_a_distance_may_be_off_by_the_tolerance() -> None:
    assert knn([1, 2, 3], [1, 2, 4], [1, 2, 5]) == []
    assert knn([1, 2, 3], [1, 2, 4], [1, 2, 5.25]) == ["wrong distance"]
    assert knn([1, 2, 3], [4, 2, 1], [5, 2, 1], exact=(4, 2, 1), descending=True) == []
    assert knn([1, 2, 3], [4, 2, 1], [5.25, 2, 1], exact=(4, 2, 1), descending=True) == ["wrong distance"]


def test_the_tolerance_is_relative_to_the_scale_where_distances_are_small() -> None:
    small = (0.125, 0.25, 0.5)
    assert knn([1, 2, 3], [*small], [0.125, 0.25, 1.5], exact=small, scale=4.0) == []
    falling = (0.5, 0.25, 0.125)
    assert knn([1, 2, 3], [*falling], [1.5, 0.25, 0.125], exact=falling, scale=4.0, descending=True) == []
    assert knn([1, 2, 3], [*small], [0.125, 0.25, 0.75], exact=small, scale=0.5) == ["wrong distance"]
    assert knn([1, 2, 3], [*small], [0.125, 0.25, 0.625], exact=small, scale=0.5) == []


def test_a_row_that_does_not_match_must_be_told_as_infinitely_far() -> None:
    endless = (1, 2, INF)
    assert knn([1, 2, 3], [1, 2, INF], [1, 2, FAR], exact=endless) == []
    assert knn([1, 2, 3], [1, 2, INF], [1, 2, INF], exact=endless) == []
    assert knn([1, 2, 3], [1, 2, INF], [1, 2, 4], exact=endless) == ["wrong distance"]


def compared(
    reference: tuple[list[int], list[float]],
    other: tuple[list[int], list[float]],
    *,
    descending: bool = False,
    scale: float = 1.0,
) -> list[object]:
    """The rules by which two answers to one query differ. A quarter of the farthest is allowed."""
    one, two = (Answer(np.array([ids]), np.array([distances], np.float32)) for ids, distances in (reference, other))
    topk, reach = len(reference[0]), np.array([scale])
    found = same_neighbours(one, two, topk=topk, scale=reach, descending=descending, tolerance=0.25)
    assert all(finding.node == "" for finding in found)
    return [finding.facts["rule"] for finding in found]


def test_two_nodes_may_differ_by_the_tolerance() -> None:
    reference = ([1, 2, 3], [1.0, 2.0, 4.0])
    assert compared(reference, ([1, 2, 3], [1, 2, 5])) == []
    assert compared(reference, ([1, 2, 3], [1, 2, 5.25])) == ["distances", "distance of a row"]
    falling = ([1, 2, 3], [4.0, 2.0, 1.0])
    assert compared(falling, ([1, 2, 3], [5, 2, 1]), descending=True) == []
    assert compared(falling, ([1, 2, 3], [5.25, 2, 1]), descending=True) == ["distances", "distance of a row"]


def test_two_nodes_may_have_different_rows_where_they_may_tie_with_the_last_place() -> None:
    reference = ([1, 2, 3], [1.0, 2.0, 4.0])
    assert compared(reference, ([1, 9, 3], [1, 2, 4])) == []
    assert compared(([1, 2, 3], [1.0, 1.75, 4.0]), ([1, 9, 3], [1, 1.75, 4])) == ["rows"]


def test_two_empty_answers_are_the_same() -> None:
    assert compared(([-1, -1], [FAR, FAR]), ([-1, -1], [FAR, FAR])) == []


def test_small_distances_are_not_compared_as_if_they_were_one() -> None:
    reference = ([1, 2], [0.25, 0.5])
    assert compared(reference, ([1, 2], [0.25, 0.625]), scale=0.5) == []
    assert compared(([1, 2], [0.5, 0.25]), ([1, 2], [1.5, 0.25]), scale=4.0, descending=True) == []
    assert compared(reference, ([1, 2], [0.25, 0.75]), scale=0.5) == ["distances", "distance of a row"]


def test_the_place_that_is_out_of_order_is_told() -> None:
    one = Answer(np.array([[1, 2, 3, 4]]), np.array([[1, 1, 1.5, 2]], np.float32))
    two = Answer(np.array([[1, 2, 4, 3]]), np.array([[1, 1, 2, 1.5]], np.float32))
    found = same_neighbours(one, two, topk=4, scale=np.array([1.0]), tolerance=0.5)
    assert [finding.message for finding in found] == ["query 0: order: place 3 is nearer than the one before"]


def test_both_shapes_are_told() -> None:
    one = Answer(np.array([[1, 2]]), np.array([[1, 2]], np.float32))
    two = Answer(np.array([[1]]), np.array([[1, 2]], np.float32))
    (finding,) = same_neighbours(one, two, topk=2, scale=np.array([1.0]))
    assert finding.message == "answers of shapes (1, 2) and (1, 1) to 1 queries for the top 2"
