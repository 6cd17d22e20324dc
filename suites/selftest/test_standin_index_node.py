"""Indexes on running stand-in nodes: when they are built, and what is found in them on which node."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fixtures import data
from fixtures.waits import wait_until
from fixtures.wire import IndexType, MetricType
from suites.selftest.index_nodes import (
    BACKUP,
    INDEX,
    IVF,
    PROBES,
    RAW,
    ROWS,
    await_states,
    counts,
    fill,
    own_collection,
    own_ids,
    states,
)
from suites.selftest.standin_nodes import Nodes, running, vectors

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("indexes")) as cluster:
        yield cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, nodes: Nodes) -> Iterator[str]:
    with own_collection(nodes, request.node.name) as collection:
        yield collection


def test_the_writer_builds_it_and_the_reader_searches_it(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name)
    nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).require()
    assert states(nodes, name) == [INDEX, BACKUP]
    (segment,) = nodes.read.stats(name).require().value["partitions"][0]["segments"]
    assert (segment["index_name"], segment["row_count"]) == ("IVFFLAT", ROWS)
    exact = data.exact_top_k(rows, np.arange(ROWS), rows[:20], 5, MetricType.L2)
    for client in (nodes.write, nodes.read):
        reply = client.search(name, rows[:20], 5, PROBES).require()
        assert np.array_equal(reply.ids, exact.ids)
        assert np.allclose(reply.distances, exact.distances, atol=1e-4)
    # By id from the raw file, which is kept.
    assert np.array_equal(nodes.read.get(name, [7]).require().value[0], rows[7])
    assert nodes.read.count(name).require().value == ROWS


def test_the_parameters_are_checked_by_the_collections_index(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name)
    nodes.write.create_index(name, IndexType.HNSW, {"M": 16, "efConstruction": 100}).require()
    refused = nodes.read.search(name, rows[:1], 10, {"ef": 9})
    assert (refused.code, refused.reason) == (5, "Invalid ef value: 9. Valid range is [10, 32768]")
    assert own_ids(nodes.read, name, rows[:5], {"ef": 64}) == [0, 1, 2, 3, 4]


def test_a_small_segment_stays_raw_and_is_searched_exactly(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name, 4095)
    nodes.write.create_index(name, IndexType.IVF_PQ, {"nlist": 16, "m": 4}).require()
    assert states(nodes, name) == [RAW]
    reply = nodes.read.search(name, rows[:10], 1, {"nprobe": 1}).require()
    assert reply.ids[:, 0].tolist() == list(range(10))
    assert (reply.distances == 0).all(), "PQ distances are not 0"
    fill(nodes, name, 1, seed=2, first_id=5000)
    nodes.write.create_index(name, IndexType.IVF_PQ, {"nlist": 16, "m": 4}).require()
    assert states(nodes, name) == [INDEX, BACKUP], "merged to 4096 rows by the second call"


def test_dropping_it_brings_the_raw_file_back(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name)
    nodes.write.create_index(name, IndexType.IVF_SQ8, IVF).require()
    nodes.write.drop_index(name).require()
    assert states(nodes, name) == [RAW]
    assert nodes.read.index_info(name).require().value == {"index_type": IndexType.FLAT, "params": {}}
    reply = nodes.read.search(name, rows[:5], 1).require()
    assert (reply.distances == 0).all()
    folder = nodes.shared / "tables" / name
    wait_until(
        lambda: [path.name for path in folder.glob("*/*") if path.suffix == "" and path.name.isdigit()],
        timeout_s=20,
        accept=lambda left: not left,
        reason="the index file is cleaned up",
    )


def test_another_index_replaces_the_first(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name)
    for index_type, build, search in (
        (IndexType.IVF_FLAT, IVF, PROBES),
        (IndexType.ANNOY, {"n_trees": 4}, {"search_k": 4 * ROWS}),
        (IndexType.RNSG, {"search_length": 40, "out_degree": 20, "candidate_pool_size": 60, "knng": 20}, None),
    ):
        nodes.write.create_index(name, index_type, build).require()
        assert states(nodes, name) == [INDEX, BACKUP]
        assert own_ids(nodes.read, name, rows[:9], search or {"search_length": 60}) == list(range(9))
    again = nodes.files(name)
    build = {"search_length": 40, "out_degree": 20, "candidate_pool_size": 60, "knng": 20}
    nodes.write.create_index(name, IndexType.RNSG, build).require()
    assert [each for each in nodes.files(name) if each[1] == INDEX] == [each for each in again if each[1] == INDEX]


def test_full_segments_are_indexed_without_being_asked(nodes: Nodes, name: str) -> None:
    nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).require()
    fill(nodes, name, 1000)
    assert states(nodes, name) == [RAW]
    rows = fill(nodes, name, 16_000, seed=2, first_id=10_000)  # 1.15 MB
    await_states(nodes, name, [RAW, INDEX, BACKUP])
    assert own_ids(nodes.read, name, rows[:3], PROBES) == [10_000, 10_001, 10_002]


def test_partitions_are_indexed_too(nodes: Nodes, name: str) -> None:
    nodes.write.create_partition(name, "p").require()
    rows = vectors(3, ROWS)
    nodes.write.insert(name, rows, np.arange(ROWS), "p").require()
    nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).require()
    partition = nodes.read.stats(name).require().value["partitions"][1]
    assert partition["tag"] == "p"
    assert [each["index_name"] for each in partition["segments"]] == ["IVFFLAT"]
    reply = nodes.read.search(name, rows[:3], 1, PROBES, ["p"]).require()
    assert reply.ids[:, 0].tolist() == [0, 1, 2]


def test_deleted_rows_are_masked_and_the_reader_stays_stale(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name)
    nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).require()
    assert own_ids(nodes.read, name, rows[:3], PROBES) == [0, 1, 2]
    assert own_ids(nodes.write, name, rows[:3], PROBES) == [0, 1, 2]
    nodes.write.delete(name, [0, 1]).require()
    nodes.write.flush(name).require()
    left = nodes.write.search(name, rows[:2], 10, PROBES).require()
    assert not np.isin([0, 1], left.ids).any()
    assert (left.ids >= 0).all(), "others take their places"
    assert own_ids(nodes.read, name, rows[:2], PROBES) == [0, 1], "a real reader is stale here (measured 2)"
    (index,) = [file for file, state, _ in nodes.files(name) if state == INDEX]
    nodes.read.reload_segments(name, [index]).require()
    assert not np.isin([0, 1], nodes.read.search(name, rows[:2], 10, PROBES).require().ids).any()
    assert counts(nodes, name, INDEX) == counts(nodes, name, BACKUP) == [ROWS - 2]


def test_compaction_of_an_indexed_segment_indexes_what_is_left(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name, 5000)
    nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).require()
    nodes.write.delete(name, np.arange(600)).require()
    nodes.write.flush(name).require()
    nodes.write.compact(name).require()
    await_states(nodes, name, [INDEX, BACKUP])
    assert counts(nodes, name, INDEX) == [4400]
    assert own_ids(nodes.read, name, rows[600:603], PROBES) == [600, 601, 602]
    nodes.write.delete(name, np.arange(600, 1200)).require()
    nodes.write.flush(name).require()
    nodes.write.compact(name).require()
    assert states(nodes, name) == [RAW], "3800 rows are too few for an index"


def test_restarted_nodes_search_the_index_files(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name)
    nodes.write.create_index(name, IndexType.HNSW, {"M": 8, "efConstruction": 60}).require()
    nodes.writer.restart()
    nodes.reader.kill()
    nodes.reader.start()
    for client in (nodes.write, nodes.read):
        assert own_ids(client, name, rows[:5], {"ef": 100}) == [0, 1, 2, 3, 4]
    assert states(nodes, name) == [INDEX, BACKUP]


def test_binary_vectors(nodes: Nodes) -> None:
    rows = data.binary_vectors(1, ROWS, 64)
    for metric in (MetricType.HAMMING, MetricType.JACCARD, MetricType.TANIMOTO):
        name = f"bits_{metric.name.lower()}"
        nodes.write.create_collection(name, 64, metric).require()
        nodes.write.insert(name, rows, np.arange(ROWS)).require()
        nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).require()
        assert states(nodes, name) == [INDEX, BACKUP]
        exact = data.exact_top_k(rows, np.arange(ROWS), rows[:20], 5, metric)
        reply = nodes.read.search(name, rows[:20], 5, PROBES).require()
        assert np.allclose(reply.distances, exact.distances, atol=1e-4)
        nodes.write.drop_collection(name).require()


def test_a_build_that_fails_is_told_and_leaves_the_segment_searchable(nodes: Nodes) -> None:
    name, rows = "structures", data.structure_vectors(1, ROWS, 64)
    nodes.write.create_collection(name, 64, MetricType.SUBSTRUCTURE).require()
    nodes.write.insert(name, rows, np.arange(ROWS)).require()
    refused = nodes.write.create_index(name, IndexType.IVF_FLAT, IVF)
    assert (refused.code, refused.reason) == (1, "Illegal index params")
    assert states(nodes, name) == [RAW]
    assert (nodes.read.search(name, rows[:1], 5, {"nprobe": 1}).require().distances[:, 0] == 0).all()
    assert nodes.write.create_index(name, IndexType.IVF_FLAT, IVF).code == 1, "tried again by the next call"
    nodes.write.drop_collection(name).require()


def test_a_reader_waits_for_the_writers_build(nodes: Nodes, name: str) -> None:
    nodes.write.insert(name, vectors(1, ROWS), np.arange(ROWS)).require()
    nodes.await_count(nodes.write, name, ROWS)
    wait_until(
        lambda: nodes.mysql.query("SELECT global_lsn >= (SELECT MAX(flush_lsn) FROM Tables) FROM Environment")[0][0],
        timeout_s=10,
        reason="the auto flush raised the global LSN: with something pending a reader's flush hangs (facts 1.3)",
    )
    nodes.reader.restart()
    nodes.read.create_index(name, IndexType.IVF_FLAT, IVF).require()
    assert states(nodes, name) == [INDEX, BACKUP]
