"""Collections with indexes on stand-in nodes: filled, looked at in MySQL, searched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fixtures.clients import Client
from fixtures.waits import wait_until
from suites.selftest.standin_nodes import DIMENSION, Nodes, vectors

RAW, TO_INDEX, INDEX, TO_DELETE, NEW_INDEX, BACKUP = 1, 2, 3, 4, 6, 7
ROWS = 4200  # over the 4096 from which on CreateIndex builds; 302 kB
IVF, PROBES = {"nlist": 16}, {"nprobe": 16}
# Takes seconds to build on any machine, and milliseconds to search.
SLOW_ROWS, SLOW = 20_000, {"M": 48, "efConstruction": 400}


def fill(nodes: Nodes, name: str, rows: int = ROWS, seed: int = 1, first_id: int = 0) -> NDArray[np.float32]:
    added = vectors(seed, rows)
    nodes.write.insert(name, added, np.arange(first_id, first_id + rows)).require()
    nodes.write.flush(name).require()
    return added


def states(nodes: Nodes, name: str) -> list[int]:
    """Of the files that are not to be deleted."""
    return sorted(state for _, state, _ in nodes.files(name) if state != TO_DELETE)


def counts(nodes: Nodes, name: str, wanted: int) -> list[int]:
    """Row counts of the files in one state."""
    return [rows for _, state, rows in nodes.files(name) if state == wanted]


def own_ids(client: Client, name: str, rows: NDArray[np.float32], params: dict[str, int]) -> list[int]:
    """The nearest id of each of these rows."""
    found: list[int] = client.search(name, rows, 1, params).require().ids[:, 0].tolist()
    return found


def await_states(nodes: Nodes, name: str, wanted: list[int]) -> None:
    wait_until(
        lambda: states(nodes, name),
        timeout_s=60,
        interval_s=0.05,
        accept=lambda now: now == wanted,
        reason=f"the files of {name} are in the states {wanted}",
    )


@contextmanager
def own_collection(nodes: Nodes, test: str) -> Iterator[str]:
    """An empty collection named after the test, with segments of 1 MB."""
    collection = re.sub(r"\W", "_", test.removeprefix("test_"))
    nodes.write.create_collection(collection, DIMENSION, index_file_size_mb=1).require()
    yield collection
    nodes.write.drop_collection(collection)
