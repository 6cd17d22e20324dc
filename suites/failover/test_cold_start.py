"""Mishards is started while a reader is down."""

from __future__ import annotations

import socket

import pytest

from fixtures import faults
from fixtures.claims import Trial, claim, deviates
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import Observed, observe, pause
from suites.failover.searching import Warm, warm_before_a_restart
from suites.support import connect_all

LATE_S = 3.0
_OPEN, _EXITED = "its port is open", "it has exited"


@claim(
    "F-15",
    "Mishards starts while a reader is down: it serves what it can, and the reader once that is back",
    source="facts 7.7; measured-2 3, N9",
    expected={
        "1.1.0": deviates(
            "it waits for every reader as long as pymilvus does (90 s by default), its port closed, and then exits with"
            " code 1; a reader that is late by less than that is waited for",
            "measured-2 N9",
        )
    },
    witnesses=("spread over readers", "stop", "started without a reader"),
)
@pytest.mark.beside
def test_start_without_a_reader(
    fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    # One wait of 30 s for a reader that is away, in place of three: what becomes of it is the same, and sooner.
    cluster = fresh_cluster(mishards={"max_retry": 1})
    mishards, reader = cluster.mishards, cluster.readers[0]
    clients = connect_all(cluster, history)
    warm = warm_before_a_restart(cluster, trial, names, clients, seed)
    budget_s = cluster.budgets.proxy_dead_reader_error_s + cluster.budgets.proxy_restart_s
    with faults.stop(reader, history) as down:
        trial.progress(f"{reader.name} is down: Mishards has {budget_s:.0f} s to start or to give up")
        _restart(cluster)
        became = _open_or_gone(cluster, budget_s)
        trial.witness("started without a reader", became=became.value, after_s=became.elapsed_s)
        code = mishards.process.exit_code()
        text = f"it exits with code {code} after {became.elapsed_s:.0f} s, and its port was never open"
        trial.deviate(became.value == _OPEN, text, node=mishards.name)
        trial.check(became.satisfied, f"it neither starts nor exits within {budget_s:.0f} s", node=mishards.name)
        trial.measure("open or gone after", became.elapsed_s, "s", budget_s, node=mishards.name)
        if became.value == _OPEN:
            _check_honest(cluster, trial, history, warm, budget_s)
    trial.add(down.witness)
    _check_late_reader(cluster, trial, history, warm)


def _restart(cluster: Cluster) -> None:
    """Stop Mishards and start it anew, without waiting for it."""
    cluster.mishards.stop()
    cluster.mishards.launch()


def _open_or_gone(cluster: Cluster, timeout_s: float) -> Observed[str]:
    """Whether Mishards' port opens, or it exits."""

    def became() -> str:
        try:
            socket.create_connection(cluster.mishards.endpoint, timeout=1.0).close()
        except OSError:
            return "" if cluster.mishards.is_alive() else _EXITED
        return _OPEN

    return observe(became, timeout_s=timeout_s, interval_s=0.1)


def _check_honest(cluster: Cluster, trial: Trial, history: History, warm: Warm, patience_s: float) -> None:
    """With a reader missing an answer is complete, or an error."""
    proxy = cluster.connect(cluster.mishards.name, history=history, timeout_s=patience_s)
    reply = warm.ask(proxy)
    partial = warm.faults_of(reply)
    trial.check(not partial, f"a partial answer: {partial[:1]}", node=proxy.node)


def _check_late_reader(cluster: Cluster, trial: Trial, history: History, warm: Warm) -> None:
    """A reader that is there a little later than Mishards is served all the same."""
    with faults.stop(cluster.readers[0], history) as late:
        _restart(cluster)
        pause(LATE_S, "Mishards to wait for the reader")
    trial.add(late.witness)
    budget_s = cluster.budgets.proxy_recovery_s(late.ended_s - late.began_s)
    began = _open_or_gone(cluster, budget_s)
    node = cluster.mishards.name
    if not trial.check(
        began.value == _OPEN, f"with a late reader: {began.value or 'its port stays closed'}", node=node
    ):
        return
    proxy = cluster.connect(node, history=history)

    def wrong() -> list[str]:
        reply = warm.ask(proxy)
        return warm.complaints(reply)

    served = observe(wrong, accept=lambda found: not found, timeout_s=budget_s, interval_s=0.1)
    if trial.check(served.satisfied, f"with a late reader: {served.last_seen}"[:200], node=node):
        trial.measure("good after a late reader", began.elapsed_s + served.elapsed_s, "s", budget_s, node=node)
