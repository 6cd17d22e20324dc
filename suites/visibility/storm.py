"""Inserts and searches at the same time, everywhere, for as long as it takes to mean something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History, Operation
from fixtures.waits import Deadline, pause
from suites.support import DIMENSION, Rows, connect_all, look_up, watch

BATCH = 50
ASKED = 4
READ_BACK = 1000
# A breath between calls: the load is to overlap with everything, not to starve the nodes of two cores.
PACE_S = 0.01
# Ids of the two inserters: their rows are told apart by range.
DIRECT_FROM, PROXIED_FROM = 0, 10_000_000


@dataclass(slots=True)
class Storm:
    """What is acknowledged so far, shared by the inserters, who add to it, and the searchers, who draw from it."""

    collection: str
    seed: int
    deadline: Deadline
    acknowledged: list[Rows] = field(default_factory=list)
    unflushed: list[Rows] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def insert_and_flush(self, client: Client) -> int:
        """Batch after batch, each flushed: rows whose visibility was promised. Returns the number of rows."""
        return self._insert(client, DIRECT_FROM, self.acknowledged, flush=True)

    def insert_only(self, client: Client) -> int:
        """Batch after batch, left to the auto flush. Returns the number of rows."""
        return self._insert(client, PROXIED_FROM, self.unflushed, flush=False)

    def search(self, client: Client) -> int:
        """A few rows at a time, drawn from all that was acknowledged. Returns the number of searches."""
        rng = np.random.default_rng([self.seed, sum(client.node.encode())])
        searches = 0
        while not self.deadline.expired:
            with self.lock:
                # Every other search follows the newest rows; the rest draw from all that there ever were.
                everything = [*self.acknowledged, *self.unflushed[-1:]]
                batches = everything if searches % 2 else self.acknowledged[-1:]
            if batches:
                batch = batches[int(rng.integers(len(batches)))]
                look_up(client, self.collection, batch.take(rng.choice(len(batch), ASKED, replace=False)))
                searches += 1
            pause(PACE_S, "the pace of the load")
        return searches

    def _insert(self, client: Client, first_id: int, into: list[Rows], *, flush: bool) -> int:
        number = 0
        while not self.deadline.expired:
            rows = Rows.make(self.seed, first_id + number * BATCH, BATCH)
            inserted = client.insert(self.collection, rows.vectors, rows.ids)
            if inserted.ok and (not flush or client.flush(self.collection).ok):
                with self.lock:
                    into.append(rows)
            number += 1
            pause(PACE_S if flush else 30 * PACE_S, "the pace of the load")
        return number * BATCH


def rage(cluster: Cluster, trial: Trial, collection: str, history: History, seed: int, *, duration_s: float) -> Storm:
    """Run the load for `duration_s`, flush, then read every acknowledged row back at every door.

    Two inserters (one direct with flushes, one through Mishards without) and a searcher at each door, all at once.
    """
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION, index_file_size_mb=1).require()
    storm = Storm(collection, seed, Deadline(duration_s))
    proxied = cluster.connect(cluster.mishards.name, history=history)
    direct = cluster.connect(cluster.writer.name, history=history)
    tasks: dict[str, Callable[[], int]] = {
        "insert and flush": partial(storm.insert_and_flush, direct),
        "insert": partial(storm.insert_only, proxied),
        **{f"search {door}": partial(storm.search, client) for door, client in clients.items()},
    }
    with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        running = {name: pool.submit(task) for name, task in tasks.items()}
        try:
            while not storm.deadline.expired:
                flushed = BATCH * len(storm.acknowledged)
                trial.progress(f"{storm.deadline.remaining_s:.0f} s left, {flushed} rows flushed")
                pause(min(5.0, storm.deadline.remaining_s + 0.1), "the length of the storm")
        finally:
            # Leaving the pool waits for its threads, which an interrupt must not have to do until the storm is over.
            storm.deadline = Deadline(0.0)
        done = {name: future.result() for name, future in running.items()}
    writer.flush(collection).require()
    trial.note(", ".join(f"{name}: {count}" for name, count in done.items()))
    written = [*storm.acknowledged, *storm.unflushed]
    step = READ_BACK // BATCH
    for start in range(0, len(written), step):
        trial.progress(f"reading back {BATCH * start} of {BATCH * len(written)} rows")
        watch(clients, collection, Rows.join(written[start : start + step]), timeout_s=5.0)
    storm.counted = {node.name: int(clients[node.name].count(collection).require().value) for node in cluster.nodes}
    storm.operations = history.operations()
    return storm
