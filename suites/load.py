"""What clients do while something breaks: writes, reads of new rows, a mix of all else, at every door.

Each piece is a context manager: it begins with the block, ends with it, is paced, and has one call under way per
thread. All of it is journaled; what it means is for the checkers to say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np

from fixtures.clients import Client
from fixtures.waits import pause
from fixtures.wire import IndexType
from suites.failover.writing import Writing
from suites.support import DIMENSION, Rows, look_up

FOLLOW_PACE_S = 0.15
MIX_PACE_S = 0.1
INSERTED = 40
TAKEN = 5
MOST_STEPS = 20_000
"""Nothing here goes on for ever, whoever forgets to leave the block."""


class Loop:
    """A thread that does one step after another until the block ends. What a step raises is raised there."""

    def __init__(self, name: str, step: Callable[[int], None], pace_s: float) -> None:
        """`step` is given its number, from 0."""
        self._step = step
        self._pace_s = pace_s
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            for number in range(MOST_STEPS):
                if self._stop.is_set():
                    return
                self._step(number)
                pause(self._pace_s, "the pace of the load")
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for this one
            self._failure = error


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
