"""The stand-in node as a process: what is promised of a writer and a reader on one storage, over gRPC."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from fixtures.clients import Client
from fixtures.services.milvus import READER, WRITER
from fixtures.waits import observe, pause, wait_until
from fixtures.wire import IndexType
from suites.selftest.standin_nodes import DIMENSION, Nodes, nearest, running, vectors

pytestmark = pytest.mark.selftest

RAW, TO_DELETE = 1, 4


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("standin")) as cluster:
        yield cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, nodes: Nodes) -> Iterator[str]:
    """An empty collection of the test's own."""
    collection = re.sub(r"\W", "_", request.node.name.removeprefix("test_"))
    nodes.write.create_collection(collection, DIMENSION).require()
    yield collection
    nodes.write.drop_collection(collection)


def fill(nodes: Nodes, name: str, seed: int = 1, rows: int = 100, first_id: int = 0) -> np.ndarray:
    data = vectors(seed, rows)
    nodes.write.insert(name, data, np.arange(first_id, first_id + rows)).require()
    nodes.write.flush(name).require()
    return data


def await_one_segment(nodes: Nodes, name: str) -> None:
    """Until merges have put all rows into one segment, which then stays."""
    wait_until(
        lambda: [state for _, state, _ in nodes.files(name)],
        timeout_s=10,
        accept=lambda seen: [state for state in seen if state != TO_DELETE] == [RAW],
        reason="segments merged into one",
    )


def test_a_flushed_insert_is_found_on_both_nodes(nodes: Nodes, name: str) -> None:
    data = vectors(1, 100)
    nodes.write.insert(name, data, np.arange(100)).require()
    nodes.write.flush(name).require()
    for client in (nodes.write, nodes.read):
        assert [ids[0] for ids in nearest(client, name, data[:5])] == [0, 1, 2, 3, 4]
        assert client.count(name).require().value == 100
        found = client.get(name, [7, 1000]).require().value
        assert np.array_equal(found[0], data[7])
        assert found[1] is None


def test_the_auto_flush_makes_rows_visible(nodes: Nodes, name: str) -> None:
    data = vectors(2, 10)
    nodes.write.insert(name, data, np.arange(10)).require()
    nodes.await_count(nodes.write, name, 10)
    assert nearest(nodes.read, name, data[:1], topk=1) == [[0]]


def test_what_is_not_flushed_is_seen_nowhere(nodes: Nodes) -> None:
    # A writer that does not flush by itself within this test.
    patient = nodes.new_node("patient-writer", WRITER, auto_flush_interval_s=600, recovery_error_ignore=True)
    patient.start()
    data = vectors(2, 10)
    with Client("patient-writer", patient.endpoint) as client:
        client.create_collection("patient", DIMENSION).require()
        client.insert("patient", data, np.arange(10)).require()
        for each in (client, nodes.read):
            assert each.count("patient").require().value == 0
            assert each.search("patient", data[:1], 1).require().ids.size == 0
        client.flush("patient").require()
        assert nearest(nodes.read, "patient", data[:1], topk=1) == [[0]]
        client.drop_collection("patient").require()
    patient.stop()


def test_kill_9_loses_no_acknowledged_row(nodes: Nodes, name: str) -> None:
    fill(nodes, name, rows=50)
    for batch in range(5):
        first = 100 + 20 * batch
        nodes.write.insert(name, vectors(batch, 20), np.arange(first, first + 20)).require()
    nodes.writer.kill()
    nodes.writer.start()
    nodes.await_count(nodes.write, name, 150)
    assert "replayed" in nodes.writer.log.read_text()
    await_one_segment(nodes, name)
    (segment,) = nodes.write.stats(name).require().value["partitions"][0]["segments"]
    ids = nodes.write.list_ids(name, segment["name"]).require().ids
    assert sorted(ids.tolist()) == [*range(50), *range(100, 200)], "rows lost or doubled"


def test_a_reader_serves_stale_deletes_until_reloaded(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    assert nearest(nodes.read, name, data[5:6], topk=1) == [[5]]
    nodes.write.delete(name, [5]).require()
    nodes.write.flush(name).require()
    assert nearest(nodes.write, name, data[5:6], topk=1) != [[5]], "the writer's own search must not be stale"
    assert nearest(nodes.read, name, data[5:6], topk=1) == [[5]], "a real reader is stale here (measured 2)"
    assert nodes.read.get(name, [5]).require().value == [None], "by id it is gone at once"
    assert nodes.read.count(name).require().value == 99
    ((file_id, _, _),) = nodes.files(name)
    nodes.read.reload_segments(name, [file_id]).require()
    assert nearest(nodes.read, name, data[5:6], topk=1) != [[5]]


def test_release_also_cures_a_stale_reader(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    nearest(nodes.read, name, data[:1])
    nodes.write.delete(name, [0]).require()
    nodes.write.flush(name).require()
    assert nearest(nodes.read, name, data[:1], topk=1) == [[0]]
    nodes.read.release(name).require()
    assert nearest(nodes.read, name, data[:1], topk=1) != [[0]]


def test_a_write_sent_to_a_reader_is_acknowledged_and_never_seen(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    nodes.read.insert(name, vectors(9, 5), np.arange(500, 505)).require()
    nodes.read.delete(name, [3]).require()
    nodes.write.flush().require()
    pause(1.5, "longer than the auto flush interval, in case the reader had one")
    for client in (nodes.write, nodes.read):
        assert client.count(name).require().value == 100
        assert nearest(client, name, data[3:4], topk=1) == [[3]]


def test_a_merge_keeps_every_row_once_and_drops_deleted_ones(nodes: Nodes, name: str) -> None:
    parts = [fill(nodes, name, seed=seed, rows=40, first_id=40 * seed) for seed in range(4)]
    nodes.write.delete(name, [0, 41]).require()
    nodes.write.flush(name).require()
    fill(nodes, name, seed=4, rows=40, first_id=160)

    await_one_segment(nodes, name)
    assert nodes.read.count(name).require().value == 198
    wanted = [40 * seed + 2 for seed in range(4)]
    assert [nearest(nodes.read, name, part[2:3], topk=1)[0][0] for part in parts] == wanted
    assert nearest(nodes.read, name, parts[0][:1], topk=1) != [[0]]


def test_the_clean_up_removes_rows_and_folders_of_merged_segments(nodes: Nodes, name: str) -> None:
    fill(nodes, name, seed=1)
    fill(nodes, name, seed=2, first_id=100)
    wait_until(
        lambda: [state for _, state, _ in nodes.files(name)],
        timeout_s=15,
        accept=lambda seen: seen == [RAW],
        reason="what was merged away removed after 2 s",
    )
    wait_until(
        lambda: len(list((nodes.shared / "tables" / name).iterdir())),
        timeout_s=5,
        accept=lambda folders: folders == 1,
        reason="their folders removed, right after their rows",
    )


def test_compaction_rewrites_a_segment_that_lost_a_tenth(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    nearest(nodes.read, name, data[:1])
    nodes.write.delete(name, list(range(5))).require()
    nodes.write.flush(name).require()
    nodes.write.compact(name).require()
    assert len(nodes.files(name)) == 1, "too few deletes to be worth it"
    nodes.write.delete(name, list(range(5, 30))).require()
    nodes.write.flush(name).require()
    nodes.write.compact(name).require()
    assert [(state, rows) for _, state, rows in nodes.files(name)] == [(TO_DELETE, 70), (RAW, 70)]
    assert nearest(nodes.read, name, data[:1], topk=1) != [[0]], "a new segment is loaded as it is"


def test_partitions_hold_their_own_rows(nodes: Nodes, name: str) -> None:
    nodes.write.create_partition(name, "p1").require()
    inside, outside = vectors(1, 20), vectors(2, 20)
    nodes.write.insert(name, inside, np.arange(20), tag="p1").require()
    nodes.write.insert(name, outside, np.arange(100, 120)).require()
    nodes.write.flush(name).require()
    assert nodes.read.count(name).require().value == 40
    assert set(nodes.read.search(name, inside[:1], 20, tags=["p."]).require().ids[0].tolist()) == set(range(20))
    assert min(nodes.read.search(name, inside[:1], 20, tags=["_default"]).require().ids[0].tolist()) == 100
    assert not nodes.read.search(name, inside[:1], 20, tags=["p"]).ok, "a tag is matched whole"
    nodes.write.drop_partition(name, "p1").require()
    assert nodes.read.count(name).require().value == 20
    assert nodes.write.insert(name, inside, np.arange(20), tag="p1").code == 1


def test_a_flush_on_a_reader_with_something_pending_hangs_and_blocks_writes_but_not_searches(nodes: Nodes) -> None:
    nodes.write.create_collection("hung", DIMENSION).require()
    wait_until(lambda: nodes.write.flush().ok, timeout_s=10, reason="all flushed")
    data = fill(nodes, "hung", rows=5)
    nodes.write.insert("hung", vectors(2, 5), np.arange(5, 10)).require()
    nodes.await_count(nodes.write, "hung", 10)
    node = nodes.new_node("hung-reader", READER)
    wait_until(
        lambda: nodes.mysql.query("SELECT global_lsn >= (SELECT MAX(flush_lsn) FROM Tables) FROM Environment")[0][0],
        timeout_s=10,
        reason="the auto flush raised the global LSN",
    )
    node.start()
    with Client("hung", node.endpoint, timeout_s=1.5) as client:
        client.create_collection("made_here", DIMENSION).require()
        client.insert("made_here", data, np.arange(5)).require()
        assert client.flush("made_here").code == -1, "it must not be answered"
        assert client.insert("made_here", data, np.arange(5)).code == -1, "its queue is blocked"
        assert nearest(client, "hung", data[:1], topk=1) == [[0]]
    node.kill()
    nodes.write.drop_collection("made_here")
    nodes.write.drop_collection("hung")


def test_mysql_away_is_code_15_and_the_nodes_reconnect_by_themselves(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    nodes.mysql.stop()
    try:
        for client in (nodes.write, nodes.read):
            reply = client.search(name, data[:1], 1)
            host = nodes.mysql.endpoint[0]
            assert (reply.code, reply.reason) == (
                15,
                f"Failed to describe collection:Can't connect to server on '{host}' (115)",
            )
    finally:
        nodes.mysql.start()
    for client in (nodes.write, nodes.read):
        assert nearest(client, name, data[:1], topk=1) == [[0]]


def test_a_dropped_collection_can_be_made_again_once_cleaned_up(nodes: Nodes) -> None:
    nodes.write.create_collection("again", DIMENSION).require()
    fill(nodes, "again")
    nodes.write.drop_collection("again").require()
    assert nodes.read.has_collection("again").require().value is False
    made = observe(lambda: nodes.write.create_collection("again", 8), timeout_s=5, accept=lambda reply: reply.ok)
    assert made.satisfied, made.last_seen
    assert nodes.read.describe_collection("again").require().value["dimension"] == 8
    assert nodes.write.count("again").require().value == 0
    nodes.write.drop_collection("again")


def test_flush_reports_success_although_its_rows_were_lost_with_the_metadata(nodes: Nodes, name: str) -> None:
    nodes.mysql.query("RENAME TABLE TableFiles TO HiddenFiles")
    try:
        nodes.write.insert(name, vectors(1, 20), np.arange(20)).require()
        nodes.write.flush(name).require()
    finally:
        nodes.mysql.query("RENAME TABLE HiddenFiles TO TableFiles")
    nodes.write.insert(name, vectors(2, 20), np.arange(100, 120)).require()
    nodes.write.flush(name).require()
    assert nodes.write.count(name).require().value == 20, "a real node has lost the first batch (measured 5.5)"
    assert nodes.write.get(name, [0, 100]).require().value[0] is None


def test_ids_are_made_where_none_are_given_and_never_both(nodes: Nodes, name: str) -> None:
    made = nodes.write.insert(name, vectors(1, 1500)).require().ids
    assert made.size == np.unique(made).size == 1500
    assert nodes.write.insert(name, vectors(2, 1), [5]).code == 12
    nodes.write.flush(name).require()
    assert nearest(nodes.read, name, vectors(1, 1500)[:1], topk=1) == [[int(made[0])]]


def test_an_index_is_kept_in_mysql_and_answers_stay_exact(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    assert nodes.write.create_index(name, IndexType.IVF_FLAT, {"nlist": 0}).code == 5
    nodes.write.create_index(name, IndexType.IVF_FLAT, {"nlist": 16}).require()
    assert nodes.read.index_info(name).require().value == {"index_type": IndexType.IVF_FLAT, "params": {"nlist": 16}}
    assert nodes.read.search(name, data[:1], 1).code == 5, "its search now needs nprobe"
    assert nodes.read.search(name, data[:1], 1, {"nprobe": 8}).require().ids.tolist() == [[0]]
    nodes.write.drop_index(name).require()
    assert nearest(nodes.read, name, data[:1], topk=1) == [[0]]


def test_what_a_request_is_logged_as(nodes: Nodes, name: str) -> None:
    data = fill(nodes, name)
    before = nodes.reader.requests_served("Search")
    for _ in range(3):
        nearest(nodes.read, name, data[:1])
    wait_until(
        lambda: nodes.reader.requests_served("Search") - before,
        timeout_s=5,
        accept=lambda served: served == 3,
        reason="three searches counted from the log",
    )
