"""Two mounts of one volume, a folder that both show, and what one of them reads there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fixtures import hanging
from fixtures.claims import Trial
from fixtures.cluster import Cluster
from fixtures.services import JuiceFSMount
from fixtures.waits import wait_until

GONE = "ENOENT"
TWO_MOUNTS = "two mounts"
FROM_STORE = "read from the store"
FETCHED = "juicefs_object_request_durations_histogram_seconds_GET_total"
_LOCK_TIMEOUT_S = 30.0
_FETCH_TIMEOUT_S = 60.0
"""How long the harness waits for a file: longer than JuiceFS tries to get an object."""


@dataclass(frozen=True, slots=True)
class Sides:
    """A folder as two mounts show it: `here` things are done, `there` they are looked at."""

    here: Path
    there: Path
    name: str
    """The folder's, below the root of any mount."""


@contextlib.contextmanager
def sides(trial: Trial, here: JuiceFSMount, there: JuiceFSMount, name: str) -> Iterator[Sides]:
    """A new folder beside Milvus' own; removed at the end. Witnesses that two clients of JuiceFS are concerned."""
    sessions = {mount.name: session(mount) for mount in (here, there)}
    if len(set(sessions.values())) == len(sessions):
        trial.witness(TWO_MOUNTS, sessions=sessions)
    (here.point / name).mkdir()
    try:
        yield Sides(here.point / name, there.point / name, name)
    finally:
        shutil.rmtree(here.point / name, ignore_errors=True)


def writer_and_reader(cluster: Cluster) -> tuple[JuiceFSMount, JuiceFSMount]:
    """The mounts of the writer and of the first reader: the very ones that Milvus' files go through."""
    return cluster.mounts[cluster.writer.name], cluster.mounts[cluster.readers[0].name]


def session(mount: JuiceFSMount) -> int:
    """The number that Redis knows this client by."""
    told = json.loads(hanging.ask(("cat", str(mount.point / ".config")), 5.0, mount.name))
    return int(told["Meta"]["Sid"])


def read(path: Path) -> bytes | str:
    """What opening and reading the file gives: its bytes, or the name of the error."""
    try:
        return path.read_bytes()
    except OSError as error:
        return error_name(error)


def fetch(path: Path, copies: Path) -> bytes | str:
    """As `read`, where the answer may never come: copied by another process, which is given up after a while."""
    copy = copies / "copy"
    copy.unlink(missing_ok=True)
    try:
        hanging.ask(("cp", "--", str(path), str(copy)), _FETCH_TIMEOUT_S, str(path))
        return copy.read_bytes()
    except OSError as error:
        return GONE if os.strerror(errno.ENOENT) in str(error) else str(error)


@contextlib.contextmanager
def from_store(trial: Trial, mount: JuiceFSMount, objects: int) -> Iterator[None]:
    """Witness that what is read in the block came from the object store: at least so many objects were fetched.

    None of what is read may have been in the mount's cache before.
    """
    before = mount.counters().get(FETCHED, 0.0)
    yield
    fetched = mount.counters().get(FETCHED, 0.0) - before
    if fetched >= objects > 0:
        trial.witness(FROM_STORE, mount=mount.name, objects_fetched=int(fetched), at_least=objects)


def error_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def told(seen: bytes | str, old: bytes, new: bytes | str) -> str:
    """What was seen, in a word: "new", "old", the name of an error, or how many bytes that are neither.

    `new` is the name of an error where that is what ought to be seen.
    """
    if seen == new:
        return "new"
    if isinstance(seen, str):
        return seen
    return "old" if seen == old else f"{len(seen)} bytes, neither the old nor the new ones"


@contextlib.contextmanager
def exclusive(file: IO[bytes]) -> Iterator[None]:
    """Hold `flock` of a file, on whichever mount it was opened. Asked for again and again: to wait in it has no end."""
    wait_until(lambda: try_lock(file), timeout_s=_LOCK_TIMEOUT_S, reason=f"the lock of {file.name}", interval_s=0.001)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def try_lock(file: IO[bytes]) -> bool:
    """Whether its `flock` was to be had; if so, it is held now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
