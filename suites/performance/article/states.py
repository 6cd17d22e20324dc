"""What it costs a reader to fetch one batch, by where its bytes are: object store, JuiceFS' cache, or page cache.

Each state is made on purpose, and proved by what the mount counted during the query: objects read from the store when
cold, blocks found in its cache when warm, and nothing read from it at all when hot. A query without that proof counts
for no state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from fixtures.services import JuiceFSMount
from suites.performance.article.workload import CALL_TIMEOUT_S, DIMENSION
from suites.support import Rows

STATES: Mapping[str, str] = {
    "cold": "in the object store alone",
    "warm": "in JuiceFS' cache on the reader's disk, not in memory",
    "hot": "in the page cache",
}
_GETS = "juicefs_object_request_durations_histogram_seconds_GET_total"
_READ_BYTES = "juicefs_fuse_read_size_bytes_sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment as a reader finds it: its file in MySQL, and its folder on the mount."""

    file_id: int
    folder: str
    rows: int

    def on(self, mount: JuiceFSMount) -> Path:
        return mount.point / self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One batch fetched by a reader in one state. Seconds. `gets` and `read_bytes` are what its mount counted."""

    reader: str
    state: str
    first_s: float
    second_s: float
    gets: int
    read_bytes: int

    @property
    def fetch_s(self) -> float:
        return self.first_s - self.second_s

    @property
    def proven(self) -> bool:
        """Whether the bytes came from where they were meant to be."""
        if self.state == "cold":
            return self.gets > 0
        return self.gets == 0 and (self.read_bytes > 0) == (self.state == "warm")


def segments_of(cluster: Cluster, collection: str) -> list[Segment]:
    """The searchable segments of a collection, in the order they were made."""
    found = cluster.query(
        "SELECT id, table_id, segment_id, row_count FROM TableFiles"
        " WHERE table_id = %s AND file_type IN (1, 2, 3) ORDER BY id",
        (collection,),
    )
    return [Segment(file_id=int(row[0]), folder=f"tables/{row[1]}/{row[2]}", rows=int(row[3])) for row in found]


def measure_states(cluster: Cluster, collection: str, segment: Segment) -> Iterator[Fetch]:
    """A segment fetched by each reader in each state. Raises HarnessError."""
    probe = Rows.make(cluster.seed + segment.file_id, 0, 1, DIMENSION)
    for reader in cluster.readers:
        mount = cluster.mounts[reader.name]
        with cluster.connect(reader.name, timeout_s=CALL_TIMEOUT_S) as client:
            for state in STATES:
                client.release(collection).require()
                prepare(cluster, mount, segment, state)
                yield _fetch(client, mount, collection, segment, probe, state)


def prepare(cluster: Cluster, mount: JuiceFSMount, segment: Segment, state: str) -> None:
    """Have the bytes of a segment lie where the state says, as this mount sees it."""
    folder = segment.on(mount)
    if state == "cold":
        cluster.volume.warm_up(folder, mount.process, evict=True)
    elif state == "warm":
        cluster.volume.warm_up(folder, mount.process)
    if state != "hot":
        drop_pages(folder)
    if state == "warm":
        # What JuiceFS has on its disk may be in memory as well.
        drop_pages(mount.cache)
    if state == "hot":
        for path in folder.iterdir():
            path.read_bytes()


def drop_pages(folder: Path) -> None:
    """Put the pages of all files below a folder out of memory; only theirs, since others use this machine, too."""
    for path in folder.rglob("*"):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # a block that JuiceFS has just removed, or a folder
        try:
            os.fdatasync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            continue  # no regular file
        finally:
            os.close(handle)


def _fetch(client: Client, mount: JuiceFSMount, collection: str, segment: Segment, probe: Rows, state: str) -> Fetch:
    before = mount.counters()
    first = client.search_in_files(collection, [segment.file_id], probe.vectors, 1).require()
    after = mount.counters()
    second = client.search_in_files(collection, [segment.file_id], probe.vectors, 1).require()
    if first.ids.shape != (1, 1):
        raise InfrastructureError(f"{client.node}: a search in file {segment.file_id} found {first.ids.shape} rows")
    return Fetch(
        reader=client.node,
        state=state,
        first_s=first.elapsed_s,
        second_s=second.elapsed_s,
        gets=int(after[_GETS] - before.get(_GETS, 0)),
        read_bytes=int(after[_READ_BYTES] - before.get(_READ_BYTES, 0)),
    )
