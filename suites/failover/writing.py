"""Inserts and flushes that go on while something is broken, and what of them is there afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import TracebackType

from fixtures import faults
from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from suites.loop import Loop
from suites.support import Rows, look_up

# A batch is 1.1 MB, over the least index_file_size (1 MB): no merge joins two, so no fault can hit the swap of a merge,
# which loses all that was being merged. That is another matter, and another claim.
WIDTH = 128
BATCH = 2100
SAMPLE = (0, BATCH // 3, 2 * BATCH // 3, BATCH - 1)
READ_BACK = 50
PACE_S = 0.02


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch whose Insert and Flush both succeeded; the begin of the one, the end of the other on the run's clock."""

    number: int
    rows: Rows
    began_s: float
    ended_s: float

    def during(self, fault: faults.Fault, slack_s: float) -> bool:
        return self.ended_s >= fault.began_s and self.began_s <= fault.ended_s + slack_s


class Writing:
    """Inserts and flushes batch after batch until the block ends; remembers what was promised to be durable.

    `uncertain` counts the rest: refused, acknowledged but not flushed, or a time-out, which may be there or not.
    """

    def __init__(self, client: Client, collection: str, seed: int, pace_s: float = PACE_S) -> None:
        """The collection is made when the block begins."""
        self.collection = collection
        self.flushed: list[Batch] = []
        self.uncertain = 0
        self.refused = 0
        self._client = client
        self._seed = seed
        self._loop = Loop("writing", self._write, pace_s)

    def __enter__(self) -> Writing:
        self._client.create_collection(self.collection, WIDTH, index_file_size_mb=1).require()
        self._loop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.__exit__(kind, error, trace)

    def require_alive(self) -> None:
        """Raise what ended the writing early, if anything did."""
        self._loop.require_alive()

    def flushed_since(self, moment_s: float) -> bool:
        """Whether a batch begun after that moment is durable."""
        return bool(self.flushed) and self.flushed[-1].began_s > moment_s

    def _write(self, number: int) -> None:
        rows = Rows.make(self._seed, number * BATCH, BATCH, WIDTH)
        began_s = History.now_s()
        inserted = self._client.insert(self.collection, rows.vectors, rows.ids)
        if inserted.ok and self._client.flush(self.collection).ok:
            self.flushed.append(Batch(number, rows.take(SAMPLE), began_s, History.now_s()))
        else:
            self.uncertain += 1
            self.refused += not inserted.ok


def lost_batches(trial: Trial, cluster: Cluster, clients: dict[str, Client], writing: Writing) -> dict[str, list[int]]:
    """The numbers of the flushed batches that are missing, by node. Rows doubled or missing in part are violations."""
    lost: dict[str, list[int]] = {}
    for node in cluster.nodes:
        missing: Counter[int] = Counter()
        for first in range(0, len(writing.flushed), READ_BACK):
            some = Rows.join(batch.rows for batch in writing.flushed[first : first + READ_BACK])
            sighting = look_up(clients[node.name], writing.collection, some)
            sighting.reply.require()
            trial.check(not len(sighting.doubled), "rows are there twice", node=node.name)
            missing.update(row // BATCH for row in sighting.missing.tolist())
        for number, rows in missing.items():
            text = f"{rows} of {len(SAMPLE)} rows of batch {number} are missing, though it is one segment"
            trial.check(rows == len(SAMPLE), text, node=node.name)
        lost[node.name] = sorted(missing)
        trial.check(lost[node.name] == lost[cluster.writer.name], "nodes disagree on what is lost", node=node.name)
    return lost
