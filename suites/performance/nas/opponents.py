"""Who is measured beside JuiceFS: two mounts of each, on the same object store, and the local disk as the limit."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import kernel
from fixtures.runtimes.interrupts import shielded
from fixtures.services.object_store import S3Store
from fixtures.services.seaweedfs import SeaweedFS
from fixtures.waits import observe
from suites.performance.nas.mounts import RCLONE_OPTIONS, FuseMount, find_rclone, rclone_mount, weed_mount
from suites.performance.nas.programs import run_program

JUICEFS, RCLONE, WEED, LOCAL = "juicefs", "rclone mount", "weed mount", "local disk"
SEEN_TIMEOUT_S = 60.0
_LOCAL_KINDS = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})
_PATIENCE = 4
_LEAST_PATIENCE_S = 180.0
NOTES = {
    JUICEFS: "the cluster's own mounts: metadata in Redis, data in the object store",
    RCLONE: f"{' '.join(RCLONE_OPTIONS)}; uploads after the close",
    WEED: "its defaults; metadata in the filer of the same SeaweedFS",
    LOCAL: "a folder beside the object store's own: no network, one machine; the limit, no alternative",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opponent:
    """Two views of one file system: `here` things are made, `there` they are looked at. The same where it has one.

    `note` says how it is set up. `points` are its FUSE mounts. With `late` a closed file is uploaded afterwards.
    """

    name: str
    here: Path
    there: Path
    note: str
    nas: bool = False
    late: bool = False
    points: tuple[Path, ...] = ()

    @property
    def one_sided(self) -> bool:
        """Whether what is looked at may come from the caches of whoever made it."""
        return self.here == self.there


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """JuiceFS and the others that could be had, and of the rest, by name, why not."""

    juicefs: Opponent
    others: tuple[Opponent, ...]
    missing: dict[str, str]

    @property
    def points(self) -> tuple[Path, ...]:
        """All FUSE mounts."""
        return tuple(point for each in self.all for point in each.points)

    @property
    def all(self) -> tuple[Opponent, ...]:
        return (self.juicefs, *self.others)

    @property
    def nas(self) -> Opponent | None:
        """What the user brought, unless that is on this machine: a NAS, as far as we know."""
        return next((each for each in self.others if each.nas), None)


@contextlib.contextmanager
def open_field(cluster: Cluster, compare: Sequence[Path], say: Callable[[str], None]) -> Iterator[Field]:
    """Start all that can be had; gone at the end. `compare`: a folder of another file system, or two views of one.

    Raises InfrastructureError if JuiceFS cannot be had.
    """
    if (why := cluster.capabilities["fuse"]) is not None:
        raise InfrastructureError(f"nothing can be compared: {why}")
    writer, reader = cluster.mounts[cluster.writer.name], cluster.mounts[cluster.readers[0].name]
    juicefs = _two_mounts(JUICEFS, writer.point, reader.point)
    missing: dict[str, str] = {}
    others: list[Opponent] = []
    with contextlib.ExitStack() as stack:
        for name in (RCLONE, WEED):
            try:
                mounts = _described(cluster, name)
                for mount in mounts:
                    stack.enter_context(_running(mount))
            except InfrastructureError as error:
                missing[name] = str(error).splitlines()[0]
                say(f"{name} is left out: {missing[name]}")
                continue
            own = _two_mounts(name, mounts[0].point, mounts[1].point)
            if name == RCLONE:
                said = run_program(cluster, "rclone version", (find_rclone(cluster.site), "version"))
                own = dataclasses.replace(own, note=f"{said.splitlines()[0]}, {own.note}", late=True)
            others.append(own)
        local = cluster.site.folder("opponents/local-disk")
        others.append(Opponent(name=LOCAL, here=local, there=local, note=NOTES[LOCAL]))
        if compare:
            others.append(stack.enter_context(_given(cluster, compare)))
        yield Field(juicefs=juicefs, others=tuple(others), missing=missing)


def _two_mounts(name: str, here: Path, there: Path) -> Opponent:
    return Opponent(name=name, here=here, there=there, note=NOTES[name], points=(here, there))


def _described(cluster: Cluster, name: str) -> list[FuseMount]:
    """Its two mounts, not started yet. Raises InfrastructureError with what is missing, and what to do about it."""
    store, site = cluster.object_store, cluster.site
    if name == WEED:
        if not isinstance(store, SeaweedFS):
            raise InfrastructureError(f"the object store is {store.implementation}, not SeaweedFS")
        return [weed_mount(site, store, number) for number in (1, 2)]
    if not isinstance(store, S3Store):
        raise InfrastructureError(f"the object store is {store.implementation}, which does not speak S3")
    return [rclone_mount(site, store, number) for number in (1, 2)]


@contextlib.contextmanager
def _running(mount: FuseMount) -> Iterator[None]:
    try:
        mount.start()
        yield
    finally:
        with shielded():
            mount.stop()


@contextlib.contextmanager
def _given(cluster: Cluster, compare: Sequence[Path]) -> Iterator[Opponent]:
    """A folder of our own in the one that was given; both are views of the same one, which is proved."""
    runtime = cluster.site.runtime
    own = f"mjc_{runtime.folders.run_id}"
    here, there = compare[0] / own, compare[-1] / own
    runtime.claim_folder(here)
    try:
        here.mkdir()
    except OSError as error:
        raise UsageError(f"--compare-dir {compare[0]}: {error.strerror}; give a folder that can be written") from error
    try:
        if not there.is_dir():
            told = f"--compare-dir: what is made in {compare[0]} is not in {compare[-1]}"
            raise UsageError(f"{told}; give two mounts of the same file system")
        note = "one mount: what is read may be in this machine's memory" if here == there else "two mounts"
        kind = kernel.file_system(compare[0])
        remote = kind not in _LOCAL_KINDS
        note = note if remote else f"{note}; a local file system, no NAS"
        yield Opponent(name=f"{kind} at {compare[0]}", here=here, there=there, note=note, nas=remote)
    finally:
        with shielded():
            shutil.rmtree(here, ignore_errors=True)


def await_seen(folder: Path, count: int) -> None:
    """Wait until a mount lists so many files that are not empty; goes on in any case, for the caller to fail."""

    def seen() -> bool:
        return sum(path.stat().st_size > 0 for path in folder.iterdir()) >= count

    observe(seen, timeout_s=SEEN_TIMEOUT_S, errors=(OSError,))


@contextlib.contextmanager
def limited(points: Sequence[Path], limit_s: float) -> Iterator[None]:
    """End whatever is still asked of these mounts long after the limit: it gets an OSError, and waits no longer."""
    connections = [kernel.fuse_connection(point) for point in points]

    def abort() -> None:
        for connection in filter(None, connections):
            kernel.abort_fuse(connection)

    timer = threading.Timer(max(_LEAST_PATIENCE_S, _PATIENCE * limit_s), abort)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
