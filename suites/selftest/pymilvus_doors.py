"""Stand-in writer, reader and Mishards, each behind a plain pymilvus client, as a program for Milvus 1.x sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fixtures.wire import MetricType, Milvus
from suites.selftest import mishards_process
from suites.selftest.standin_nodes import DIMENSION, Nodes, running, vectors

WRITER, READER, MISHARDS = "writer", "reader", "mishards"
DOORS = (WRITER, READER, MISHARDS)
ROWS, IN_PARTITION = 30, 10
TAG = "p1"


@dataclass(frozen=True)
class Doors:
    """The clients by name. `written` are the vectors of ids 0 to 29 in every collection that `fill` makes."""

    nodes: Nodes
    clients: dict[str, Milvus]
    addresses: dict[str, tuple[str, int]]
    written: NDArray[np.float32]

    def fill(self, name: str) -> None:
        """A flushed collection: ids 0 to 19 in it, 20 to 29 in its partition `p1`."""
        writer = self.clients[WRITER]
        ok(writer.create_collection({"collection_name": name, "dimension": DIMENSION, "metric_type": MetricType.L2}))
        ok(writer.create_partition(name, TAG))
        split = ROWS - IN_PARTITION
        ok(writer.insert(name, self.written[:split].tolist(), ids=list(range(split))))
        ok(writer.insert(name, self.written[split:].tolist(), ids=list(range(split, ROWS)), partition_tag=TAG))
        ok(writer.flush([name]))


def ok(result: Any) -> Any:
    """What a method returned beside its status, which must be good; None if it returns a status alone."""
    status, value = result if isinstance(result, tuple) else (result, None)
    assert status.OK(), (status.code, status.message)
    return value


def refused(result: Any) -> tuple[int, str]:
    """Code and message of a call that must have failed."""
    status = result[0] if isinstance(result, tuple) else result
    assert not status.OK()
    return status.code, status.message


def ids_of(result: Any) -> list[list[int]]:
    """The ids of each query's hits."""
    return [[hit.id for hit in row] for row in ok(result)]


@contextmanager
def open_doors(folder: Path) -> Iterator[Doors]:
    """Everything runs, and is gone at the end."""
    with running(folder) as nodes:
        at = {WRITER: nodes.writer.endpoint, READER: nodes.reader.endpoint}
        environment = {
            "WOSERVER": f"tcp://{at[WRITER][0]}:{at[WRITER][1]}",
            "DISCOVERY_STATIC_HOSTS": f"{at[READER][0]}:{at[READER][1]}",
            "SQLALCHEMY_DATABASE_URI": nodes.mysql.sqlalchemy_uri,
        }
        with mishards_process.running(folder, **environment) as proxy, mishards_process.connected(proxy):
            at[MISHARDS] = ("127.0.0.1", proxy.port)
            clients = {door: Milvus(host=host, port=str(port)) for door, (host, port) in at.items()}
            yield Doors(nodes, clients, at, vectors(1, ROWS))
            for client in clients.values():
                client.close()
