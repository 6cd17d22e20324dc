"""GPU nodes beside CPU nodes, on the same segments and the same index files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fixtures import data
from fixtures.claims import Trial, claim, holds
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import MissingCapability
from fixtures.gpu import LOG_DELAY_S
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.services import MilvusNode
from fixtures.waits import observe
from fixtures.wire import IndexType, MetricType
from suites.checks.same_neighbours import Answer, same_neighbours
from suites.support import connect_all, segment_files

SEGMENTS = 3
SEGMENT_ROWS = 5000
"""Above 4096, below which Milvus builds no index for a segment (facts 2.4)."""
DIMENSION = 64
TOP_K = 10
NLIST = 64
INDEXED = 3
"""The state of an index file in MySQL (facts 2.3)."""
MAX_FINDINGS = 5


@dataclass(frozen=True, slots=True)
class Case:
    """An index that Milvus searches on a GPU (FLAT, IVF_FLAT, IVF_SQ8), and a metric."""

    index: IndexType
    metric: MetricType

    def __str__(self) -> str:
        return f"{self.index.name} {self.metric.name}"

    @property
    def flat(self) -> bool:
        return self.index is IndexType.FLAT

    @property
    def search_params(self) -> dict[str, object]:
        # All lists are probed: which list a query falls to may turn on the last bit of a distance, and legitimately.
        return {} if self.flat else {"nprobe": NLIST}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one node answered, and by its log: the segments that it copied to a GPU, the searches that it served."""

    answer: Answer
    copies: int
    served: int


CASES = [
    Case(IndexType.FLAT, MetricType.L2),
    Case(IndexType.FLAT, MetricType.IP),
    Case(IndexType.IVF_FLAT, MetricType.L2),
    Case(IndexType.IVF_SQ8, MetricType.L2),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.index.name}-{case.metric.name}")
@claim(
    "R-6",
    "GPU and CPU nodes give the same neighbours (FLAT, IVF_FLAT, IVF_SQ8)",
    source="facts 6: from gpu_search_threshold queries on the same search is done on the GPU",
    expected={"1.1.0": holds("but for rounding, and rows that tie")},
    needs=("gpu",),
    witnesses=("several segments", "the GPU searched", "the CPU searched"),
)
def test_gpu_and_cpu_nodes_agree(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int, case: Case
) -> None:
    on_gpu, on_cpu = _sides(cluster)
    collection = names(f"{case.index.name.lower()}_{case.metric.name.lower()}")
    clients = connect_all(cluster, history)
    rows = data.vectors(seed, SEGMENTS * SEGMENT_ROWS, DIMENSION)
    _store(clients[cluster.writer.name], collection, rows, case)
    states = [state for _, _, state, _ in segment_files(cluster, collection)]
    if sum(case.flat or state == INDEXED for state in states) >= SEGMENTS:
        trial.witness("several segments", files=len(states), case=str(case))

    half = cluster.topology.milvus.gpu_search_threshold
    # Rows of the collection, whose own distance of 0 is where rounding shows most, and as many new vectors.
    queries = np.concatenate([rows[np.arange(half) % len(rows)], data.vectors(seed ^ 0x5EED, half, DIMENSION)])
    seen = {node.name: _search(node, clients[node.name], collection, queries, case) for node in [*on_cpu, *on_gpu]}
    # Every GPU node: one that quietly searched on its CPU would agree and prove nothing.
    copies = {node.name: seen[node.name].copies for node in on_gpu}
    if all(count >= SEGMENTS for count in copies.values()):
        trial.witness("the GPU searched", case=str(case), queries=len(queries), **copies)
    if all(seen[node.name].served and not seen[node.name].copies for node in on_cpu):
        trial.witness("the CPU searched", case=str(case), nodes=[node.name for node in on_cpu])
    reference = seen[on_cpu[0].name]
    for node in [*on_cpu[1:], *on_gpu]:
        wrong = same_neighbours(
            reference.answer,
            seen[node.name].answer,
            topk=TOP_K,
            scale=data.rounding_scale(queries, case.metric),
            descending=case.metric is MetricType.IP,
            node=node.name,
        )
        for finding in wrong[:MAX_FINDINGS]:
            trial.check(False, f"{case}: {finding.message}", node=node.name, **finding.facts)
        queries_wrong = len({finding.facts.get("query") for finding in wrong})
        text = f"{case}: {queries_wrong} of {len(queries)} answers are not those of {on_cpu[0].name}"
        trial.check(not wrong, text, node=node.name)


def _sides(cluster: Cluster) -> tuple[list[MilvusNode], list[MilvusNode]]:
    """The GPU nodes and the CPU nodes. Raises MissingCapability where there are not both."""
    on_gpu = [node for node in cluster.nodes if node.gpu]
    on_cpu = [node for node in cluster.nodes if not node.gpu]
    if not on_gpu or not on_cpu:
        side = "no node is a GPU node" if not on_gpu else "every node is a GPU node (milvus.gpu_nodes)"
        raise MissingCapability("gpu", f"{side}, so there is nothing to compare")
    return on_gpu, on_cpu


def _store(writer: Client, collection: str, rows: data.Floats, case: Case) -> None:
    ids = np.arange(len(rows), dtype=np.int64)
    writer.create_collection(collection, DIMENSION, case.metric).require()
    for part in range(SEGMENTS):
        chosen = slice(part * SEGMENT_ROWS, (part + 1) * SEGMENT_ROWS)
        # A partition for each part keeps it a segment of its own: merges stay within a partition.
        writer.create_partition(collection, f"part{part}").require()
        writer.insert(collection, rows[chosen], ids[chosen], f"part{part}").require()
    writer.flush(collection).require()
    if not case.flat:
        writer.create_index(collection, case.index, {"nlist": NLIST}).require()


def _search(node: MilvusNode, client: Client, collection: str, queries: data.Floats, case: Case) -> Seen:
    copies, served = node.gpu_copies(), node.requests_served()
    reply = client.search(collection, queries, TOP_K, case.search_params).require()
    if node.gpu:
        observe(lambda: node.gpu_copies() - copies >= SEGMENTS, timeout_s=LOG_DELAY_S)
    else:
        observe(lambda: node.requests_served() > served, timeout_s=LOG_DELAY_S)
    return Seen(Answer(reply.ids, reply.distances), node.gpu_copies() - copies, node.requests_served() - served)
