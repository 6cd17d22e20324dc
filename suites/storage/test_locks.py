"""Locks between mounts: they exclude, and a dead client's are given to others."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.extras import extra_mount
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import observe, wait_until
from suites.storage.sides import TWO_MOUNTS, Sides, sides, writer_and_reader
from suites.support import in_parallel

ROUNDS = 40
_PERIOD_S = 0.2
_TURN_TIMEOUT_S = 30.0

Locker = Callable[[IO[bytes], int], None]
KINDS: dict[str, Locker] = {"flock": fcntl.flock, "fcntl": fcntl.lockf}


@claim(
    "J-3",
    "fcntl and flock locks exclude across mounts; a dead client gives them to others, a live one never",
    source="JuiceFS documentation, introduction: POSIX compatible, BSD and POSIX locks; measured-2 4.3",
    expected={"1.1.0": holds("a dead client's are free when its session expires: after five heartbeats of silence")},
    needs=("fuse",),
    witnesses=(TWO_MOUNTS, "contended", "kill_mount", "held by the dead"),
)
@pytest.mark.beside
def test_locks(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History) -> None:
    cluster = fresh_cluster(readers=1)
    here, there = writer_and_reader(cluster)
    with sides(trial, here, there, names("locks")) as both:
        for kind, lock in KINDS.items():
            _check_exclusive(trial, both, kind, lock, there.name)
            _check_counting(trial, both, kind, lock)
        _check_ranges(trial, both, there.name)
        budget_s = cluster.budgets.session_expiry_s + cluster.budgets.thaw_s
        with extra_mount(cluster, "holder") as holder, _opened(holder.point / both.name, both.there) as files:
            for lock, dead, live in files:
                lock(dead, fcntl.LOCK_EX)
                lock(live, fcntl.LOCK_EX)
            with faults.kill_mount(holder, history) as killed:
                _check_inherited(trial, both, killed, budget_s, there.name)
            trial.add(killed.witness)


def _try(lock: Locker, file: IO[bytes], how: int = fcntl.LOCK_EX) -> bool:
    try:
        lock(file, how | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def _both(both: Sides, name: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    (both.here / name).write_bytes(bytes(8))
    with (both.here / name).open("r+b") as ours, (both.there / name).open("r+b") as theirs:
        yield ours, theirs


def _check_exclusive(trial: Trial, both: Sides, kind: str, lock: Locker, node: str) -> None:
    """Refused while the other mount holds it, shared where both ask for that, and had once it is given back."""
    with _both(both, f"{kind}-exclusive") as (ours, theirs):
        trial.check(_try(lock, ours), f"{kind}: a lock that nobody holds is refused", node=node)
        trial.check(not _try(lock, theirs), f"{kind}: a lock held on one mount is given on another", node=node)
        shared = _try(lock, theirs, fcntl.LOCK_SH)
        trial.check(not shared, f"{kind}: a shared lock is given beside an exclusive one", node=node)
        lock(ours, fcntl.LOCK_UN)
        trial.check(_try(lock, theirs), f"{kind}: a lock given back on one mount is refused on another", node=node)
        lock(theirs, fcntl.LOCK_UN)
        trial.check(_try(lock, ours, fcntl.LOCK_SH), f"{kind}: a shared lock is refused", node=node)
        trial.check(_try(lock, theirs, fcntl.LOCK_SH), f"{kind}: a second shared lock is refused", node=node)
        lock(theirs, fcntl.LOCK_UN)
        trial.check(not _try(lock, theirs), f"{kind}: an exclusive lock is given beside a shared one", node=node)


def _check_counting(trial: Trial, both: Sides, kind: str, lock: Locker) -> None:
    """Both mounts read a number, add one and write it back, each time under the lock: none of it is lost."""
    path = f"{kind}-counter"
    (both.here / path).write_bytes(b"0")
    refused: list[int] = []
    halves: list[bytes] = []

    def add_one(file: Path) -> None:
        number = file.read_bytes()
        if not number.isdigit():
            # Whoever has the lock never sees the file while another writes it.
            halves.append(number)
            return
        file.write_bytes(b"%d" % (int(number) + 1))

    def count(folder: Path) -> None:
        with (folder / f"{path}.lock").open("a+b") as file:
            for _ in range(ROUNDS):
                turn = wait_until(lambda: _try(lock, file), timeout_s=_TURN_TIMEOUT_S, reason=kind, interval_s=0.001)
                refused.append(turn.attempts - 1)
                add_one(folder / path)
                lock(file, fcntl.LOCK_UN)

    in_parallel({"here": lambda: count(both.here), "there": lambda: count(both.there)})
    if any(refused):
        trial.witness("contended", lock=kind, refused=sum(refused), turns=len(refused))
    trial.check(not halves, f"{kind}: {len(halves)} times the number was read half written under a lock: {halves[:3]}")
    last = (both.here / path).read_bytes()
    counted = int(last) if last.isdigit() else 0
    trial.check(
        counted == 2 * ROUNDS, f"{kind}: {2 * ROUNDS - counted} of {2 * ROUNDS} additions under a lock are lost"
    )


def _check_ranges(trial: Trial, both: Sides, node: str) -> None:
    """fcntl locks ranges of bytes: those that do not meet are given side by side."""
    with _both(both, "ranges") as (ours, theirs):
        fcntl.lockf(ours, fcntl.LOCK_EX | fcntl.LOCK_NB, 4, 0)

        def given(length: int, start: int) -> bool:
            return _try(lambda file, how: fcntl.lockf(file, how, length, start), theirs)

        trial.check(given(4, 4), "fcntl: a range beside a locked one is refused", node=node)
        trial.check(not given(1, 3), "fcntl: a range within a locked one is given", node=node)
        fcntl.lockf(theirs, fcntl.LOCK_UN)


@contextlib.contextmanager
def _opened(dying: Path, living: Path) -> Iterator[Sequence[tuple[Locker, IO[bytes], IO[bytes]]]]:
    """For each kind of lock a file on the mount that is to die, and another on one that lives."""
    files = [
        (lock, (dying / f"{kind}-dead").open("a+b"), (living / f"{kind}-live").open("a+b"))
        for kind, lock in KINDS.items()
    ]
    try:
        yield files
    finally:
        for _, *opened in files:
            for file in opened:
                # A file of a dead mount complains.
                with contextlib.suppress(OSError):
                    file.close()


def _check_inherited(trial: Trial, both: Sides, killed: faults.Fault, budget_s: float, node: str) -> None:
    """What the dead one held is given to another mount within the budget; what a live one holds is not."""
    with contextlib.ExitStack() as stack:
        waiting = {kind: stack.enter_context((both.here / f"{kind}-dead").open("r+b")) for kind in KINDS}
        at_once = {kind: _try(KINDS[kind], file) for kind, file in waiting.items()}
        if not any(at_once.values()):
            trial.witness("held by the dead", kinds=list(at_once))
        for kind, file in waiting.items():
            trial.progress(f"{kind}: waiting for the dead client's session to expire, {budget_s:.0f} s at most")
            given = observe(lambda: _try(KINDS[kind], file), timeout_s=budget_s, interval_s=_PERIOD_S)  # noqa: B023
            freed_s = History.now_s() - killed.began_s
            if trial.check(given.satisfied, f"{kind}: still locked by a dead client", node=node):
                trial.measure(f"{kind} freed", freed_s, "s", budget_s, node=node)
        for kind, lock in KINDS.items():
            live = stack.enter_context((both.here / f"{kind}-live").open("r+b"))
            trial.check(not _try(lock, live), f"{kind}: the lock of a live client is given to another", node=node)
