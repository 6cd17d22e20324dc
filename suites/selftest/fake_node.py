"""A node that answers as a test tells it: a real gRPC server in this process, on a loopback port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from fixtures.wire import milvus_pb2, milvus_pb2_grpc, status_pb2

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
OK = status_pb2.Status(error_code=0, reason="OK")


def refused(code: int, reason: str) -> status_pb2.Status:
    return status_pb2.Status(error_code=code, reason=reason)


class FakeNode(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]
    """Answers `version`, and every other call with the behaviour that the test put under the name of its RPC.

    `seen` has what arrived, in order; `hang` blocks a handler until the node is stopped.
    """

    def __init__(self, version: str = "1.1.0") -> None:
        self.version = version
        self.seen: list[tuple[str, Any]] = []
        self.answers: dict[str, Behaviour] = {}
        self.arrived = threading.Event()
        self._stopped = threading.Event()
        self._server: grpc.Server | None = None
        self.port = 0

    def start(self) -> None:
        self._stopped.clear()
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=options)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """Break all connections at once, calls in flight included, as the death of the process would."""
        if self._server is not None:
            stopped = self._server.stop(grace=None)
            # Only now, so that no handler answers while its connection is still open.
            self._stopped.set()
            stopped.wait(5)
            self._server = None

    def hang(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        self.arrived.set()
        self._stopped.wait(30)
        return OK

    @property
    def endpoint(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def answer(self, rpc: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.seen.append((rpc, request))
        return self.answers[rpc](request, context)

    def Cmd(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.cmd == "version":
            return milvus_pb2.StringReply(status=OK, string_reply=self.version)
        return self.answer("Cmd", request, context)


def _forward(rpc: str) -> Callable[[FakeNode, Any, grpc.ServicerContext], Any]:
    return lambda node, request, context: node.answer(rpc, request, context)


for _rpc in vars(milvus_pb2_grpc.MilvusServiceServicer):
    if not _rpc.startswith("_") and _rpc != "Cmd":
        setattr(FakeNode, _rpc, _forward(_rpc))


@contextmanager
def fake_node(version: str = "1.1.0") -> Iterator[FakeNode]:
    """A started node, stopped at the end."""
    node = FakeNode(version)
    node.start()
    try:
        yield node
    finally:
        node.stop()
