"""What survives a client of JuiceFS that is killed: read back through another mount, whose cache is empty."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.services import JuiceFSMount
from suites.storage.sides import FROM_STORE, GONE, TWO_MOUNTS, Sides, fetch, from_store, sides, told

SIZES = (300_000, 4_500_000)
"""Bytes: within one object, and over two (of 4 MiB)."""


@dataclass(slots=True)
class Written:
    """What was written before the kill, by the name of the file.

    `promised` maps to what must be read; `between` to what was durable before and what was written since: each byte is
    of the one or the other. The descriptors stay open, as those of a program that is killed with its host.
    """

    promised: dict[str, bytes | str] = field(default_factory=dict)
    between: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)


@claim(
    "J-2",
    "what was fsynced, or closed, survives kill -9 of the client: another mount reads it from the store",
    source="JuiceFS documentation, guide/cache: data are stored when close or fsync returns; measured-2 4.4",
    expected={"1.1.0": holds("what was neither may be missing, but is never torn")},
    needs=("fuse", "internals"),
    witnesses=(TWO_MOUNTS, "kill_mount", FROM_STORE),
)
def test_killed_client(cluster: Cluster, trial: Trial, names: Names, history: History) -> None:
    with extra_mount(cluster, "victim") as victim, extra_mount(cluster, "empty-cache") as fresh:
        for size in SIZES:
            _kill_and_read(cluster, trial, victim, fresh, names(f"killed_{size}"), size, history)


def _kill_and_read(
    cluster: Cluster, trial: Trial, victim: JuiceFSMount, fresh: JuiceFSMount, name: str, size: int, history: History
) -> None:
    copies = cluster.site.folder(f"copies/{name}")
    with sides(trial, victim, fresh, name) as both, _closing() as written:
        _write(both.here, size, written)
        files = sum(isinstance(content, bytes) for content in written.promised.values())
        with faults.kill_mount(victim, history) as dead, from_store(trial, fresh, files):
            _check_promised(trial, both, written, copies, victim.name)
            _check_between(trial, both, written, copies, victim.name)
        trial.add(dead.witness)


@contextlib.contextmanager
def _closing() -> Iterator[Written]:
    written = Written()
    try:
        yield written
    finally:
        for descriptor in written.descriptors:
            # Of a mount that is dead.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _write(folder: Path, size: int, written: Written) -> None:
    """All that a program may have done to its files when its host dies."""
    old, new, half = os.urandom(size), os.urandom(size), os.urandom(size // 2)
    for name in ("renamed", "overwritten", "overwritten in part", "removed"):
        (folder / name).write_bytes(old)

    def left_open(name: str, content: bytes, *, sync: bool, how: int = os.O_CREAT) -> int:
        descriptor = os.open(folder / name, os.O_WRONLY | how)
        written.descriptors.append(descriptor)
        _write_all(descriptor, content)
        if sync:
            os.fsync(descriptor)
        return descriptor

    (folder / "closed").write_bytes(new)
    (folder / "folder").mkdir()
    (folder / "folder" / "closed").write_bytes(new)
    (folder / "renamed.new").write_bytes(new)
    (folder / "renamed.new").rename(folder / "renamed")
    (folder / "removed").unlink()
    left_open("fsynced", new, sync=True)
    left_open("overwritten", new, sync=True, how=0)
    appended = left_open("appended", half, sync=True)
    # Last, so that no later fsync or close can have carried them along.
    _write_all(appended, half)
    left_open("unsynced", new, sync=False)
    left_open("overwritten in part", new, sync=False, how=0)
    kept = ("closed", "folder/closed", "renamed", "fsynced", "overwritten")
    written.promised = {**dict.fromkeys(kept, new), "removed": GONE, "renamed.new": GONE}
    written.between = {
        "unsynced": (b"", new),
        "appended": (half, half + half),
        "overwritten in part": (old, new),
    }


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _check_promised(trial: Trial, both: Sides, written: Written, copies: Path, node: str) -> None:
    for name, content in written.promised.items():
        seen = told(fetch(both.there / name, copies), b"", content)
        what = "was removed" if content == GONE else f"was {name.rpartition('/')[2]}, {len(content)} bytes,"
        trial.check(seen == "new", f"{name} {what} before the kill; now it is {seen}", node=node)


def _check_between(trial: Trial, both: Sides, written: Written, copies: Path, node: str) -> None:
    """What was neither fsynced nor closed: as before, as after, or so far and no further; never anything else."""
    lost = 0
    for name, (before, after) in written.between.items():
        seen = fetch(both.there / name, copies)
        if isinstance(seen, str):
            trial.check(False, f"{name}: {seen} instead of what it was before", node=node)
            continue
        lost += seen != after
        text = f"{name}: {len(seen)} bytes that are neither those before nor those written since"
        trial.check(_is_between(seen, before, after), text, node=node)
    trial.measure("unsynced writes lost", float(lost), f"of {len(written.between)}", node=node)


def _is_between(seen: bytes, before: bytes, after: bytes) -> bool:
    """Whether each byte is of `after`, or of `before` at the same place, and none that was durable is missing."""
    if not len(before) <= len(seen) <= len(after):
        return False
    now = np.frombuffer(seen, np.uint8)
    as_after = now == np.frombuffer(after, np.uint8)[: len(now)]
    as_before = np.zeros_like(as_after)
    as_before[: len(before)] = now[: len(before)] == np.frombuffer(before, np.uint8)
    return bool((as_after | as_before).all())
