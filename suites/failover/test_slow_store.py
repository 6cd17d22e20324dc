"""The object store is slow, answers with errors, or breaks its replies off, while rows are written and searched."""

from __future__ import annotations

from functools import partial

import pytest

from fixtures import store_faults
from fixtures.claims import Trial, claim, deviates, holds
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.faults import Fault
from fixtures.history import History, Outcome
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import observe, pause
from suites.failover.searching import Searching, Warm, make_collection, warm_up
from suites.failover.writing import Writing, lost_batches
from suites.support import connect_all, in_parallel, reader_names

REPLY_DELAY_S = 0.1
PATIENCE_S = 60.0
SETTLE_S = 1.0
PHASE_S = 2.0
WRITE_PACE_S = 0.2
SHARE = 0.2


@claim(
    "F-18",
    "a slow object store holds up those searches that need it, and no other",
    source="measured-2 1.2; facts 4.4: one queue for the searches of a node",
    expected={
        "1.1.0": deviates(
            "a node's searches are done one by one: a warm one waits as long as the cold one before it, directly and"
            " through Mishards; other nodes are not held up",
            "measured-2 1.2",
        )
    },
    needs=("fuse",),
    witnesses=("spread over readers", "slow store", "a cold search waited", "searched meanwhile"),
)
@pytest.mark.beside
def test_slow_store(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster(store_proxy=True)
    clients = connect_all(cluster, history)
    writer, proxy, victim = cluster.writer.name, cluster.mishards.name, cluster.readers[0].name
    warm = make_collection(cluster, clients[writer], names("warm"), seed)
    cold = make_collection(cluster, clients[writer], names("cold"), seed + 1)
    warm_up(trial, cluster, warm, clients.values())
    doors = {door: cluster.connect(door, history=history, timeout_s=PATIENCE_S) for door in clients}
    patient = cluster.connect(victim, history=history, timeout_s=PATIENCE_S)
    with Searching(warm, doors) as searching:
        pause(SETTLE_S, "searches before the fault")
        reads = store_faults.Some(methods=store_faults.READ)
        with store_faults.slow(cluster, reads, delay_s=REPLY_DELAY_S, history=history) as slow:
            began_s = History.now_s()
            reply = cold.ask(patient)
            ended_s = History.now_s()
        pause(SETTLE_S, "searches after the fault")
    trial.add(slow.witness)
    wrong = cold.complaints(reply)
    trial.check(not wrong, f"the cold search: {wrong[:1]}", node=victim)
    searching.check_never_wrong(trial)
    if reply.elapsed_s >= REPLY_DELAY_S:
        trial.witness("a cold search waited", elapsed_s=reply.elapsed_s, reply_delay_s=REPLY_DELAY_S)
    for door in doors:
        during = searching.under_way(door, began_s, ended_s)
        longest_s = max((answer.ended_s - answer.began_s for answer in during), default=0.0)
        trial.witness("searched meanwhile", door=door, answers=len(during), longest_s=longest_s)
        trial.check(bool(during) and all(answer.good for answer in during), "warm searches failed", node=door)
        # Whoever waits behind it waits about as long; half of that is far from what a busy machine adds.
        unhindered = longest_s < reply.elapsed_s / 2
        text = f"a warm search took {longest_s:.1f} s while a cold one took {reply.elapsed_s:.1f} s"
        if door == victim:
            trial.measure("warm search beside a cold one", longest_s, "s", node=door)
        if door in (victim, proxy):
            trial.deviate(unhindered, text, node=door)
        else:
            trial.check(unhindered, text, node=door)


@claim(
    "F-19",
    "an object store that answers 503, or breaks its replies off, causes no wrong answer and loses nothing flushed",
    source="measured 5.6, 5.9; measured-2 1.2: a segment that cannot be read is an error, and JuiceFS tries again",
    expected={"1.1.0": holds("JuiceFS tries again; what it gives up is a failed search or a flush that waits")},
    needs=("fuse",),
    witnesses=("spread over readers", "store errors", "cut-off replies", "read from the store", "written meanwhile"),
)
@pytest.mark.beside
def test_failing_store(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster(store_proxy=True)
    clients = connect_all(cluster, history)
    writer = cluster.writer.name
    warm = make_collection(cluster, clients[writer], names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    phases = (
        store_faults.errors(cluster, store_faults.Some(share=SHARE, seed=seed), history=history),
        store_faults.cut_off(cluster, store_faults.Some(share=SHARE, seed=seed), history=history),
        # And nothing but errors, for a while.
        store_faults.errors(cluster, history=history),
    )
    cold = [make_collection(cluster, clients[writer], names(f"cold{n}"), seed + 1 + n) for n in range(len(phases))]
    doors = {door: cluster.connect(door, history=history, timeout_s=PATIENCE_S) for door in clients}
    patient = cluster.connect(writer, history=history, timeout_s=PATIENCE_S)
    with (
        Writing(patient, names("written"), seed, pace_s=WRITE_PACE_S) as writing,
        Searching(warm, doors) as searching,
    ):
        for number, (phase, strange) in enumerate(zip(phases, cold, strict=True), start=1):
            pause(SETTLE_S, "writes and searches before the fault")
            before = len(writing.flushed)
            _break(cluster, trial, history, phase, strange)
            _check_resumed(cluster, trial, writing, phase)
            trial.witness("written meanwhile", phase=number, batches=len(writing.flushed) - before)
            trial.progress(f"phase {number} of {len(phases)}, {len(writing.flushed)} batches flushed")
    searching.check_never_wrong(trial)
    for door, client in clients.items():
        for collection in (warm, *cold):
            reply = collection.ask(client)
            wrong = collection.complaints(reply)
            trial.check(not wrong, f"not well again: {wrong[:1]}", node=door)
    clients[writer].flush(writing.collection).require()
    for node, lost in lost_batches(trial, cluster, clients, writing).items():
        trial.check(not lost, f"{len(lost)} batches lost though Insert and Flush succeeded", node=node, batches=lost)
    trial.note(f"{len(writing.flushed)} batches flushed, {writing.uncertain} uncertain, in {len(phases)} phases")


def _break(cluster: Cluster, trial: Trial, history: History, phase: Fault, cold: Warm) -> None:
    """Search what no reader has loaded, at each of them, while the store fails: an error, or the whole answer."""

    def ask(client: Client) -> None:
        reply = cold.ask(client)
        for finding in cold.faults_of(reply):
            trial.check(False, f"a wrong answer instead of an error: {finding}", node=client.node)
        unclear = reply.outcome is Outcome.UNKNOWN
        trial.check(not unclear, f"neither an answer nor an error: {reply.reason}", node=client.node)

    asking = {name: cluster.connect(name, history=history, timeout_s=PATIENCE_S) for name in reader_names(cluster)}
    with phase:
        in_parallel({name: partial(ask, client) for name, client in asking.items()})
        pause(PHASE_S, "the rest of the fault")
    trial.add(phase.witness)
    by_method = phase.witness.proof["by_method"]
    if isinstance(by_method, dict) and by_method.get("GET"):
        trial.witness("read from the store", struck=by_method)


def _check_resumed(cluster: Cluster, trial: Trial, writing: Writing, phase: Fault) -> None:
    budget_s = cluster.budgets.store_recovery_s(phase.ended_s - phase.began_s)
    again = observe(lambda: writing.flushed_since(phase.ended_s), timeout_s=budget_s, interval_s=0.05)
    writing.require_alive()
    node = cluster.writer.name
    if trial.check(again.satisfied, f"no flush succeeds within {budget_s:.0f} s of the {phase.name}", node=node):
        trial.measure("writes go on after", again.elapsed_s, "s", budget_s, node=node)
