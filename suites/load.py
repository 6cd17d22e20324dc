"""What clients do while something breaks: writes, reads of new rows, a mix of all else, at every door.

All of it is journaled; what it means is for the checkers to say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import wait_until
from fixtures.wire import IndexType
from suites.failover.searching import Searching, Warm, make_collection, warm_up
from suites.failover.writing import Writing
from suites.loop import Loop
from suites.support import DIMENSION, Rows, connect_all, front_doors, look_up

CLIENT_TIMEOUT_S = 20.0
WRITE_PACE_S = 0.2
STEADY = 2
"""Batches that are durable before anything happens."""
FOLLOW_PACE_S = 0.15
MIX_PACE_S = 0.1
INSERTED = 40
TAKEN = 5


def follow(writing: Writing, clients: Mapping[str, Client], seed: int) -> list[Loop]:
    """A searcher at every door, for rows that `writing` was told are durable: the newest batch, and one from before."""

    def follower(door: str, client: Client) -> Loop:
        rng = np.random.default_rng([seed, sum(door.encode())])

        def step(number: int) -> None:
            durable = list(writing.flushed)
            if durable:
                batch = durable[-1] if number % 2 else durable[int(rng.integers(len(durable)))]
                look_up(client, writing.collection, batch.rows)

        return Loop(f"following at {door}", step, FOLLOW_PACE_S)

    return [follower(door, client) for door, client in clients.items()]


class Mixing:
    """Inserts, deletes, gets, counts, flushes, compactions and index builds of one small collection, in random order.

    Through each of `doors` in turn, so that the same rows are changed on several ways. What was attempted is in the
    journal; `attempted` is how many ids were used, from 0 on.
    """

    def __init__(self, doors: Mapping[str, Client], collection: str, seed: int) -> None:
        """The collection must be there."""
        self.collection = collection
        self.attempted = 0
        self._doors = list(doors.values())
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self.loop = Loop("mixing", self._step, MIX_PACE_S)

    def rows(self) -> Rows:
        """Every row that was ever attempted."""
        return Rows.join(self._batch(first) for first in range(0, self.attempted, INSERTED))

    def _batch(self, first: int) -> Rows:
        return Rows.make(self._seed, first, INSERTED, DIMENSION)

    def _some(self) -> list[int]:
        return self._rng.choice(self.attempted, TAKEN, replace=False).tolist()  # type: ignore[no-any-return]

    def _insert(self, client: Client) -> None:
        rows = self._batch(self.attempted)
        # Counted first: a call that is cut off may have worked.
        self.attempted += INSERTED
        client.insert(self.collection, rows.vectors, rows.ids)

    def _step(self, number: int) -> None:
        client = self._doors[number % len(self._doors)]
        verbs: dict[str, Callable[[], object]] = {
            "insert": lambda: self._insert(client),
            "delete": lambda: client.delete(self.collection, self._some()),
            "get": lambda: client.get(self.collection, self._some()),
            "count": lambda: client.count(self.collection),
            "flush": lambda: client.flush(self.collection),
            "compact": lambda: client.compact(self.collection),
            "index": lambda: client.create_index(self.collection, IndexType.IVF_FLAT, {"nlist": 16}),
        }
        weights = [0.4, 0.15, 0.15, 0.1, 0.14, 0.04, 0.02]
        chosen = str(self._rng.choice(list(verbs), p=weights))
        verbs["insert" if not self.attempted else chosen]()


@dataclass(frozen=True, slots=True)
class Running:
    """The whole load, while it runs and afterwards. `clients` are connections beside it, one for each door."""

    clients: dict[str, Client]
    warm: Warm
    mixing: Mixing
    writing: Writing
    searching: Searching


@contextlib.contextmanager
def under_load(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> Iterator[Running]:
    """Writes, searches, reads of new rows and a mix of all else, at every door, until the block ends.

    Begins once writes are durable, and witnesses whether more were by the end.
    """
    clients = connect_all(cluster, history)
    writer, doors = clients[cluster.writer.name], front_doors(cluster)
    warm = make_collection(cluster, writer, names("warm"), seed)
    writer.create_collection(names("mixed"), DIMENSION, index_file_size_mb=1).require()
    warm_up(trial, cluster, warm, clients.values())

    def patient(*doors: str) -> dict[str, Client]:
        return {door: cluster.connect(door, history=history, timeout_s=CLIENT_TIMEOUT_S) for door in doors}

    mixing = Mixing(patient(cluster.writer.name, cluster.mishards.name), names("mixed"), seed)
    (patient_writer,) = patient(cluster.writer.name).values()
    with (
        Writing(patient_writer, names("written"), seed, pace_s=WRITE_PACE_S) as writing,
        Searching(warm, patient(*doors)) as searching,
        contextlib.ExitStack() as loops,
    ):
        for loop in (*follow(writing, patient(*doors), seed), mixing.loop):
            loops.enter_context(loop)
        wait_until(lambda: len(writing.flushed) >= STEADY, timeout_s=30.0, reason="writes before anything happens")
        before = len(writing.flushed)
        yield Running(clients, warm, mixing, writing, searching)
        if len(writing.flushed) > before:
            trial.witness("wrote before and after", before=before, after=len(writing.flushed))
