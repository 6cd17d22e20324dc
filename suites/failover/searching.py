"""Searches that go on while something is broken, each answer held against the exact one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from fixtures.claims import Trial
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.errors import HarnessError
from fixtures.history import History, Outcome
from fixtures.plugin import Names
from fixtures.waits import Observed, observe
from fixtures.wire import MetricType
from suites.loop import Loop
from suites.oracle import Question
from suites.support import DIMENSION, Rows, insert_flushed, segment_files, settle_log_numbers

TOP_K = 10
# So many that they never all fall to one reader: with six that happens in one run of thirty.
PARTITIONS = 14
PARTITION_ROWS = 400
QUERIES = 3
PACE_S = 0.1
WEDGED = "Can't reconnect until invalid transaction is rolled back"
"""What a worker of Mishards says for ever once the MySQL session that it had kept was cut (measured-2 N1)."""


@dataclass(frozen=True, slots=True)
class Warm:
    """A collection whose exact answer is known: `PARTITIONS` segments that no merge joins, spread over the readers."""

    name: str
    rows: Rows
    question: Question

    def ask(self, client: Client) -> Reply:
        return self.question.ask(client, self.name)

    def faults_of(self, reply: Reply) -> list[str]:
        """What is wrong with an answer; a partial one lacks neighbours that the dead part would have given.

        Nothing is wrong with an error: where that is not good enough either, see `complaints`.
        """
        return [finding.message for finding in self.question.findings(reply)] if reply.ok else []

    def complaints(self, reply: Reply) -> list[str]:
        """Why this is not the whole answer: the error, or what is wrong with what came."""
        return self.faults_of(reply) if reply.ok else [reply.reason]


def make_collection(cluster: Cluster, writer: Client, name: str, seed: int) -> Warm:
    """Make the collection and flush it. Nobody has searched it yet."""
    writer.create_collection(name, DIMENSION).require()
    parts = [Rows.make(seed, part * PARTITION_ROWS, PARTITION_ROWS) for part in range(PARTITIONS)]
    for part, rows in enumerate(parts):
        # A partition for each keeps the segments apart, and final at once: merges need two within one partition.
        writer.create_partition(name, f"part{part}").require()
        insert_flushed(writer, name, rows, f"part{part}")
    files = segment_files(cluster, name)
    if len(files) != PARTITIONS:
        raise HarnessError(f"{name}: {len(files)} segments in MySQL instead of {PARTITIONS}: {files}")
    rows = Rows.join(parts)
    question = Question.about(rows.vectors, rows.ids, MetricType.L2, seed=seed, queries=QUERIES, k=TOP_K)
    return Warm(name, rows, question)


def warm_up(trial: Trial, cluster: Cluster, warm: Warm, clients: Iterable[Client]) -> None:
    """Search at every door until each gave the exact answer, and witness that Mishards spread it over the readers."""
    before = {reader.name: reader.requests_served() for reader in cluster.readers}
    for client in clients:
        reply = warm.ask(client).require()
        for finding in warm.faults_of(reply):
            trial.check(False, f"before the fault: {finding}", node=client.node)
    proxy = cluster.connect(cluster.mishards.name)
    for _ in range(3):
        warm.ask(proxy).require()
    served = {reader.name: reader.requests_served() - before[reader.name] for reader in cluster.readers}
    if all(served.values()):
        trial.witness("spread over readers", **served)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the load: times on the run's clock in seconds, and what was wrong with it if it was OK."""

    door: str
    began_s: float
    ended_s: float
    outcome: Outcome
    wrong: tuple[str, ...]
    error: str
    operation: int

    @property
    def good(self) -> bool:
        return self.outcome is Outcome.OK and not self.wrong


class Searching:
    """Searches a warm collection at several doors, over and over, until the block ends.

    Paced, and bounded by the block: each thread has one search under way and ends with it.
    """

    def __init__(self, warm: Warm, clients: dict[str, Client]) -> None:
        self._warm = warm
        self._doors = list(clients)
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._loops = [
            Loop(f"searching {door}", partial(self._search, door, client), PACE_S) for door, client in clients.items()
        ]
        self._running = ExitStack()

    def __enter__(self) -> Searching:
        for loop in self._loops:
            self._running.enter_context(loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # All at once: the last search of one may take long.
        for loop in self._loops:
            loop.halt()
        self._running.__exit__(kind, error, trace)

    def answers(self, door: str | None = None, since_s: float = 0.0, until_s: float = float("inf")) -> list[Answer]:
        """The answers so far whose search began in the given stretch of time."""
        with self._lock:
            return [a for a in self._answers if door in (None, a.door) and since_s <= a.began_s < until_s]

    def under_way(self, door: str, began_s: float, ended_s: float) -> list[Answer]:
        """The answers whose search was under way at some moment of the given stretch, begun before it or in it."""
        return [answer for answer in self.answers(door, until_s=ended_s) if answer.ended_s > began_s]

    def recovery(self, door: str, since_s: float, timeout_s: float) -> Observed[float | None]:
        """Seconds from `since_s` to the end of the first good answer at `door` whose search began after it."""

        def first_good() -> float | None:
            good = [answer.ended_s for answer in self.answers(door, since_s) if answer.good]
            return min(good) - since_s if good else None

        return observe(first_good, accept=lambda seconds: seconds is not None, timeout_s=timeout_s, interval_s=0.05)

    def check_never_wrong(self, trial: Trial) -> None:
        """Every answer was either complete and right, or an error. Also that there were good ones at each door."""
        for answer in self.answers():
            for finding in answer.wrong:
                message = f"a wrong answer instead of an error: {finding}"
                trial.check(False, message, node=answer.door, operation=answer.operation)
        for door in self._doors:
            trial.check(any(answer.good for answer in self.answers(door)), "never a good answer", node=door)

    def witness_meanwhile(self, trial: Trial, spans: Iterable[tuple[float, float]]) -> None:
        """Witness that searches were under way at each door in these stretches of time, (begin, end) in seconds."""
        stretches = list(spans)
        during = {
            door: [a for began_s, ended_s in stretches for a in self.under_way(door, began_s, ended_s)]
            for door in self._doors
        }
        if all(during.values()):
            failed = {door: sum(not answer.good for answer in answers) for door, answers in during.items()}
            trial.witness("searched meanwhile", answers=sum(map(len, during.values())), failed=failed)

    def _search(self, door: str, client: Client, _number: int) -> None:
        began_s = History.now_s()
        reply = self._warm.ask(client)
        ended_s = History.now_s()
        wrong = tuple(self._warm.faults_of(reply))
        answer = Answer(door, began_s, ended_s, reply.outcome, wrong, reply.reason, reply.operation.index)
        with self._lock:
            self._answers.append(answer)


def warm_before_a_restart(
    cluster: Cluster, trial: Trial, names: Names, clients: Mapping[str, Client], seed: int
) -> Warm:
    """A warm collection at every door, and log numbers with which a node may be restarted (claim F-14)."""
    writer = clients[cluster.writer.name]
    warm = make_collection(cluster, writer, names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    scratch = names("log_numbers")
    writer.create_collection(scratch, DIMENSION).require()
    settle_log_numbers(cluster, writer, scratch, Rows.make(seed, 0, 1))
    return warm
