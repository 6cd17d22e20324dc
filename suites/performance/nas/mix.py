"""The metadata mix, as a program of its own: python -m suites.performance.nas.mix HERE THERE JOBS FILES SIZE SEED LATE

Each job is a process with a folder of its own, so that Python's lock is not what is measured, and all of them begin
each phase together, as in mdtest. Files are made, renamed and removed on the mount `HERE`; stat, open and read and
listing go through the mount `THERE`, which has never seen them: what comes back is not the memory of the kernel that
made them. As in mdtest the files are empty, so that it is metadata that is measured, but for `write` and `read`, which
make and read as many files of SIZE bytes. It prints one JSON object (see `main`). A failed operation is counted and
does not end the phase.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import multiprocessing.synchronize
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fixtures.waits import observe, pause

METADATA = ("create", "stat", "list", "rename", "unlink")
SMALL_FILES = ("write", "read")
PHASES = ("create", "write", "stat", "list", "read", "rename", "unlink")
_SMALL = ".small"
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY
LISTS = 10
"""Listings of the whole folder for each job."""
SEEN_TIMEOUT_S = 30.0
CACHES_EXPIRE_S = 1.1
"""A little more than the second that every mount here keeps names and attributes."""


class Job:
    """One process' files. A phase returns how many operations it did, and what was said of those that failed.

    Paths are text and calls the system's own: what pathlib adds would be measured as well.
    """

    def __init__(self, here: Path, there: Path, number: int, files: int, size: int, seed: int) -> None:
        self.here, self.there = str(here / f"job-{number}"), str(there / f"job-{number}")
        rng = random.Random(f"{seed}-{number}")
        self.names = [f"file-{index:06d}" for index in range(files)]
        self.content = rng.randbytes(size)
        self.mixed = rng.sample(self.names, len(self.names))

    def do(self, phase: str) -> tuple[int, list[str]]:
        if phase == "list":
            return _each(range(LISTS), self._list)
        names = self.names if phase in ("create", "write") else self.mixed
        return _each(names, getattr(self, f"_{phase}"))

    def all_seen(self) -> bool:
        """Whether the other mount lists all files in their full size."""
        with os.scandir(self.there) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        return all(sizes.get(name) == 0 and sizes.get(f"{name}{_SMALL}") == len(self.content) for name in self.names)

    def last_seen(self) -> bool:
        """Whether the other mount has the files made last: a question that leaves its caches almost empty."""
        sizes = [os.stat(f"{self.there}/{self.names[-1]}{suffix}").st_size for suffix in ("", _SMALL)]  # noqa: PTH116
        return sizes == [0, len(self.content)]

    def _create(self, name: str) -> None:
        os.close(os.open(f"{self.here}/{name}", _NEW, 0o644))

    def _write(self, name: str) -> None:
        file = os.open(f"{self.here}/{name}{_SMALL}", _NEW, 0o644)
        try:
            os.write(file, self.content)
        finally:
            os.close(file)

    def _stat(self, name: str) -> None:
        os.stat(f"{self.there}/{name}")  # noqa: PTH116

    def _read(self, name: str) -> None:
        file = os.open(f"{self.there}/{name}{_SMALL}", os.O_RDONLY)
        try:
            if os.read(file, len(self.content) + 1) != self.content:
                raise OSError(0, "other content")
        finally:
            os.close(file)

    def _list(self, _number: int) -> None:
        if len(os.listdir(self.there)) != 2 * len(self.names):  # noqa: PTH208
            raise OSError(0, "other names")

    def _rename(self, name: str) -> None:
        os.rename(f"{self.here}/{name}", f"{self.here}/{name}.renamed")  # noqa: PTH104

    def _unlink(self, name: str) -> None:
        os.unlink(f"{self.here}/{name}.renamed")  # noqa: PTH108


def _each(items: Sequence[object] | range, do: Callable[..., None]) -> tuple[int, list[str]]:
    failed = []
    for item in items:
        try:
            do(item)
        except OSError as error:
            failed.append(error.strerror or str(error))
    return len(items), failed


def _await_seen(jobs: Sequence[Job], *, late: bool) -> float:
    """Wait until the other mount has all files; how long that took, 0 if they were there at once. Seconds.

    `late`: files come some time after their close, in any order, so that the last one says nothing of the others.
    """
    began_s = time.monotonic()

    def seen(job: Job) -> bool:
        try:
            return job.last_seen()
        except OSError:
            return False

    if not late and all(map(seen, jobs)):
        return 0.0
    for job in jobs:
        remaining_s = max(0.0, SEEN_TIMEOUT_S - (time.monotonic() - began_s))
        observe(job.all_seen, accept=bool, timeout_s=remaining_s, errors=(OSError,))
    took_s = time.monotonic() - began_s
    pause(CACHES_EXPIRE_S, "the listings that were asked for are in the caches of the mount to be measured")
    return took_s


def main(arguments: Sequence[str]) -> int:
    """Print per phase the operations, the seconds from the first job's begin to the last one's end, and the errors.

    `seen_s` is how long after the last close the other mount had all files.
    """
    here, there = Path(arguments[0]), Path(arguments[1])
    jobs, files, size, seed, late = (int(word) for word in arguments[2:])
    all_jobs = [Job(here, there, number, files, size, seed) for number in range(jobs)]
    here.mkdir()
    for job in all_jobs:
        Path(job.here).mkdir()
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(jobs), context.SimpleQueue()

    def run(number: int) -> None:
        for phase in PHASES:
            seen_s = _await_seen(all_jobs, late=bool(late)) if phase == "stat" and number == 0 else None
            barrier.wait()
            began_s = time.monotonic()
            operations, failed = all_jobs[number].do(phase)
            results.put((phase, operations, began_s, time.monotonic(), failed, seen_s))
            barrier.wait()

    processes = [context.Process(target=run, args=(number,), daemon=True) for number in range(jobs)]
    for process in processes:
        process.start()
    told = [results.get() for _ in range(jobs * len(PHASES))]
    for process in processes:
        process.join()
    print(json.dumps(summary(told)), flush=True)
    return 0


def summary(told: Sequence[tuple[str, int, float, float, list[str], float | None]]) -> dict[str, object]:
    """What all jobs told, phase by phase: (phase, operations, began, ended, errors, seen after)."""
    phases = {}
    for phase in PHASES:
        own = [each for each in told if each[0] == phase]
        errors = collections.Counter(error for each in own for error in each[4])
        phases[phase] = {
            "operations": sum(each[1] for each in own),
            "took_s": max(each[3] for each in own) - min(each[2] for each in own),
            "errors": dict(errors),
        }
    return {"phases": phases, "seen_s": next((each[5] for each in told if each[5] is not None), 0.0)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
