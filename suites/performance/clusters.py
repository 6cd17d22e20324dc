"""Whole clusters, from nothing to their end, timed: side by side as always, or one step after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.cluster import Cluster
from fixtures.plugin.header import describe
from fixtures.plugin.launcher import Component
from fixtures.runtimes import Folders, Runtime, new_run_id, open_embedded
from fixtures.services import Programs
from fixtures.steps import Phase, Step
from fixtures.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the clusters run: their logs go to folders of their own in `report`, their data below `work_parent`.

    `programs` are what plays Milvus in them. `compare` is a folder of another file system to stand beside JuiceFS, or
    the same folder by two of its mounts; empty if none was given.
    """

    report: Path
    work_parent: Path
    seed: int
    say: Callable[[str], None]
    programs: Programs = field(default_factory=Programs)
    compare: tuple[Path, ...] = ()


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
    topology: Topology = Topology(),  # noqa: B008 - frozen
    opened: Callable[[Folders], Runtime] = lambda folders: open_embedded(folders),
) -> Lifetime:
    """Start a cluster, `use` it, stop it. `name` is a folder in the report. Raises HarnessError if it fails.

    `opened` opens its runtime, which is part of the time.
    """
    began_s = time.monotonic()
    folders = Folders.create(place.report / name, place.work_parent, new_run_id())
    with (
        opened(folders) as runtime,
        kind.start(topology, runtime, folders, "bench", place.seed, programs=place.programs) as cluster,
    ):
        took_s = time.monotonic() - began_s
        # Other steps follow the first search; they are not part of this figure.
        prepared_s = took_s - max(phase.ready_s for phase in cluster.bring_up)
        use(cluster)
        stopping_s = time.monotonic()
        left = [*cluster.stop(), *runtime.close()]
        return Lifetime(
            first_search_s=prepared_s + cluster.first_search_s,
            prepared_s=prepared_s,
            phases=tuple(cluster.bring_up),
            shutdown_s=time.monotonic() - stopping_s,
            left=tuple(left),
            storage=cluster.storage if cluster.storage_reason is None else f"plain folder: {cluster.storage_reason}",
            parts=parts(cluster),
        )


def parts(cluster: Cluster) -> tuple[str, ...]:
    """The components with their versions, each once: mounts and nodes of a kind are the same program."""
    found = []
    for service in cluster.services:
        label = "juicefs" if service in cluster.mounts.values() else service.name
        label = "milvus" if service in cluster.nodes else label
        component = Component(name=label, implementation=service.implementation, version=service.version)
        found.append(describe(component))
    return tuple(dict.fromkeys(found))
