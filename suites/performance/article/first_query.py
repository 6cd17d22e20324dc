"""P-1: the first query of newly inserted data, as the article runs it, and where its time goes."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fixtures.cluster import Cluster
from fixtures.errors import MissingCapability
from fixtures.plugin.figures import number
from fixtures.waits import Deadline
from suites.performance import plots
from suites.performance.article.judging import ARTICLE_S, Evidence, judge
from suites.performance.article.states import STATES, Fetch, measure_states, segments_of
from suites.performance.article.steps import Steps, by_hand
from suites.performance.article.workload import (
    ARTICLE,
    MERGED_MB,
    QUICK,
    Pass,
    Size,
    apart_mb,
    own_collection,
    run_pass,
)
from suites.performance.clusters import Place, run_cluster
from suites.performance.intervals import mean, percentile
from suites.performance.verdicts import Judged, Measured, Plot, Profile, Table, Verdict
from suites.support import reader_names

_NATURAL = "right after its flush"


@dataclass(slots=True)
class _Got:
    """All that was measured, in the order it was. `rows` are in each segment of which states and steps are.

    `outside` is why there are no states and steps: what runs already is asked from outside alone.
    """

    implementation: str = ""
    unmounted: str = ""
    outside: str = ""
    rows: int = 0
    passes: dict[str, Pass] = field(default_factory=dict)
    fetches: list[Fetch] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)


def measure(place: Place, profile: Profile, say: Callable[[str], None], size: Size | None = None) -> Measured:
    """The article's workload, the states of the caches, and the steps of the path. Raises HarnessError."""
    chosen = size or (ARTICLE if profile.full else QUICK)
    got, limit = _Got(), Deadline(profile.limit_s)

    def use(cluster: Cluster) -> None:
        got.implementation = cluster.readers[0].implementation
        got.unmounted = cluster.capabilities["fuse"] or ""
        if not got.unmounted:
            _measure(cluster, chosen, got, limit, say)

    lifetime = run_cluster(place, "first-query", use)
    if got.unmounted:
        nothing = Judged(
            claim="P-1",
            said="",
            measured="nothing",
            verdict=Verdict.NOT_COMPARABLE,
            why=f"no JuiceFS mount here: {got.unmounted}",
        )
        return Measured(judged=(nothing,), lifetimes=(lifetime,))
    return dataclasses.replace(report(got, chosen, place.seed), lifetimes=(lifetime,))


def _measure(cluster: Cluster, size: Size, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
    readers, proxy = reader_names(cluster), [cluster.mishards.name]
    # States and steps need the first of these; where time is short, they come before the other passes.
    kept_mb = apart_mb(size.rows)
    # Of our own, since others may use this cluster, too.
    run = f"bench_{secrets.token_hex(4)}"
    passes = (
        ("kept", readers, kept_mb),
        ("merged", readers, MERGED_MB),
        ("merged_mishards", proxy, MERGED_MB),
        ("kept_mishards", proxy, kept_mb),
    )
    # All are dropped at the end: to clean up after one would disturb the next.
    with contextlib.ExitStack() as stack:
        for name, doors, size_mb in passes:
            collection = stack.enter_context(own_collection(cluster, f"{run}_{name}", size_mb))
            got.passes[name] = run_pass(cluster, collection, doors, size, name=name, limit=limit, say=say)
            if name == "kept":
                try:
                    _states_and_steps(cluster, collection, size.rows, got, limit, say)
                except MissingCapability as error:
                    got.outside = error.reason
                    say(f"no states of the caches, no steps of the path: {error.reason}")


def _states_and_steps(
    cluster: Cluster, collection: str, rows: int, got: _Got, limit: Deadline, say: Callable[[str], None]
) -> None:
    """Segment by segment, by hand and by the readers, so that what the machine does meanwhile is in both.

    An auto flush in the middle of an insert parts a batch; such are left out where there are whole ones.
    """
    segments = segments_of(cluster, collection)
    segments = [each for each in segments if each.rows == rows] or segments
    got.rows = min(each.rows for each in segments)
    with by_hand(cluster, collection) as steps_of:
        for at, segment in enumerate(segments):
            if at and limit.expired:
                return
            got.steps.append(steps := steps_of(segment))
            fetched = list(measure_states(cluster, collection, segment))
            got.fetches += fetched
            told = ", ".join(f"{each.state} {each.fetch_s:.3f}" for each in fetched)
            say(f"segment {at + 1} of {len(segments)}, by hand {steps.floor_s:.3f}, fetch (s): {told}")


def report(got: _Got, size: Size, seed: int) -> Measured:
    """The verdicts, tables and plots of what was measured. Pure."""
    evidence = [
        Evidence(
            state=state,
            fetch_s=[each.fetch_s for each in got.fetches if each.state == state and each.proven],
            floor_s=_floors(got.steps, state),
        )
        for state in STATES
        if not got.outside
    ]
    natural = Evidence(
        state=_NATURAL,
        fetch_s=[query.fetch_s for query in got.passes["merged"].queries],
        floor_s=_floors(got.steps, "cold"),
    )
    judged = tuple(
        judge(each, rows=rows, implementation=got.implementation, seed=seed)
        for each, rows in ((natural, size.rows), *((each, got.rows) for each in evidence))
    )
    groups = {_named(name): [q.first_s for q in each.queries] for name, each in got.passes.items()}
    states = [each.state for each in evidence]
    groups |= {f"a reader, {state}": [each.first_s for each in got.fetches if each.state == state] for state in states}
    drawing = plots.strips(groups, "s", ARTICLE_S, "the article, on average")
    short = [f"{name} {each.batches} of {size.batches} batches" for name, each in got.passes.items()]
    whole = all(each.batches == size.batches for each in got.passes.values())
    unfinished = [] if whole else [f"its time was over: {', '.join(short)}"]
    unfinished += [f"no states of the caches and no steps of the path: {got.outside}"] if got.outside else []
    return Measured(
        judged=judged,
        tables=(
            _queries_table(got.passes, seed),
            *(() if got.outside else (_states_table(got.fetches, seed), _steps_table(got.steps, got.fetches))),
        ),
        plots=(Plot(title=f"First queries of a batch of {number(size.rows)} rows", svg=drawing),),
        values={
            "rows": size.rows,
            "batches": size.batches,
            "implementation": got.implementation,
            "passes": {name: dataclasses.asdict(each) for name, each in got.passes.items()},
            "states": [dataclasses.asdict(each) | {"proven": each.proven} for each in got.fetches],
            "steps": [dataclasses.asdict(each) for each in got.steps],
        },
        unfinished="; ".join(unfinished),
    )


def _named(name: str) -> str:
    """What a pass is called in a drawing."""
    asked = "Mishards" if name.endswith("mishards") else "readers"
    return f"{asked}, {'a segment each' if name.startswith('kept') else 'batches merged'}"


def _floors(steps: Sequence[Steps], state: str) -> list[float]:
    """The least a fetch can take; the state `warm` lies between the other two and has no floor of its own."""
    if state == "warm":
        return []
    return [each.floor_s if state == "cold" else each.hot_floor_s for each in steps]


def _queries_table(passes: dict[str, Pass], seed: int) -> Table:
    def lines() -> Iterator[tuple[str, ...]]:
        for name, each in passes.items():
            for door in dict.fromkeys(query.door for query in each.queries):
                mine = [query for query in each.queries if query.door == door]
                fetch_s = [query.fetch_s for query in mine]
                yield (
                    door,
                    "each batch a segment" if name.startswith("kept") else "batches are merged",
                    str(len(mine)),
                    str(mean(fetch_s, seed)),
                    *(str(percentile(fetch_s, percent, seed)) for percent in (50, 90)),
                    number(max(fetch_s)),
                    number(statistics.median(query.second_s for query in mine)),
                    str(sum(query.searches > 1 for query in mine)),
                )

    return Table(
        title="First query of a batch right after its flush, less the second (s)",
        head=(
            "asked",
            "segments",
            "batches",
            "mean [95 %]",
            "median [95 %]",
            "p90 [95 %]",
            "most",
            "second",
            "retried",
        ),
        body=tuple(lines()),
        note="retried: batches whose first search came back without the row, as while a merge swaps segments.",
    )


def _states_table(fetches: Sequence[Fetch], seed: int) -> Table:
    def lines() -> Iterator[tuple[str, ...]]:
        for state, meaning in STATES.items():
            mine = [each for each in fetches if each.state == state]
            fetch_s = [each.fetch_s for each in mine if each.proven]
            if fetch_s:
                yield (
                    state,
                    meaning,
                    f"{len(fetch_s)} of {len(mine)}",
                    str(mean(fetch_s, seed)),
                    *(str(percentile(fetch_s, percent, seed)) for percent in (50, 90)),
                    number(statistics.median(each.second_s for each in mine)),
                )

    return Table(
        title="One batch fetched by a reader, by where its bytes are: first query less the second (s)",
        head=("state", "its bytes are", "proven", "mean [95 %]", "median [95 %]", "p90 [95 %]", "second"),
        body=tuple(lines()),
        note="proven: the reader's mount counted objects read (cold), none but reads of files (warm), no read (hot).",
    )


def _steps_table(steps: Sequence[Steps], fetches: Sequence[Fetch]) -> Table:
    cold = statistics.median([each.first_s for each in fetches if each.state == "cold" and each.proven] or [0.0])
    second = statistics.median([each.second_s for each in fetches] or [0.0])
    floor = statistics.median(each.floor_s for each in steps)
    medians = {
        "MySQL: which files": statistics.median(each.mysql_s for each in steps),
        "metadata: list, look up, open": statistics.median(each.metadata_s for each in steps),
        "data: read through an empty cache": statistics.median(each.read_s for each in steps),
        "the search itself (a second query)": second,
        "the rest: the node, into memory": max(0.0, cold - floor - second),
    }
    return Table(
        title=f"Where a first query goes, by hand on a mount of its own: {number(steps[0].bytes / 1e6)} MB, cold (s)",
        head=("step", "median", "of the first query"),
        body=tuple((name, number(value), f"{value / cold:.0%}" if cold else "") for name, value in medians.items()),
        note=(
            f"The reader's own first query, cold: {number(cold)} s. The requests to the object store took "
            f"{number(statistics.median(each.gets_s for each in steps))} s together, side by side; the same read again "
            f"from the page cache {number(statistics.median(each.copy_s for each in steps))} s. Redis was asked "
            f"{number(statistics.median(each.redis_commands for each in steps))} times, each of which waits for the "
            "way there and back."
        ),
    )
