"""The stand-in's search: exact for all seven metrics, and merged as wide as a real node merges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fixtures.standin import nearest
from fixtures.standin.search import FLT_MAX, Metric, merge_top_k, squared_norms, top_k
from fixtures.standin.segments import SegmentFolder
from suites.selftest.golden import STORAGE, Call, answer, calls, vectors

pytestmark = pytest.mark.selftest

METRICS = list(Metric)
INFINITE = math.inf


def by_hand(row: NDArray[Any], query: NDArray[Any], metric: Metric) -> float:
    """The distance as the documentation says it, in double precision."""
    if metric is Metric.L2:
        return float(((row.astype(float) - query.astype(float)) ** 2).sum())
    if metric is Metric.IP:
        return float((row.astype(float) * query.astype(float)).sum())
    a, b = np.unpackbits(query).astype(bool), np.unpackbits(row).astype(bool)
    both, either = int((a & b).sum()), int((a | b).sum())
    jaccard = 1 - both / either if either else 1.0
    match metric:
        case Metric.HAMMING:
            return float((a ^ b).sum())
        case Metric.JACCARD:
            return jaccard
        case Metric.TANIMOTO:
            return -math.log2(1 - jaccard) + 0.0 if jaccard < 1 else INFINITE
        case Metric.SUBSTRUCTURE:
            return 0.0 if not (a & ~b).any() else INFINITE
        case _:
            return 0.0 if not (b & ~a).any() else INFINITE


def slow_top_k(
    rows: NDArray[Any], query: NDArray[Any], metric: Metric, k: int, live: NDArray[np.bool_]
) -> list[tuple[float, int]]:
    """(distance, offset) of the best, found by sorting all of them."""
    found = [(by_hand(row, query, metric), at) for at, row in enumerate(rows) if live[at]]
    if metric in (Metric.SUBSTRUCTURE, Metric.SUPERSTRUCTURE):
        found = [each for each in found if each[0] == 0]
    found.sort(key=lambda each: (each[0] if metric.ascending else -each[0], each[1]))
    return found[:k]


def data(metric: Metric, rows: int, seed: int, density: float = 0.5) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if metric.binary:
        return np.packbits(rng.random((rows, 48)) < density, axis=1)
    return rng.random((rows, 24), dtype=np.float32)


def assert_exact(
    rows: NDArray[Any], queries: NDArray[Any], metric: Metric, k: int, live: NDArray[np.bool_] | None = None
) -> None:
    offsets, distances = top_k(rows, queries, metric, k, live)
    assert offsets.shape == distances.shape == (len(queries), min(k, len(rows)))
    assert offsets.dtype == np.int64
    assert distances.dtype == np.float32
    alive = np.ones(len(rows), dtype=np.bool_) if live is None else live
    for query, got, shown in zip(queries, offsets, distances, strict=True):
        expected = slow_top_k(rows, query, metric, k, alive)
        found = int((got >= 0).sum())
        assert found == len(expected)
        np.testing.assert_allclose(shown[:found], [each[0] for each in expected], rtol=1e-6, atol=1e-6)
        true = [by_hand(rows[at], query, metric) for at in got[:found]]
        np.testing.assert_allclose(true, [each[0] for each in expected], rtol=1e-7, atol=1e-7)
        assert len(set(got[:found].tolist())) == found
        assert alive[got[:found]].all()
        assert (got[found:] == -1).all()
        assert (shown[found:] == metric.pad).all()


# --- exactness


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("k", [1, 7, 400])
def test_the_answer_is_that_of_a_full_sort(metric: Metric, k: int) -> None:
    rows, queries = data(metric, 300, seed=1, density=0.1), data(metric, 4, seed=2, density=0.08)
    live = np.random.default_rng(3).random(300) > 0.3
    assert_exact(rows, queries, metric, k)
    assert_exact(rows, queries, metric, k, live)
    assert_exact(rows, rows[:3], metric, k, live)


@given(st.sampled_from(METRICS), st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_the_answer_is_exact_for_any_size(metric: Metric, count: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, queries = data(metric, count, seed, density=rng.random()), data(metric, 2, seed + 1, density=rng.random())
    assert_exact(rows, queries, metric, k, rng.random(count) > rng.random())


def test_many_rows_are_searched_in_blocks_and_threads_to_the_same_answer() -> None:
    rng = np.random.default_rng(5)
    rows = rng.random((60_000, 16), dtype=np.float32)
    queries = rng.random((20, 16), dtype=np.float32)
    live = rng.random(60_000) > 0.5
    for metric in (Metric.L2, Metric.IP):
        offsets, _ = top_k(rows, queries, metric, 20, live, squared_norms(rows))
        wide = rows.astype(np.float64)
        scores = wide @ queries.T.astype(np.float64)
        scores = (wide**2).sum(axis=1)[:, None] - 2 * scores if metric is Metric.L2 else -scores
        scores[~live] = np.inf
        np.testing.assert_array_equal(offsets, np.argsort(scores.T, axis=1, kind="stable")[:, :20])


def test_rows_nearer_to_each_other_than_single_precision_products_can_tell_are_ordered_right() -> None:
    rng = np.random.default_rng(6)
    rows = (1000 + rng.random((5000, 8)) * 0.01).astype(np.float32)
    queries = rows[:5]
    offsets, distances = top_k(rows, queries, Metric.L2, 10)
    for query, got, shown in zip(queries, offsets, distances, strict=True):
        exact = ((rows.astype(np.float64) - query.astype(np.float64)) ** 2).sum(axis=1)
        np.testing.assert_array_equal(got, np.argsort(exact, kind="stable")[:10])
        np.testing.assert_allclose(shown, np.sort(exact)[:10], rtol=1e-6)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP], ids=lambda metric: metric.name)
@pytest.mark.parametrize("kind", ["spread", "equal ones", "hardly apart", "far queries", "not finite"])
def test_a_scan_gives_the_same_answer_as_a_product(metric: Metric, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((5000, 9)).astype(np.float32)
    queries = rng.standard_normal((4, 9)).astype(np.float32)
    if kind == "equal ones":
        rows, queries = np.round(rows), np.round(queries)
    elif kind == "hardly apart":
        rows, queries = rows / np.float32(100) + np.float32(1000), queries / np.float32(100) + np.float32(1000)
    elif kind == "far queries":
        queries *= np.float32(1e5)
    elif kind == "not finite":
        queries[1], queries[2] = np.nan, np.float32(1e19)
    product = top_k(rows, queries, metric, 10)
    monkeypatch.setattr(nearest, "_MANY_ROWS", 1)
    scan = top_k(rows, queries, metric, 10)
    np.testing.assert_array_equal(scan[0], product[0])
    np.testing.assert_array_equal(scan[1], product[1])


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_equal_rows_come_in_the_order_of_their_offsets(metric: Metric) -> None:
    rows = np.repeat(data(metric, 1, seed=7), 3000, axis=0)
    offsets, distances = top_k(rows, rows[:2], metric, 50)
    np.testing.assert_array_equal(offsets, np.tile(np.arange(50), (2, 1)))
    assert len(np.unique(distances)) == 1


def test_an_equal_vector_is_at_distance_zero_exactly() -> None:
    rows = np.random.default_rng(8).standard_normal((2000, 128)).astype(np.float32) * 37
    offsets, distances = top_k(rows, rows[:50], Metric.L2, 1)
    np.testing.assert_array_equal(offsets[:, 0], np.arange(50))
    assert (distances == 0).all()


def test_rows_with_nan_are_never_found() -> None:
    rows = np.random.default_rng(9).random((100, 8), dtype=np.float32)
    rows[[3, 50]] = np.nan
    offsets, _ = top_k(rows, rows[:3], Metric.L2, 100)
    assert not set(offsets.ravel().tolist()) & {3, 50}
    assert (offsets[:, -2:] == -1).all()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_nothing_live_is_all_pads(metric: Metric) -> None:
    rows = data(metric, 10, seed=1)
    offsets, distances = top_k(rows, rows[:2], metric, 4, np.zeros(10, dtype=np.bool_))
    assert (offsets == -1).all()
    assert (distances == metric.pad).all()


def test_no_rows_or_no_queries_give_an_empty_answer() -> None:
    rows = data(Metric.L2, 5, seed=1)
    assert top_k(rows[:0], rows, Metric.L2, 3)[0].shape == (5, 0)
    assert top_k(rows, rows[:0], Metric.L2, 3)[0].shape == (0, 3)


def test_vectors_of_another_width_or_type_are_refused() -> None:
    rows = data(Metric.L2, 5, seed=1)
    with pytest.raises(ValueError, match="one width"):
        top_k(rows, rows[:, :4], Metric.L2, 1)
    with pytest.raises(ValueError, match="HAMMING takes uint8"):
        top_k(rows, rows, Metric.HAMMING, 1)
    with pytest.raises(ValueError, match="IP takes float32"):
        top_k(rows.astype(np.float64), rows, Metric.IP, 1)  # type: ignore[arg-type]


# --- against a real cluster


def recorded_searches() -> list[Call]:
    return [call for call in calls("metrics") if call.rpc == "Search"]


@pytest.mark.parametrize("search", recorded_searches(), ids=lambda call: call.id)
def test_recorded_answers_of_all_metrics(search: Call) -> None:
    name = search.request["collection_name"]
    inserted = next(c for c in calls("metrics") if c.rpc == "Insert" and c.request["collection_name"] == name)
    metric = Metric[name.removeprefix("mt_").upper()]
    k = search.request["topk"]
    rows = vectors(inserted.request["row_record_array"])
    first, _ = inserted.request["row_id_array"]["$range"]
    offsets, distances = top_k(rows, vectors(search.request["query_record_array"]), metric, k)
    ids, shown = merge_top_k([(np.where(offsets < 0, -1, offsets + first), distances)], k, metric)
    expected_ids, expected = answer(search)
    assert ids.shape == expected_ids.shape
    np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-4)
    # Equal distances may be ordered otherwise, and of those at the end others be chosen.
    finite = np.where(np.isinf(expected), FLT_MAX, expected).astype(np.float64)
    for mine, theirs, near in zip(ids, expected_ids, finite, strict=True):
        np.testing.assert_array_equal(mine == -1, theirs == -1)
        last = near[theirs >= 0][-1]
        sure = (theirs >= 0) & (np.abs(near - last) > 1e-4)
        assert set(mine[sure].tolist()) == set(theirs[sure].tolist())
        lone = sure & (np.abs(near - np.roll(near, 1)) > 1e-4) & (np.abs(near - np.roll(near, -1)) > 1e-4)
        np.testing.assert_array_equal(mine[lone], theirs[lone])


def test_the_recorded_segment_with_deletes_gives_the_recorded_answer() -> None:
    folder = next((STORAGE / "db/tables/seg").iterdir())
    segment = SegmentFolder(folder, 16, binary=False)
    live = np.ones(60, dtype=np.bool_)
    live[segment.deleted()] = False
    queries = vectors({"$rows": {"seed": 40, "n": 3, "dim": 16}})
    offsets, distances = top_k(segment.vectors(), queries, Metric.L2, 4, live)
    expected = [[100, 155, 102, 116], [114, 103, 132, 127], [102, 131, 112, 136]]
    np.testing.assert_array_equal(segment.uids()[offsets], expected)
    assert distances[0, 0] == 0
    np.testing.assert_allclose(distances[0, 1:], [1.5590303, 1.6517596, 1.7169454], rtol=1e-6)


# --- merge

Part = tuple[NDArray[np.int64], NDArray[np.float32]]


def part(*rows: list[tuple[int, float]]) -> Part:
    ids = np.array([[each[0] for each in row] for row in rows], dtype=np.int64).reshape(len(rows), -1)
    near = np.array([[each[1] for each in row] for row in rows], dtype=np.float32).reshape(len(rows), -1)
    return ids, near


def slow_merge(parts: list[Part], k: int, ascending: bool) -> list[list[tuple[int, float]]]:
    """The merge with two fingers, one query at a time, as facts 5.8 tells it."""
    answers = []
    for query in range(len(parts[0][0])):
        target = [(-1, float(FLT_MAX))]
        for ids, near in parts:
            source = list(zip(ids[query].tolist(), near[query].tolist(), strict=True))
            width = min(k, len(target) + len(source))
            merged: list[tuple[int, float]] = []
            while len(merged) < width:
                if source and target:
                    better = source[0][1] < target[0][1] if ascending else source[0][1] > target[0][1]
                    merged.append(source.pop(0) if target[0][0] == -1 or better else target.pop(0))
                else:
                    merged.append((source or target).pop(0))
            target = merged
        answers.append(target)
    return answers


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_merging_is_that_of_two_fingers(draw: st.DataObject) -> None:
    metric = draw.draw(st.sampled_from([Metric.L2, Metric.IP, Metric.SUBSTRUCTURE]))
    nq, k = draw.draw(st.integers(1, 3)), draw.draw(st.integers(1, 9))
    parts = []
    for _ in range(draw.draw(st.integers(1, 4))):
        width = draw.draw(st.integers(0, 6))
        rows = []
        for _ in range(nq):
            real = sorted(draw.draw(st.lists(st.integers(0, 5), max_size=width)), reverse=not metric.ascending)
            row = [(draw.draw(st.integers(0, 99)), float(each)) for each in real]
            rows.append(row + [(-1, float(metric.pad))] * (width - len(row)))
        parts.append(part(*rows))
    ids, near = merge_top_k(parts, k, metric)
    expected = slow_merge(parts, k, metric.ascending)
    assert ids.tolist() == [[each[0] for each in row] for row in expected]
    assert near.tolist() == [[each[1] for each in row] for row in expected]


@pytest.mark.parametrize(
    ("widths", "k", "expected"), [([3], 10, 4), ([20], 100, 21), ([3, 20], 10, 10), ([5] * 6, 100, 31), ([0], 10, 1)]
)
def test_widths_are_those_measured(widths: list[int], k: int, expected: int) -> None:
    parts = [part([(at, float(at)) for at in range(width)]) for width in widths]
    ids, _ = merge_top_k(parts, k, Metric.L2)
    assert ids.shape == (1, expected)


def test_an_answer_without_live_rows_is_one_empty_place() -> None:
    ids, near = merge_top_k([part([], []), part([], [])], 5, Metric.IP)
    assert ids.tolist() == [[-1], [-1]]
    assert (near == FLT_MAX).all()


def test_the_best_product_is_first_and_the_empty_place_last() -> None:
    ids, near = merge_top_k([part([(1, 5.0), (2, 3.0)]), part([(3, 4.0)])], 10, Metric.IP)
    assert ids.tolist() == [[1, 3, 2, -1]]
    assert near[0, -1] == FLT_MAX


def test_nothing_to_merge_and_unequal_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_top_k([], 3, Metric.L2)
    with pytest.raises(ValueError, match="answers of"):
        merge_top_k([part([(1, 1.0)]), part([(1, 1.0)], [(2, 1.0)])], 3, Metric.L2)
