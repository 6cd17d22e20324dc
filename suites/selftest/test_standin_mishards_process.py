"""How the stand-in Mishards starts, refuses to start, and ends."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from fixtures.waits import wait_until
from fixtures.wire import milvus_pb2, milvus_pb2_grpc
from suites.selftest.fake_milvus import FakeNode, MetadataTables, search_request
from suites.selftest.mishards_process import Process, connected, free_port, running

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with FakeNode() as node, running(tmp_path, **nodes(node)) as proxy, connected(proxy):
        proxy.popen.send_signal(number)
        assert proxy.exit_code(timeout_s=5) == 0
        assert proxy.log.splitlines()[-1].endswith(f"stopped by {number.name}")


def test_a_signal_ends_it_while_it_waits_for_a_node(tmp_path: Path) -> None:
    with FakeNode() as node, running(tmp_path, **nodes(node, f"127.0.0.9:{free_port()}")) as proxy:
        # The reader is asked after the writer, so from then on the proxy waits.
        wait_until(lambda: "connected to the rw node" in proxy.log, timeout_s=20, reason="the writer is connected")
        proxy.popen.terminate()
        assert proxy.exit_code(timeout_s=5) == 0


def test_a_signal_ends_it_under_a_call_that_hangs(tmp_path: Path) -> None:
    tables = MetadataTables(tmp_path / "meta.sqlite")
    tables.add_collection("c")
    tables.add_file("c", 1)
    asked, release = threading.Event(), threading.Event()

    def hang(_request: Any) -> Any:
        asked.set()
        release.wait(20)
        return milvus_pb2.TopKQueryResult()

    with (
        FakeNode() as node,
        running(tmp_path, **nodes(node), SQLALCHEMY_DATABASE_URI=tables.uri) as proxy,
        connected(proxy) as channel,
    ):
        node.metrics["c"] = 1
        node.scripted["SearchInFiles"] = hang
        call = milvus_pb2_grpc.MilvusServiceStub(channel).Search.future(search_request("c"))
        assert asked.wait(20)
        proxy.popen.terminate()
        assert proxy.exit_code(timeout_s=5) == 0
        assert call.exception(timeout=5) is not None
        release.set()


def nodes(writer: FakeNode, reader: str = "") -> dict[str, str]:
    return {"WOSERVER": f"tcp://{writer.address}", "DISCOVERY_STATIC_HOSTS": reader or writer.address}


def only_line(proxy: Process) -> str:
    """The single complaint of a proxy that could not start, without the log before it."""
    assert proxy.exit_code() == 1
    (line,) = (line for line in proxy.log.splitlines() if " INFO " not in line)
    return line


def test_a_missing_variable_is_one_line_and_exit_1(tmp_path: Path) -> None:
    with running(tmp_path, DISCOVERY_STATIC_HOSTS="127.0.0.1") as proxy:
        assert only_line(proxy) == "mishards stand-in: WOSERVER is not set: it must be tcp://host:port of the rw node"


def test_an_unusable_database_is_one_line_and_exit_1(tmp_path: Path) -> None:
    settings = {"WOSERVER": "tcp://127.0.0.1:1", "DISCOVERY_STATIC_HOSTS": "127.0.0.1"}
    with running(tmp_path, **settings, SQLALCHEMY_DATABASE_URI="nosuch://127.0.0.1/milvus") as proxy:
        assert "SQLALCHEMY_DATABASE_URI is not usable" in only_line(proxy)


def test_a_port_in_use_is_reported_before_any_node_is_asked(tmp_path: Path) -> None:
    with FakeNode() as node:
        with running(tmp_path, **nodes(node), SERVER_PORT=node.address.split(":")[1]) as proxy:
            assert f"cannot listen on 127.0.0.1:{node.address.split(':')[1]} (SERVER_PORT)" in only_line(proxy)
        assert node.calls == []


def test_a_node_of_another_version_is_refused(tmp_path: Path) -> None:
    with (
        FakeNode() as writer,
        FakeNode(version="1.0.0") as old,
        running(tmp_path, **nodes(writer, old.address)) as proxy,
    ):
        assert f"the ro node (DISCOVERY_STATIC_HOSTS) at {old.address} has the wrong version" in only_line(proxy)
