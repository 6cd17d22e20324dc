"""Which options of a mount or a volume read a cold segment faster, near the object store and far from it.

By hand, without any Milvus: the same segments, on mounts side by side that differ in one thing, in turns.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures import network
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount, extra_volume
from fixtures.services import JuiceFSMount, Volume
from fixtures.waits import Deadline
from suites.performance.article.states import drop_pages
from suites.performance.article.steps import look_up_and_read

_OWN = "own"
MOUNT_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "nothing changed (A/A)": {},
    "--max-fuse-io=1M (128K)": {"fuse_io_kb": 1024},
    "--max-readahead=64 (as JuiceFS sees fit)": {"readahead_mb": 64},
    "--prefetch=4 (1)": {"prefetch": 4},
    "--buffer-size=1024 (300)": {"buffer_mb": 1024},
    "--cache-partial-only (off)": {"cache_partial_only": True},
    "--entry-cache=0 (1)": {"entry_cache_s": 0.0},
}
"""By what is changed, its default in brackets. The first shows what two equal mounts differ by."""

VOLUME_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "format --block-size=1M (4M)": {"block_kb": 1024},
    "format --block-size=16M (4M)": {"block_kb": 16 << 10},
    "format --compress=lz4 (none)": {"compression": "lz4"},
}
STORE_LATE_S = 0.02
"""How much further away a far store is: what is fetched ahead of its need then decides."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A mount of a volume, to read segments with."""

    volume: Volume
    mount: JuiceFSMount

    def cold_s(self, folder: str) -> float:
        """A segment looked up and read, with nothing of it in a cache of this mount. Seconds."""
        path: Path = self.mount.point / folder
        self.volume.warm_up(path, self.mount.process, evict=True)
        drop_pages(path)
        return look_up_and_read(path)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """A mount with JuiceFS' own options, and others by what is different about them, each with a cache of its own."""

    own: Reading
    others: Mapping[str, Reading]
    folders: Sequence[str]

    def rounds(self, rounds: int, limit: Deadline, say: Callable[[str], None]) -> Iterator[tuple[str, float, float]]:
        """Cold reads in turns, as many rounds as the time allows, one at least: (difference, own, other). Seconds.

        Each reads once a round, in an order of its own for each round, so none has a connection more idle than another.
        """
        rng, readings = random.Random(rounds), {_OWN: self.own, **self.others}
        for turn in range(rounds):
            if turn and limit.expired:
                return
            folder = self.folders[turn % len(self.folders)]
            took_s = {name: readings[name].cold_s(folder) for name in rng.sample(list(readings), len(readings))}
            for name in self.others:
                yield name, took_s[_OWN], took_s[name]
            say(f"cold reads by hand, round {turn + 1} of {rounds}")

    def far_rounds(
        self, cluster: Cluster, rounds: int, limit: Deadline, say: Callable[[str], None]
    ) -> Iterator[tuple[str, float, float]]:
        """The same with the object store further away from all. Raises HarnessError, of which MissingCapability."""
        with network.slow(cluster.object_store, STORE_LATE_S):
            yield from self.rounds(rounds, limit, say)


@contextlib.contextmanager
def side_by_side(cluster: Cluster, folders: Sequence[str]) -> Iterator[SideBySide]:
    """Mounts for all options, on which the same segments lie. Raises HarnessError."""
    with contextlib.ExitStack() as stack:
        own = Reading(cluster.volume, stack.enter_context(extra_mount(cluster, "own")))
        others = {
            name: Reading(cluster.volume, stack.enter_context(extra_mount(cluster, f"mount-{at}", options)))
            for at, (name, options) in enumerate(MOUNT_OPTIONS.items())
        }
        for at, (name, options) in enumerate(VOLUME_OPTIONS.items()):
            volume = stack.enter_context(extra_volume(cluster, f"volume-{at}", options))
            mount = stack.enter_context(extra_mount(cluster, f"volume-{at}", options, volume))
            for folder in folders:
                shutil.copytree(own.mount.point / folder, mount.point / folder)
            others[name] = Reading(volume, mount)
        yield SideBySide(own, others, folders)
