"""The client against nodes that hang, die, come back or are not what they seem: outcomes, and time spent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from fixtures import data
from fixtures.clients import Client
from fixtures.clients.connection import Connection
from fixtures.errors import InfrastructureError
from fixtures.history import History, Outcome
from fixtures.waits import wait_until
from fixtures.wire import milvus_pb2
from suites.selftest.fake_node import OK, FakeNode, fake_node

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


def test_a_handler_that_raises_fails_a_read_and_leaves_a_change_open(node: FakeNode, client: Client) -> None:
    def broken(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNKNOWN, "Exception calling application: list index out of range")

    for rpc in ("Search", "Insert", "DescribeIndex"):
        node.answers[rpc] = broken
    search = client.search("c", data.vectors(1, 2, 8), 2)
    assert (search.outcome, search.code) == (Outcome.FAILED, -1)
    assert search.reason == "UNKNOWN: Exception calling application: list index out of range"
    assert client.index_info("c").outcome is Outcome.FAILED
    assert client.insert("c", data.vectors(1, 2, 8)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("rpc", ["Insert", "Search", "CountCollection", "Flush", "CreateCollection"])
def test_a_node_that_does_not_answer_costs_the_time_out_and_leaves_the_outcome_open(node: FakeNode, rpc: str) -> None:
    node.answers[rpc] = node.hang
    with Client("writer", node.endpoint, timeout_s=0.5) as client:
        calls = {
            "Insert": lambda: client.insert("c", data.vectors(1, 2, 8)),
            "Search": lambda: client.search("c", data.vectors(1, 2, 8), 2),
            "CountCollection": lambda: client.count("c"),
            "Flush": lambda: client.flush("c"),
            "CreateCollection": lambda: client.create_collection("c", 8),
        }
        began_s = time.monotonic()
        reply = calls[rpc]()
        assert 0.4 <= elapsed(began_s) < 1.5
    assert (reply.outcome, reply.code) == (Outcome.UNKNOWN, -1)
    assert "DEADLINE_EXCEEDED" in reply.reason


def test_a_node_that_dies_with_a_call_in_flight_leaves_a_change_open_at_once(node: FakeNode, client: Client) -> None:
    node.answers["Insert"] = node.hang
    began_s = time.monotonic()

    def kill() -> None:
        node.arrived.wait(5)
        node.stop()

    killer = threading.Thread(target=kill)
    killer.start()
    reply = client.insert("c", data.vectors(1, 2, 8))
    killer.join(5)
    assert elapsed(began_s) < 4
    assert reply.outcome is Outcome.UNKNOWN
    assert reply.reason.startswith(("UNAVAILABLE", "CANCELLED"))


def test_a_dead_node_refuses_at_once_and_nothing_was_sent(node: FakeNode, client: Client) -> None:
    node.answers["CountCollection"] = counted
    node.answers["Insert"] = inserted
    assert client.count("c").ok
    node.stop()
    began_s = time.monotonic()
    reply = client.insert("c", data.vectors(1, 2, 8))
    assert elapsed(began_s) < 1
    assert (reply.outcome, reply.code) == (Outcome.FAILED, -1)
    assert "not sent" in reply.reason
    assert "refused" in reply.reason
    node.start()
    began_s = time.monotonic()
    assert client.count("c").ok
    assert elapsed(began_s) < 2


def test_a_call_that_waited_for_a_dead_node_leaves_no_backoff_to_the_next(
    node: FakeNode, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that dies between the probe and the call: gRPC tries again and again, at ever longer intervals."""
    node.answers["CountCollection"] = counted
    assert client.count("c").ok
    node.stop()
    client.timeout_s = 3.0
    with monkeypatch.context() as blind:
        blind.setattr(Connection, "_probe", lambda _self, _deadline: None)
        assert client.count("c").outcome is Outcome.UNKNOWN
    assert client.count("c").outcome is Outcome.FAILED
    node.start()
    began_s = time.monotonic()
    assert client.count("c").ok
    assert elapsed(began_s) < 0.5


def test_a_node_that_comes_back_is_found_at_once(node: FakeNode, client: Client) -> None:
    node.answers["CountCollection"] = counted
    node.answers["Flush"] = node.hang
    flushing = threading.Thread(target=lambda: client.flush("c"))
    flushing.start()
    assert node.arrived.wait(5)
    node.stop()
    flushing.join(5)
    down = threading.Timer(2.5, node.start)
    down.start()
    outage = wait_until(lambda: client.count("c").ok, timeout_s=10, reason="the node is back")
    assert 2.4 < outage.elapsed_s < 3.5
    down.join()


def test_constructing_a_client_needs_no_node_and_sends_nothing() -> None:
    began_s = time.monotonic()
    client = Client("writer", ("127.0.0.1", free_port()))
    assert elapsed(began_s) < 0.2
    assert client.count("c").outcome is Outcome.FAILED
    assert elapsed(began_s) < 1.0
    client.close()


def test_a_port_that_accepts_and_says_nothing_costs_no_more_than_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = Client("writer", mute.getsockname(), timeout_s=0.5)
        began_s = time.monotonic()
        reply = client.insert("c", data.vectors(1, 2, 8))
        assert elapsed(began_s) < 1.5
        assert (reply.outcome, reply.code) == (Outcome.FAILED, -1)
        assert "not sent" in reply.reason
        client.close()


def test_a_node_of_another_version_is_no_matter_of_the_cluster() -> None:
    with (
        fake_node(version="1.0.0") as old,
        Client("writer", old.endpoint) as client,
        pytest.raises(InfrastructureError, match=r"1\.1\.x only"),
    ):
        client.count("c")


def test_a_closed_client_sends_nothing(node: FakeNode, client: Client) -> None:
    node.answers["CountCollection"] = counted
    assert client.count("c").ok
    client.close()
    reply = client.count("c")
    assert (reply.outcome, reply.reason) == (Outcome.FAILED, "not sent: this client is closed")
