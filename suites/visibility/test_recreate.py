"""A name that is dropped and made again with another metric or dimension: does anybody still go by the old one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import observe
from fixtures.wire import MetricType
from suites.oracle import Question, rows_for
from suites.support import connect_all, served

# So many that they never all fall to one reader.
PARTITIONS = 12
PARTITION_ROWS = 30
ROWS = PARTITIONS * PARTITION_ROWS
QUERIES = 4
TOP_K = 10
BAD_DIMENSION = 7
# The first is what Mishards remembers. The others differ from it in order alone, in dimension alone, in both.
GENERATIONS = ((MetricType.L2, 32), (MetricType.IP, 32), (MetricType.L2, 16), (MetricType.JACCARD, 64))
# What sorting by the old metric does to an answer: it spoils which rows are kept and their order, and nothing else.
SPOILT_BY_ORDER = frozenset({"wrong order", "missing neighbour", "wrong neighbour"})
UNREADABLE = "Invalid vector"


@dataclass(frozen=True, slots=True)
class Generation:
    """One life of the name. Its row ids are its own, so that a row of a former life is told by its id."""

    metric: MetricType
    dimension: int
    question: Question

    @staticmethod
    def make(number: int, metric: MetricType, dimension: int, seed: int) -> Generation:
        ids = np.arange(number * 10_000, number * 10_000 + ROWS, dtype=np.int64)
        rows = rows_for(metric, seed + number, ROWS, dimension)
        question = Question.about(rows, ids, metric, seed=seed + number, queries=QUERIES, k=TOP_K)
        return Generation(metric, dimension, question)

    def __str__(self) -> str:
        return f"{self.metric.name} {self.dimension}"


@claim(
    "V-10",
    "a collection that is dropped and made again with another metric or dimension is seen so by readers and Mishards",
    source="facts 7.5, 5.4; measured 4.4",
    expected={
        "1.1.0": deviates(
            "Mishards keeps the metric by name until it restarts: old order, or an error for binary rows",
            "measured 4.4",
        )
    },
    needs=("stop mishards", "logs"),
    witnesses=("searched everywhere", "made again", "spread over readers"),
)
def test_recreated_collection(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    name = names("again")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    lives = [Generation.make(number, metric, dim, seed) for number, (metric, dim) in enumerate(GENERATIONS)]
    for number, life in enumerate(lives):
        if number:
            writer.drop_collection(name).require()
            for node in cluster.nodes:
                # Not Mishards, which a search of a dropped name spoils for later ones (claim R-4).
                left = lives[number - 1].question.ask(clients[node.name], name)
                trial.check(not left.ok, f"{lives[number - 1]}: searched after it was dropped", node=node.name)
        again_s = _create(cluster, writer, name, life)
        _fill(writer, name, life)
        if number:
            trial.measure("made again after", again_s, "s", cluster.budgets.cleanup_ttl_s, node=writer.node)
            trial.witness("made again", before=str(lives[number - 1]), now=str(life))
        for door, client in clients.items():
            remembered = door == cluster.mishards.name and life.metric is not lives[0].metric
            _check_description(trial, client, name, life, lives[number - 1] if number else None)
            before = served(cluster)
            _judge(trial, client, name, life, excused=remembered)
            shares = {reader: count - before[reader] for reader, count in served(cluster).items()}
            if door == cluster.mishards.name and all(shares.values()):
                trial.witness("spread over readers", life=str(life), **shares)
        trial.witness("searched everywhere", life=str(life), doors=len(clients))
        trial.progress(f"{life}: searched everywhere")
    if trial.deviations:
        cluster.mishards.restart()
        healed = cluster.connect(cluster.mishards.name, history=history)
        _judge(trial, healed, name, lives[-1], excused=False)
        trial.note("Mishards forgets the old metric when it restarts")


def _create(cluster: Cluster, writer: Client, name: str, life: Generation) -> float:
    """Make it: refused until the clean-up has removed what was dropped (facts 2.6). The seconds that took."""
    made = observe(
        lambda: writer.create_collection(name, life.dimension, life.metric),
        accept=lambda reply: reply.ok,
        timeout_s=cluster.budgets.cleanup_ttl_s,
    )
    if made.value is not None:
        made.value.require()
    return made.elapsed_s


def _fill(writer: Client, name: str, life: Generation) -> None:
    """A segment for each partition, which no merge joins."""
    for part in range(PARTITIONS):
        chosen = slice(part * PARTITION_ROWS, (part + 1) * PARTITION_ROWS)
        writer.create_partition(name, f"part{part}").require()
        writer.insert(name, life.question.rows[chosen], life.question.ids[chosen], f"part{part}").require()
    writer.flush(name).require()


def _check_description(trial: Trial, client: Client, name: str, life: Generation, former: Generation | None) -> None:
    """What a door says of the collection, and that nothing of the former one is left."""
    told = client.describe_collection(name).require().value
    same = (told["metric"], told["dimension"]) == (life.metric, life.dimension)
    trial.check(same, f"{life} is described as {told['metric'].name} {told['dimension']}", node=client.node)
    counted = client.count(name).require().value
    trial.check(counted == ROWS, f"{life}: {counted} rows counted of {ROWS}", node=client.node)
    if former is None:
        return
    old = client.get(name, former.question.ids[:10]).require().value
    left = sum(vector is not None for vector in old)
    trial.check(left == 0, f"{life}: {left} rows of the former {former} are returned by id", node=client.node)
    if former.dimension != life.dimension and former.question.queries.dtype == life.question.queries.dtype:
        refused = former.question.ask(client, name)
        text = f"{life}: a query of the former dimension ends with code {refused.code}: {refused.reason}"
        trial.check(refused.code == BAD_DIMENSION, text, node=client.node)


def _judge(trial: Trial, client: Client, name: str, life: Generation, *, excused: bool) -> None:
    """Hold a search against the exact answer. `excused`: Mishards, which remembers another metric."""
    reply = life.question.ask(client, name)
    if not reply.ok:
        known = excused and UNREADABLE in reply.reason
        (trial.deviate if known else trial.check)(False, f"{life}: {reply.reason}"[:200], node=client.node)
        return
    rules = _broken_rules(life, reply)
    known = excused and rules <= SPOILT_BY_ORDER
    hold = trial.deviate if known else trial.check
    text = f"{life}: not the exact answer: {', '.join(sorted(rules))}"
    hold(not rules, text, node=client.node, operation=reply.operation.index)


def _broken_rules(life: Generation, reply: Reply) -> set[str]:
    return {str(finding.facts.get("rule", finding.message)) for finding in life.question.findings(reply)}
