"""What the benchmark measures, with each figure's bar or the figure it stands beside: all of it, in one place, as data.

The bars are the project's own aims for two idle cores. The benchmark prints them; nothing fails because of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MILVUS = "Milvus 1.1.0"
_FAISS = "faiss-cpu 1.15.1 IndexFlatL2"
SOURCES: Mapping[str, str] = {
    _MILVUS: "the rw node of a real cluster on JuiceFS, in another run on another, idle 2-core machine: not this one",
    _FAISS: "alone, in that other run on that 2-core machine: not this one",
}
"""Where a figure to compare with comes from."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Another program's figure for the same work, in the measure's unit: to compare with, no bar. See SOURCES."""

    source: str
    value: float


@dataclass(frozen=True, slots=True)
class Measure:
    """Something measured. `limit` is the bar: the most it should be, in `unit`; None where there is none."""

    key: str
    label: str
    unit: str
    limit: float | None = None
    beside: Beside | None = None


MEASURES: Mapping[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("bring_up", "embedded cluster, from nothing to its first search", "s", limit=5.0),
        Measure("chain", "its slowest chain of dependent starts, each step alone", "s"),
        Measure("bring_up_ratio", "bring-up / slowest chain", "x", limit=1.3),
        Measure("shutdown", "shutdown, with the look for leaks", "s", limit=5.0),
        Measure("shutdown_loaded", "shutdown after the inserts below", "s", limit=5.0),
        Measure("insert_server", "insert 100k x 128 float32: the node's own log", "s", limit=1.0),
        Measure("insert_client", "insert 100k x 128 float32: round trip", "s", beside=Beside(_MILVUS, 0.30)),
        Measure("flat_first", "FLAT 1M x 128, first search, nq 1", "ms", beside=Beside(_MILVUS, 2620)),
        Measure("flat_1", "FLAT 1M x 128, warm, nq 1", "ms", beside=Beside(_MILVUS, 24.8)),
        Measure("flat_10", "FLAT 1M x 128, warm, nq 10", "ms", beside=Beside(_MILVUS, 119)),
        Measure("flat_100", "FLAT 1M x 128, warm, nq 100", "ms", beside=Beside(_MILVUS, 745)),
        Measure("ivf_build", "IVF_FLAT 1M x 128, nlist 1024: CreateIndex", "s", beside=Beside(_MILVUS, 55.8)),
        Measure("ivf_first", "IVF_FLAT nprobe 16, first search, nq 1", "ms", beside=Beside(_MILVUS, 1690)),
        Measure("ivf_1", "IVF_FLAT nprobe 16, warm, nq 1", "ms", beside=Beside(_MILVUS, 2.2)),
        Measure("ivf_10", "IVF_FLAT nprobe 16, warm, nq 10", "ms", beside=Beside(_MILVUS, 3.9)),
        Measure("ivf_100", "IVF_FLAT nprobe 16, warm, nq 100", "ms", beside=Beside(_MILVUS, 32.2)),
        Measure("rss", "writer's memory after all of that (RSS)", "MB", beside=Beside(_MILVUS, 1232)),
        Measure("rss_peak", "writer's memory at its most (VmHWM)", "MB", limit=1848),
        Measure(
            "reader_first",
            "a reader's first search of a new 51 MB segment, less a second",
            "s",
            beside=Beside(_MILVUS, 0.20),
        ),
        Measure("docker_bring_up", "docker runtime, from nothing to the first search", "s"),
        Measure("compose_up", "docker compose up --wait of the same, from nothing", "s"),
        Measure("docker_ratio", "docker runtime / docker compose", "x", limit=0.5),
        Measure("set_full_10k", "set-full check, 10k rows x 100 reads of all", "s"),
        Measure("set_full_100k", "set-full check, 100k rows x 100 reads of all", "s"),
        Measure("set_full", "set-full check, 1M rows x 100 reads of all", "s", limit=1.0),
        Measure("set_full_growth", "its cost against 100k rows, 1 is linear", "x"),
        Measure("monotonic", "monotonic reads, 1M rows x 100 reads of all", "s"),
        Measure("monotonic_writes", "monotonic writes, 1M rows x 100 reads of all", "s"),
        Measure("loss", "acknowledged loss, 1M rows x 100 reads of all", "s"),
        Measure("set_full_small", "set-full check, 1M rows x 10k reads of 100", "s"),
        Measure("set_full_small_growth", "its cost against 5k reads, 1 is linear", "x"),
        Measure("oracle_l2", "exact top 10 of 1M x 128, 100 queries, L2", "s", beside=Beside(_FAISS, 1.886)),
        Measure("oracle_ip", "exact top 10 of 1M x 128, 100 queries, IP", "s"),
    )
}
"""By key, in the order of the table."""
