"""The recall checker: a floor from what is looked at, and hits by true distance."""

from __future__ import annotations

import numpy as np
import pytest

from suites.checks.recall import floor, near_enough

pytestmark = pytest.mark.selftest

EXACT = np.array([[1.0, 2.0]])


def test_the_floor_is_the_share_looked_at_less_chance() -> None:
    assert floor(1.0, 20) == 1.0
    assert floor(0.5, 100) == pytest.approx(0.5 - 3 * 0.05)
    assert floor(0.01, 20) == 0.0


def test_an_id_counts_once_and_only_if_it_is_there_and_as_near() -> None:
    ids = np.array([[7, 8]])
    assert near_enough(ids, np.array([[1.0, 2.0]]), EXACT) == 1.0
    assert near_enough(ids, np.array([[2.0, 2.0]]), EXACT) == 1.0, "another row at the same distance is as good"
    assert near_enough(ids, np.array([[1.0, 2.1]]), EXACT) == 0.5
    assert near_enough(ids, np.array([[1.0, 2.1]]), EXACT, slack=0.2) == 1.0
    assert near_enough(ids, np.array([[1.0, np.nan]]), EXACT) == 0.5
    assert near_enough(np.array([[7, 7]]), np.array([[1.0, 1.0]]), EXACT) == 0.5


def test_slack_may_differ_from_query_to_query() -> None:
    ids = np.array([[1], [1]])
    exact = np.array([[1.0], [1.0]])
    assert near_enough(ids, np.array([[1.5], [1.5]]), exact, slack=np.array([1.0, 0.0])) == 0.5
