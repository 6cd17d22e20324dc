"""What several suites say the same way: rows with known ids, looking them up on a node, and a quiet cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fixtures import data
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.waits import Observed, observe, wait_until

DIMENSION = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as inserted: `ids` int64 (n,), `vectors` float32 (n, dimension)."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]

    @staticmethod
    def make(seed: int, first_id: int, count: int, dimension: int = DIMENSION) -> Rows:
        """`count` rows with consecutive ids from `first_id`; the same seed and first id give the same vectors."""
        ids = np.arange(first_id, first_id + count, dtype=np.int64)
        return Rows(ids, data.vectors(seed + first_id, count, dimension))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> Rows:
        chosen = np.asarray(positions, dtype=np.intp)
        return Rows(self.ids[chosen], self.vectors[chosen])

    @staticmethod
    def join(parts: Iterable[Rows]) -> Rows:
        listed = list(parts)
        return Rows(np.concatenate([p.ids for p in listed]), np.concatenate([p.vectors for p in listed]))


@dataclass(frozen=True, slots=True, repr=False)
class Sighting:
    """Which of the asked rows a node returned. `missing` and `doubled` are ids; meaningless unless `reply.ok`."""

    reply: Reply
    asked: int
    missing: NDArray[np.int64]
    doubled: NDArray[np.int64]

    def __repr__(self) -> str:
        # The last one seen is part of what a claim says, for a person.
        if not self.reply.ok:
            return f"no answer: {self.reply.reason}"
        return f"{len(self.missing)} of {self.asked} rows missing, {len(self.doubled)} came twice"

    @property
    def complete(self) -> bool:
        return self.reply.ok and not len(self.missing)

    @property
    def gone(self) -> bool:
        """None of the asked rows was returned, and the node did answer."""
        return self.reply.ok and len(self.missing) == self.asked


def look_up(client: Client, collection: str, rows: Rows) -> Sighting:
    """Search for the very vectors of `rows`: a row is there if its id is among the two nearest to its own vector.

    Two, so that a row served twice shows; which of two equal distances comes first is not promised.
    """
    reply = client.search(collection, rows.vectors, 2, asked=rows.ids)
    if not reply.ok or len(reply.ids) != len(rows):
        # An empty answer (no searchable segment) has no row per query.
        return Sighting(reply, len(rows), missing=rows.ids, doubled=rows.ids[:0])
    hits = (reply.ids == rows.ids[:, None]).sum(axis=1)
    return Sighting(reply, len(rows), missing=rows.ids[hits == 0], doubled=rows.ids[hits > 1])


def watch(
    clients: Mapping[str, Client], collection: str, rows: Rows, *, timeout_s: float
) -> dict[str, Observed[Sighting]]:
    """Look `rows` up at every door at once, each until it has them all or `timeout_s` is over.

    At once, because what one node's search costs must not hide what another has not yet seen.
    """

    def until_complete(client: Client) -> Observed[Sighting]:
        return observe(
            lambda: look_up(client, collection, rows),
            accept=lambda sighting: sighting.complete,
            timeout_s=timeout_s,
        )

    return in_parallel({door: partial(until_complete, client) for door, client in clients.items()})


def front_doors(cluster: Cluster) -> list[str]:
    """Every place a client can ask: the writer, each reader, Mishards."""
    return [*(node.name for node in cluster.nodes), cluster.mishards.name]


def connect_all(cluster: Cluster, history: History) -> dict[str, Client]:
    """A client at every door, by the door's name."""
    return {door: cluster.connect(door, history=history) for door in front_doors(cluster)}


def reader_names(cluster: Cluster) -> list[str]:
    return [node.name for node in cluster.readers]


def served(cluster: Cluster) -> dict[str, int]:
    """How many searches each reader has answered so far, by its log."""
    return {reader.name: reader.requests_served() for reader in cluster.readers}


def insert(client: Client, collection: str, rows: Rows, tag: str | None = None) -> None:
    """Insert and require that it was acknowledged with the ids asked for."""
    reply = client.insert(collection, rows.vectors, rows.ids, tag).require()
    if not np.array_equal(reply.ids, rows.ids):
        raise AssertionError(f"insert into {collection} on {client.node} returned other ids than were given")


def insert_flushed(client: Client, collection: str, rows: Rows, tag: str | None = None) -> None:
    insert(client, collection, rows, tag)
    client.flush(collection).require()


def in_parallel(tasks: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Run each task in a thread of its own and return the results by name; the first error is raised."""
    with ThreadPoolExecutor(max_workers=max(1, len(tasks))) as pool:
        futures = {name: pool.submit(task) for name, task in tasks.items()}
        return {name: future.result() for name, future in futures.items()}


def segment_files(cluster: Cluster, collection: str) -> list[tuple[int, str, int, int]]:
    """The searchable files of a collection and its partitions as MySQL has them: (id, segment, state, live rows)."""
    return [
        (int(row[0]), str(row[1]), int(row[2]), int(row[3]))
        for row in cluster.query(
            "SELECT f.id, f.segment_id, f.file_type, f.row_count FROM TableFiles f JOIN Tables t USING (table_id)"
            " WHERE (t.table_id = %s OR t.owner_table = %s) AND t.state = 0 AND f.file_type IN (1, 2, 3) ORDER BY f.id",
            (collection, collection),
        )
    ]


def wait_for_quiet_files(cluster: Cluster, collection: str, still_s: float) -> list[tuple[int, str, int, int]]:
    """The searchable files once no merge has changed them for `still_s`."""
    last: list[object] = []

    def unchanged() -> bool:
        now = segment_files(cluster, collection)
        last.append(now)
        recent = last[-max(2, int(still_s / 0.1)) :]
        return len(last) >= len(recent) >= max(2, int(still_s / 0.1)) and all(files == now for files in recent)

    wait_until(unchanged, timeout_s=60 + still_s, interval_s=0.1, reason=f"the segments of {collection} to settle")
    return segment_files(cluster, collection)


def settle_log_numbers(cluster: Cluster, writer: Client, collection: str, rows: Rows) -> None:
    """Bring `Environment.global_lsn` up to the newest flushed collection, so that a node may be restarted.

    Milvus 1.1 refuses to start a node ("Wal init error!") while an explicit Flush of one collection is ahead of the
    global number; an auto flush repairs that. Restarts are not the promise under test here (that is claim F-14), so a
    row is inserted and its auto flush awaited. Source: facts, measured 5.8.
    """
    insert(writer, collection, rows)

    def settled() -> bool:
        ((reached,),) = cluster.query("SELECT COALESCE(MAX(global_lsn), -1) FROM Environment")
        ((newest,),) = cluster.query("SELECT COALESCE(MAX(flush_lsn), 0) FROM Tables WHERE state = 0")
        return int(str(reached)) >= int(str(newest))

    wait_until(
        settled, timeout_s=cluster.budgets.visibility_unflushed_s + 10, reason="an auto flush to settle the log numbers"
    )
