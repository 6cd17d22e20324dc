"""The machine that the figures are of, and how busy it was with other things."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_WHEELS = ("pymilvus", "grpcio", "protobuf", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`parts` are the components of the cluster with their versions, `wheels` those of the clients and the stand-in."""

    cores: int
    cpu: str
    memory_bytes: int
    kernel: str
    python: str
    wheels: tuple[str, ...]
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [
            f"{self.cores} cores ({self.cpu})",
            f"{self.memory_bytes / 2**30:.0f} GiB memory",
            f"Linux {self.kernel}",
            f"Python {self.python}",
            *self.wheels,
            *self.parts,
        ]
        return ", ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A moment: the load average of the last minute, and CPU seconds spent so far by all and by this process' own.

    `own_cpu_s` has this process and its children that have ended; take it when the clusters are stopped.
    """

    load: float
    at_s: float
    all_cpu_s: float
    own_cpu_s: float


def describe(parts: Sequence[str] = ()) -> Machine:
    """This machine. `cores` are those that this process may run on."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")),
        memory_bytes=psutil.virtual_memory().total,
        kernel=platform.release(),
        python=platform.python_version(),
        wheels=tuple(f"{wheel} {importlib.metadata.version(wheel)}" for wheel in _WHEELS),
        parts=tuple(parts),
    )


def cpu_model(cpuinfo: str) -> str:
    """The model in /proc/cpuinfo; the architecture where that names none (ARM)."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def usage() -> Usage:
    """The usage at this moment."""
    everything = psutil.cpu_times()
    return Usage(
        load=os.getloadavg()[0],
        at_s=time.monotonic(),
        all_cpu_s=sum(everything) - everything.idle - everything.iowait - everything.guest - everything.guest_nice,
        own_cpu_s=sum(os.times()[:4]),
    )


def foreign_cores(before: Usage, after: Usage) -> float:
    """How many cores were busy, on average, with other things than the benchmark and what it started."""
    foreign_s = (after.all_cpu_s - before.all_cpu_s) - (after.own_cpu_s - before.own_cpu_s)
    return max(0.0, foreign_s / max(after.at_s - before.at_s, 1e-9))


def noise(before: Usage, after: Usage, cores: int, *, ours: bool = True) -> list[str]:
    """How busy the machine was, in lines for a person; those that begin with WARNING make the figures doubtful.

    With `ours` the clusters' processes are this one's children; a container's are not, and count as anybody's.
    """
    foreign = foreign_cores(before, after)
    others = (
        f"other things kept {foreign:.2f} of {cores} cores busy meanwhile" if ours else "who else was busy is not told"
    )
    lines = [
        f"load average {before.load:.2f} before, {after.load:.2f} after (with this benchmark's own work); {others}"
    ]
    for when, load in (("before", before.load), ("after", after.load)):
        if load > cores / 2:
            lines.append(f"WARNING: the load average {when} is {load:.2f}, above half of the {cores} cores")
    if ours and foreign > cores / 4:
        lines.append(f"WARNING: other things took {foreign:.2f} cores: these figures are upper bounds")
    return lines
