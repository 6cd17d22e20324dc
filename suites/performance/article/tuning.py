"""What makes a reader's first query fast: one setting at a time, before and after in turns, in one run.

What does it gain to fetch a batch right after its flush, before anybody asks, by `juicefs warmup` or by preload? Does
it matter how far away Redis and the object store are, whose cache a reader uses, and whether each batch stays a segment
of its own? Which options of a mount, or of the volume, read a cold batch faster (by hand, on mounts side by side)? And
what does it gain to have readers load all as they start?
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fixtures.cluster import Cluster
from fixtures.errors import MissingCapability, UsageError
from fixtures.plugin.figures import number
from fixtures.waits import Deadline
from suites.performance.article.options import STORE_LATE_S, side_by_side
from suites.performance.article.path import KEPT, FirstQueries
from suites.performance.article.restarts import measure_restarts
from suites.performance.article.states import segments_of
from suites.performance.article.workload import ARTICLE, CALL_TIMEOUT_S
from suites.performance.clusters import Place, run_cluster
from suites.performance.paired import MIN_PAIRS, Paired, judge
from suites.performance.verdicts import Measured, Profile, Table

_PRELOADING = "cache.preload_collection '*' on readers: after a restart"
_READ = 2
"""How many segments are read by hand, in turns."""
_PHASES = 6
"""How many share the time: each may take as long."""


@dataclass(slots=True)
class _Got:
    """Pairs of seconds (before, after) by setting, in the order measured, and what the setting itself cost."""

    pairs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    cost_s: dict[str, list[float]] = field(default_factory=dict)

    def add(self, setting: str, before_s: float, after_s: float, cost_s: float | None = None) -> None:
        self.pairs.setdefault(setting, []).append((before_s, after_s))
        if cost_s is not None:
            self.cost_s.setdefault(setting, []).append(cost_s)

    def judged(self, seed: int) -> list[Paired]:
        return [judge(name, "s", pairs, seed=seed) for name, pairs in self.pairs.items()]


@dataclass(slots=True)
class _Tuning:
    """What has been measured so far: first queries on readers, and cold reads by hand, near the store and far."""

    rows: int
    rounds: int
    phase_s: float
    say: Callable[[str], None]
    first: _Got = field(default_factory=_Got)
    same_host: _Got = field(default_factory=_Got)
    near: _Got = field(default_factory=_Got)
    far: _Got = field(default_factory=_Got)
    objects: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """How many objects each way to read on the writer's host fetched from the store, batch by batch."""
    missing: str = ""

    def use(self, cluster: Cluster) -> None:
        """Measure all of it on a cluster. The merges come last, since they go on in the background."""
        if (reason := cluster.capabilities["fuse"]) is not None:
            raise UsageError(f"tuning: {reason}")
        with contextlib.ExitStack() as stack:
            doors = {
                node.name: stack.enter_context(cluster.connect(node.name, timeout_s=CALL_TIMEOUT_S))
                for node in cluster.nodes
            }
            queries = FirstQueries(cluster, doors, self.rows)
            queries.rounds(self.rounds, self.first.add, self._limit(), self.say)
            self.objects = queries.same_host_rounds(self.rounds, self.same_host.add, self._limit(), self.say)
            self._read_by_hand(cluster)
            queries.merge_rounds(self.rounds, self.first.add, self._limit(), self.say)

    def _read_by_hand(self, cluster: Cluster) -> None:
        folders = [each.folder for each in segments_of(cluster, f"{KEPT}_0")][:_READ]
        with side_by_side(cluster, folders) as mounts:
            for name, before_s, after_s in mounts.rounds(self.rounds, self._limit(), self.say):
                self.near.add(name, before_s, after_s)
            try:
                for name, before_s, after_s in mounts.far_rounds(cluster, self.rounds, self._limit(), self.say):
                    self.far.add(name, before_s, after_s)
            except MissingCapability as error:
                self.missing = str(error)

    def _limit(self) -> Deadline:
        return Deadline(self.phase_s)


def measure(place: Place, profile: Profile, say: Callable[[str], None], rows: int = ARTICLE.rows) -> Measured:
    """Each setting before and after. Raises HarnessError; UsageError where nothing can be mounted."""
    rounds = 2 * MIN_PAIRS if profile.full else MIN_PAIRS
    tuning = _Tuning(rows, rounds, profile.limit_s / _PHASES, say)
    lifetime = run_cluster(place, "tuning", tuning.use)
    restarts = measure_restarts(place, rows, rounds, Deadline(tuning.phase_s), say)
    for (before_s, after_s), cost_s in zip(restarts.pairs, restarts.cost_s, strict=True):
        tuning.first.add(_PRELOADING, before_s, after_s, cost_s)
    groups = {
        "A reader's first query, before and after": tuning.first,
        "A new batch read by hand on the writer's host, beside a mount with a cache of its own": tuning.same_host,
        "A cold batch read by hand, before and after": tuning.near,
        f"The same with the object store {STORE_LATE_S * 1000:.0f} ms further away": tuning.far,
    }
    judged = {title: got.judged(place.seed) for title, got in groups.items()}
    short = [each for group in judged.values() for each in group if len(each.pairs) < rounds]
    unfinished = [f"its time was over: {len(short)} settings have fewer pairs than {rounds}"] if short else []
    unfinished += [f"with the store further away: {tuning.missing}"] if tuning.missing else []
    return Measured(
        judged=(),
        tables=tuple(_table(title, judged[title], got.cost_s) for title, got in groups.items() if got.pairs),
        values={
            "rows": rows,
            "groups": {title: [each.to_json() for each in group] for title, group in judged.items()},
            "cost_s": tuning.first.cost_s,
            "objects_fetched_on_the_writers_host": tuning.objects,
        },
        lifetimes=(lifetime, *restarts.lifetimes),
        unfinished="; ".join(unfinished),
    )


def _table(title: str, measured: Sequence[Paired], cost_s: Mapping[str, Sequence[float]]) -> Table:
    def lines() -> Iterator[tuple[str, ...]]:
        for each in measured:
            before_s, after_s = (statistics.median(pair[side] for pair in each.pairs) for side in (0, 1))
            cost = number(statistics.median(cost_s[each.name])) if each.name in cost_s else ""
            yield (
                each.name,
                str(len(each.pairs)),
                number(before_s),
                number(after_s),
                str(each.ratio or ""),
                each.verdict.value,
                cost,
            )

    return Table(
        title=title,
        head=("setting (default)", "pairs", "before (s)", "after (s)", "after / before [95 %]", "verdict", "costs (s)"),
        body=tuple(lines()),
        note="In turns in one run; medians. costs: what is done ahead of the query takes this long itself.",
    )
