"""How fast the stand-in, or a native Milvus, inserts and searches, through its gRPC and on JuiceFS as in a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fixtures import data
from fixtures.clients import Client, IndexType
from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from fixtures.services import MilvusNode
from suites.performance.clusters import Lifetime, Place, run_cluster
from suites.performance.figures import Figure
from suites.support import Rows, insert, wait_for_quiet_files

ROWS, DIMENSION = 100_000, 128
FULL_BATCHES = 10
QUERY_COUNTS = (1, 10, 100)
TOP_K = 10
IVF_BUILD, IVF_SEARCH = {"nlist": 1024}, {"nprobe": 16}
_CALL_TIMEOUT_S = 120.0
_STILL_S = 2.0
_SEGMENT_MB = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures, and the cluster they are of."""

    figures: tuple[Figure, ...]
    lifetime: Lifetime


@dataclass(slots=True)
class _Inserts:
    round_trips_s: list[float] = field(default_factory=list)
    server_s: list[float] = field(default_factory=list)


def measure_insert(place: Place, inserts: int) -> Measured:
    """`inserts` calls of 100k x 128 float32, each flushed before the next, which is not counted. Raises HarnessError.

    The round trip is of one client in this process and begins with the message built. The node's log counts from the
    message received and decoded (which takes it some 15 ms) to the reply: write-ahead log written, rows in memory.
    """
    got = _Inserts()

    def use(cluster: Cluster) -> None:
        with cluster.connect("writer", timeout_s=_CALL_TIMEOUT_S) as writer:
            writer.create_collection("inserts", DIMENSION).require()
            for number in range(inserts):
                rows = Rows.make(place.seed, number * ROWS, ROWS, DIMENSION)
                reply = writer.insert("inserts", rows.vectors, rows.ids).require()
                got.round_trips_s.append(reply.elapsed_s)
                flushed = writer.flush("inserts").require()
                place.say(
                    f"insert {number + 1} of {inserts}: round trip {reply.elapsed_s:.2f} s; "
                    f"flush {flushed.elapsed_s:.2f} s"
                )
        log = cluster.writer.log.read_text(encoding="utf-8", errors="replace")
        got.server_s.extend(last_requests_s(log, "Insert", inserts))

    lifetime = run_cluster(place, "insert", use)
    figures = (
        Figure.of("insert_server", got.server_s),
        Figure.of("insert_client", got.round_trips_s),
        Figure.of("shutdown_loaded", [lifetime.shutdown_s]),
    )
    return Measured(figures=figures, lifetime=lifetime)


def last_requests_s(log: str, kind: str, count: int) -> list[float]:
    """How long the last `count` requests of a kind took by a stand-in's log. Seconds.

    Raises InfrastructureError if the log has fewer: its level is above debug, or its words have changed.
    """
    ends = re.findall(rf"Request \[\d+\] {re.escape(kind)} end: code \d+, ([\d.]+) ms", log)
    if len(ends) < count:
        raise InfrastructureError(f"the writer's log has {len(ends)} ends of {kind} requests, {count} were expected")
    return [float(took_ms) / 1000 for took_ms in ends[len(ends) - count :]]


def measure_searches(place: Place, repeats: int) -> Measured:
    """Searches of 1M x 128 on the writer, FLAT and then IVF_FLAT, and the build of that index. Raises HarnessError.

    Of each the first, then warm ones by number of queries. The first search is of files that are written and settled,
    so it reads them through the mount.
    """
    figures: list[Figure] = []

    def use(cluster: Cluster) -> None:
        with cluster.connect("writer", timeout_s=_CALL_TIMEOUT_S) as writer:
            _fill(place, cluster, writer)
            figures.extend(_search_figures(place, writer, "flat", {}, repeats))
            built = writer.create_index("flat", IndexType.IVF_FLAT, IVF_BUILD).require()
            figures.append(Figure.of("ivf_build", [built.elapsed_s]))
            place.say(f"IVF_FLAT, built in {built.elapsed_s:.1f} s")
            figures.extend(_search_figures(place, writer, "ivf", IVF_SEARCH, repeats))
        figures.extend(_memory_figures(cluster.writer))

    lifetime = run_cluster(place, "search", use)
    return Measured(figures=tuple(figures), lifetime=lifetime)


def _memory_figures(node: MilvusNode) -> Iterator[Figure]:
    status = Path(f"/proc/{node.pid}/status").read_text(encoding="ascii")
    for key, line in (("rss", "VmRSS"), ("rss_peak", "VmHWM")):
        found = re.search(rf"^{line}:\s+(\d+) kB$", status, flags=re.MULTILINE)
        if found is None:
            raise InfrastructureError(f"/proc/{node.pid}/status has no {line}")
        yield Figure.of(key, [int(found.group(1)) * 1024 / 1e6])


def measure_first_searches(place: Place, batches: int) -> Measured:
    """A reader's first search of each of some batches of 100k x 128 that were just flushed, less a second one.

    Each batch is a segment of its own (index_file_size 48 MB, which it exceeds), so no merge rewrites it. The
    difference is what it costs to fetch it: metadata, 51 MB through the reader's mount, into memory. Raises
    HarnessError.
    """
    fetches_s: list[float] = []

    def use(cluster: Cluster) -> None:
        reader_name = cluster.readers[0].name
        with (
            cluster.connect("writer", timeout_s=_CALL_TIMEOUT_S) as writer,
            cluster.connect(reader_name, timeout_s=_CALL_TIMEOUT_S) as reader,
        ):
            writer.create_collection("flat", DIMENSION, index_file_size_mb=_SEGMENT_MB).require()
            for number in range(batches):
                insert(writer, "flat", Rows.make(place.seed, number * ROWS, ROWS, DIMENSION))
                writer.flush("flat").require()
                first_s, second_s = (_search_s(reader, place.seed + number, 1, {}) for _ in range(2))
                fetches_s.append(first_s - second_s)
                place.say(f"batch {number + 1} of {batches}: first search {first_s:.2f} s, second {second_s:.3f} s")

    lifetime = run_cluster(place, "first-searches", use)
    return Measured(figures=(Figure.of("reader_first", fetches_s),), lifetime=lifetime)


def _search_figures(
    place: Place, writer: Client, kind: str, params: Mapping[str, object], repeats: int
) -> Iterator[Figure]:
    first_s = _search_s(writer, place.seed, 1, params)
    yield Figure.of(f"{kind}_first", [first_s * 1000])
    place.say(f"{kind}, first search: {first_s * 1000:.0f} ms")
    for queries in QUERY_COUNTS:
        took_ms = [_search_s(writer, place.seed + n, queries, params) * 1000 for n in range(repeats)]
        figure = Figure.of(f"{kind}_{queries}", took_ms)
        place.say(f"{kind}, warm, nq {queries}: {figure.measured}")
        yield figure


def _fill(place: Place, cluster: Cluster, writer: Client) -> None:
    writer.create_collection("flat", DIMENSION).require()
    for number in range(FULL_BATCHES):
        insert(writer, "flat", Rows.make(place.seed, number * ROWS, ROWS, DIMENSION))
        place.say(f"FLAT, inserted {number + 1} of {FULL_BATCHES} batches of {ROWS} rows")
    writer.flush("flat").require()
    files = wait_for_quiet_files(cluster, "flat", _STILL_S)
    stored = sum(rows for *_, rows in files)
    if stored != FULL_BATCHES * ROWS:
        raise InfrastructureError(f"1M rows were inserted and flushed, MySQL has {stored} in {len(files)} files")
    place.say(f"FLAT, {stored} rows in {len(files)} segments")


def _search_s(writer: Client, seed: int, queries: int, params: Mapping[str, object]) -> float:
    # Far from the seeds of the rows.
    vectors = data.vectors(seed + 1_000_000_007, queries, DIMENSION)
    reply = writer.search("flat", vectors, TOP_K, params).require()
    if reply.ids.shape != (queries, TOP_K):
        raise InfrastructureError(f"a search of {queries} queries returned {reply.ids.shape}")
    return reply.elapsed_s
