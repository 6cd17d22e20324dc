"""How visibility, the first query and a warm search grow with rows, segments and readers: fitted exponents.

The cost of something that grows as size to the power of e: 0 is no growth, 1 linear. A fixed part (a call, MySQL, a
few questions to Redis) hides growth at small sizes, so the exponent between the two largest sizes is told beside that
of all.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import UsageError
from fixtures.plugin.figures import number
from fixtures.waits import Deadline
from suites.performance import plots
from suites.performance.article.states import drop_pages
from suites.performance.article.workload import CALL_TIMEOUT_S, DIMENSION
from suites.performance.clusters import Lifetime, Place, run_cluster
from suites.performance.intervals import exponent
from suites.performance.queries import find
from suites.performance.verdicts import Measured, Plot, Profile, Table
from suites.support import Rows, insert, wait_for_quiet_files

BATCH = 100_000
_BATCH_MB, _SMALLEST_MB = 48, 1
"""index_file_size: a batch, or less, stays a segment of its own. So sizes differ in what is asked for alone, no merge
goes on meanwhile, and ten million rows are written once, not four times."""
_ONE = 1 << 40
"""Ids of single rows begin there."""
_TOLD_EACH = 10
"""Progress is told each so many batches."""

VISIBLE, FIRST, STEADY = "visible after flush", "first query, cold", "warm query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is measured: collections of so many `rows`, `segments` of `segment_rows` rows in all, so many `readers`.

    Everything `repeats` times. `most_rows` come last of all, on a cluster of their own, where memory allows; 0: none.
    """

    rows: tuple[int, ...]
    segments: tuple[int, ...]
    segment_rows: int
    readers: tuple[int, ...]
    repeats: int
    most_rows: int = 0


QUICK = Sizes(rows=(10_000, 30_000, 100_000), segments=(1, 4, 16), segment_rows=50_000, readers=(1, 2, 4), repeats=4)
FULL = Sizes(
    rows=(10_000, 30_000, 100_000, 300_000, 1_000_000),
    segments=(1, 3, 12, 48),
    segment_rows=100_000,
    readers=(1, 2, 4, 8),
    repeats=8,
    most_rows=10_000_000,
)
_LONG_S = 60.0
"""A size that has taken so long is not repeated any further than _LEAST times."""
_LEAST = 2
_MEMORY, _DISK = 2.0, 3.0
"""What a cluster with one reader takes at most, in bytes of its vectors (measured with ten million: 1.3 and 2.2)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement. Seconds."""

    against: str
    what: str
    size: int
    seconds: float


@dataclass(slots=True)
class _Got:
    points: list[Point] = field(default_factory=list)
    lifetimes: list[Lifetime] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def measure(place: Place, profile: Profile, say: Callable[[str], None], sizes: Sizes | None = None) -> Measured:
    """All of it, smallest sizes first, as far as the time allows. Raises HarnessError; UsageError without JuiceFS."""
    chosen, limit, got = sizes or (FULL if profile.full else QUICK), Deadline(profile.limit_s), _Got()

    def rows_and_segments(cluster: Cluster) -> None:
        for rows in chosen.rows:
            batches = [min(BATCH, rows - at) for at in range(0, rows, BATCH)]
            _one_size(cluster, f"rows_{rows}", batches, ("rows", rows), chosen.repeats, got, limit, say)
        for count in chosen.segments:
            batches = [chosen.segment_rows // count] * count
            _one_size(cluster, f"segments_{count}", batches, ("segments", count), chosen.repeats, got, limit, say)

    got.lifetimes.append(
        run_cluster(place, "scaling", rows_and_segments, topology=dataclasses.replace(place.topology, readers=1))
    )
    for readers in chosen.readers:

        def through_mishards(cluster: Cluster, readers: int = readers) -> None:
            count = max(chosen.readers)
            batches = [chosen.segment_rows // count] * count
            _one_size(cluster, "readers", batches, ("readers", readers), chosen.repeats, got, limit, say)

        if limit.expired:
            got.left_out.append(f"readers {readers}")
            continue
        name, topology = f"scaling-{readers}-readers", dataclasses.replace(place.topology, readers=readers)
        got.lifetimes.append(run_cluster(place, name, through_mishards, topology=topology))
    if chosen.most_rows:
        _most_rows(place, chosen, got, limit, say)
    return dataclasses.replace(report(got.points, place.seed, got.left_out), lifetimes=tuple(got.lifetimes))


def _most_rows(place: Place, chosen: Sizes, got: _Got, limit: Deadline, say: Callable[[str], None]) -> None:
    rows, vectors_bytes = chosen.most_rows, chosen.most_rows * DIMENSION * 4
    for what, free, factor in (
        ("memory", psutil.virtual_memory().available, _MEMORY),
        ("disk", psutil.disk_usage(str(place.work_parent)).free, _DISK),
    ):
        if free < (needed := factor * vectors_bytes):
            got.left_out.append(f"rows {number(rows)} ({needed / 1e9:.0f} GB of {what}, {free / 1e9:.0f} are free)")
            return
    if limit.expired:
        got.left_out.append(f"rows {number(rows)}")
        return

    def use(cluster: Cluster) -> None:
        batches = [BATCH] * (rows // BATCH)
        _one_size(cluster, f"rows_{rows}", batches, ("rows", rows), chosen.repeats, got, limit, say)

    # All of it must fit into the reader's memory, or a warm query would be none.
    milvus = dataclasses.replace(place.topology.milvus, cache_size=f"{1 + (5 * vectors_bytes // 4 >> 30)}GB")
    topology = dataclasses.replace(place.topology, readers=1, milvus=milvus)
    got.lifetimes.append(run_cluster(place, "scaling-most-rows", use, topology=topology))


def _one_size(
    cluster: Cluster,
    collection: str,
    batches: Sequence[int],
    size: tuple[str, int],
    repeats: int,
    got: _Got,
    limit: Deadline,
    say: Callable[[str], None],
) -> None:
    """Fill a collection, then measure it: a reader asked directly, or all of them through Mishards."""
    against, count = size
    if limit.expired:
        got.left_out.append(f"{against} {number(count)}")
        return
    if (reason := cluster.capabilities["fuse"]) is not None:
        raise UsageError(f"scaling: {reason}")
    door = cluster.mishards.name if against == "readers" else cluster.readers[0].name
    size_mb = _BATCH_MB if against == "rows" else _SMALLEST_MB
    with (
        cluster.connect("writer", timeout_s=CALL_TIMEOUT_S) as writer,
        cluster.connect(door, timeout_s=CALL_TIMEOUT_S) as asked,
    ):
        writer.create_collection(collection, DIMENSION, index_file_size_mb=size_mb).require()
        first_id = 0
        for at, rows in enumerate(batches):
            insert(writer, collection, Rows.make(cluster.seed, first_id, rows, DIMENSION))
            writer.flush(collection).require()
            first_id += rows
            if (at + 1) % _TOLD_EACH == 0:
                say(f"{against} {number(count)}: {number(first_id)} rows flushed")
        wait_for_quiet_files(cluster, collection, cluster.budgets.merge_s)
        probe = Rows.make(cluster.seed, 0, batches[0], DIMENSION).take([0])
        for what, seconds in _repeats(cluster, writer, asked, collection, probe, repeats):
            got.points.append(Point(against, what, count, seconds))
    told = ", ".join(f"{what} {_median(got.points, against, what, count):.3f}" for what in (FIRST, STEADY, VISIBLE))
    say(f"{against} {number(count)}: {told} s")


def _repeats(
    cluster: Cluster, writer: Client, asked: Client, collection: str, probe: Rows, repeats: int
) -> Iterator[tuple[str, float]]:
    soon = Deadline(_LONG_S)
    for turn in range(repeats):
        if turn >= _LEAST and soon.expired:
            break
        _forget(cluster, collection)
        yield FIRST, find(asked, collection, probe).seconds
        yield STEADY, statistics.median(find(asked, collection, probe).seconds for _ in range(3))
    # Last, since each makes a segment more.
    for turn in range(repeats):
        one = Rows.make(cluster.seed + 1, _ONE + turn, 1, DIMENSION)
        insert(writer, collection, one)
        writer.flush(collection).require()
        yield VISIBLE, find(asked, collection, one).seconds


def _forget(cluster: Cluster, collection: str) -> None:
    """Have no reader hold any of a collection, neither in memory nor in the caches of its mount."""
    for reader in cluster.readers:
        with cluster.connect(reader.name, timeout_s=CALL_TIMEOUT_S) as client:
            client.release(collection).require()
        mount = cluster.mounts[reader.name]
        folder = mount.point / "tables" / collection
        cluster.volume.warm_up(folder, mount.process, evict=True)
        drop_pages(folder)


def report(points: Sequence[Point], seed: int, left_out: Sequence[str]) -> Measured:
    """The table of exponents and the drawings. Pure."""
    kinds = list(dict.fromkeys((point.against, point.what) for point in points))
    lines = []
    for against, what in kinds:
        mine = [point for point in points if (point.against, point.what) == (against, what)]
        lines.append((against, what, *_fitted(mine, seed)))
    drawings = []
    for against in dict.fromkeys(against for against, _ in kinds):
        series = {what: _medians(points, against, what) for other, what in kinds if other == against}
        drawings.append(Plot(title=f"Against {against}", svg=plots.curves(series, against, "s")))
    table = Table(
        title="Growth: seconds ~ size ** exponent (0 is no growth, 1 linear)",
        head=("against", "what", "median by size (s)", "exponent [95 %]", "between the two largest"),
        body=tuple(lines),
        note=(
            "Rows (in segments of 100 000) and segments: one reader, asked directly; readers: the same, through "
            "Mishards. A fixed part hides growth at small sizes; more readers than cores share the same cores. What is "
            "visible is found by a query, so it takes as long as a warm one at least."
        ),
    )
    return Measured(
        judged=(),
        tables=(table,),
        plots=tuple(drawings),
        values={"points": [dataclasses.asdict(point) for point in points], "left_out": list(left_out)},
        unfinished=f"its time was over: without {', '.join(left_out)}" if left_out else "",
    )


def _medians(points: Sequence[Point], against: str, what: str) -> list[tuple[float, float]]:
    sizes = sorted({point.size for point in points if (point.against, point.what) == (against, what)})
    return [(size, _median(points, against, what, size)) for size in sizes]


def _median(points: Sequence[Point], against: str, what: str, size: int) -> float:
    wanted = (against, what, size)
    return statistics.median(each.seconds for each in points if (each.against, each.what, each.size) == wanted)


def _fitted(mine: Sequence[Point], seed: int) -> tuple[str, str, str]:
    """The medians by size, the exponent of all and that of the two largest sizes; empty where there is one size."""
    medians = _medians(mine, mine[0].against, mine[0].what)
    told = ", ".join(f"{number(size)}: {number(seconds)}" for size, seconds in medians)
    if len(medians) < 2:
        return told, "", ""

    def fit(sizes: Sequence[float]) -> str:
        chosen = [point for point in mine if point.size in sizes]
        return str(exponent([point.size for point in chosen], [point.seconds for point in chosen], seed))

    sizes = [size for size, _ in medians]
    return told, fit(sizes), fit(sizes[-2:])
