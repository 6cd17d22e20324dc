"""A reader dies, or freezes: is Mishards' answer complete or an error, never something in between?"""

from __future__ import annotations

import pytest

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History, Outcome
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import pause
from suites.failover.searching import Searching, make_collection, warm_before_a_restart, warm_up
from suites.support import connect_all

SHORT_OUTAGE_S = 8.0
FREEZE_S = 8.0
CLIENT_TIMEOUT_S = 5.0


@claim(
    "F-1",
    "a dead reader: Mishards' answer is complete or an error, never partial; good again soon after its restart",
    source="facts 7.7; measured 5.1; milvus #4978",
    expected={"1.1.0": holds("slowly: the error comes after pymilvus' three waits of 30 s for the dead node")},
    witnesses=("spread over readers", "kill", "searched while dead"),
)
@pytest.mark.beside
def test_dead_reader(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster()
    victim, survivor = cluster.readers[0], cluster.readers[-1]
    proxy = cluster.mishards.name
    clients = connect_all(cluster, history)
    warm = warm_before_a_restart(cluster, trial, names, clients, seed)

    doors = {
        door: cluster.connect(door, history=history, timeout_s=CLIENT_TIMEOUT_S)
        for door in (proxy, victim.name, survivor.name)
    }
    with Searching(warm, doors) as searching:
        pause(1.0, "searches before the fault")
        with faults.kill(victim, history) as dead:
            pause(SHORT_OUTAGE_S, "the outage")
        trial.add(dead.witness)
        for door in doors:
            recovered = searching.recovery(door, dead.ended_s, cluster.budgets.proxy_recovery_s(SHORT_OUTAGE_S))
            if trial.check(recovered.satisfied, "no good answer since the reader is back", node=door):
                budget_s = cluster.budgets.proxy_recovery_s(SHORT_OUTAGE_S)
                trial.measure("good again", recovered.value or 0.0, "s", budget_s, node=door)
        trial.progress("recovered from a short outage")
    during = searching.under_way(proxy, dead.began_s, dead.ended_s)
    searching.check_never_wrong(trial)
    untouched = searching.under_way(survivor.name, dead.began_s, dead.ended_s)
    trial.check(
        bool(untouched) and all(answer.good for answer in untouched),
        f"{sum(not a.good for a in untouched)} of {len(untouched)} direct searches failed",
        node=survivor.name,
    )

    # Long enough to see what Mishards finally says; the load's short time-outs only see that it hangs.
    patience_s = cluster.budgets.proxy_dead_reader_error_s
    patient = cluster.connect(proxy, history=history, timeout_s=patience_s + 5)
    with faults.kill(victim, history) as dead:
        trial.progress(f"dead again: Mishards has {patience_s:.0f} s to answer or to fail")
        reply = warm.ask(patient)
        trial.progress(f"Mishards answered after {reply.elapsed_s:.0f} s: {reply.outcome.value}")
    trial.add(dead.witness)
    if during:
        failed = [answer for answer in during if answer.outcome is not Outcome.OK]
        trial.witness("searched while dead", failed=len(failed), of=len(during), finally_said=reply.reason)
    for finding in warm.faults_of(reply):
        trial.check(False, f"a partial answer: {finding}", node=proxy, operation=reply.operation.index)
    trial.check(reply.outcome is not Outcome.UNKNOWN, "neither an answer nor an error", node=proxy)
    trial.measure("error or answer after", reply.elapsed_s, "s", patience_s, node=proxy)
    trial.note(f"what Mishards said in the end: {reply.reason or 'a complete answer'}")
    cluster.mishards.restart()
    healed = warm.ask(cluster.connect(proxy, history=history))
    trial.check(not warm.complaints(healed), f"not healed: {healed.reason}", node=proxy)


@claim(
    "F-2",
    "a frozen reader: Mishards' answer is complete or an error, never partial; good again once it thaws",
    source="measured 5.2",
    expected={"1.1.0": holds("only what is in flight times out")},
    needs=("pause readers", "mysql", "logs"),
    witnesses=("spread over readers", "pause", "searched while frozen"),
)
def test_frozen_reader(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    victim, survivor = cluster.readers[0], cluster.readers[-1]
    proxy = cluster.mishards.name
    clients = connect_all(cluster, history)
    warm = make_collection(cluster, clients[cluster.writer.name], names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    doors = {
        door: cluster.connect(door, history=history, timeout_s=CLIENT_TIMEOUT_S)
        for door in (proxy, victim.name, survivor.name)
    }
    with Searching(warm, doors) as searching:
        pause(1.0, "searches before the fault")
        with faults.pause(victim, history) as frozen:
            pause(FREEZE_S, "the freeze")
        trial.add(frozen.witness)
        for door in doors:
            budget_s = cluster.budgets.thaw_s
            recovered = searching.recovery(door, frozen.ended_s, budget_s)
            if trial.check(recovered.satisfied, "no good answer since the reader thawed", node=door):
                trial.measure("good again", recovered.value or 0.0, "s", budget_s, node=door)
    searching.check_never_wrong(trial)
    during = searching.under_way(proxy, frozen.began_s, frozen.ended_s)
    if during:
        failed = [answer.error for answer in during if answer.outcome is not Outcome.OK]
        trial.witness("searched while frozen", failed=len(failed), of=len(during), errors=failed[:1])
    untouched = searching.under_way(survivor.name, frozen.began_s, frozen.ended_s)
    trial.check(
        bool(untouched) and all(answer.good for answer in untouched),
        f"{sum(not a.good for a in untouched)} of {len(untouched)} direct searches failed",
        node=survivor.name,
    )
