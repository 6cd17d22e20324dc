"""Data sets and their oracle, against distances written out by hand and against a loop that sorts everything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import data
from fixtures.wire import MetricType

pytestmark = pytest.mark.selftest

METRICS = [metric for metric in MetricType if metric is not MetricType.INVALID]


def slow_distance(metric: MetricType, row: np.ndarray, query: np.ndarray) -> float:
    """One distance from its definition, in Python's own numbers."""
    if metric is MetricType.L2:
        return math.fsum((float(a) - float(b)) ** 2 for a, b in zip(row, query, strict=True))
    if metric is MetricType.IP:
        return math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True))
    inside = {i for i, bit in enumerate(np.unpackbits(row)) if bit}
    asked = {i for i, bit in enumerate(np.unpackbits(query)) if bit}
    if metric is MetricType.HAMMING:
        return float(len(inside ^ asked))
    if metric in (MetricType.JACCARD, MetricType.TANIMOTO):
        similar = len(inside & asked) / len(inside | asked) if inside | asked else 0.0
        if metric is MetricType.JACCARD:
            return 1.0 - similar
        return -math.log2(similar) if similar else math.inf
    fits = asked <= inside if metric is MetricType.SUBSTRUCTURE else inside <= asked
    return 0.0 if fits else math.inf


def made(metric: MetricType, seed: int, count: int) -> data.Floats | data.Bits:
    if metric in data.FLOAT_METRICS:
        return data.vectors(seed, count, 5)
    # 24 bits are not a whole number of words; leading ones contain each other.
    return data.structure_vectors(seed, count, 24 if seed % 2 else 64)


@pytest.mark.parametrize("metric", METRICS)
@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(0, 40), k=st.integers(1, 12))
def test_the_exact_top_k_is_what_sorting_all_distances_gives(metric: MetricType, seed: int, count: int, k: int) -> None:
    rows, queries = made(metric, 2 * seed, count), made(metric, 2 * seed + 2, 3)
    ids = np.random.default_rng(seed).permutation(count) + 50
    exact = data.exact_top_k(rows, ids, queries, k, metric)
    sign = -1 if metric is MetricType.IP else 1
    assert exact.ids.shape == exact.distances.shape == (3, k)
    for number, query in enumerate(queries):
        every = [(slow_distance(metric, row, query), int(name)) for row, name in zip(rows, ids, strict=True)]
        if metric in (MetricType.SUBSTRUCTURE, MetricType.SUPERSTRUCTURE):
            every = [pair for pair in every if pair[0] == 0]
        every.sort(key=lambda pair: (sign * round(pair[0], 9), pair[1]))
        best = every[:k]
        assert exact.ids[number].tolist() == [name for _, name in best] + [-1] * (k - len(best))
        assert exact.distances[number, : len(best)] == pytest.approx([distance for distance, _ in best])
        assert np.all(exact.distances[number, len(best) :] == sign * np.inf)


@pytest.mark.parametrize("metric", sorted(data.FLOAT_METRICS))
def test_the_screen_in_float32_loses_no_neighbour_over_many_blocks_and_lengths(metric: MetricType) -> None:
    """Rows of very different lengths, in blocks, against all distances in float64."""
    rows = data.vectors(1, 30_000, 8) * np.geomspace(1e-3, 1e3, 30_000, dtype=np.float32)[:, np.newaxis]
    queries = data.vectors(2, 300, 8)
    exact = data.exact_top_k(rows, np.arange(30_000), queries, 10, metric)
    for number in range(0, 300, 50):
        if metric is MetricType.L2:
            every = ((rows.astype(np.float64) - queries[number].astype(np.float64)) ** 2).sum(axis=1)
        else:
            every = -(rows.astype(np.float64) @ queries[number].astype(np.float64))
        assert exact.ids[number].tolist() == np.argsort(every, kind="stable")[:10].tolist()


def test_distances_that_differ_by_less_than_float32_can_tell_are_put_in_order() -> None:
    rows = np.full((200, 4), 1000.0, dtype=np.float32)
    rows[:, 0] += np.random.default_rng(1).permutation(200).astype(np.float32) * np.float32(2**-10)
    exact = data.exact_top_k(rows, np.arange(200), rows[:1], 5, MetricType.L2)
    true = ((rows.astype(np.float64) - rows[0].astype(np.float64)) ** 2).sum(axis=1)
    assert exact.ids[0].tolist() == sorted(range(200), key=lambda row: (true[row], row))[:5]


def test_the_distances_of_milvus_own_examples() -> None:
    """From a recorded search of a real node (seed 20, 64 bits, rows 22 and 21): its float32 answers."""
    rows = np.random.default_rng(20).integers(0, 256, size=(200, 8), dtype=np.uint8)
    exact = data.exact_top_k(rows, np.arange(200), rows[:2], 5, MetricType.TANIMOTO)
    assert exact.ids.tolist() == [[0, 22, 98, 39, 177], [1, 21, 81, 133, 182]]
    assert exact.distances[0] == pytest.approx([0.0, 1.0297474, 1.0588937, 1.0874629, 1.0995357], rel=1e-6)
    floats = np.random.default_rng(20).random((200, 64), dtype=np.float32)
    exact = data.exact_top_k(floats, np.arange(200), floats[:2], 5, MetricType.L2)
    assert exact.ids[0].tolist() == [0, 132, 181, 129, 128]
    assert exact.distances[1] == pytest.approx([0.0, 7.676584, 7.80265, 7.974707, 8.171337], rel=1e-6)


def test_true_distances_of_an_answer_and_not_a_number_for_strangers() -> None:
    rows = data.vectors(1, 10, 4)
    ids = np.array([9, 3, 7, 1, 0, 2, 8, 4, 6, 5])
    told = data.distances_to(rows, ids, rows[:2], np.array([[9, 3], [-1, 11]]), MetricType.L2)
    assert told[0] == pytest.approx([0.0, slow_distance(MetricType.L2, rows[1], rows[0])])
    assert np.isnan(told[1]).all()
    assert np.isnan(data.distances_to(rows[:0], [], rows[:1], np.array([[1]]), MetricType.L2)).all()
    with pytest.raises(ValueError, match="not distinct"):
        data.distances_to(rows[:2], [1, 1], rows[:1], np.array([[1]]), MetricType.L2)


def test_the_same_seed_gives_the_same_data_and_another_one_other_data() -> None:
    assert np.array_equal(data.vectors(1, 10, 4), data.vectors(1, 10, 4))
    assert not np.array_equal(data.vectors(1, 10, 4), data.vectors(2, 10, 4))
    assert np.array_equal(data.binary_vectors(1, 10, 64), data.binary_vectors(1, 10, 64))
    assert data.vectors(1, 3, 4).dtype == np.float32
    assert data.binary_vectors(1, 3, 64).shape == (3, 8)
    assert data.vectors(1, 2, 3)[0].tolist() == pytest.approx([1.7291036, -1.4284534, 1.0277448], rel=1e-5)


def test_bad_arguments_are_refused() -> None:
    rows = data.vectors(1, 3, 4)
    with pytest.raises(ValueError, match="multiple of 8 bits, not 12"):
        data.binary_vectors(1, 3, 12)
    with pytest.raises(ValueError, match="3 rows but 2 ids"):
        data.exact_top_k(rows, [1, 2], rows, 1, MetricType.L2)
    with pytest.raises(ValueError, match="k = 0"):
        data.exact_top_k(rows, [1, 2, 3], rows, 0, MetricType.L2)
