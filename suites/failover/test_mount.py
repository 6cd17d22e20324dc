"""A JuiceFS client dies under a node."""

from __future__ import annotations

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History, Outcome
from fixtures.plugin import Names
from suites.failover.searching import make_collection, warm_up
from suites.support import connect_all


@claim(
    "F-11",
    "a dead JuiceFS client is loud, and a remount heals",
    source="measured 5.9",
    expected={"1.1.0": holds("cold searches fail with code 1, warm ones go on; no restart of the node is needed")},
    needs=("fuse", "internals", "mysql", "logs"),
    witnesses=("spread over readers", "kill_mount", "cold search failed"),
)
def test_dead_mount(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    reader = cluster.readers[0]
    clients = connect_all(cluster, history)
    writer, direct = clients[cluster.writer.name], clients[reader.name]
    warm = make_collection(cluster, writer, names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    cold = make_collection(cluster, writer, names("cold"), seed + 1)
    before = reader.pid
    with faults.kill_mount(cluster.mounts[reader.name], history) as dead:
        for door in (reader.name, cluster.mishards.name):
            reply = warm.ask(clients[door])
            trial.check(not warm.complaints(reply), f"a warm search failed: {reply.reason}", node=door)
        reply = cold.ask(direct)
        if reply.outcome is Outcome.FAILED:
            trial.witness("cold search failed", code=reply.code, reason=reply.reason)
        trial.check(not reply.ok, "a search that could not read its segments was answered", node=reader.name)
        trial.check(reply.code == 1, f"it failed with code {reply.code}, not 1: {reply.reason}", node=reader.name)
        through = cold.ask(clients[cluster.mishards.name])
        wrong = cold.faults_of(through)
        trial.check(not wrong, f"a partial answer: {wrong[:1]}", node=cluster.mishards.name)
        counted = direct.count(warm.name).require().value
        trial.check(counted == len(warm.rows), f"{counted} rows counted of {len(warm.rows)}", node=reader.name)
    trial.add(dead.witness)
    for door, client in clients.items():
        for collection in (warm, cold):
            reply = collection.ask(client)
            wrong = collection.complaints(reply)
            trial.check(not wrong, f"not healed by the remount: {wrong[:1]}", node=door)
    trial.check(reader.pid == before, "the node was restarted meanwhile", node=reader.name)
    trial.measure("down", dead.ended_s - dead.began_s, "s", node=reader.name)
