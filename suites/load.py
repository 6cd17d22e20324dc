"""What clients do while something breaks: writes, reads of new rows, a mix of all else, at every door.

All of it is journaled; what it means is for the checkers to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fixtures.clients import Client
from fixtures.wire import IndexType
from suites.failover.writing import Writing
from suites.loop import Loop
from suites.support import DIMENSION, Rows, look_up

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
