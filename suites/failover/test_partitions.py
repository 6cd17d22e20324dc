"""The network between two roles is cut while rows are written and searched."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fixtures import network
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.faults import Fault
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.services import Service
from fixtures.waits import observe, pause
from suites.failover.searching import Searching, make_collection, warm_up
from suites.failover.writing import Writing, lost_batches
from suites.support import connect_all

CUT_S = 3.0
CLIENT_TIMEOUT_S = 20.0
SETTLE_S = 1.0
WRITE_PACE_S = 0.2


@dataclass(frozen=True, slots=True)
class Cut:
    """Whom to part from whom, by role; `how` as `network.partition` takes it."""

    ours: str
    theirs: str
    how: str


CUTS = (
    Cut("mysql", "everyone", "drop"),
    Cut("reader", "mysql", "reject"),
    Cut("reader", "mishards", "drop"),
    Cut("reader", "mishards", "reject"),
    Cut("writer", "mishards", "drop"),
    Cut("writer", "mysql", "drop"),
    # Only the mounts talk to these two, and each shares the host of its node.
    Cut("redis", "nodes", "drop"),
    Cut("object-store", "nodes", "drop"),
)
"""Resets between MySQL and the writer or Mishards are F-8's matter, which loses batches and wedges Mishards by chance;
Redis that refuses blocks the writer for four times the outage (measured-2 N5)."""


@pytest.mark.beside
@claim(
    "F-12",
    "a network partition between any two roles: nothing acknowledged lost, no partial answer, recovery within budget",
    source="measured-2 1: 26 cuts, 56 980 rows, nothing lost, no wrong answer",
    expected={"1.1.0": holds("what is cut off hangs or fails meanwhile; one reader without MySQL fails every search")},
    needs=("fuse", "partition"),
    witnesses=("spread over readers", "partition", "traffic stopped", "searched meanwhile", "wrote before and after"),
)
def test_partitions(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster()
    clients = connect_all(cluster, history)
    writer = cluster.writer.name
    warm = make_collection(cluster, clients[writer], names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    doors = {door: cluster.connect(door, history=history, timeout_s=CLIENT_TIMEOUT_S) for door in clients}
    patient = cluster.connect(writer, history=history, timeout_s=CLIENT_TIMEOUT_S)
    with (
        Writing(patient, names("written"), seed, pace_s=WRITE_PACE_S) as writing,
        Searching(warm, doors) as searching,
    ):
        for number, cut in enumerate(CUTS, start=1):
            pause(SETTLE_S, "writes and searches before the cut")
            before = len(writing.flushed)
            with network.partition(_role(cluster, cut.ours), _role(cluster, cut.theirs), cut.how, history) as parted:
                pause(CUT_S, "the cut")
            trial.add(parted.witness)
            _check_recovery(cluster, trial, searching, writing, parted, cut)
            if len(writing.flushed) > before:
                trial.witness("wrote before and after", before=before, after=len(writing.flushed))
            trial.progress(f"cut {number} of {len(CUTS)}, {len(writing.flushed)} batches flushed")
    searching.check_never_wrong(trial)
    clients[writer].flush(writing.collection).require()
    for node, lost in lost_batches(trial, cluster, clients, writing).items():
        trial.check(not lost, f"{len(lost)} batches lost though Insert and Flush succeeded", node=node, batches=lost)
    trial.note(f"{len(writing.flushed)} batches flushed, {writing.uncertain} uncertain, in {len(CUTS)} cuts")


def _check_recovery(
    cluster: Cluster, trial: Trial, searching: Searching, writing: Writing, parted: Fault, cut: Cut
) -> None:
    budget_s = cluster.budgets.partition_recovery_s(parted.ended_s - parted.began_s)
    what = f"{cut.ours} cut off from {cut.theirs} ({cut.how})"
    during = {
        door: searching.under_way(door, parted.began_s, parted.ended_s)
        for door in [node.name for node in cluster.nodes] + [cluster.mishards.name]
    }
    if all(during.values()):
        failed = sum(not answer.good for answers in during.values() for answer in answers)
        trial.witness("searched meanwhile", cut=what, answers=sum(map(len, during.values())), failed=failed)
    if parted.witness.proof.get("packets_stopped"):
        trial.witness("traffic stopped", cut=what, packets=parted.witness.proof["packets_stopped"])
    for door in during:
        recovered = searching.recovery(door, parted.ended_s, budget_s)
        if trial.check(recovered.satisfied, f"{what}: no good answer after {budget_s:.0f} s", node=door):
            trial.measure("good again", recovered.value or 0.0, "s", budget_s, node=door)
    written = observe(lambda: writing.flushed_since(parted.ended_s), timeout_s=budget_s, interval_s=0.05)
    writing.require_alive()
    trial.check(written.satisfied, f"{what}: no flush succeeds after {budget_s:.0f} s", node=cluster.writer.name)


def _role(cluster: Cluster, role: str) -> Service | list[Service]:
    roles: dict[str, Service | list[Service]] = {
        "reader": cluster.readers[0],
        "nodes": list(cluster.nodes),
        "everyone": [*cluster.nodes, cluster.mishards],
    }
    return roles.get(role) or cluster.service(role)
