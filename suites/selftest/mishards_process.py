"""The stand-in Mishards as a process of a test: started, asked whether it is ready, killed in the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from fixtures.waits import wait_until
from fixtures.wire import milvus_pb2, milvus_pb2_grpc

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Process:
    """A proxy process; `log` is what it wrote on stderr so far."""

    popen: subprocess.Popen[bytes]
    port: int
    stderr: Path

    @property
    def log(self) -> str:
        return self.stderr.read_text()

    def exit_code(self, timeout_s: float = 30) -> int:
        return self.popen.wait(timeout_s)


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Process]:
    """A proxy on a free port of 127.0.0.1, with `environment` and nothing else that Mishards would read."""
    port = free_port()
    settings = {
        "PATH": os.environ["PATH"],
        "STANDIN_SERVER_ADDRESS": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SQLALCHEMY_DATABASE_URI": "sqlite://",
        **environment,
    }
    stderr = folder / f"mishards-{port}.log"
    with stderr.open("wb") as log:
        popen = subprocess.Popen(
            [sys.executable, "-m", "fixtures.standin.mishards"], env=settings, cwd=ROOT, stderr=log
        )
    try:
        yield Process(popen, port, stderr)
    finally:
        popen.kill()
        popen.wait()


@contextmanager
def connected(proxy: Process) -> Iterator[grpc.Channel]:
    """A channel to the proxy, ready within 20 s; the port opens once all nodes have answered."""
    options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50)]
    with closing(grpc.insecure_channel(f"127.0.0.1:{proxy.port}", options=options)) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        wait_until(
            lambda: stub.Cmd(milvus_pb2.Command(cmd="version")).string_reply,
            timeout_s=20,
            reason="the proxy answers",
            errors=(grpc.RpcError,),
            give_up=lambda: None if proxy.popen.poll() is None else proxy.log,
        )
        yield channel
