"""The stand-in's indexes by themselves: what they find, what they pass over, their files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from fixtures.data import vectors
from fixtures.standin import indexes
from fixtures.standin.indexes import IndexBuildError
from fixtures.standin.indexes.file import read_contents, write_records
from fixtures.standin.search import Metric
from fixtures.standin.segments import SegmentError
from fixtures.standin.validation import Engine, engine_for, index_params, search_params
from fixtures.wire import MetricType
from suites.indexes import CASES, DIMENSION, IndexCase
from suites.oracle import Question

pytestmark = pytest.mark.selftest

SEED = 20
TOP_K = 10
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_float_case = pytest.mark.parametrize(
    "case", [case for case in CASES if not Metric(case.metric).binary], ids=lambda case: case.name
)


def build(case: IndexCase, seed: int = SEED) -> tuple[np.ndarray, indexes.Index]:
    engine = engine_for(Engine(case.index_type), case.metric)
    index_params(case.build, engine, case.dimension)
    search_params(case.search, engine, TOP_K)
    rows = case.rows(seed)
    return rows, indexes.build(engine, Metric(case.metric), rows, case.build)


@every_case
def test_recall_is_what_the_parameters_promise(case: IndexCase) -> None:
    rows, index = build(case)
    ids = np.arange(len(rows))
    question = Question.about(rows, ids, case.metric, seed=SEED, queries=case.queries, k=TOP_K)
    found, distances = index.search(question.queries, TOP_K, case.search, None)
    assert found.dtype == np.int64
    assert distances.dtype == np.float32
    assert found.shape == distances.shape == (case.queries, TOP_K)
    assert case.recall(question, found) >= case.floor(question)
    steps = np.diff(distances) if Metric(case.metric).ascending else -np.diff(distances)
    assert (steps >= 0).all(), "not best first"


@every_case
def test_deleted_rows_are_passed_over_and_others_take_their_places(case: IndexCase) -> None:
    rows, index = build(case)
    live = np.random.default_rng(SEED).random(len(rows)) < 0.3
    queries = rows[~live][: case.queries]
    found, _ = index.search(queries, TOP_K, case.search, live)
    assert found.shape == (case.queries, TOP_K)
    assert (found >= 0).all()
    assert live[found].all()
    kept = np.flatnonzero(live)
    question = Question.about(rows[kept], kept, case.metric, seed=SEED, queries=case.queries, k=TOP_K)
    found, _ = index.search(question.queries, TOP_K, case.search, live)
    assert case.recall(question, found) >= case.floor(question)


@every_case
def test_fewer_live_rows_than_asked_for_leave_gaps_at_the_end(case: IndexCase) -> None:
    rows, index = build(case)
    live = np.zeros(len(rows), dtype=np.bool_)
    none, pads = index.search(rows[:2], TOP_K, case.search, live)
    assert (none == -1).all()
    assert (pads == Metric(case.metric).pad).all()
    live[:3] = True
    found, _ = index.search(rows[:2], TOP_K, case.search, live)
    for row in found:
        assert set(row.tolist()) <= {-1, 0, 1, 2}
        assert np.count_nonzero(row == -1) >= TOP_K - 3
        assert (np.diff((row == -1).astype(int)) >= 0).all(), "a gap before the end"
    if case.share == 1:
        assert set(found[0].tolist()) == {-1, 0, 1, 2}


@every_case
def test_a_loaded_index_answers_as_the_one_that_was_written(case: IndexCase, tmp_path: Path) -> None:
    rows, index = build(case)
    path = tmp_path / "1795377932176514000"
    size_bytes = indexes.write(path, engine_for(Engine(case.index_type), case.metric), index)
    assert path.stat().st_size == size_bytes
    loaded = indexes.read(path, Metric(case.metric))
    found, distances = index.search(rows[: case.queries], TOP_K, case.search, None)
    again, distances_again = loaded.search(rows[: case.queries], TOP_K, case.search, None)
    assert np.array_equal(found, again)
    assert np.array_equal(distances, distances_again)


# As a real node wrote them: type, and size of the index of 5000 x 16 with nlist 16 (m 4). data/golden/indexes.jsonl.
@pytest.mark.parametrize(
    ("engine", "file_type", "size_bytes"),
    [(Engine.IVF_FLAT, 2, 361314), (Engine.IVF_SQ8, 9, 121487), (Engine.IVF_PQ, 5, 77739)],
)
def test_ivf_files_are_the_recorded_ones_in_type_and_size(
    engine: Engine, file_type: int, size_bytes: int, tmp_path: Path
) -> None:
    rows = np.random.default_rng(10).random((5000, 16), dtype=np.float32)
    path = tmp_path / "index"
    index = indexes.build(engine, Metric.L2, rows, {"nlist": 16, "m": 4})
    assert indexes.write(path, engine, index) == size_bytes
    kind, contents = read_contents(path)
    assert (kind, list(contents)) == (file_type, ["IVF"])
    magic, dimension, count = struct.unpack_from("<4siq", contents["IVF"].array().tobytes())
    assert magic in (b"IwFl", b"IwSq", b"IwPQ")
    assert (dimension, count) == (16, 5000)


@pytest.mark.parametrize(("rows", "cells"), [(30, 1), (79, 1), (80, 2), (5000, 125), (41000, 1024)])
def test_nlist_is_reduced_to_one_cell_for_forty_rows(rows: int, cells: int, tmp_path: Path) -> None:
    points = np.random.default_rng(1).random((rows, 2), dtype=np.float32)
    index = indexes.build(Engine.IVF_FLAT, Metric.L2, points, {"nlist": 1024})
    indexes.write(tmp_path / "index", Engine.IVF_FLAT, index)
    # An IVF's bytes: a header of 37 bytes (facts 3.4), then the number of cells.
    assert struct.unpack_from("<Q", read_contents(tmp_path / "index")[1]["IVF"].array().tobytes(), 37) == (cells,)


@pytest.mark.parametrize("metric", [Metric.SUBSTRUCTURE, Metric.SUPERSTRUCTURE])
def test_no_index_for_structures(metric: Metric) -> None:
    bits = np.zeros((5000, 2), dtype=np.uint8)
    with pytest.raises(IndexBuildError, match="Illegal index params"):
        indexes.build(Engine.BIN_IVF_FLAT, metric, bits, {"nlist": 4})


@pytest.mark.parametrize(
    ("engine", "rows", "params"),
    [
        (Engine.IVF_PQ, 100, {"nlist": 4, "m": 2}),  # fewer rows than codes
        (Engine.IVF_FLAT, 100, {}),
        (Engine.SPTAG_KDT, 100, {}),
        (
            Engine.NSG,
            100,
            {"search_length": 45, "out_degree": 50, "candidate_pool_size": 300, "knng": 100},
        ),  # all equal
    ],
)
def test_what_cannot_be_built_is_said(engine: Engine, rows: int, params: dict[str, int]) -> None:
    with pytest.raises(IndexBuildError):
        indexes.build(engine, Metric.L2, np.ones((rows, 4), dtype=np.float32), params)


@every_float_case
def test_few_rows_make_an_index_too(case: IndexCase) -> None:
    """A full segment of long vectors has few rows, fewer than a graph's degree."""
    if case.index_type == Engine.IVF_PQ:
        return  # as many rows as codes are needed: see above
    rows = np.random.default_rng(1).random((20, 8), dtype=np.float32)
    index = indexes.build(Engine(case.index_type), Metric(case.metric), rows, case.build)
    found, _ = index.search(rows, 50, {**case.search, "ef": 50}, None)
    assert (np.sort(found) == np.arange(20)).all()


@every_float_case
def test_equal_rows_make_an_index_too(case: IndexCase) -> None:
    rows = vectors(SEED, 50, DIMENSION).repeat(100, axis=0)
    index = indexes.build(Engine(case.index_type), Metric(case.metric), rows, case.build)
    found, _ = index.search(rows[::100], 5, case.search, None)
    assert (found >= 0).all()
    if case.metric is MetricType.L2 and case.share == 1:  # graphs of copies fall apart
        assert (found // 100 == np.arange(50)[:, None]).all(), "its copies are nearest to a row"


def test_a_cut_off_or_foreign_file_is_said_with_its_path(tmp_path: Path) -> None:
    rows, index = build(CASES[0])
    path = tmp_path / "index"
    indexes.write(path, Engine.IVF_FLAT, index)
    whole = path.read_bytes()
    assert len(rows)
    for content in (b"", whole[:2], whole[:9], whole[:20], whole[:-1], struct.pack("<i", 77)):
        path.write_bytes(content)
        with pytest.raises(SegmentError, match=str(path)):
            indexes.read(path, Metric.L2)
    write_records(path, 2, {"IVF": np.zeros(100, dtype=np.uint8)})
    with pytest.raises(SegmentError, match=str(path)):
        indexes.read(path, Metric.L2)
    write_records(path, 2, {"HNSW": np.zeros(100, dtype=np.uint8)})
    with pytest.raises(SegmentError, match="'IVF'"):
        indexes.read(path, Metric.L2)
    with pytest.raises(SegmentError, match="No such file"):
        indexes.read(tmp_path / "none", Metric.L2)


@every_case
def test_the_floor_is_above_what_random_rows_would_reach(case: IndexCase) -> None:
    """Or else the recall test could not fail: answers that are no nearest rows at all must be below it."""
    rows = case.rows(SEED)
    question = Question.about(rows, np.arange(len(rows)), case.metric, seed=SEED, queries=case.queries, k=TOP_K)
    random = np.random.default_rng(SEED).integers(0, len(rows), size=(case.queries, TOP_K))
    assert case.recall(question, random) < case.floor(question)
