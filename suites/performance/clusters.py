"""Whole clusters, from nothing to their end, timed: side by side as always, or one step after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from fixtures.cluster import Cluster
from fixtures.plugin.header import describe
from fixtures.plugin.launcher import Component, Launcher
from fixtures.plugin.run import SHARED
from fixtures.runtimes import Folders, Runtime, new_run_id, open_embedded
from fixtures.runtimes.interrupts import shielded
from fixtures.services import JuiceFSMount, Programs
from fixtures.steps import Phase, Step
from fixtures.topology import Topology

Running = tuple[Cluster, Callable[[], Sequence[str]]]
"""A cluster that answers, and what ends its runtime and says what that had to remove by force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the clusters run: their logs go to folders of their own in `report`, their data below `work_parent`.

    They are as `topology` says where nothing else is asked for, and started by `launcher` on that `runtime`; None:
    embedded, with `programs` in the place of Milvus. `compare` is a folder of another file system to stand beside
    JuiceFS, or the same folder by two of its mounts; empty if none was given.
    """

    report: Path
    work_parent: Path
    seed: int
    say: Callable[[str], None]
    programs: Programs = field(default_factory=Programs)
    compare: tuple[Path, ...] = ()
    topology: Topology = field(default_factory=Topology)
    runtime: str = "embedded"
    launcher: Callable[[Folders], Launcher] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """One cluster from nothing to its end.

    `first_search_s` counts from before its runtime was opened; `prepared_s` of that went by before the first step
    began. `left` is what the look for leaks found.
    """

    first_search_s: float
    prepared_s: float
    phases: tuple[Phase, ...]
    shutdown_s: float
    left: tuple[str, ...]
    storage: str
    parts: tuple[str, ...]


class OneByOne(Cluster):
    """A cluster whose steps are those of any other, but each starts when the one before it is done: timed alone."""

    def _start_steps(self) -> Iterator[Step]:
        return one_by_one(super()._start_steps())


def one_by_one(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps in the same order, none beside another."""
    before: tuple[str, ...] = ()
    for step in steps:
        yield Step(step.name, step.action, before)
        before = (step.name,)


def run_cluster(
    place: Place,
    name: str,
    use: Callable[[Cluster], None] = lambda _: None,
    kind: type[Cluster] = Cluster,
    *,
    topology: Topology | None = None,
    opened: Callable[[Folders], Runtime] = lambda folders: open_embedded(folders),
) -> Lifetime:
    """Start a cluster, `use` it, stop it. `name` is a folder in the report. Raises HarnessError if it fails.

    `opened` opens its runtime where the place has no launcher; that is part of the time.
    """
    began_s, chosen = time.monotonic(), topology or place.topology
    folders = Folders.create(place.report / name, place.work_parent, new_run_id())
    if place.launcher is None:
        running = _opened(place, opened, kind, folders, chosen)
    else:
        running = _launched(place, place.launcher, folders, chosen)
    with running as (cluster, close):
        took_s = time.monotonic() - began_s
        # Other steps follow the first search; they are not part of this figure.
        prepared_s = took_s - max(phase.ready_s for phase in cluster.bring_up)
        use(cluster)
        stopping_s = time.monotonic()
        left = [*cluster.stop(), *close()]
        why_not_juicefs = cluster.capabilities["fuse"]
        return Lifetime(
            first_search_s=prepared_s + cluster.first_search_s,
            prepared_s=prepared_s,
            phases=tuple(cluster.bring_up),
            shutdown_s=time.monotonic() - stopping_s,
            left=tuple(left),
            storage=cluster.storage if why_not_juicefs is None else f"plain folder: {why_not_juicefs}",
            parts=parts(cluster),
        )


@contextlib.contextmanager
def _opened(
    place: Place, opened: Callable[[Folders], Runtime], kind: type[Cluster], folders: Folders, topology: Topology
) -> Iterator[Running]:
    with (
        opened(folders) as runtime,
        kind.start(topology, runtime, folders, "bench", place.seed, programs=place.programs) as cluster,
    ):
        yield cluster, runtime.close


@contextlib.contextmanager
def _launched(
    place: Place, launch: Callable[[Folders], Launcher], folders: Folders, topology: Topology
) -> Iterator[Running]:
    launcher = launch(folders)
    with contextlib.ExitStack() as stack:
        stack.callback(_shielded, launcher.close)
        launcher.plan()
        launcher.prepare(place.say)
        # By the name of the run's own: one that runs already has no other.
        cluster = cast(Cluster, launcher.start(topology, SHARED, place.seed, lambda _: None))
        stack.callback(_shielded, cluster.stop)
        yield cluster, launcher.close


def _shielded(end: Callable[[], object]) -> None:
    with shielded():
        end()


def parts(cluster: Cluster) -> tuple[str, ...]:
    """The components with their versions, each once: mounts and nodes of a kind are the same program."""
    found = []
    for service in cluster.services:
        label = "juicefs" if isinstance(service, JuiceFSMount) else service.name
        label = "milvus" if service in cluster.nodes else label
        component = Component(name=label, implementation=service.implementation, version=service.version)
        found.append(describe(component))
    return tuple(dict.fromkeys(found))
