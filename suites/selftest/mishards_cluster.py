"""The stand-in Mishards as a process between a scripted writer and two scripted readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.wire import milvus_pb2_grpc
from suites.selftest.fake_milvus import FakeNode, MetadataTables
from suites.selftest.mishards_process import Process, connected, running


@dataclass(frozen=True)
class Cluster:
    """A proxy in front of scripted nodes."""

    proxy: Process
    stub: Any
    writer: FakeNode
    readers: dict[str, FakeNode]
    tables: MetadataTables

    def add_collection(self, name: str, metric: int = 1) -> None:
        self.tables.add_collection(name, metric)
        for node in (self.writer, *self.readers.values()):
            node.metrics[name] = metric

    def add_file(self, table: str, file: int, hits: list[tuple[int, float]]) -> None:
        self.tables.add_file(table, file)
        for reader in self.readers.values():
            reader.files[file] = hits

    def log_of(self, collection: str) -> list[str]:
        return [line for line in self.proxy.log.splitlines() if f"collection={collection} " in line]


@contextmanager
def between_nodes(folder: Path, **environment: str) -> Iterator[Cluster]:
    """The proxy answers; `environment` is added to what it needs."""
    tables = MetadataTables(folder / "meta.sqlite")
    with ExitStack() as stack:
        writer, one, two = (stack.enter_context(FakeNode(ip)) for ip in ("127.0.0.1", "127.0.0.2", "127.0.0.3"))
        proxy = stack.enter_context(
            running(
                folder,
                WOSERVER=f"tcp://{writer.address}",
                DISCOVERY_STATIC_HOSTS=f"{one.address},{two.address}",
                SQLALCHEMY_DATABASE_URI=tables.uri,
                **environment,
            )
        )
        channel = stack.enter_context(connected(proxy))
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        yield Cluster(proxy, stub, writer, {one.address: one, two.address: two}, tables)
