"""The first query after a reader's restart, with and without `cache.preload_collection`: two clusters, in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from fixtures.cluster import Cluster
from fixtures.waits import Deadline
from suites.performance.article.workload import CALL_TIMEOUT_S, DIMENSION, apart_mb
from suites.performance.clusters import Lifetime, Place, run_cluster
from suites.performance.queries import find
from suites.support import Rows, insert

PRELOADED = "*"
"""As in the topology `fast-reads`."""
_COLLECTION, _BATCHES = "restarts", 2


@dataclass(frozen=True, slots=True)
class Restarts:
    """Pairs of first queries (plain, preloading), and how much longer the preloading reader's start took. Seconds."""

    pairs: tuple[tuple[float, float], ...]
    cost_s: tuple[float, ...]
    lifetimes: tuple[Lifetime, ...]


def measure_restarts(place: Place, rows: int, rounds: int, limit: Deadline, say: Callable[[str], None]) -> Restarts:
    """As many rounds as the time allows, one at least. Raises HarnessError."""
    pairs: list[tuple[float, float]] = []
    cost_s: list[float] = []
    lifetimes: list[Lifetime] = []

    def in_turns(plain: Cluster, preloading: Cluster) -> None:
        for cluster in (plain, preloading):
            _fill(cluster, rows)
        for turn in range(rounds):
            if turn and limit.expired:
                return
            order = (plain, preloading) if turn % 4 in (0, 3) else (preloading, plain)
            took_s = {id(each): _restart(each, rows) for each in order}
            (before_s, start_s), (after_s, preloaded_s) = took_s[id(plain)], took_s[id(preloading)]
            pairs.append((before_s, after_s))
            cost_s.append(preloaded_s - start_s)
            say(f"first query after a restart, round {turn + 1} of {rounds}: {before_s:.3f} / {after_s:.3f} s")

    def beside(plain: Cluster) -> None:
        milvus = dataclasses.replace(place.topology.milvus, reader_preload=PRELOADED)
        topology = dataclasses.replace(place.topology, milvus=milvus)
        other = run_cluster(place, "restart-preload", lambda it: in_turns(plain, it), topology=topology)
        lifetimes.append(other)

    lifetimes.append(run_cluster(place, "restart-plain", beside))
    return Restarts(tuple(pairs), tuple(cost_s), tuple(lifetimes))


def _fill(cluster: Cluster, rows: int) -> None:
    with cluster.connect("writer", timeout_s=CALL_TIMEOUT_S) as writer:
        writer.create_collection(_COLLECTION, DIMENSION, index_file_size_mb=apart_mb(rows)).require()
        for batch in range(_BATCHES):
            insert(writer, _COLLECTION, Rows.make(cluster.seed, batch * rows, rows, DIMENSION))
        # Of all collections, or the reader would not start again (claim F-14).
        writer.flush(None).require()


def _restart(cluster: Cluster, rows: int) -> tuple[float, float]:
    """The first query after a reader's restart, and how long the start took. Seconds."""
    reader = cluster.readers[0]
    reader.stop()
    start_s = reader.start()
    probe = Rows.make(cluster.seed, 0, rows, DIMENSION).take([0])
    with cluster.connect(reader.name, timeout_s=CALL_TIMEOUT_S) as client:
        client.version().require()  # to connect is not part of the query
        return find(client, _COLLECTION, probe).seconds, start_s
