"""A reader comes back at another address."""

from __future__ import annotations

import pytest

from fixtures import moves
from fixtures.claims import Trial, claim, deviates
from fixtures.cluster import Cluster
from fixtures.history import History, Outcome
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import observe
from suites.failover.searching import Warm, warm_before_a_restart
from suites.support import connect_all

STEADY = 20


@claim(
    "F-3",
    "a reader that returns at another address is found again, with nobody telling Mishards",
    source="facts 7.7: static discovery; measured-2 2",
    expected={
        "1.1.0": deviates(
            "addresses are frozen at the start: every search that needs the reader fails after pymilvus' waits (90 s by"
            " default) until Mishards restarts, or the reader returns to where it was",
            "measured-2 2",
        )
    },
    witnesses=("spread over readers", "move", "searched while moved"),
)
@pytest.mark.beside
def test_moved_reader(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    # One wait of 30 s for a reader that is away, in place of three: what becomes of it is the same, and sooner.
    cluster = fresh_cluster(mishards={"max_retry": 1, "by_name": True})
    reader, proxy = cluster.readers[0], cluster.mishards.name
    clients = connect_all(cluster, history)
    warm = warm_before_a_restart(cluster, trial, names, clients, seed)
    patience_s = cluster.budgets.proxy_dead_reader_error_s
    patient = cluster.connect(proxy, history=history, timeout_s=patience_s + 5)
    with moves.move(reader, cluster.mishards, history) as moved:
        direct = warm.ask(cluster.connect(reader.name, history=history))
        wrong = warm.complaints(direct)
        trial.check(not wrong, f"at its new address: {wrong[:1]}", node=reader.name)
        trial.progress(f"moved: Mishards has {patience_s:.0f} s to answer or to fail")
        reply = warm.ask(patient)
        trial.witness("searched while moved", directly=direct.outcome.value, through_mishards=reply.reason or "found")
        partial = warm.faults_of(reply)
        trial.check(not partial, f"a wrong answer instead of an error: {partial[:1]}", node=proxy)
        trial.check(reply.outcome is not Outcome.UNKNOWN, "neither an answer nor an error", node=proxy)
        trial.deviate(reply.ok, f"{reader.name} is not found at its new address: {reply.reason}"[:200], node=proxy)
        trial.measure("error or answer after", reply.elapsed_s, "s", patience_s, node=proxy)
        counted = clients[proxy].count(warm.name)
        trial.check(counted.ok, f"what needs no reader fails as well: {counted.reason}", node=proxy)
    trial.add(moved.witness)
    outage_s = moved.ended_s - moved.began_s
    _check_well(cluster, trial, history, warm, cluster.budgets.proxy_recovery_s(outage_s), "back where it was")
    with moves.move(reader, cluster.mishards, history) as moved:
        # The documented cure.
        cluster.mishards.restart()
        _check_well(cluster, trial, history, warm, cluster.budgets.proxy_restart_s, "after a restart of Mishards")
    trial.add(moved.witness)


def _check_well(cluster: Cluster, trial: Trial, history: History, warm: Warm, budget_s: float, when: str) -> None:
    """Mishards gives the exact answer within the budget, and time and again from then on."""
    proxy = cluster.connect(cluster.mishards.name, history=history)

    def faults() -> list[str]:
        reply = warm.ask(proxy)
        return warm.complaints(reply)

    well = observe(faults, accept=lambda found: not found, timeout_s=budget_s, interval_s=0.1)
    if trial.check(well.satisfied, f"{when}: {well.last_seen}"[:200], node=proxy.node):
        trial.measure(f"good again, {when}", well.elapsed_s, "s", budget_s, node=proxy.node)
    later = [fault for _ in range(STEADY) for fault in faults()]
    trial.check(not later, f"{when}, later: {later[:1]}", node=proxy.node)
