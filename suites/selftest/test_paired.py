"""Intervals by hand-worked numbers; the verdict of a paired comparison, by hand and by simulated clusters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from suites.performance import paired
from suites.performance.intervals import Interval, exponent, mean, percentile, ratio_of_medians
from suites.performance.paired import MARGIN, MIN_PAIRS, PairedVerdict, Size, judge

pytestmark = pytest.mark.selftest


def test_an_interval_of_equal_values_is_that_value() -> None:
    assert percentile([3.0] * 9, 50, seed=1) == Interval(3.0, 3.0, 3.0)
    assert mean([3.0] * 9, seed=1) == Interval(3.0, 3.0, 3.0)
    assert ratio_of_medians([(2.0, 3.0)] * 9, seed=1) == Interval(1.5, 1.5, 1.5)


def test_the_statistic_itself_is_of_what_was_measured() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0, 100.0], 50, seed=1).value == 3.0
    assert percentile([1.0, 2.0], 90, seed=1).value == pytest.approx(1.9)
    assert mean([1.0, 2.0, 6.0], seed=1).value == 3.0
    assert ratio_of_medians([(1.0, 4.0), (2.0, 6.0), (9.0, 5.0)], seed=1).value == 2.5


def test_the_interval_of_two_values_spans_both() -> None:
    # Each of the three possible draws of two has a chance of a quarter at least, so all are within 95 of 100.
    assert percentile([1.0, 2.0], 50, seed=1) == Interval(1.5, 1.0, 2.0)


def test_pairs_are_drawn_whole() -> None:
    # Both of a pair were slowed alike, by up to a thousand times: the ratio does not know of it.
    pairs = [(10.0**n, 2 * 10.0**n) for n in range(4)] * 3
    assert ratio_of_medians(pairs, seed=1) == Interval(2.0, 2.0, 2.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = list(np.random.default_rng(5).lognormal(size=30))
    assert percentile(values, 50, seed=1) == percentile(values, 50, seed=1)
    assert percentile(values, 50, seed=1).contains(percentile(values, 50, seed=2).value)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, -0.5])
def test_the_exponent_of_a_power_law_is_its_power(power: float) -> None:
    sizes = [10.0, 10.0, 100.0, 100.0, 1000.0, 1000.0]
    found = exponent(sizes, [3 * size**power for size in sizes], seed=1)
    assert (found.value, found.low, found.high) == pytest.approx((power, power, power), abs=1e-12)


def test_the_exponent_of_noisy_values_is_within_its_interval() -> None:
    rng = np.random.default_rng(1)
    sizes = np.repeat([1e4, 1e5, 1e6], 10)
    found = exponent(list(sizes), list(sizes * rng.lognormal(0, 0.2, len(sizes))), seed=1)
    assert found.contains(1.0)
    assert found.high - found.low < 0.15


@pytest.mark.parametrize(
    ("sizes", "values"), [([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [0.0, 1.0]), ([], [])]
)
def test_no_exponent_without_two_sizes_and_values_above_zero(sizes: list[float], values: list[float]) -> None:
    with pytest.raises(ValueError, match="an exponent"):
        exponent(sizes, values, seed=1)


def test_nothing_has_no_interval_and_zero_no_ratio() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        percentile([], 50, seed=1)
    with pytest.raises(ValueError, match="above zero"):
        ratio_of_medians([(0.0, 1.0)], seed=1)


def of(*ratios: float) -> PairedVerdict:
    return judge("x", "s", [(1.0, ratio) for ratio in ratios], seed=1).verdict


def test_the_verdict_by_hand() -> None:
    assert of(*[1.0] * MIN_PAIRS) is PairedVerdict.SAME
    assert of(*[MARGIN] * MIN_PAIRS) is PairedVerdict.SAME, "the margin itself is within it"
    assert of(*[1.3] * MIN_PAIRS) is PairedVerdict.WORSE
    assert of(*[0.7] * MIN_PAIRS) is PairedVerdict.BETTER
    assert of(*[1 / MARGIN] * MIN_PAIRS) is PairedVerdict.SAME
    assert of(*[9.0] * (MIN_PAIRS - 1)) is PairedVerdict.UNKNOWN, "too few pairs, however clear"
    assert of(*[0.5] * 5, *[2.0] * 5) is PairedVerdict.UNKNOWN, "too wide"
    assert of(*[1.1] * 5, *[1.5] * 6) is PairedVerdict.UNKNOWN, "beyond the margin by chance, or not"


def test_few_pairs_have_no_ratio_and_say_why() -> None:
    few = judge("x", "s", [(1.0, 1.0)], seed=1)
    assert (few.ratio, few.why) == (None, "1 pairs, 8 are needed")
    assert few.to_json()["ratio"] is None


def simulated(factor: float, sigma: float, pairs: int, seed: int) -> PairedVerdict:
    """Latencies with a long tail, on a machine that is up to twice as slow at times, for both alike."""
    rng = np.random.default_rng(seed)
    moment = np.repeat(rng.choice([1.0, 2.0], -(-pairs // 3)), 3)[:pairs, np.newaxis]
    seconds = moment * rng.lognormal(0, sigma, (pairs, 2)) * (1.0, factor)
    return judge("x", "s", [(float(a), float(b)) for a, b in seconds], seed=seed).verdict


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
def test_two_equal_clusters_are_hardly_ever_told_apart(sigma: float) -> None:
    verdicts = [simulated(1.0, sigma, 12, seed) for seed in range(200)]
    alarms = sum(verdict in (PairedVerdict.WORSE, PairedVerdict.BETTER) for verdict in verdicts)
    assert alarms <= 0.05 * len(verdicts)


def test_at_the_margin_itself_there_are_hardly_more_alarms() -> None:
    # The worst case that still is no difference; half of the bootstrap's 5 % are on this side.
    alarms = sum(simulated(MARGIN, 0.2, 16, seed) is PairedVerdict.WORSE for seed in range(200))
    assert alarms <= 0.06 * 200


def test_a_cluster_twice_as_slow_is_noticed_and_one_twice_as_fast() -> None:
    assert sum(simulated(2.0, 0.2, 12, seed) is PairedVerdict.WORSE for seed in range(100)) >= 90
    assert sum(simulated(0.5, 0.2, 12, seed) is PairedVerdict.BETTER for seed in range(100)) >= 90


def test_operations_take_turns_and_who_is_first_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Side:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, _turn: str, use: object) -> None:
            use(self.name)  # type: ignore[operator]

        def rounds(self, _cluster: object, _rows: int, numbers: range) -> Iterator[str]:
            for each in numbers:
                done.append(f"{self.name}{each}")
                yield "x"

    paired._side_by_side((Side("a"), Side("b")), Size(1, 5), lambda _: None)  # type: ignore[arg-type]
    assert done == ["a1", "b1", "b2", "a2", "b3", "a3", "a4", "b4", "a5", "b5"]
    done.clear()
    monkeypatch.setattr(paired, "_BLOCKS", 2)
    paired._in_turns((Side("a"), Side("b")), Size(1, 4), lambda _: None)  # type: ignore[arg-type]
    assert done == ["a1", "a2", "b1", "b2", "b3", "b4", "a3", "a4"], "whole blocks, where one cluster is up at a time"
