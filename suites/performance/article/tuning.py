"""What makes a reader's first query fast: one setting at a time, before and after in turns, in one run.

Three questions. Which options of a mount, or of the volume, read a cold batch faster (by hand, on mounts side by side)?
Does it help to keep each batch a segment of its own? And what does it gain to fetch a batch right after its flush,
before anybody asks, by `juicefs warmup` or by Milvus' preload?
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import UsageError
from fixtures.extras import extra_mount, extra_volume
from fixtures.plugin.figures import number
from fixtures.services import JuiceFSMount, Volume
from fixtures.waits import Deadline
from suites.performance.article.states import drop_pages, segments_of
from suites.performance.article.steps import look_up_and_read
from suites.performance.article.workload import ARTICLE, CALL_TIMEOUT_S, DIMENSION
from suites.performance.clusters import Place, run_cluster
from suites.performance.paired import MIN_PAIRS, Paired, judge
from suites.performance.queries import find
from suites.performance.verdicts import Measured, Profile, Table
from suites.support import Rows, insert

MERGED_MB = 1024
_APART, _READ = 1000, 2
"""Added to the numbers of batches that are not those of another phase; and how many segments are read by hand."""

MOUNT_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "nothing changed (A/A)": {},
    "--max-fuse-io=1M (128K)": {"fuse_io_kb": 1024},
    "--max-readahead=64 (as JuiceFS sees fit)": {"readahead_mb": 64},
    "--prefetch=4 (1)": {"prefetch": 4},
    "--buffer-size=1024 (300)": {"buffer_mb": 1024},
}
"""By what is changed, its default in brackets. The first shows what two equal mounts differ by."""

VOLUME_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "format --block-size=1M (4M)": {"block_kb": 1024},
    "format --block-size=16M (4M)": {"block_kb": 16 << 10},
    "format --compress=lz4 (none)": {"compression": "lz4"},
}


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
                phase(rounds, got, Deadline(profile.limit_s / 3), say)

    lifetime = run_cluster(place, "tuning", use)
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
        lifetimes=(lifetime,),
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
        _by_hand(self.cluster, rounds, got, limit, say)

    def merge_rounds(self, rounds: int, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
        """The same batch into two collections, of which one merges its batches, and each asked at once."""
        self.create("merged", MERGED_MB)
        for turn in range(rounds):
            if turn and limit.expired:
                return
            names = ("merged", "kept") if turn % 4 in (0, 3) else ("kept", "merged")
            reader = self.cluster.readers[turn % len(self.cluster.readers)].name
            took_s = {name: self.first_s(name, _APART + turn, reader) for name in names}
            got.add("each batch a segment: index_file_size 48 (1024)", took_s["merged"], took_s["kept"])
            say(f"merged and not, round {turn + 1} of {rounds}")

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


def _by_hand(cluster: Cluster, rounds: int, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
    """The same batch read by mounts that differ in one option, each with an empty cache, in turns."""
    folders = [each.folder for each in segments_of(cluster, "kept")][:_READ]
    with contextlib.ExitStack() as stack:
        own = _Reading(cluster.volume, stack.enter_context(extra_mount(cluster, "own")))
        others = {
            name: _Reading(cluster.volume, stack.enter_context(extra_mount(cluster, f"mount-{at}", options)))
            for at, (name, options) in enumerate(MOUNT_OPTIONS.items())
        }
        for at, (name, options) in enumerate(VOLUME_OPTIONS.items()):
            volume = stack.enter_context(extra_volume(cluster, f"volume-{at}", options))
            mount = stack.enter_context(extra_mount(cluster, f"volume-{at}", options, volume))
            for folder in folders:
                shutil.copytree(own.mount.point / folder, mount.point / folder)
            others[name] = _Reading(volume, mount)
        for turn in range(rounds):
            if turn and limit.expired:
                return
            folder = folders[turn % len(folders)]
            for name, other in others.items():
                order = (own, other) if turn % 4 in (0, 3) else (other, own)
                took_s = {id(each): each.cold_s(folder) for each in order}
                got.add(name, took_s[id(own)], took_s[id(other)])
            say(f"cold reads by hand, round {turn + 1} of {rounds}")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A mount of a volume, to read a segment with."""

    volume: Volume
    mount: JuiceFSMount

    def cold_s(self, folder: str) -> float:
        """A segment looked up and read, with nothing of it in a cache of this mount. Seconds."""
        path: Path = self.mount.point / folder
        self.volume.warm_up(path, self.mount.process, evict=True)
        drop_pages(path)
        return look_up_and_read(path)


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
