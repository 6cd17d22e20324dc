"""A second writer is started on the same storage: is it kept out, and if not, what does it destroy?"""

from __future__ import annotations

import pytest

from fixtures import faults
from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.second_writer import SecondWriter, second_writer
from fixtures.waits import pause
from suites.loop import Loop
from suites.support import (
    DIMENSION,
    Rows,
    Sighting,
    connect_all,
    insert,
    insert_flushed,
    look_up,
    settle_log_numbers,
    watch,
)

BATCH = 50
PACE_S = 0.02
READ_BACK = 1000
LATER = 40
LOCKED = "lock"
"""What a refusal must be about: Milvus says "Can't lock file". Any other reason says nothing about a second writer."""


class Inserting:
    """Inserts batch after batch, left to the auto flush, until the block ends; `acknowledged` is what was promised."""

    def __init__(self, client: Client, collection: str, seed: int) -> None:
        self.acknowledged: list[Rows] = []
        self.refused = 0
        self._client = client
        self._collection = collection
        self._seed = seed
        self.loop = Loop("inserting", self._insert, PACE_S)

    def _insert(self, number: int) -> None:
        rows = Rows.make(self._seed, number * BATCH, BATCH)
        if self._client.insert(self._collection, rows.vectors, rows.ids).ok:
            self.acknowledged.append(rows)
        else:
            self.refused += 1


@claim(
    "F-13",
    "a second writer on the same storage is refused, and the first loses nothing",
    source="facts 1.6: the locks are on local files, outside the shared db/; measured 6",
    expected={
        "1.1.0": deviates(
            "it starts, and rows that the first acknowledged are lost: around that start, in collections that the"
            " second made, and in the log that the first replays",
            "measured S4",
        )
    },
    witnesses=("second writer tried", "first wrote meanwhile"),
)
@pytest.mark.beside
def test_second_writer(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster()
    clients = connect_all(cluster, history)
    first = clients[cluster.writer.name]
    bystander, shared = names("bystander"), names("shared")
    before = Rows.make(seed, 900_000, 500)
    for name in (bystander, shared):
        first.create_collection(name, DIMENSION).require()
    insert_flushed(first, bystander, before)
    # Else the start might be refused for what claim F-14 is about.
    settle_log_numbers(cluster, first, bystander, Rows.make(seed, 990_000, 1))
    # Time for an auto flush before it and after it: rows in memory, rows being flushed, rows already flushed.
    around_s = 1.5 * cluster.topology.milvus.auto_flush_interval_s
    load = Inserting(cluster.connect(cluster.writer.name, history=history), shared, seed)
    with load.loop:
        pause(around_s, "rows of the first writer before the second starts")
        earlier = len(load.acknowledged)
        with second_writer(cluster) as second:
            pause(around_s, "rows of the first writer after the second has started")
            if len(load.acknowledged) > earlier > 0:
                trial.witness("first wrote meanwhile", batches=len(load.acknowledged), before=earlier)
            load.loop.stop()
            first.flush(shared).require()
            if second.refusal:
                _check_refused(trial, second)
            else:
                trial.witness("second writer tried", started_in_s=round(second.ready_s - second.began_s, 3))
                trial.deviate(False, "a second writer starts", node=second.node.name)
            _check_first_lost_nothing(trial, first, shared, load, second)
            if not second.refusal:
                _check_side_by_side(cluster, trial, history, names, second, first, shared, seed)
    trial.check(not load.refused, f"{load.refused} inserts of the first writer failed", node=first.node)
    seen = watch(clients, bystander, before, timeout_s=cluster.budgets.proxy_recovery_s(1.0))
    for door, observed in seen.items():
        text = f"rows flushed before the second writer came are not found: {observed.last_seen}"
        trial.check(observed.satisfied, text[:200], node=door)


def _check_refused(trial: Trial, second: SecondWriter) -> None:
    if LOCKED in second.refusal:
        trial.witness("second writer tried", refused=second.refusal[:300])
        trial.check(True, "a second writer starts", node=second.node.name)
    else:
        trial.note(f"the second writer did not start, and not because of the first: {second.refusal[:200]}")


def _check_first_lost_nothing(trial: Trial, first: Client, shared: str, load: Inserting, second: SecondWriter) -> None:
    """All that the first acknowledged is there once, flushed as it is by now."""
    lost = doubled = 0
    step = READ_BACK // BATCH
    for start in range(0, len(load.acknowledged), step):
        seen = look_up(first, shared, Rows.join(load.acknowledged[start : start + step]))
        seen.reply.require()
        lost += len(seen.missing)
        doubled += len(seen.doubled)
    total = BATCH * len(load.acknowledged)
    # Where the second was kept out nothing excuses a loss.
    hold = trial.check if second.refusal else trial.deviate
    hold(lost == 0, f"{lost} of {total} acknowledged rows are lost", node=first.node)
    hold(doubled == 0, f"{doubled} of {total} acknowledged rows came back twice", node=first.node)
    trial.measure("acknowledged rows lost", float(lost), "rows", node=first.node)


def _check_side_by_side(
    cluster: Cluster,
    trial: Trial,
    history: History,
    names: Names,
    second: SecondWriter,
    first: Client,
    shared: str,
    seed: int,
) -> None:
    """What else two writers do to each other: rows in what the other made, and the log of the first at its restart."""
    of_second = names("of_second")
    with second.connect(history) as other:
        other.create_collection(of_second, DIMENSION).require()
        rows = Rows.make(seed, 800_000, LATER)
        inserted = first.insert(of_second, rows.vectors, rows.ids)
        flushed = first.flush(of_second)
        if inserted.ok and flushed.ok:
            _expect(trial, look_up(first, of_second, rows), "acknowledged by the first, in a collection of the second,")
        theirs = Rows.make(seed, 850_000, LATER)
        insert(other, shared, theirs)
        settle_log_numbers(cluster, other, shared, Rows.make(seed, 860_000, 1))
        _expect(trial, look_up(other, shared, theirs), "acknowledged by the second")
    last = Rows.make(seed, 870_000, LATER)
    insert(first, shared, last)
    try:
        with faults.kill(cluster.writer, history) as dead:
            pass
    except InfrastructureError as refused:
        trial.deviate(False, f"the first does not start again: {refused}"[:200], node=first.node)
        cluster.writer.start(wal="empty")
        return
    trial.add(dead.witness)
    pause(cluster.budgets.visibility_unflushed_s, "rows of the first's log to be replayed and flushed")
    _expect(trial, look_up(first, shared, last), "acknowledged by the first just before it was killed")


def _expect(trial: Trial, seen: Sighting, what: str) -> None:
    node = seen.reply.operation.node
    trial.check(seen.reply.ok, f"no answer: {seen.reply.reason}", node=node)
    trial.deviate(seen.complete, f"{len(seen.missing)} of {seen.asked} rows {what} are lost", node=node)
