"""What makes a reader's first query fast: one setting at a time, before and after in turns, in one run.

Which options of a mount, or of the volume, read a cold batch faster (by hand, on mounts side by side)?
Does it help to keep each batch a segment of its own? What does it gain to fetch a batch right after its flush, before
anybody asks, by `juicefs warmup` or by Milvus' preload? And what, to have readers load all as they start?
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import UsageError
from fixtures.plugin.figures import number
from fixtures.waits import Deadline
from suites.performance.article.options import cold_reads
from suites.performance.article.restarts import measure_restarts
from suites.performance.article.states import segments_of
from suites.performance.article.workload import ARTICLE, CALL_TIMEOUT_S, DIMENSION
from suites.performance.clusters import Place, run_cluster
from suites.performance.paired import MIN_PAIRS, Paired, judge
from suites.performance.queries import find
from suites.performance.verdicts import Measured, Profile, Table
from suites.support import Rows, insert, wait_for_quiet_files

MERGED_MB = 1024
_PRELOADING = "cache.preload_collection '*' on readers: after a restart"
_READ = 2
"""How many segments are read by hand, in turns."""


@dataclass(slots=True)
class _Got:
    """Pairs of seconds (before, after) by setting, in the order measured, and what the setting itself cost."""

    pairs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    cost_s: dict[str, list[float]] = field(default_factory=dict)

    def add(self, setting: str, before_s: float, after_s: float, cost_s: float | None = None) -> None:
        self.pairs.setdefault(setting, []).append((before_s, after_s))
        if cost_s is not None:
            self.cost_s.setdefault(setting, []).append(cost_s)


def measure(place: Place, profile: Profile, say: Callable[[str], None], rows: int = ARTICLE.rows) -> Measured:
    """Each setting before and after. Raises HarnessError; UsageError where nothing can be mounted."""
    rounds = 2 * MIN_PAIRS if profile.full else MIN_PAIRS
    by_hand, whole = _Got(), _Got()

    def use(cluster: Cluster) -> None:
        if cluster.storage_reason:
            raise UsageError(f"tuning: {cluster.storage_reason}")
        with contextlib.ExitStack() as stack:
            doors = {
                node.name: stack.enter_context(cluster.connect(node.name, timeout_s=CALL_TIMEOUT_S))
                for node in cluster.nodes
            }
            path = _Path(cluster, doors, rows)
            path.create("kept", max(1, rows * DIMENSION * 4 >> 20))
            for phase, got in ((path.ahead_rounds, whole), (path.read_rounds, by_hand), (path.merge_rounds, whole)):
                # In this order: merges go on in the background, so nothing is measured after them.
                phase(rounds, got, Deadline(profile.limit_s / 4), say)

    lifetime = run_cluster(place, "tuning", use)
    restarts = measure_restarts(place, rows, rounds, Deadline(profile.limit_s / 4), say)
    whole.pairs[_PRELOADING], whole.cost_s[_PRELOADING] = list(restarts.pairs), list(restarts.cost_s)
    read = [judge(name, "s", pairs, seed=place.seed) for name, pairs in by_hand.pairs.items()]
    first = [judge(name, "s", pairs, seed=place.seed) for name, pairs in whole.pairs.items()]
    short = [each for each in (*read, *first) if len(each.pairs) < rounds]
    return Measured(
        judged=(),
        tables=(
            _table("A reader's first query, before and after", first, whole.cost_s),
            _table("A cold batch read by hand, before and after", read, by_hand.cost_s),
        ),
        values={
            "rows": rows,
            "first_query": [each.to_json() for each in first],
            "read": [each.to_json() for each in read],
            "cost_s": whole.cost_s,
        },
        lifetimes=(lifetime, *restarts.lifetimes),
        unfinished=f"its time was over: {len(short)} settings have fewer pairs than {rounds}" if short else "",
    )


@dataclass(frozen=True, slots=True)
class _Path:
    """First queries on the readers of one cluster."""

    cluster: Cluster
    doors: Mapping[str, Client]
    rows: int

    @property
    def actions(self) -> Mapping[str, Callable[[str], None]]:
        return {
            "juicefs warmup of the new segment, after the flush": self._warm_up,
            "preload on the reader, after the flush": self._preload,
        }

    def create(self, collection: str, index_file_size_mb: int) -> None:
        self.doors["writer"].create_collection(collection, DIMENSION, index_file_size_mb=index_file_size_mb).require()

    def ahead_rounds(self, rounds: int, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
        """New batches, which one of two readers fetches before it is asked; who does changes each round."""
        for turn in range(rounds):
            if turn and limit.expired:
                return
            for at, (name, action) in enumerate(self.actions.items()):
                before_s, after_s, cost_s = self.ahead(action, turn * len(self.actions) + at, turn)
                got.add(name, before_s, after_s, cost_s)
            say(f"fetched ahead, round {turn + 1} of {rounds}")

    def read_rounds(self, rounds: int, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
        """Segments read by hand with other options of mount and volume."""
        folders = [each.folder for each in segments_of(self.cluster, "kept")][:_READ]
        for name, before_s, after_s in cold_reads(self.cluster, folders, rounds, limit, say):
            got.add(name, before_s, after_s)

    def merge_rounds(self, rounds: int, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
        """The same batch into two new collections, of which one merges its batches, and each asked at once.

        The one that merges comes second and is then left in peace until it is done: its merges are its own trouble, and
        would otherwise be that of the other, too.
        """
        names = {"apart": max(1, self.rows * DIMENSION * 4 >> 20), "merged": MERGED_MB}
        for name, size_mb in names.items():
            self.create(name, size_mb)
        for turn in range(rounds):
            if turn and limit.expired:
                return
            reader = self.cluster.readers[turn % len(self.cluster.readers)].name
            took_s = {name: self.first_s(name, turn, reader) for name in names}
            wait_for_quiet_files(self.cluster, "merged", self.cluster.budgets.merge_s)
            got.add("each batch a segment: index_file_size 48 (1024)", took_s["merged"], took_s["apart"])
            say(f"merged and apart, round {turn + 1} of {rounds}")

    def first_s(self, collection: str, batch: int, reader: str) -> float:
        """Insert and flush a batch, then the first query on a reader. Seconds."""
        return find(self.doors[reader], collection, self._insert(collection, batch)).seconds

    def ahead(self, action: Callable[[str], None], batch: int, turn: int) -> tuple[float, float, float]:
        """The first query on one reader as it is, on the other after the action, and what the action took. Seconds."""
        one, other = (each.name for each in self.cluster.readers[:2])
        plain, ahead = (one, other) if turn % 2 == 0 else (other, one)
        probe = self._insert("kept", batch)
        began_s = time.monotonic()
        action(ahead)
        cost_s = time.monotonic() - began_s
        order = (plain, ahead) if turn % 4 < 2 else (ahead, plain)
        took_s = {reader: find(self.doors[reader], "kept", probe).seconds for reader in order}
        return took_s[plain], took_s[ahead], cost_s

    def _insert(self, collection: str, batch: int) -> Rows:
        rows = Rows.make(self.cluster.seed, batch * self.rows, self.rows, DIMENSION)
        insert(self.doors["writer"], collection, rows)
        self.doors["writer"].flush(collection).require()
        return rows.take([batch % self.rows])

    def _warm_up(self, reader: str) -> None:
        newest = segments_of(self.cluster, "kept")[-1]
        mount = self.cluster.mounts[reader]
        self.cluster.volume.warm_up(newest.on(mount), mount.process)

    def _preload(self, reader: str) -> None:
        self.doors[reader].preload("kept").require()


def _table(title: str, measured: Sequence[Paired], cost_s: Mapping[str, Sequence[float]]) -> Table:
    def lines() -> Iterator[tuple[str, ...]]:
        for each in measured:
            before_s, after_s = (statistics.median(pair[side] for pair in each.pairs) for side in (0, 1))
            cost = number(statistics.median(cost_s[each.name])) if each.name in cost_s else ""
            yield (
                each.name,
                str(len(each.pairs)),
                number(before_s),
                number(after_s),
                str(each.ratio or ""),
                each.verdict.value,
                cost,
            )

    return Table(
        title=title,
        head=("setting (default)", "pairs", "before (s)", "after (s)", "after / before [95 %]", "verdict", "costs (s)"),
        body=tuple(lines()),
        note="In turns in one run; medians. costs: what is done ahead of the query takes this long itself.",
    )
