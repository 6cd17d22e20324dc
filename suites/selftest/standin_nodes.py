"""Stand-in nodes for tests: MySQL, one writer and one reader on a plain shared folder, without JuiceFS and Mishards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fixtures import topology
from fixtures.clients import Client
from fixtures.runtimes.base import Folders
from fixtures.runtimes.embedded import Embedded
from fixtures.services.base import Site
from fixtures.services.milvus import READER, WRITER, MilvusNode
from fixtures.services.mysql import MySQL
from fixtures.standin.deviations import AS_1_1_0, Fixed
from fixtures.waits import wait_until

DIMENSION = 16


@dataclass(frozen=True)
class Nodes:
    """A small running cluster. `shared` is the folder that stands for the JuiceFS volume."""

    site: Site
    shared: Path
    mysql: MySQL
    writer: MilvusNode
    reader: MilvusNode
    write: Client
    read: Client
    as_fixed: Fixed

    def new_node(self, name: str, role: str, **settings: object) -> MilvusNode:
        """One more node on the same storage and metadata, not started."""
        chosen = topology.Milvus(**settings)  # type: ignore[arg-type]
        node = MilvusNode(self.site, name, role, chosen, self.mysql.milvus_uri, as_fixed=self.as_fixed)
        node.storage.symlink_to(self.shared)
        return node

    def files(self, collection: str) -> list[tuple[int, int, int]]:
        """Id, state and row count of a collection's files, partitions not included, oldest first."""
        return [
            (int(each), int(state), int(rows))
            for each, state, rows in self.mysql.query(
                "SELECT id, file_type, row_count FROM TableFiles WHERE table_id = %s ORDER BY id", (collection,)
            )
        ]

    def await_count(self, client: Client, collection: str, rows: int, timeout_s: float = 10.0) -> None:
        """Until a node counts that many flushed rows."""
        wait_until(
            lambda: client.count(collection).require().value,
            timeout_s=timeout_s,
            accept=lambda count: count == rows,
            reason=f"{rows} rows of {collection} flushed",
        )


@contextmanager
def metadata_alone(folder: Path) -> Iterator[tuple[Site, MySQL]]:
    """A MySQL without nodes. `folder` must have a path that Milvus takes. Everything is gone at the end."""
    folders = Folders.create(folder / "report", folder, "standin")
    with Embedded(
        folders, reason="a selftest", allow_fuse=False, allow_namespaces=False, index=folder / "ledgers"
    ) as runtime:
        site = Site(runtime=runtime, block=runtime.new_block(), work=folders.work, report=folders.report)
        mysql = MySQL(site, topology.MySQL())
        mysql.initialise()
        mysql.start()
        yield site, mysql


@contextmanager
def running(folder: Path, as_fixed: Fixed = AS_1_1_0) -> Iterator[Nodes]:
    """The cluster below `folder`, as `metadata_alone`, with nodes that do not repeat the deviations `as_fixed`."""
    with metadata_alone(folder) as (site, mysql):
        shared = site.folder("shared")
        writer, reader = (
            MilvusNode(site, name, role, topology.Milvus(file_cleanup_timeout_s=2), mysql.milvus_uri, as_fixed=as_fixed)
            for name, role in (("writer", WRITER), ("reader", READER))
        )
        for node in (writer, reader):
            node.storage.symlink_to(shared)
            node.process.start()
        for node in (writer, reader):
            node.await_ready()
        with Client("writer", writer.endpoint) as write, Client("reader", reader.endpoint) as read:
            yield Nodes(site, shared, mysql, writer, reader, write, read, as_fixed)


def vectors(seed: int, rows: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((rows, DIMENSION), dtype=np.float32)


def nearest(client: Client, collection: str, queries: NDArray[np.float32], topk: int = 3) -> list[list[int]]:
    """The ids that a node finds for each query."""
    ids: list[list[int]] = client.search(collection, queries, topk).require().ids.tolist()
    return ids


def exit_code_after(node: MilvusNode, number: signal.Signals) -> int:
    """Sends a signal to a running node and waits for the code with which it ends."""
    assert node.pid is not None
    os.kill(node.pid, number)
    return exit_code(node)


def exit_code(node: MilvusNode) -> int:
    """Waits for a node to end by itself."""
    code = wait_until(
        node.process.exit_code,
        timeout_s=20,
        accept=lambda ended: ended is not None,
        reason=f"{node.name} ends",
    ).value
    assert code is not None
    return code
