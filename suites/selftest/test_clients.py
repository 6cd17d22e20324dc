"""The client: what it sends, returns and journals, and what it makes of each answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fixtures import data
from fixtures.clients import Client, ClusterRefused, IndexType, MetricType
from fixtures.history import History, Outcome
from fixtures.wire import milvus_pb2
from suites.selftest.fake_node import OK, FakeNode, fake_node, refused

pytestmark = pytest.mark.selftest


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as started:
        yield started


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def client(node: FakeNode, history: History) -> Iterator[Client]:
    with Client("writer", node.endpoint, history, timeout_s=5.0, name="t") as opened:
        yield opened


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def elapsed(began_s: float) -> float:
    return time.monotonic() - began_s


def inserted(request: Any, _context: Any) -> Any:
    ids = request.row_id_array or range(7, 7 + len(request.row_record_array))
    return milvus_pb2.VectorIds(status=OK, vector_id_array=ids)


def counted(_request: Any, _context: Any) -> Any:
    return milvus_pb2.CollectionRowCount(status=OK, collection_row_count=5)


def hits(ids: list[int], queries: int, distances: list[float] | None = None) -> Any:
    far = distances if distances is not None else [0.5] * len(ids)
    return lambda _request, _context: milvus_pb2.TopKQueryResult(status=OK, row_num=queries, ids=ids, distances=far)


def test_an_insert_is_acknowledged_with_its_ids_and_journaled_as_runs(
    node: FakeNode, client: Client, history: History
) -> None:
    node.answers["Insert"] = inserted
    rows = data.vectors(1, 1000, 8)
    reply = client.insert("c", rows, np.arange(1000) + 5, tag="p")
    assert (reply.outcome, reply.code, reply.ids[-1]) == (Outcome.OK, 0, 1004)
    (_, request), (operation,) = node.seen[0], history.operations()
    assert request.partition_tag == "p"
    assert np.array_equal(request.row_record_array[999].float_data, rows[999])
    assert operation == reply.operation
    assert operation.request == {"rows": 1000, "ids": [[5, 1004]], "tag": "p"}
    assert operation.reply == {"code": 0}
    assert (operation.client, operation.node, operation.kind, operation.collection) == ("t", "writer", "insert", "c")


def test_ids_that_the_node_chose_are_journaled_in_the_reply(node: FakeNode, client: Client) -> None:
    node.answers["Insert"] = inserted
    reply = client.insert("c", data.binary_vectors(1, 3, 64))
    assert reply.ids.tolist() == [7, 8, 9]
    assert reply.operation.request == {"rows": 3}
    assert reply.operation.reply == {"code": 0, "ids": [[7, 9]]}
    assert len(node.seen[0][1].row_record_array[0].binary_data) == 8


def test_a_search_comes_back_as_sent_and_tells_which_rows_it_asked_for(node: FakeNode, client: Client) -> None:
    node.answers["Search"] = hits([1, 1, 2, 9, 8, -1], queries=3, distances=[0.0, 0.0, 0.0, 3.5, 2.5, 1e38])
    reply = client.search("c", data.vectors(1, 3, 8), 2, asked=[1, 2, 3], tags=["p"])
    assert reply.ids.tolist() == [[1, 1], [2, 9], [8, -1]]
    assert reply.distances.dtype == np.float32
    assert reply.distances[1].tolist() == [0.0, 3.5]
    assert reply.operation.request == {"topk": 2, "tags": ["p"], "queries": 3, "asked": [[1, 3]]}
    assert reply.operation.reply == {"code": 0, "width": 2, "found": [[1, 2]], "doubled": [1], "others": [[8, 9]]}
    assert list(node.seen[0][1].partition_tag_array) == ["p"]


def test_an_empty_answer_has_a_row_for_each_query(node: FakeNode, client: Client) -> None:
    node.answers["Search"] = hits([], queries=0)
    reply = client.search("c", data.vectors(1, 3, 8), 2, asked=[1, 2, 3])
    assert (reply.ok, reply.ids.shape, reply.distances.shape) == (True, (3, 0), (3, 0))
    assert reply.operation.reply == {"code": 0, "width": 0, "found": []}


@pytest.mark.parametrize(
    "answer",
    [hits([1, 2, 3], queries=2), hits([1, 2], queries=1), hits([1, 2], queries=2, distances=[0.5])],
    ids=["ragged", "too few rows", "fewer distances"],
)
def test_an_answer_that_makes_no_sense_is_a_failure_and_not_an_exception(
    node: FakeNode, client: Client, answer: Any
) -> None:
    node.answers["Search"] = answer
    # Often, since pymilvus raises one of two exceptions, or none, as its threads happen to run.
    for _ in range(30):
        reply = client.search("c", data.vectors(1, 2, 8), 2)
        assert (reply.outcome, reply.code) == (Outcome.FAILED, -1)
        assert "unreadable answer" in reply.reason


def test_files_are_searched_by_id(node: FakeNode, client: Client) -> None:
    node.answers["SearchInFiles"] = hits([4], queries=1)
    reply = client.search_in_files("c", [11, 12], data.vectors(1, 1, 8), 1, asked=[4])
    assert reply.operation.reply["found"] == [4]
    assert list(node.seen[0][1].file_id_array) == ["11", "12"]


def test_rows_come_back_by_id_and_missing_ones_as_none(node: FakeNode, client: Client) -> None:
    row = milvus_pb2.RowRecord(float_data=[1.0, 2.0])
    answer = milvus_pb2.VectorsData(status=OK, vectors_data=[row, milvus_pb2.RowRecord()])
    node.answers["GetVectorsByID"] = lambda _request, _context: answer
    reply = client.get("c", [5, 6])
    assert reply.value[0].tolist() == [1.0, 2.0]
    assert reply.value[1] is None
    assert reply.operation.request == {"asked": [[5, 6]]}
    assert reply.operation.reply == {"code": 0, "found": [5]}
    assert client.get("c", [5, 6, 7]).outcome is Outcome.FAILED


def test_every_other_call_reaches_its_rpc(node: FakeNode, client: Client) -> None:
    status = {"CreateCollection", "DropCollection", "CreatePartition", "DropPartition", "Flush", "DeleteByID"}
    status |= {"CreateIndex", "DropIndex", "Compact", "PreloadCollection", "ReleaseCollection", "ReloadSegments"}
    node.answers.update({rpc: lambda _request, _context: OK for rpc in status})
    node.answers["HasCollection"] = lambda _r, _c: milvus_pb2.BoolReply(status=OK, bool_reply=True)
    node.answers["DescribeCollection"] = lambda _r, _c: milvus_pb2.CollectionSchema(
        status=OK, collection_name="c", dimension=8, index_file_size=10, metric_type=2
    )
    node.answers["CountCollection"] = counted
    node.answers["ShowCollections"] = lambda _r, _c: milvus_pb2.CollectionNameList(status=OK, collection_names=["c"])
    node.answers["ShowPartitions"] = lambda _r, _c: milvus_pb2.PartitionList(status=OK, partition_tag_array=["p"])
    node.answers["ShowCollectionInfo"] = lambda _r, _c: milvus_pb2.CollectionInfo(
        status=OK, json_info='{"row_count":3}'
    )
    node.answers["GetVectorIDs"] = lambda _r, _c: milvus_pb2.VectorIds(status=OK, vector_id_array=[1, 2])
    index = milvus_pb2.IndexParam(status=OK, collection_name="c", index_type=2)
    index.extra_params.add(key="params", value='{"nlist": 16}')
    node.answers["DescribeIndex"] = lambda _request, _context: index
    assert client.create_collection("c", 8, MetricType.IP, 10).ok
    assert client.drop_collection("c").ok
    assert client.has_collection("c").value is True
    described = {"dimension": 8, "index_file_size_mb": 10, "metric": MetricType.IP}
    assert client.describe_collection("c").value == described
    assert client.list_collections().value == ["c"]
    assert client.create_partition("c", "p").ok
    assert client.drop_partition("c", "p").ok
    assert client.list_partitions("c").value == ["p"]
    assert client.flush("c").ok
    assert client.flush().operation.collection == ""
    assert client.delete("c", [1, 2, 3]).operation.request == {"ids": [[1, 3]]}
    assert client.count("c").value == 5
    assert client.stats("c").value == {"row_count": 3}
    assert client.list_ids("c", "17").ids.tolist() == [1, 2]
    assert client.create_index("c", IndexType.IVF_FLAT, {"nlist": 16}).ok
    assert client.drop_index("c").ok
    assert client.index_info("c").value == {"index_type": IndexType.IVF_FLAT, "params": {"nlist": 16}}
    assert client.compact("c").ok
    assert client.preload("c").ok
    assert client.release("c").ok
    assert client.reload_segments("c", [4]).ok
    assert client.version().value == "1.1.0"
    assert {rpc for rpc, _ in node.seen} == set(node.answers)


def test_an_error_reply_has_code_and_reason_and_require_names_the_call(node: FakeNode, client: Client) -> None:
    node.answers["CountCollection"] = lambda _r, _c: milvus_pb2.CollectionRowCount(status=refused(4, "no such thing"))
    reply = client.count("c")
    assert (reply.outcome, reply.code, reply.reason, reply.value) == (Outcome.FAILED, 4, "no such thing", None)
    assert (reply.operation.outcome, reply.operation.error) == (Outcome.FAILED, "no such thing")
    with pytest.raises(ClusterRefused, match=r"writer: count\(c\): failed, code 4: no such thing"):
        reply.require()


@pytest.mark.parametrize(("code", "outcome"), [(4, Outcome.FAILED), (9, Outcome.FAILED), (1, Outcome.UNKNOWN)])
def test_a_refused_change_was_not_made_and_any_other_error_leaves_it_open(
    node: FakeNode, client: Client, code: int, outcome: Outcome
) -> None:
    node.answers["Insert"] = lambda _r, _c: milvus_pb2.VectorIds(status=refused(code, "no"))
    node.answers["Flush"] = lambda _r, _c: refused(code, "no")
    node.answers["CountCollection"] = lambda _r, _c: milvus_pb2.CollectionRowCount(status=refused(code, "no"))
    assert client.insert("c", data.vectors(1, 2, 8)).outcome is outcome
    assert client.flush("c").outcome is outcome
    assert client.count("c").outcome is Outcome.FAILED


def test_bad_arguments_raise_before_anything_is_sent(node: FakeNode, client: Client, history: History) -> None:
    with pytest.raises(ValueError, match="float64"):
        client.insert("c", np.zeros((2, 8)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 vectors but 3 ids"):
        client.insert("c", data.vectors(1, 2, 8), [1, 2, 3])
    with pytest.raises(ValueError, match="2 queries but 1 asked"):
        client.search("c", data.vectors(1, 2, 8), 1, asked=[1])
    with pytest.raises(ValueError, match="ids"):
        client.delete("c", [])
    assert node.seen == []
    assert [operation.outcome for operation in history.operations()] == [Outcome.FAILED]


def test_many_clients_at_once_keep_their_answers_apart(node: FakeNode, history: History) -> None:
    node.answers["Search"] = lambda request, _context: milvus_pb2.TopKQueryResult(
        status=OK, row_num=1, ids=[request.topk], distances=[0.0]
    )
    wrong: list[str] = []

    def work(number: int) -> None:
        with Client("writer", node.endpoint, history, name=str(number)) as client:
            for _ in range(20):
                reply = client.search("c", data.vectors(1, 1, 8), number)
                if reply.ids.tolist() != [[number]]:
                    wrong.append(f"{number}: {reply}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert len(history.operations()) == 160
    assert {operation.outcome for operation in history.operations()} == {Outcome.OK}


def test_errors_of_the_cluster_do_not_flood_the_terminal(
    node: FakeNode, client: Client, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    node.answers["CreateCollection"] = lambda _request, _context: refused(9, "a bad name")
    assert client.create_collection("c", 8).code == 9
    assert "a bad name" not in "".join(capfd.readouterr())
    assert caplog.records == []
