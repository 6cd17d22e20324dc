"""Where the time of a first query goes: the steps of its path done by hand, one after the other, on a mount of our own.

A reader that is asked for a new batch asks MySQL which files there are, looks up and opens them on its mount (metadata:
Redis), reads them (data: the object store), has them in memory, and searches. Here the same rows, files and bytes are
asked for with no Milvus in between, on a mount with an empty cache, so what a step takes is what its component takes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy
from redis import Redis

from fixtures.cluster import Cluster
from fixtures.extras import extra_mount
from fixtures.services import JuiceFSMount
from suites.performance.article.states import Segment

_GET_SECONDS = "juicefs_object_request_durations_histogram_seconds_GET_sum"
T = TypeVar("T")
_FILES = sqlalchemy.text(
    "SELECT id, segment_id, file_type, file_size, row_count FROM TableFiles"
    " WHERE table_id = :collection AND file_type IN (1, 2, 3)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What the steps of fetching one batch took, in seconds, and its size.

    `gets_s` is the sum over its requests to the object store, which overlap: it may exceed `read_s`. `copy_s` is the
    read again, from the page cache. `redis_commands` is how often Redis was asked from the look-up to the end of the
    read, by all that use it: each waits for the way to Redis and back.
    """

    mysql_s: float
    metadata_s: float
    read_s: float
    gets_s: float
    copy_s: float
    bytes: int
    redis_commands: int

    @property
    def floor_s(self) -> float:
        """What no Milvus can be faster than, if the batch is in the object store alone."""
        return self.mysql_s + self.metadata_s + self.read_s

    @property
    def hot_floor_s(self) -> float:
        """The same with the batch in the page cache."""
        return self.mysql_s + self.metadata_s + self.copy_s


@contextlib.contextmanager
def by_hand(cluster: Cluster, collection: str) -> Iterator[Callable[[Segment], Steps]]:
    """A function that does the steps for a segment of this collection, once for each. Raises HarnessError."""
    engine = sqlalchemy.create_engine(cluster.mysql.sqlalchemy_uri)
    try:
        with (
            extra_mount(cluster, "by-hand") as mount,
            engine.connect() as connection,
            cluster.redis.connect() as redis,
        ):
            ask = partial(_ask, connection, collection)
            ask()  # a node keeps its connections, and so do we
            yield lambda segment: _steps(mount, segment, ask, redis)
    finally:
        engine.dispose()


def look_up_and_read(folder: Path) -> float:
    """Look up, open and read the files of a folder, into memory that is there already. Seconds."""
    metadata_s, paths = _timed(partial(_look_up, folder))
    buffer = bytearray(max(path.stat().st_size for path in paths))
    read_s, _ = _timed(partial(_read, paths, buffer))
    return metadata_s + read_s


def _steps(mount: JuiceFSMount, segment: Segment, ask: Callable[[], object], redis: Redis) -> Steps:
    gets_before_s, commands_before = mount.counters().get(_GET_SECONDS, 0.0), _commands(redis)
    mysql_s, _ = _timed(ask)
    metadata_s, paths = _timed(partial(_look_up, segment.on(mount)))
    # Whole files at once, as the nodes read them: small reads wait for each other.
    buffer = bytearray(max(path.stat().st_size for path in paths))
    read_s, size = _timed(partial(_read, paths, buffer))
    # The first count is itself a command.
    redis_commands = _commands(redis) - commands_before - 1
    gets_s = mount.counters().get(_GET_SECONDS, 0.0) - gets_before_s
    copy_s, _ = _timed(partial(_read, paths, buffer))
    return Steps(
        mysql_s=mysql_s,
        metadata_s=metadata_s,
        read_s=read_s,
        gets_s=gets_s,
        copy_s=copy_s,
        bytes=size,
        redis_commands=redis_commands,
    )


def _ask(connection: sqlalchemy.Connection, collection: str) -> int:
    return len(connection.execute(_FILES, {"collection": collection}).all())


def _commands(redis: Redis) -> int:
    return int(redis.info("stats")["total_commands_processed"])


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began_s = time.perf_counter()
    done = work()
    return time.perf_counter() - began_s, done


def _look_up(folder: Path) -> list[Path]:
    """List a segment's folder, and look up, open and close each file in it, as a node does before it reads."""
    paths = sorted(folder.iterdir())
    for path in paths:
        os.close(os.open(path, os.O_RDONLY))
        path.stat()
    return paths


def _read(paths: Sequence[Path], buffer: bytearray) -> int:
    """Read the files one after the other into memory that is there already; how many bytes they had."""
    size = 0
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(buffer):
                size += got
    return size
