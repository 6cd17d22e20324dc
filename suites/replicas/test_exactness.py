"""Are the answers right? FLAT search is exact, so every answer can be held against an oracle in float64.

Of an index it is known what share of the rows a search looks at: at least as much of the exact answer must come.
"""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.wire import MetricType
from suites.indexes import CASES, IndexCase
from suites.indexes import ROWS as INDEX_ROWS
from suites.oracle import Question, rows_for
from suites.support import connect_all, segment_files

METRICS = [
    MetricType.L2,
    MetricType.IP,
    MetricType.HAMMING,
    MetricType.JACCARD,
    MetricType.TANIMOTO,
    MetricType.SUBSTRUCTURE,
    MetricType.SUPERSTRUCTURE,
]
SEGMENTS = 3
SEGMENT_ROWS = 1500
DIMENSION = 64
QUERIES = 20
TOP_K = 10
# All matches are equally near, and any ten of them would do: only all of a query's matches show a lost segment.
STRUCTURES = frozenset({MetricType.SUBSTRUCTURE, MetricType.SUPERSTRUCTURE})
STRUCTURE_K = 2048
INDEX_STATE = 3  # TableFiles.file_type


exact_or_within_bounds = claim(
    "R-1",
    "the top-k of the writer and of each reader equals exact search (FLAT, all metrics), and that of an index has as "
    "much of it as its parameters promise",
    source="facts 5.8, 6",
    expected={"1.1.0": holds()},
    needs=("mysql",),
    witnesses=("several segments",),
)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@exact_or_within_bounds
def test_nodes_search_exactly(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int, metric: MetricType
) -> None:
    collection = names(metric.name.lower())
    rows = rows_for(metric, seed, SEGMENTS * SEGMENT_ROWS, DIMENSION)
    ids = np.arange(len(rows), dtype=np.int64)
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION, metric, index_file_size_mb=1).require()
    for part in range(SEGMENTS):
        chosen = slice(part * SEGMENT_ROWS, (part + 1) * SEGMENT_ROWS)
        # A partition for each part keeps it a segment of its own: merges stay within a partition.
        writer.create_partition(collection, f"part{part}").require()
        writer.insert(collection, rows[chosen], ids[chosen], f"part{part}").require()
    writer.flush(collection).require()
    files = segment_files(cluster, collection)
    if len(files) >= SEGMENTS:
        trial.witness("several segments", files=len(files), metric=metric.name)
    # The first and last row of each segment, where an off-by-one would hide.
    edges = [part * SEGMENT_ROWS + offset for part in range(SEGMENTS) for offset in (0, SEGMENT_ROWS - 1)]
    k = STRUCTURE_K if metric in STRUCTURES else TOP_K
    question = Question.about(rows, ids, metric, seed=seed, queries=QUERIES, k=k, among=edges)
    for node in cluster.nodes:
        reply = question.ask(clients[node.name], collection).require()
        wrong = question.findings(reply)
        for finding in wrong:
            trial.check(False, f"{metric.name}: {finding.message}", node=node.name, operation=reply.operation.index)
        trial.check(not wrong, f"{metric.name}: not the exact answer", node=node.name)


INDEX_SEGMENTS = 2


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@exact_or_within_bounds
def test_indexes_find_what_their_parameters_promise(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int, case: IndexCase
) -> None:
    collection = names(case.name)
    rows = case.rows(seed, INDEX_SEGMENTS * INDEX_ROWS)
    ids = np.arange(len(rows), dtype=np.int64)
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, case.dimension, case.metric).require()
    for part in range(INDEX_SEGMENTS):
        chosen = slice(part * INDEX_ROWS, (part + 1) * INDEX_ROWS)
        writer.create_partition(collection, f"part{part}").require()
        writer.insert(collection, rows[chosen], ids[chosen], f"part{part}").require()
    writer.create_index(collection, case.index_type, case.build).require()
    files = segment_files(cluster, collection)
    indexed = [file for file, _, state, _ in files if state == INDEX_STATE]
    if len(indexed) == len(files) >= INDEX_SEGMENTS:
        trial.witness("several segments", indexes=len(indexed), index=case.name)
    question = Question.about(rows, ids, case.metric, seed=seed, queries=case.queries, k=TOP_K)
    floor = case.floor(question)
    for node in cluster.nodes:
        reply = clients[node.name].search(collection, question.queries, TOP_K, case.search).require()
        recall = case.recall(question, reply.ids)
        trial.check(
            recall >= floor,
            f"{case.name}: recall {recall:.3f}, at least {floor:.3f} was promised (seed {seed})",
            node=node.name,
            operation=reply.operation.index,
        )
        trial.note(f"{case.name}: {node.name}: recall {recall:.3f} of at least {floor:.3f}, seed {seed}")


# So many that they never all fall to one reader: with eight that happens in one run of a hundred.
R2_SEGMENTS = 14
R2_SEGMENT_ROWS = 2100
R2_DIMENSION = 128
R2_ROUNDS = 20


@pytest.mark.parametrize("metric", METRICS[:2], ids=lambda metric: metric.name)
@claim(
    "R-2",
    "Mishards' answer equals exact search over all segments, each searched once, on at least two readers",
    source="facts 7.5, 7.6; measured 4.2",
    expected={"1.1.0": holds("when every reader's share has at least topk rows")},
    needs=("mysql", "logs"),
    witnesses=("six segments", "two readers served"),
)
def test_mishards_searches_every_segment_once(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int, metric: MetricType
) -> None:
    collection = names(f"spread_{metric.name.lower()}")
    proxy = cluster.mishards.name
    rows = rows_for(metric, seed, R2_SEGMENTS * R2_SEGMENT_ROWS, R2_DIMENSION)
    ids = np.arange(len(rows), dtype=np.int64)
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    # 2100 x 128 floats are 1.075 MB: over index_file_size, so that no merge joins two of them.
    writer.create_collection(collection, R2_DIMENSION, metric, index_file_size_mb=1).require()
    for part in range(R2_SEGMENTS):
        chosen = slice(part * R2_SEGMENT_ROWS, (part + 1) * R2_SEGMENT_ROWS)
        writer.insert(collection, rows[chosen], ids[chosen]).require()
        writer.flush(collection).require()
    files = segment_files(cluster, collection)
    if len(files) >= 6:
        trial.witness("six segments", files=len(files))
    before = {reader.name: reader.requests_served() for reader in cluster.readers}
    for round_number in range(R2_ROUNDS):
        question = Question.about(rows, ids, metric, seed=seed + round_number, queries=5, k=TOP_K)
        reply = question.ask(clients[proxy], collection).require()
        wrong = question.findings(reply)
        for finding in wrong:
            trial.check(False, f"{metric.name}: {finding.message}", node=proxy, operation=reply.operation.index)
        trial.check(not wrong, f"{metric.name}: not the exact answer", node=proxy)
    served = {reader.name: reader.requests_served() - before[reader.name] for reader in cluster.readers}
    trial.note(f"{metric.name}: searches served: {served}")
    sharing = [reader for reader, count in served.items() if count >= R2_ROUNDS]
    if len(cluster.readers) > 1:
        trial.check(len(sharing) > 1, f"{metric.name}: readers that searched in each round: {sharing}", node=proxy)
    if len(sharing) > 1:
        trial.witness("two readers served", **served)
