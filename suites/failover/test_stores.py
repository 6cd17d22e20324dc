"""Redis or the object store, both under JuiceFS, goes away and comes back while rows are written and searched."""

from __future__ import annotations

from collections.abc import Callable

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.faults import Fault
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.services import Azurite
from fixtures.waits import observe, pause
from suites.failover.searching import Searching, make_collection, warm_up
from suites.failover.writing import Writing, lost_batches
from suites.support import connect_all

OUTAGE_S = 3.0
SETTLE_S = 1.0
WRITE_PACE_S = 0.2
WITNESSES = ("spread over readers", "searched meanwhile", "writes waited")


@claim(
    "F-9",
    "Redis down and back: nothing flushed is lost, writes go on by themselves, warm searches never notice",
    source="measured 5.7; measured-2 N5",
    expected={"1.1.0": holds("a flush waits, up to 40 s, and so do the inserts behind it")},
    needs=("fuse", "stop redis", "mysql", "logs"),
    witnesses=("stop", *WITNESSES),
)
def test_redis_stops(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    # In good order, since a crash of Redis may lose its last second of metadata by its own setting (appendfsync).
    away = faults.stop(cluster.redis, history)
    _outage(cluster, trial, names, history, seed, away, cluster.budgets.redis_refused_s)


@claim(
    "F-10",
    "the object store down and back: nothing flushed is lost, writes go on by themselves, warm searches never notice",
    source="measured 5.6",
    expected={"1.1.0": holds("a flush waits for the store, and so do the inserts behind it")},
    needs=("fuse", "kill object-store", "mysql", "logs"),
    witnesses=("object store gone", *WITNESSES),
)
def test_object_store_dies(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    # Azurite writes its list of objects only when it is asked to end: what kill -9 costs is no fault of the cluster.
    how = faults.stop if isinstance(cluster.object_store, Azurite) else faults.kill
    gone = how(cluster.object_store, history)
    _outage(cluster, trial, names, history, seed, gone, cluster.budgets.store_recovery_s)
    trial.witness("object store gone", how=gone.name, **gone.witness.proof)


def _outage(
    cluster: Cluster,
    trial: Trial,
    names: Names,
    history: History,
    seed: int,
    away: Fault,
    recovery_s: Callable[[float], float],
) -> None:
    """`recovery_s` is the bound for writes to go on, by the length of the outage."""
    clients = connect_all(cluster, history)
    writer = cluster.writer.name
    warm = make_collection(cluster, clients[writer], names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    patience_s = OUTAGE_S + recovery_s(OUTAGE_S)
    doors = {door: cluster.connect(door, history=history, timeout_s=patience_s) for door in clients}
    patient = cluster.connect(writer, history=history, timeout_s=patience_s)
    with (
        Writing(patient, names("written"), seed, pace_s=WRITE_PACE_S) as writing,
        Searching(warm, doors) as searching,
    ):
        pause(SETTLE_S, "writes and searches before the outage")
        with away:
            pause(OUTAGE_S, "the outage")
        trial.add(away.witness)
        _check_writes_go_on(cluster, trial, writing, away, recovery_s(away.ended_s - away.began_s))
        pause(SETTLE_S, "writes and searches after the outage")
    searching.check_never_wrong(trial)
    for door in doors:
        during = searching.under_way(door, away.began_s, away.ended_s)
        failed = [answer for answer in during if not answer.good]
        text = f"{len(failed)} of {len(during)} warm searches failed: {[answer.error for answer in failed[:1]]}"
        trial.check(bool(during) and not failed, text, node=door)
        trial.witness("searched meanwhile", door=door, answers=len(during))
    clients[writer].flush(writing.collection).require()
    for node, lost in lost_batches(trial, cluster, clients, writing).items():
        trial.check(not lost, f"{len(lost)} batches lost though Insert and Flush succeeded", node=node, batches=lost)
    trial.note(f"{len(writing.flushed)} batches flushed, {writing.uncertain} uncertain")


def _check_writes_go_on(cluster: Cluster, trial: Trial, writing: Writing, away: Fault, budget_s: float) -> None:
    writer = cluster.writer.name
    again = observe(lambda: writing.flushed_since(away.ended_s), timeout_s=budget_s, interval_s=0.05)
    writing.require_alive()
    if not trial.check(again.satisfied, f"no flush succeeds within {budget_s:.0f} s of the return", node=writer):
        return
    flushed = list(writing.flushed)
    resumed_s = min(batch.ended_s for batch in flushed if batch.ended_s >= away.ended_s) - away.ended_s
    trial.measure("writes go on after", resumed_s, "s", budget_s, node=writer)
    if not [batch for batch in flushed if batch.began_s >= away.began_s and batch.ended_s <= away.ended_s]:
        before = [batch for batch in flushed if batch.ended_s < away.ended_s]
        trial.witness("writes waited", batches_before=len(before), resumed_after_s=resumed_s)
