"""The checker behind R-6: silent on the same answer, rounding and ties, and one finding for each broken rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fixtures import data
from fixtures.wire import MetricType
from suites.checks.same_neighbours import Answer, same_neighbours

pytestmark = pytest.mark.selftest

K = 5


@dataclasses.dataclass
class Pair:
    """The same right answer twice, to be broken in one place."""

    reference: Answer
    other: Answer
    queries: data.Floats
    metric: MetricType

    def rules(self, topk: int = K) -> list[object]:
        found = same_neighbours(
            self.reference,
            self.other,
            topk=topk,
            scale=data.rounding_scale(self.queries, self.metric),
            descending=self.metric is MetricType.IP,
            node="gpu",
        )
        assert all(finding.node == "gpu" for finding in found)
        return [finding.facts["rule"] for finding in found]


def pair(metric: MetricType = MetricType.L2) -> Pair:
    rows, queries = data.vectors(1, 200, 16), data.vectors(2, 4, 16)
    exact = data.exact_top_k(rows, np.arange(200), queries, K, metric)

    def answer() -> Answer:
        return Answer(exact.ids.copy(), exact.distances.astype(np.float32))

    return Pair(answer(), answer(), queries, metric)


@pytest.mark.parametrize("metric", [MetricType.L2, MetricType.IP])
def test_the_same_answer_has_no_findings(metric: MetricType) -> None:
    assert pair(metric).rules() == []


@pytest.mark.parametrize("metric", [MetricType.L2, MetricType.IP])
def test_rounding_is_no_difference(metric: MetricType) -> None:
    case = pair(metric)
    case.other.distances[:] *= np.float32(1 + 1e-6)
    assert case.rules() == []


def test_rows_that_tie_may_change_places() -> None:
    case = pair()
    for answer in (case.reference, case.other):
        answer.distances[0, 2] = answer.distances[0, 1]
    case.other.ids[0, [1, 2]] = case.other.ids[0, [2, 1]]
    assert case.rules() == []


def test_another_row_may_tie_with_the_last_place() -> None:
    case = pair()
    case.other.ids[0, K - 1] = 777
    assert case.rules() == []


def test_another_row_may_not_tie_when_the_answer_was_not_full() -> None:
    # Fewer rows than asked for came, so all there are must be there.
    case = pair()
    case.other.ids[0, K - 1] = 777
    assert case.rules(topk=K + 1) == ["rows"]


def test_pads_are_no_rows() -> None:
    case = pair()
    for answer in (case.reference, case.other):
        answer.ids[1, 3:], answer.distances[1, 3:] = -1, np.finfo(np.float32).max
    case.other.distances[1, 4] = 0.0
    assert case.rules() == []


BROKEN = [
    pytest.param(lambda a: a.ids.__setitem__((0, 1), 777), ["rows"], id="another row"),
    pytest.param(lambda a: a.ids.__setitem__((0, 1), a.ids[0, 0]), ["duplicate id"], id="a row twice"),
    pytest.param(lambda a: a.ids.__setitem__((0, 4), -1), ["width"], id="a row missing"),
    pytest.param(
        lambda a: a.distances.__setitem__((0, 4), a.distances[0, 4] * 1.01),
        ["distances", "distance of a row"],
        id="another distance",
    ),
    pytest.param(lambda a: a.distances.__setitem__((0, 4), np.nan), ["distances", "distance of a row"], id="NaN"),
    pytest.param(
        lambda a: a.ids.__setitem__((0, [1, 2]), a.ids[0, [2, 1]]), ["distance of a row"], id="rows change places"
    ),
    pytest.param(
        lambda a: (
            a.ids.__setitem__((0, [1, 2]), a.ids[0, [2, 1]]),
            a.distances.__setitem__((0, [1, 2]), a.distances[0, [2, 1]]),
        ),
        ["distances", "order"],
        id="wrong order",
    ),
]


@pytest.mark.parametrize("metric", [MetricType.L2, MetricType.IP])
@pytest.mark.parametrize(("damage", "rules"), BROKEN)
def test_a_difference_is_found_once_for_each_rule(damage: object, rules: list[str], metric: MetricType) -> None:
    case = pair(metric)
    assert callable(damage)
    damage(case.other)
    assert case.rules() == rules


def test_answers_under_the_wrong_query_are_found() -> None:
    case = pair()
    case.other = Answer(np.roll(case.other.ids, 1, axis=0), np.roll(case.other.distances, 1, axis=0))
    assert set(case.rules()) >= {"rows", "distances"}
    assert len([rule for rule in case.rules() if rule == "rows"]) == len(case.queries)


def test_every_query_is_compared() -> None:
    case = pair()
    case.other.ids[:, 0] = 777
    assert case.rules() == ["rows"] * len(case.queries)


@pytest.mark.parametrize("shape", [(3, K), (4, K + 1), (0, 0)], ids=["a query short", "too wide", "empty"])
def test_an_answer_of_another_shape_is_one_finding(shape: tuple[int, int]) -> None:
    case = pair()
    case.other = Answer(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32))
    assert case.rules() == ["shape"]
    case.reference = case.other
    assert case.rules() == ["shape"], "also where both are wrong"
