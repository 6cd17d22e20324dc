"""What the stand-in Mishards gets wrong as 1.1.0 does, and that it does not where that is switched off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fixtures.standin import meta_schema
from fixtures.standin.config import MetaUri
from fixtures.standin.deviations import AS_1_1_0, Deviation, Fixed, shown
from fixtures.standin.meta_collections import Collections
from fixtures.standin.mishards.clients import connect
from fixtures.standin.mishards.errors import Refused, StartError
from fixtures.standin.mishards.merge import merge_exactly
from fixtures.standin.mishards.metadata import Metadata
from fixtures.standin.mishards.settings import Database, Settings, from_environment
from fixtures.standin.mysql_pool import Pool
from fixtures.standin.rows import CollectionRow
from fixtures.standin.search import Metric
from fixtures.standin.segments import IdGenerator
from fixtures.standin.validation import Engine
from fixtures.waits import wait_until
from fixtures.wire import NotConnectError, milvus_pb2, status_pb2
from suites.selftest.fake_milvus import FLT_MAX, FakeNode, MetadataTables, search_request
from suites.selftest.mishards_cluster import Cluster, between_nodes
from suites.selftest.mishards_process import free_port
from suites.selftest.standin_nodes import metadata_alone

pytestmark = pytest.mark.selftest

ALL: Fixed = frozenset(Deviation)
L2, IP = 1, 2
both = pytest.mark.parametrize("fixed", [AS_1_1_0, ALL], ids=["1.1.0", "fixed"])


@pytest.fixture(scope="module", params=[AS_1_1_0, ALL], ids=["1.1.0", "fixed"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    names = shown(request.param)
    environment = {"STANDIN_AS_FIXED": names} if names else {}
    with between_nodes(tmp_path_factory.mktemp("mishards"), **environment) as started:
        yield started


def is_fixed(cluster: Cluster) -> bool:
    return "not as 1.1.0" in cluster.proxy.log


def ids_of(cluster: Cluster, request: Any) -> list[int]:
    reply = cluster.stub.Search(request, timeout=10)
    assert reply.status.error_code == 0, reply.status.reason
    return list(reply.ids)


def far_files(cluster: Cluster, first: int) -> tuple[int, int]:
    """Two file ids from `first` on that are searched on different readers."""
    name = f"placed_{first}"
    cluster.add_collection(name)
    for file in range(first, first + 12):
        cluster.add_file(name, file, [(file, 1.0)])
    cluster.stub.Search(search_request(name))
    shares = [
        [int(each) for request in reader.asked("SearchInFiles") for each in request.file_id_array]
        for reader in cluster.readers.values()
    ]
    one, two = ([file for file in share if first <= file < first + 12] for share in shares)
    cluster.tables.drop(name)
    cluster.tables.execute("DELETE FROM TableFiles WHERE table_id = ?", name)
    return one[0], two[0]


def test_metadata_cache(cluster: Cluster) -> None:
    """Two hits on two readers, merged nearest first; after the collection is made again with IP, largest first."""
    one, two = far_files(cluster, 1000)
    cluster.add_collection("again", L2)
    cluster.add_file("again", one, [(1, 0.1)])
    cluster.add_file("again", two, [(2, 0.2)])
    assert ids_of(cluster, search_request("again", topk=1)) == [1]
    cluster.tables.execute("UPDATE Tables SET metric_type = ? WHERE table_id = 'again'", IP)
    for node in (cluster.writer, *cluster.readers.values()):
        node.metrics["again"] = IP
    assert ids_of(cluster, search_request("again", topk=1)) == ([2] if is_fixed(cluster) else [1])


def test_asks_writer(cluster: Cluster) -> None:
    def away(_request: Any) -> Any:
        return milvus_pb2.CollectionSchema(status=status_pb2.Status(error_code=1, reason="away"))

    one, _ = far_files(cluster, 1100)
    cluster.add_collection("strange")
    cluster.add_file("strange", one, [(7, 0.1)])
    cluster.add_collection("empty")
    asked = len(cluster.writer.asked("Search"))
    cluster.writer.scripted["DescribeCollection"] = away
    try:
        reply = cluster.stub.Search(search_request("strange", topk=1), timeout=10)
        empty = cluster.stub.Search(search_request("empty", topk=1), timeout=10)
    finally:
        del cluster.writer.scripted["DescribeCollection"]
    if is_fixed(cluster):
        assert list(reply.ids) == [7]
        assert (empty.status.error_code, empty.row_num) == (0, 0)
        assert len(cluster.writer.asked("Search")) == asked, "a reader was asked"
    else:
        assert (reply.status.error_code, reply.status.reason) == (4, "strange")


def test_narrow_merge(cluster: Cluster) -> None:
    """Three near rows on one reader, twenty on the other, in the order in which 1.1.0 gives wrong rows silently."""
    one, two = sorted(far_files(cluster, 1200))
    cluster.add_collection("narrow")
    cluster.add_file("narrow", one, [(100 + row, 1.0 + row) for row in range(20)])
    cluster.add_file("narrow", two, [(200 + row, 1.5 + row) for row in range(3)])
    best = [100, 200, 101, 201, 102, 202, 103, 104, 105, 106]
    found = ids_of(cluster, search_request("narrow", topk=10, queries=2))
    assert (found == best * 2) is is_fixed(cluster)


def test_unrepeated_reload(cluster: Cluster) -> None:
    one, _ = far_files(cluster, 1300)
    cluster.add_collection("changed")
    cluster.add_file("changed", one, [(1, 0.5)])
    cluster.tables.execute("UPDATE TableFiles SET updated_time = 9 WHERE id = ?", one)
    reloaded: list[str] = []

    def fail(request: Any) -> Any:
        reloaded.extend(request.segment_id_array)
        return status_pb2.Status(error_code=1, reason="no such segment")

    for reader in cluster.readers.values():
        reader.scripted["ReloadSegments"] = fail
    for _ in range(3):
        ids_of(cluster, search_request("changed"))
    for reader in cluster.readers.values():
        del reader.scripted["ReloadSegments"]
    assert reloaded == [str(one)] * (3 if is_fixed(cluster) else 1)
    ids_of(cluster, search_request("changed"))
    ids_of(cluster, search_request("changed"))
    assert len(reloaded) == (3 if is_fixed(cluster) else 1)


def test_old_list(cluster: Cluster) -> None:
    """While the reader is asked for the listed file, a merge puts another in its place."""
    old, new = far_files(cluster, 1400)
    cluster.add_collection("merged")
    cluster.add_file("merged", old, [(1, 0.5)])

    def too_late(_request: Any) -> Any:
        for reader in cluster.readers.values():
            reader.scripted.pop("SearchInFiles", None)
        cluster.tables.execute("UPDATE TableFiles SET file_type = 4 WHERE id = ?", old)
        cluster.add_file("merged", new, [(1, 0.5)])
        status = status_pb2.Status(error_code=1, reason="Invalid file id")
        return milvus_pb2.TopKQueryResult(status=status)

    for reader in cluster.readers.values():
        reader.scripted["SearchInFiles"] = too_late
    reply = cluster.stub.Search(search_request("merged", topk=1), timeout=10)
    if is_fixed(cluster):
        assert list(reply.ids) == [1]
    else:
        assert reply.status.reason == "Invalid file id"


def test_dropped_tag(cluster: Cluster) -> None:
    cluster.stub.DeleteByID(milvus_pb2.DeleteByIDParam(collection_name="c", id_array=[1], partition_tag="p"))
    cluster.stub.GetVectorsByID(milvus_pb2.VectorsIdentity(collection_name="c", id_array=[1], partition_tag="p"))
    tag = "p" if is_fixed(cluster) else ""
    assert cluster.writer.asked("DeleteByID")[-1].partition_tag == tag
    assert cluster.writer.asked("GetVectorsByID")[-1].partition_tag == tag


# --- in this process


@both
def test_prefix_tags(tmp_path: Path, fixed: Fixed) -> None:
    tables = MetadataTables(tmp_path / "meta.sqlite")
    tables.add_collection("c")
    for file, tag in ((1, "p1"), (2, "p10"), (3, "p(")):
        tables.add_partition("c", tag, f"c_{file}")
        tables.add_file(f"c_{file}", file)
    with closing(Metadata(Database(uri=tables.uri), fixed)) as metadata:
        found = {tag: [file.id for file in metadata.files("c", [tag])] for tag in ("p1", "p1.*", " p1 ")}
    assert found["p1.*"] == [1, 2]
    assert found["p1"] == ([1] if fixed else [1, 2])
    assert found[" p1 "] == ([1] if fixed else [])


@both
def test_poisoned_session(tmp_path_factory: pytest.TempPathFactory, fixed: Fixed) -> None:
    with metadata_alone(tmp_path_factory.mktemp("metadata")) as (_, mysql):
        host, port = mysql.endpoint
        pool = Pool(MetaUri("mysql", "milvus", mysql.password, host, port, "milvus"))
        meta_schema.prepare(pool, writes=True)
        collections = Collections(pool, threading.Lock(), IdGenerator())
        with closing(Metadata(Database(uri=mysql.sqlalchemy_uri), fixed)) as metadata:
            with pytest.raises(Refused, match="gone"):
                metadata.files("gone", [])
            collections.create(CollectionRow("later", 8, Metric.L2, 1 << 20, Engine.FLAT))
            if fixed:
                assert metadata.files("later", []) == []
                assert metadata.metric("later") == L2
            else:
                with pytest.raises(Refused, match=r"later:.*not found"):
                    metadata.files("later", [])
        pool.close()


def settings(writer: FakeNode, readers: str, fixed: Fixed, **hosts: str) -> Settings:
    environment = {
        "WOSERVER": f"tcp://{writer.address}",
        "DISCOVERY_STATIC_HOSTS": readers,
        "SQLALCHEMY_DATABASE_URI": "sqlite://",
        "MAX_RETRY": "1",
        "STANDIN_AS_FIXED": shown(fixed),
    }
    return from_environment(environment, lambda host: hosts.get(host, host))


@both
def test_static_discovery(fixed: Fixed) -> None:
    with FakeNode() as writer, FakeNode("127.0.0.2") as before:
        port = before.address.split(":")[1]
        hosts = {"reader": "127.0.0.2"}
        chosen = settings(writer, f"reader:{port}", fixed - {Deviation.NEEDS_READERS}, **hosts)
        nodes = connect(chosen, lambda host: hosts.get(host, host))
        assert list(nodes.readers) == [before.address]
        with FakeNode("127.0.0.3", port=int(port)) as after:
            hosts["reader"] = "127.0.0.3"
            nodes.readers[before.address]().server_status()
            assert bool(after.calls) is bool(fixed)


@both
def test_needs_readers(fixed: Fixed) -> None:
    port = free_port()
    with FakeNode() as writer, FakeNode("127.0.0.2", version="1.0.0") as other:
        # Refused for its version, which is told at once; a node that is away takes 30 s.
        chosen = settings(writer, other.address, fixed)
        if not fixed:
            with pytest.raises(StartError):
                connect(chosen)
            return
        with pytest.raises(NotConnectError, match="has not been reached yet"):
            connect(chosen).readers[other.address]()
        late = connect(settings(writer, f"127.0.0.3:{port}", fixed))
        with FakeNode("127.0.0.3", port=port) as reader:
            client = late.readers[reader.address]
            wait_until(client, timeout_s=30, errors=(NotConnectError,), reason="the late reader is found")


# --- the exact merge


def reply(*hits: tuple[int, float], queries: int = 1) -> Any:
    return milvus_pb2.TopKQueryResult(
        row_num=queries, ids=[id_ for id_, _ in hits], distances=[distance for _, distance in hits]
    )


def test_rows_without_enough_hits_are_padded_to_one_length() -> None:
    one = reply((1, 0.5), (-1, FLT_MAX), (2, 0.1), (3, 0.2), queries=2)
    two = reply((4, 0.3), (-1, FLT_MAX), queries=2)
    merged = merge_exactly([one, reply(queries=0), two], descending=False, topk=3)
    assert merged.ids == [4, 1, 2, 3]
    merged = merge_exactly([one, reply((-1, FLT_MAX), (-1, FLT_MAX), queries=2)], descending=False, topk=3)
    assert merged.ids == [1, -1, 2, 3]
    assert merged.distances[1] == pytest.approx(FLT_MAX)
    merged = merge_exactly([reply((-1, FLT_MAX))], descending=False, topk=3)
    assert (merged.ids, merged.code) == ([-1], 0)
    assert merge_exactly([], descending=True, topk=3).ids == []


def test_inner_product_is_merged_largest_first_and_an_error_is_the_answer() -> None:
    assert merge_exactly([reply((1, 0.5), (2, 0.1)), reply((3, 0.3))], descending=True, topk=2).ids == [1, 3]
    failed = milvus_pb2.TopKQueryResult(status=status_pb2.Status(error_code=1, reason="no"))
    assert merge_exactly([reply((1, 0.5)), failed], descending=False, topk=2).reason == "no"
