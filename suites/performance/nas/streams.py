"""P-3: throughput by `fio`, sequential and random, cold and warm, with one job and with many."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from suites.performance.nas.opponents import Opponent, await_seen
from suites.performance.nas.programs import run_program
from suites.performance.nas.rounds import Samples

INSTALL_FIO = "install it with: apt-get install --no-install-recommends fio"
WRITE, COLD, WARM, RANDOM = "write", "read cold", "read warm", "random 4 KiB cold"
NAMES = (WRITE, RANDOM, COLD, WARM)
_PREPARATION = "write for random"
_MIB = 1 << 20
_RANDOM_SHARE = 4
"""Random reads are in files of a quarter of the size, and read a quarter of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One measurement of fio. `size` bytes are shared by all jobs, each with a file of its own; `portion` are moved."""

    name: str
    kind: str
    files: str
    block: str
    size: int
    portion: int

    @property
    def moved(self) -> str:
        """Where fio's answer has what it moved."""
        return "write" if self.kind == "write" else "read"

    def options(self, jobs: int) -> list[str]:
        """What fio is told. A written file is closed with an fsync, and that is part of its time."""
        return [
            f"--name={self.name}",
            # One after the other.
            "--stonewall",
            f"--filename_format={self.files}.$jobnum",
            f"--rw={self.kind}",
            f"--bs={self.block}",
            f"--numjobs={jobs}",
            f"--size={self.size // jobs}",
            f"--io_size={self.portion // jobs}",
            "--fsync_on_close=1" if self.moved == "write" else "--allow_file_create=0",
        ]


def written(size: int) -> tuple[Stream, ...]:
    """What one mount writes; the second is only there to be read."""
    small = size // _RANDOM_SHARE
    return (
        Stream(name=WRITE, kind="write", files="stream", block="1M", size=size, portion=size),
        Stream(name=_PREPARATION, kind="write", files="random", block="256k", size=small, portion=small),
    )


def looked_at(size: int) -> tuple[Stream, ...]:
    """What the other mount reads: what it has never seen, and then again, from its own cache if it keeps one."""
    small = size // _RANDOM_SHARE
    portion = small // _RANDOM_SHARE
    return (
        Stream(name=RANDOM, kind="randread", files="random", block="4k", size=small, portion=portion),
        Stream(name=COLD, kind="read", files="stream", block="1M", size=size, portion=size),
        Stream(name=WARM, kind="read", files="stream", block="1M", size=size, portion=size),
    )


def find_fio(cluster: Cluster) -> str:
    """The program. Raises InfrastructureError that says how to install it."""
    return cluster.site.runtime.find("fio", ("fio",), INSTALL_FIO)


def fio_version(cluster: Cluster) -> str:
    """As it says it: `fio-3.33`. Raises InfrastructureError if it is not here."""
    return run_program(cluster, "fio version", (find_fio(cluster), "--version")).strip()


def run_streams(cluster: Cluster, who: Opponent, jobs: int, size: int, name: str, seed: int, samples: Samples) -> None:
    """All streams once, in a new folder of that name, in MiB/s. Raises InfrastructureError if one fails."""
    here, there = who.here / name, who.there / name
    here.mkdir()
    try:
        rates = dict(_run(cluster, written(size), here, jobs, seed))
        # Where files are uploaded after their close, the others cannot have them yet; that time is not measured.
        await_seen(there, 2 * jobs)
        rates.update(_run(cluster, looked_at(size), there, jobs, seed))
        samples.add(who.name, jobs, {each: rates[each] / _MIB for each in NAMES})
    finally:
        shutil.rmtree(here, ignore_errors=True)


def _run(cluster: Cluster, streams: Sequence[Stream], folder: Path, jobs: int, seed: int) -> Mapping[str, float]:
    argv = (
        find_fio(cluster),
        "--output-format=json",
        "--group_reporting",
        f"--directory={folder}",
        f"--randseed={seed}",
        # Buffered, as Milvus reads and writes; the file's pages are dropped from the kernel's cache before each.
        "--ioengine=psync",
        "--invalidate=1",
        "--fallocate=none",
        # New random bytes for each block: what is compressed or kept once has no advantage.
        "--refill_buffers",
        *(option for stream in streams for option in stream.options(jobs)),
    )
    return rates_of(run_program(cluster, "fio", argv), streams)


def rates_of(printed: str, streams: Sequence[Stream]) -> Mapping[str, float]:
    """Bytes a second by fio's own clock. Raises InfrastructureError if it says an error, or moved other than asked."""
    start = printed.find("{")
    try:
        told = {job["jobname"]: job for job in json.loads(printed[max(start, 0) :])["jobs"]}
        return {stream.name: _rate(told[stream.name], stream) for stream in streams}
    except (ValueError, LookupError) as error:
        raise InfrastructureError(f"fio printed nothing that we know: {printed.strip()[-300:]}") from error


def _rate(job: Mapping[str, Any], stream: Stream) -> float:
    moved = job[stream.moved]
    if job["error"] or not 0.9 * stream.portion <= moved["io_bytes"] <= 1.1 * stream.portion:
        raise InfrastructureError(f"fio: {stream.name}: error {job['error']}, {moved['io_bytes']} bytes moved")
    return float(moved["io_bytes"] * 1000 / max(moved["runtime"], 1))
