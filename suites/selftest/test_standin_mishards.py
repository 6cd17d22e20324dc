"""The stand-in Mishards as a process, between scripted nodes: who is asked, what is answered, what is logged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from fixtures.wire import milvus_pb2, status_pb2
from suites.selftest.fake_milvus import PARAMETERS, search_request
from suites.selftest.mishards_cluster import Cluster, between_nodes

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with between_nodes(tmp_path_factory.mktemp("mishards")) as started:
        yield started


def failure(call: Any, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as failed:
        call(request, timeout=10)
    error: Any = failed.value
    return error.code().name, error.details()


# --- who is asked


def test_search_asks_each_reader_for_its_own_files_and_logs_which(cluster: Cluster) -> None:
    cluster.add_collection("spread")
    for file in range(101, 113):
        cluster.add_file("spread", file, [(file * 10, file / 1000), (file * 10 + 1, 5.0), (file * 10 + 2, 6.0)])
    answer = cluster.stub.Search(search_request("spread", topk=3, queries=2))
    assert (answer.status.error_code, answer.status.reason, answer.row_num) == (0, "Success", 2)
    assert list(answer.ids) == [1010, 1020, 1030] * 2
    asked = {
        address: [int(id_) for request in reader.asked("SearchInFiles") for id_ in request.file_id_array]
        for address, reader in cluster.readers.items()
    }
    assert all(asked.values()), "both readers serve"
    assert sorted(id_ for ids in asked.values() for id_ in ids) == list(range(101, 113))
    witness = [line for line in cluster.log_of("spread") if "INFO search " in line]
    assert json.loads(witness[0].partition("readers=")[2]) == asked


def test_a_changed_file_is_reloaded_once_even_if_that_fails(cluster: Cluster) -> None:
    cluster.add_collection("changed")
    for file in (201, 202):
        cluster.add_file("changed", file, [(file, 0.5)])
    reloaded: list[str] = []

    def fail(request: Any) -> Any:
        if request.collection_name == "changed":
            reloaded.extend(request.segment_id_array)
        return status_pb2.Status(error_code=1, reason="no such segment")

    for reader in cluster.readers.values():
        reader.scripted["ReloadSegments"] = fail
    cluster.stub.Search(search_request("changed"))
    cluster.stub.Search(search_request("changed"))
    assert sorted(reloaded) == ["201", "202"]
    cluster.tables.execute("UPDATE TableFiles SET updated_time = 9 WHERE id = 202")
    cluster.stub.Search(search_request("changed"))
    cluster.stub.Search(search_request("changed"))
    assert sorted(reloaded) == ["201", "202", "202"]
    assert sum("INFO reload " in line and "files=[202]" in line for line in cluster.log_of("changed")) >= 1


def test_a_collection_without_files_is_searched_on_the_writer(cluster: Cluster) -> None:
    cluster.add_collection("empty")
    cluster.tables.add_partition("empty", "p", "empty_p")
    answer = cluster.stub.Search(search_request("empty", tags=["nope"]))
    assert (answer.status.reason, answer.row_num) == ("Success", 0)
    assert list(cluster.writer.asked("Search")[-1].partition_tag_array) == ["nope"]


def test_what_was_learned_of_a_collection_is_kept_for_ever(cluster: Cluster) -> None:
    cluster.add_collection("recreated", metric=1)
    cluster.add_file("recreated", 301, [(1, 0.1), (2, 0.2)])
    cluster.stub.Search(search_request("recreated", topk=1))
    described = len(cluster.writer.asked("DescribeCollection"))
    for node in (cluster.writer, *cluster.readers.values()):
        node.metrics["recreated"] = 3
    binary = milvus_pb2.SearchParam(
        collection_name="recreated", topk=1, query_record_array=[{"binary_data": b"x"}], extra_params=PARAMETERS
    )
    assert failure(cluster.stub.Search, binary) == (
        "UNKNOWN",
        "Exception calling application: Invalid vector: Check if empty-list exists",
    )
    assert len(cluster.writer.asked("DescribeCollection")) == described


# --- answers that are Mishards' own


def test_search_of_an_unknown_and_of_a_dropped_name(cluster: Cluster) -> None:
    answer = cluster.stub.Search(search_request("never"))
    assert (answer.status.error_code, answer.status.reason) == (4, "never")
    cluster.add_collection("dropped")
    cluster.add_file("dropped", 401, [(1, 0.1)])
    assert cluster.stub.Search(search_request("dropped")).row_num == 1
    cluster.tables.drop("dropped")
    answer = cluster.stub.Search(search_request("dropped"))
    assert (answer.status.error_code, answer.status.reason) == (4, "dropped:[] not found in metadata")


def test_an_error_of_one_reader_is_the_answer(cluster: Cluster) -> None:
    cluster.add_collection("broken")
    for file in range(501, 509):
        cluster.add_file("broken", file, [(file, 0.5)])
    one = next(iter(cluster.readers.values()))
    status = status_pb2.Status(error_code=15, reason="Failed to describe collection")
    one.scripted["SearchInFiles"] = lambda _: milvus_pb2.TopKQueryResult(status=status)
    try:
        answer = cluster.stub.Search(search_request("broken"))
    finally:
        del one.scripted["SearchInFiles"]
    assert (answer.status.error_code, answer.status.reason) == (15, "Failed to describe collection")
    assert (answer.row_num, len(answer.ids)) == (0, 0)


def test_calls_that_fail_in_mishards_fail_alike(cluster: Cluster) -> None:
    application = "Exception calling application: "
    stub = cluster.stub
    assert failure(stub.Search, milvus_pb2.SearchParam(collection_name="c", topk=1)) == (
        "UNKNOWN",
        application + "Search param loss",
    )
    assert failure(stub.SearchInFiles, milvus_pb2.SearchInFilesParam()) == (
        "UNKNOWN",
        application + "'NotImplementedType' object is not callable",
    )
    assert failure(stub.ReloadSegments, milvus_pb2.ReLoadSegmentsParam()) == (
        "UNKNOWN",
        application + "Not implemented in mishards",
    )
    assert failure(stub.Cmd, milvus_pb2.Command(cmd="conn_stats")) == (
        "UNKNOWN",
        application + "'Milvus' object has no attribute 'stats'",
    )
    assert failure(stub.HasCollection, milvus_pb2.CollectionName()) == (
        "UNKNOWN",
        application + "`collection_name` value  is illegal",
    )
    for call, request in (
        (stub.ReleaseCollection, milvus_pb2.PreloadCollectionParam(collection_name="c")),
        (stub.SearchByID, milvus_pb2.SearchByIDParam(collection_name="c")),
        (stub.CreateHybridCollection, milvus_pb2.Mapping()),
    ):
        assert failure(call, request) == ("UNIMPLEMENTED", "Method not implemented!")


def test_the_clients_words_replace_the_servers(cluster: Cluster) -> None:
    stub = cluster.stub
    name = milvus_pb2.CollectionName(collection_name="c")
    schema = milvus_pb2.CollectionSchema(collection_name="c", dimension=2, index_file_size=1, metric_type=1)
    index = milvus_pb2.IndexParam(collection_name="c", index_type=2, extra_params=PARAMETERS)
    rows = milvus_pb2.InsertParam(collection_name="c", row_record_array=[{"float_data": [0, 1]}], row_id_array=[7])
    assert stub.CreateCollection(schema).reason == "Create collection successfully!"
    assert stub.DropCollection(name).reason == "Delete collection successfully!"
    assert stub.Insert(rows).status.reason == "Add vectors successfully!"
    assert stub.CreateIndex(index).reason == "Build index successfully!"
    assert stub.CountCollection(name).status.reason == "Success!"
    assert stub.Cmd(milvus_pb2.Command(cmd="mode")).status.reason == "Success!"
    assert stub.ShowCollections(milvus_pb2.Command()).status.reason == "Show collections successfully!"
    assert stub.GetVectorsByID(milvus_pb2.VectorsIdentity(collection_name="c", id_array=[1])).status.reason == (
        "Obtain vector successfully"
    )


def test_the_partition_tag_of_an_insert_is_kept_and_that_of_a_delete_lost(cluster: Cluster) -> None:
    rows = milvus_pb2.InsertParam(collection_name="c", row_record_array=[{"float_data": [0, 1]}], partition_tag="p")
    cluster.stub.Insert(rows)
    assert cluster.writer.asked("Insert")[-1] == rows
    cluster.stub.DeleteByID(milvus_pb2.DeleteByIDParam(collection_name="c", id_array=[7], partition_tag="p"))
    assert cluster.writer.asked("DeleteByID")[-1] == milvus_pb2.DeleteByIDParam(collection_name="c", id_array=[7])


# --- its log


def test_the_first_log_line_says_that_this_is_not_mishards(cluster: Cluster) -> None:
    first = cluster.proxy.log.splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO ", first)
    assert "conformance suite's stand-in for Mishards, not Mishards itself" in first
