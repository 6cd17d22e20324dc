"""The article's workload: batches inserted and flushed at a pace of 1 to 8 s, each queried twice at once.

The first query of a batch makes whoever is asked fetch it: rows of MySQL, metadata and data of the mount, into memory.
The second finds it there. The difference is what the article calls the time to load newly inserted data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fixtures.cluster import Cluster
from fixtures.runtimes.interrupts import shielded
from fixtures.waits import Deadline, pause
from suites.performance.queries import find
from suites.support import Rows, insert

DIMENSION = 128
MERGED_MB, _SMALLEST_MB = 1024, 1
"""Milvus' own default for index_file_size, with which it merges batches; and the least that it takes."""
CALL_TIMEOUT_S = 120.0


def apart_mb(rows: int) -> int:
    """So small an index_file_size that each batch of so many rows stays a segment of its own."""
    return max(_SMALLEST_MB, rows * DIMENSION * 4 >> 20)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it: `batches` of `rows`, one every `least_s` to `most_s`."""

    batches: int
    rows: int
    least_s: float
    most_s: float

    @property
    def is_articles(self) -> bool:
        """Whether a batch is one of the article's, so that what it costs to fetch one can be held against it."""
        return self.rows == ARTICLE.rows


ARTICLE = Size(10, 100_000, 1.0, 8.0)
QUICK = Size(5, 100_000, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The first and the second query of one batch at one door. Seconds; `searches` until the first found it."""

    door: str
    batch: int
    first_s: float
    second_s: float
    searches: int

    @property
    def fetch_s(self) -> float:
        return self.first_s - self.second_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One run of the workload on a collection of its own, in which `doors` were asked, in this order."""

    collection: str
    queries: tuple[Query, ...]
    insert_s: tuple[float, ...]
    flush_s: tuple[float, ...]
    batches: int


@contextlib.contextmanager
def own_collection(cluster: Cluster, name: str, index_file_size_mb: int) -> Iterator[str]:
    """A new collection, which is dropped at the end, whatever that is. Raises HarnessError."""
    with cluster.connect("writer", timeout_s=CALL_TIMEOUT_S) as writer:
        writer.create_collection(name, DIMENSION, index_file_size_mb=index_file_size_mb).require()
        try:
            yield name
        finally:
            with shielded():
                writer.drop_collection(name).require()


def run_pass(
    cluster: Cluster,
    collection: str,
    doors: list[str],
    size: Size,
    *,
    name: str,
    limit: Deadline,
    say: Callable[[str], None],
) -> Pass:
    """Insert, flush and query batch after batch, as many as the time allows, one at least. `name` tells it to people.

    Raises HarnessError if the cluster refuses any of it.
    """
    rng = np.random.default_rng(cluster.seed)
    queries: list[Query] = []
    insert_s: list[float] = []
    flush_s: list[float] = []
    writer = cluster.connect("writer", timeout_s=CALL_TIMEOUT_S)
    clients = {door: cluster.connect(door, timeout_s=CALL_TIMEOUT_S) for door in doors}
    for batch in range(size.batches):
        if batch and limit.expired:
            break
        due = Deadline(float(rng.uniform(size.least_s, size.most_s)))
        rows = Rows.make(cluster.seed, batch * size.rows, size.rows, DIMENSION)
        began_s = time.monotonic()
        insert(writer, collection, rows)
        insert_s.append(time.monotonic() - began_s)
        flush_s.append(writer.flush(collection).require().elapsed_s)
        for door, client in clients.items():
            probe = rows.take([int(rng.integers(size.rows))])
            first, second = (find(client, collection, probe) for _ in range(2))
            queries.append(
                Query(
                    door=door,
                    batch=batch,
                    first_s=first.seconds,
                    second_s=second.seconds,
                    searches=first.searches,
                )
            )
        told = ", ".join(f"{each.door} {each.first_s:.2f} / {each.second_s:.3f}" for each in queries[-len(doors) :])
        say(f"{name}, batch {batch + 1} of {size.batches}, first / second query (s): {told}")
        if batch + 1 < size.batches:
            pause(min(due.remaining_s, limit.remaining_s), reason="the article's pace of batches")
    for client in (writer, *clients.values()):
        client.close()
    return Pass(
        collection=collection,
        queries=tuple(queries),
        insert_s=tuple(insert_s),
        flush_s=tuple(flush_s),
        batches=len(insert_s),
    )
