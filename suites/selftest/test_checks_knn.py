"""The exact-kNN checker: silent on a right answer, and one finding for each rule that a wrong one breaks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures import data
from fixtures.wire import MetricType
from suites.checks.knn import Expected, check_knn, recall

pytestmark = pytest.mark.selftest

METRICS = [metric for metric in MetricType if metric is not MetricType.INVALID]
K = 5


@dataclasses.dataclass(frozen=True)
class Case:
    """Rows, queries and a node's answer, which is right to begin with."""

    metric: MetricType
    rows: data.Floats | data.Bits
    queries: data.Floats | data.Bits
    ids: NDArray[np.int64]
    distances: NDArray[np.float32]
    row_ids: NDArray[np.int64]

    def rules(self, deleted: list[int] | None = None) -> list[object]:
        found = check_knn(self.ids, self.distances, expected=self.expected(), deleted=deleted or [])
        return [finding.facts["rule"] for finding in found]

    def expected(self, k: int = K) -> Expected:
        exact = data.exact_top_k(self.rows, self.row_ids, self.queries, k, self.metric)
        return Expected(
            ids=exact.ids,
            distances=exact.distances,
            true_distances=data.distances_to(self.rows, self.row_ids, self.queries, self.ids, self.metric),
            scale=data.rounding_scale(self.queries, self.metric),
            descending=self.metric is MetricType.IP,
        )


def case(metric: MetricType = MetricType.L2, rows: int = 60) -> Case:
    if metric in data.FLOAT_METRICS:
        stored: data.Floats | data.Bits = data.vectors(1, rows, 16)
        queries: data.Floats | data.Bits = data.vectors(2, 4, 16)
    else:
        stored, queries = data.structure_vectors(1, rows, 64), data.structure_vectors(2, 4, 64)
    row_ids = np.arange(rows) + 100
    exact = data.exact_top_k(stored, row_ids, queries, K, metric)
    return Case(metric, stored, queries, exact.ids.copy(), exact.distances.astype(np.float32), row_ids)


@pytest.mark.parametrize("metric", METRICS)
def test_the_exact_answer_has_no_findings(metric: MetricType) -> None:
    assert case(metric).rules() == []


@pytest.mark.parametrize("metric", METRICS)
def test_fewer_rows_than_topk_are_no_finding_with_or_without_padding(metric: MetricType) -> None:
    few = case(metric, rows=3)
    assert few.rules() == []
    if metric in data.FLOAT_METRICS:
        assert dataclasses.replace(few, ids=few.ids[:, :3], distances=few.distances[:, :3]).rules() == []


def test_rounding_to_float32_is_no_finding_and_more_is() -> None:
    right = case()
    noise = np.float32(1 + 2e-5)
    assert dataclasses.replace(right, distances=right.distances * noise).rules() == []
    right.distances[1, 4] *= 1.01
    assert right.rules() == ["wrong distance"]


def test_a_row_found_by_its_own_vector_may_be_off_by_a_rounding_of_its_norm() -> None:
    rows = data.vectors(1, 60, 128)
    own = Case(
        MetricType.L2,
        rows,
        rows[:1],
        np.array([[0]]),
        np.array([[1e-5]], dtype=np.float32),
        np.arange(60),
    )
    scale = data.rounding_scale(own.queries, MetricType.L2)
    expected = Expected(ids=np.array([[0]]), distances=np.zeros((1, 1)), true_distances=np.zeros((1, 1)), scale=scale)
    assert check_knn(own.ids, own.distances, expected=expected) == []
    assert check_knn(own.ids, np.array([[0.5]], dtype=np.float32), expected=expected) != []


def test_neighbours_in_the_wrong_order_are_found() -> None:
    wrong = case()
    wrong.ids[2, [0, 1]] = wrong.ids[2, [1, 0]]
    wrong.distances[2, [0, 1]] = wrong.distances[2, [1, 0]]
    assert wrong.rules() == ["wrong order"]


def test_inner_products_must_descend() -> None:
    wrong = case(MetricType.IP)
    wrong = dataclasses.replace(wrong, ids=wrong.ids[:, ::-1], distances=wrong.distances[:, ::-1])
    assert wrong.rules() == ["wrong order"] * 4


def test_a_farther_row_in_the_place_of_a_neighbour_is_found() -> None:
    wrong = case()
    farthest = data.exact_top_k(wrong.rows, wrong.row_ids, wrong.queries, 60, MetricType.L2)
    wrong.ids[0, 1:4] = wrong.ids[0, 2:5]
    wrong.distances[0, 1:4] = wrong.distances[0, 2:5]
    wrong.ids[0, 4] = farthest.ids[0, 59]
    wrong.distances[0, 4] = farthest.distances[0, 59]
    assert wrong.rules() == ["missing neighbour", "wrong neighbour"]


def test_a_neighbour_that_did_not_come_is_found() -> None:
    wrong = case()
    wrong.ids[0, 4] = -1
    wrong.distances[0, 4] = np.finfo(np.float32).max
    assert wrong.rules() == ["missing neighbour", "wrong width"]


def test_an_empty_answer_is_found() -> None:
    right = case()
    empty = dataclasses.replace(right, ids=right.ids[:, :0], distances=right.distances[:, :0])
    assert empty.rules() == ["missing neighbour", "wrong width"] * 4


def test_a_pad_before_a_neighbour_is_found() -> None:
    wrong = case(rows=4)
    assert wrong.ids[0, 4] == -1
    wrong.ids[0, [3, 4]] = wrong.ids[0, [4, 3]]
    wrong.distances[0, [3, 4]] = wrong.distances[0, [4, 3]]
    assert wrong.rules() == ["pad inside"]


def test_an_id_that_comes_twice_is_found() -> None:
    wrong = case()
    wrong.ids[3, 1] = wrong.ids[3, 0]
    wrong.distances[3, 1] = wrong.distances[3, 0]
    assert wrong.rules() == ["duplicate id", "missing neighbour"]


def test_an_id_of_no_row_is_invented_and_one_of_a_deleted_row_deleted() -> None:
    wrong = case()
    wrong.ids[0, 0] = 99999
    assert wrong.rules() == ["invented id", "missing neighbour"]
    assert wrong.rules(deleted=[99999]) == ["deleted id", "missing neighbour"]


def test_an_answer_of_another_shape_is_found() -> None:
    right = case()
    assert dataclasses.replace(right, ids=right.ids[:3], distances=right.distances[:3]).rules() == ["shape"]
    assert dataclasses.replace(right, distances=right.distances[:, :4]).rules() == ["shape"]
    wider = np.hstack([right.ids, right.ids[:, :1]]), np.hstack([right.distances, right.distances[:, :1]])
    assert dataclasses.replace(right, ids=wider[0], distances=wider[1]).rules() == ["shape"]


def test_equal_distances_come_in_any_order_and_any_of_them_is_right() -> None:
    rows = np.zeros((12, 4), dtype=np.float32)
    rows[:, 0] = [0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]
    answer = Case(
        MetricType.L2,
        rows,
        np.zeros((1, 4), dtype=np.float32),
        np.array([[0, 7, 3, 6, 1]]),
        np.array([[0, 1, 1, 1, 1]], dtype=np.float32),
        np.arange(12),
    )
    assert answer.rules() == []
    answer.ids[0, 4] = 8
    answer.distances[0, 4] = 4
    assert answer.rules() == ["wrong neighbour"]


def test_rows_closer_together_than_rounding_may_stand_in_for_each_other() -> None:
    rows = np.zeros((4, 1), dtype=np.float32)
    rows[:, 0] = [10.0, 10.0001, 10.0002, 20.0]
    queries = np.zeros((1, 1), dtype=np.float32)
    swapped = Case(
        MetricType.L2, rows, queries, np.array([[1, 2]]), np.array([[100.002, 100.004]], dtype=np.float32), np.arange(4)
    )
    expected = swapped.expected(k=2)
    assert check_knn(swapped.ids, swapped.distances, expected=expected) == []
    strict = check_knn(swapped.ids, swapped.distances, expected=expected, tolerance=1e-6)
    assert [finding.facts["rule"] for finding in strict] == ["missing neighbour", "wrong neighbour"]


def test_a_row_that_does_not_match_a_structure_search_is_found() -> None:
    wrong = case(MetricType.SUBSTRUCTURE, rows=3)
    position = np.argwhere(wrong.ids == -1)[0]
    absent = set(wrong.row_ids.tolist()) - set(wrong.ids[position[0]].tolist())
    if not absent:
        pytest.fail("the data must leave a row that does not match")
    wrong.ids[tuple(position)] = min(absent)
    assert "wrong neighbour" in wrong.rules()


def test_recall_is_the_share_of_the_exact_neighbours() -> None:
    exact = np.array([[1, 2, 3, -1], [4, 5, 6, 7]])
    assert recall(exact, exact) == 1.0
    assert recall(np.array([[1, 9, 9, -1], [7, 6, 9, 9]]), exact) == pytest.approx(3 / 7)
    assert recall(np.array([[-1, -1]]), np.array([[-1, -1]])) == 1.0
