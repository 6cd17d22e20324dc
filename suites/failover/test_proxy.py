"""What a restart of Mishards changes: nothing, it keeps no state that matters."""

from __future__ import annotations

import numpy as np

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from suites.failover.searching import make_collection, warm_up
from suites.support import connect_all

SEARCHES = 20


@claim(
    "F-7",
    "Mishards restarts without a change in any answer",
    source="facts 7: it keeps caches only; measured 5.4",
    expected={"1.1.0": holds()},
    needs=("kill mishards", "mysql", "logs"),
    witnesses=("spread over readers", "kill"),
)
def test_mishards_restarts(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    proxy = cluster.mishards.name
    clients = connect_all(cluster, history)
    warm = make_collection(cluster, clients[cluster.writer.name], names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    before = warm.ask(clients[proxy]).require()
    with faults.kill(cluster.mishards, history) as dead:
        refused = warm.ask(clients[proxy])
    # Only now is it proven that it was dead all the while.
    trial.add(dead.witness)
    trial.check(not refused.ok, "a search was answered while Mishards was dead", node=proxy)
    back = cluster.connect(proxy, history=history)
    for _ in range(SEARCHES):
        after = warm.ask(back)
        wrong = warm.complaints(after)
        trial.check(not wrong, f"a wrong answer after the restart: {wrong[:1]}", node=proxy)
        trial.check(
            after.ok and np.array_equal(before.ids, after.ids) and np.allclose(before.distances, after.distances),
            "the answer changed with the restart",
            node=proxy,
        )
    trial.measure("down", dead.ended_s - dead.began_s, "s", cluster.budgets.proxy_restart_s, node=proxy)
    counted = back.count(warm.name).require().value
    trial.check(counted == len(warm.rows), f"{counted} rows counted of {len(warm.rows)}", node=proxy)
