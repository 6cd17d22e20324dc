"""How long a cluster takes to start and to stop, against the slowest chain of its starts, each step timed alone."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fixtures.cluster import FIRST_SEARCH, Cluster
from fixtures.errors import InfrastructureError
from fixtures.steps import Phase, slowest_chain
from suites.performance.clusters import Lifetime, OneByOne, Place, run_cluster
from suites.performance.figures import Figure, spread

PREPARE = "prepare"
SPLIT_HEAD = ("step", "began (s)", "ready (s)", "took (s): min / median / max", "alone (s)", "slowest chain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One step of the bring-up, in all runs. Seconds; `began_s` and `ready_s` count from nothing, `alone_s` is the
    time it took with nothing else going on."""

    name: str
    began_s: tuple[float, ...]
    ready_s: tuple[float, ...]
    alone_s: tuple[float, ...]
    on_chain: bool

    @property
    def took_s(self) -> tuple[float, ...]:
        return tuple(ready - began for began, ready in zip(self.began_s, self.ready_s, strict=True))

    def cells(self) -> tuple[str, ...]:
        began, ready = (f"{statistics.median(values):.2f}" for values in (self.began_s, self.ready_s))
        return self.name, began, ready, spread(self.took_s), spread(self.alone_s), "yes" if self.on_chain else ""

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "began_s": list(self.began_s),
            "ready_s": list(self.ready_s),
            "alone_s": list(self.alone_s),
            "on_slowest_chain": self.on_chain,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BringUp:
    """What was measured, and the split of it by step."""

    figures: tuple[Figure, ...]
    split: tuple[Part, ...]
    lifetimes: tuple[Lifetime, ...]


def measure_bring_up(place: Place, runs: int, serial_runs: int) -> BringUp:
    """`runs` clusters as always, and among them `serial_runs` with one step after the other. Raises HarnessError.

    The two kinds take turns, so that what else the machine does meets both alike.
    """
    usual: list[Lifetime] = []
    alone: list[Lifetime] = []
    for number in range(1, max(runs, serial_runs) + 1):
        if number <= runs:
            usual.append(_run(place, f"bring-up-{number}", Cluster))
        if number <= serial_runs:
            alone.append(_run(place, f"one-by-one-{number}", OneByOne))
    chain_s, chain = chain_alone(usual[0].phases, durations(alone), FIRST_SEARCH)
    figures = (
        Figure.of("bring_up", [each.first_search_s for each in usual]),
        Figure.of("chain", [chain_s]),
        Figure.of("bring_up_ratio", [each.first_search_s / chain_s for each in usual]),
        Figure.of("shutdown", [each.shutdown_s for each in usual]),
    )
    return BringUp(figures=figures, split=tuple(split(usual, alone, chain)), lifetimes=(*usual, *alone))


def durations(alone: Sequence[Lifetime]) -> dict[str, float]:
    """The median time of each step, timed alone. Seconds. Raises InfrastructureError if they were not alone."""
    for each in alone:
        _require_alone(each.phases)
    names = [phase.name for phase in alone[0].phases]
    return {name: statistics.median(_phase(each, name).duration_s for each in alone) for name in names}


def chain_alone(phases: Sequence[Phase], alone_s: Mapping[str, float], goal: str) -> tuple[float, list[str]]:
    """The slowest chain of dependent steps that `goal` needs, of what each takes alone: seconds, and the steps.

    `phases` say what needs what. Steps that the goal does not wait for do not count, however long they take.
    """
    needed = ancestors(phases, goal)
    return slowest_chain(
        [
            Phase(name=phase.name, started_s=0.0, ready_s=alone_s[phase.name], after=phase.after)
            for phase in phases
            if phase.name in needed
        ]
    )


def ancestors(phases: Sequence[Phase], goal: str) -> set[str]:
    """`goal` and all that must be done before it."""
    after = {phase.name: phase.after for phase in phases}
    found: set[str] = set()
    waiting = [goal]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(after[name])
    return found


def split(usual: Sequence[Lifetime], alone: Sequence[Lifetime], chain: Sequence[str]) -> list[Part]:
    """Each step up to the first search in the order of its beginning, and before them what prepares them."""
    needed = ancestors(usual[0].phases, FIRST_SEARCH)
    prepare = Part(
        name=PREPARE,
        began_s=(0.0,) * len(usual),
        ready_s=tuple(each.prepared_s for each in usual),
        alone_s=tuple(each.prepared_s for each in alone),
        on_chain=False,
    )
    found = [
        Part(
            name=name,
            began_s=tuple(each.prepared_s + _phase(each, name).started_s for each in usual),
            ready_s=tuple(each.prepared_s + _phase(each, name).ready_s for each in usual),
            alone_s=tuple(_phase(each, name).duration_s for each in alone),
            on_chain=name in chain,
        )
        for name in needed
    ]
    return [prepare, *sorted(found, key=lambda part: (statistics.median(part.began_s), part.name))]


def _require_alone(phases: Sequence[Phase]) -> None:
    in_time = sorted(phases, key=lambda phase: phase.started_s)
    for earlier, later in itertools.pairwise(in_time):
        if later.started_s < earlier.ready_s:
            raise InfrastructureError(
                f"{later.name} began before {earlier.name} was ready: the steps were not timed alone"
            )


def _run(place: Place, name: str, kind: type[Cluster]) -> Lifetime:
    lifetime = run_cluster(place, name, kind=kind)
    place.say(f"{name}: first search after {lifetime.first_search_s:.2f} s, stopped in {lifetime.shutdown_s:.2f} s")
    return lifetime


def _phase(lifetime: Lifetime, name: str) -> Phase:
    return next(phase for phase in lifetime.phases if phase.name == name)
