"""First queries of new batches on the readers of a cluster, plain and with one thing different, in the same round."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fixtures import network
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import FaultNotEffective, MissingCapability
from fixtures.extras import extra_mount
from fixtures.services import Service
from fixtures.waits import Deadline
from suites.performance.article.options import STORE_LATE_S
from suites.performance.article.states import segments_of
from suites.performance.article.steps import look_up_and_read
from suites.performance.article.workload import DIMENSION, MERGED_MB, apart_mb
from suites.performance.nas.transfer import objects_fetched
from suites.performance.queries import find
from suites.support import Rows, insert, wait_for_quiet_files

KEPT = "kept"
REDIS_LATE_S = 0.001
"""How much further away it is for the reader that has it so."""

WARMED = "juicefs warmup of the new segment, after the flush"
PRELOADED = "preload on the reader, after the flush"
FAR_REDIS = "Redis 1 ms further from the reader"
FAR_STORE = "the object store 20 ms further from the reader"
APART = "each batch a segment: index_file_size 48 (1024)"
OWN_CACHE = "a mount with a cache of its own"
SHARED_CACHE = "another mount on the writer's cache folder"
SHARED_MOUNT = "the writer's own mount"
KEPT_WRITES = "the mount that wrote it, with --cache-large-write (off)"

_BATCHES = 6

Add = Callable[[str, float, float, float | None], None]
"""Takes a setting, the seconds without and with it, and what it cost ahead of the query, if anything."""


@dataclass(frozen=True, slots=True)
class FirstQueries:
    """On one cluster, whose nodes `doors` lead to; batches of `rows`. All that measure raise HarnessError."""

    cluster: Cluster
    doors: Mapping[str, Client]
    rows: int

    @property
    def differences(self) -> Mapping[str, Callable[[str, str], AbstractContextManager[None]]]:
        """What is different for one of two readers, from before its query of a collection to after it."""
        return {
            WARMED: self._warmed,
            PRELOADED: self._preloaded,
            FAR_REDIS: lambda reader, _: self._far(self.cluster.redis, REDIS_LATE_S, reader),
            FAR_STORE: lambda reader, _: self._far(self.cluster.object_store, STORE_LATE_S, reader),
        }

    def create(self, collection: str, index_file_size_mb: int) -> None:
        """A new collection, by the writer."""
        self.doors["writer"].create_collection(collection, DIMENSION, index_file_size_mb=index_file_size_mb).require()

    def rounds(self, rounds: int, add: Add, limit: Deadline, say: Callable[[str], None]) -> None:
        """New batches, for which something is different on one of two readers; on which one changes each round.

        A collection for each round, so that a late one holds no more than an early one, and never more than a reader
        can keep in memory. Where the network's distance has no proof, or no means in this kernel, that pair is left
        out, and said so.
        """
        readers = [each.name for each in self.cluster.readers[:2]]
        for turn in range(rounds):
            if turn and limit.expired:
                return
            collection = f"{KEPT}_{turn}"
            self.create(collection, apart_mb(self.rows))
            probe = self._insert(collection, 0)
            for reader in readers:
                find(self.doors[reader], collection, probe)
            for at, (name, different) in enumerate(self.differences.items()):
                try:
                    took = self._pair(different, collection, 1 + at, readers if turn % 2 == 0 else readers[::-1], turn)
                except (FaultNotEffective, MissingCapability) as error:
                    say(f"{name}, round {turn + 1}: left out: {error}")
                    continue
                before_s, after_s, cost_s = took
                add(name, before_s, after_s, None if name in (FAR_REDIS, FAR_STORE) else cost_s)
            say(f"first queries, round {turn + 1} of {rounds}")

    def _pair(
        self,
        different: Callable[[str, str], AbstractContextManager[None]],
        collection: str,
        batch: int,
        readers: Sequence[str],
        turn: int,
    ) -> tuple[float, float, float]:
        """The first query on one reader as it is, on the other with the difference, and what that took. Seconds."""
        plain, changed = readers
        probe = self._insert(collection, batch)
        began_s = time.monotonic()
        with different(changed, collection):
            cost_s = time.monotonic() - began_s
            order = (plain, changed) if turn % 4 < 2 else (changed, plain)
            took_s = {reader: find(self.doors[reader], collection, probe).seconds for reader in order}
        return took_s[plain], took_s[changed], cost_s

    def merge_rounds(self, rounds: int, add: Add, limit: Deadline, say: Callable[[str], None]) -> None:
        """The same batch into two new collections, of which one merges its batches, and each asked at once.

        The one that merges comes second and is then left in peace until it is done: its merges are its own trouble, and
        would otherwise be that of the other, too.
        """
        for turn in range(rounds):
            if turn and limit.expired:
                return
            # New ones now and then: a reader's memory must hold all of both, or it fetches what it had before.
            series, batch = divmod(turn, _BATCHES)
            names = {f"apart_{series}": apart_mb(self.rows), f"merged_{series}": MERGED_MB}
            if batch == 0:
                for name, size_mb in names.items():
                    self.create(name, size_mb)
            reader = self.cluster.readers[turn % len(self.cluster.readers)].name
            apart_s, merged_s = (find(self.doors[reader], name, self._insert(name, batch)).seconds for name in names)
            wait_for_quiet_files(self.cluster, f"merged_{series}", self.cluster.budgets.merge_s)
            add(APART, merged_s, apart_s, None)
            say(f"merged and apart, round {turn + 1} of {rounds}")

    def same_host_rounds(
        self, rounds: int, add: Add, limit: Deadline, say: Callable[[str], None]
    ) -> Mapping[str, list[int]]:
        """New batches read by hand, on a mount with a cache of its own and in other ways that one host allows.

        Gives how many objects each of them fetched from the store, batch by batch: none if the cache had all.
        """
        collection, writers = "same_host", self.cluster.mounts["writer"]
        elsewhere = self.cluster.mounts[self.cluster.readers[0].name]
        self.create(collection, apart_mb(self.rows))
        with (
            extra_mount(self.cluster, "own-cache") as own,
            extra_mount(self.cluster, "shares-cache", cache=writers.cache) as shares,
            extra_mount(self.cluster, "keeps-writes", {"cache_large_write": True}) as keeps,
        ):
            mounts = {OWN_CACHE: own, SHARED_CACHE: shares, SHARED_MOUNT: writers, KEPT_WRITES: keeps}
            fetched: dict[str, list[int]] = {name: [] for name in mounts}
            for turn in range(rounds):
                if turn and limit.expired:
                    break
                self._insert(collection, turn)
                folder = segments_of(self.cluster, collection)[-1].folder
                # The same bytes, written by a mount that keeps them; read where nobody else will read them again.
                shutil.copytree(elsewhere.point / folder, keeps.point / "kept-writes" / str(turn))
                folders = dict.fromkeys(mounts, folder) | {KEPT_WRITES: f"kept-writes/{turn}"}
                took_s = {}
                for name in list(mounts)[:: 1 if turn % 2 == 0 else -1]:
                    before = objects_fetched(mounts[name])
                    took_s[name] = look_up_and_read(mounts[name].point / folders[name])
                    fetched[name].append(int(objects_fetched(mounts[name]) - before))
                for name in mounts:
                    if name != OWN_CACHE:
                        add(name, took_s[OWN_CACHE], took_s[name], None)
                say(f"on the writer's host, round {turn + 1} of {rounds}")
        return fetched

    def _insert(self, collection: str, batch: int) -> Rows:
        rows = Rows.make(self.cluster.seed, batch * self.rows, self.rows, DIMENSION)
        insert(self.doors["writer"], collection, rows)
        self.doors["writer"].flush(collection).require()
        return rows.take([batch % self.rows])

    @contextlib.contextmanager
    def _warmed(self, reader: str, collection: str) -> Iterator[None]:
        mount = self.cluster.mounts[reader]
        self.cluster.volume.warm_up(segments_of(self.cluster, collection)[-1].on(mount), mount.process)
        yield

    @contextlib.contextmanager
    def _preloaded(self, reader: str, collection: str) -> Iterator[None]:
        self.doors[reader].preload(collection).require()
        yield

    @contextlib.contextmanager
    def _far(self, service: Service, late_s: float, reader: str) -> Iterator[None]:
        with network.slow(service, late_s, [self.cluster.mounts[reader]]):
            yield
