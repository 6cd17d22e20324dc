"""One part after the other replaced under load, and what clients saw meanwhile and afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures import upgrades
from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.faults import Fault
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.topology import Topology
from fixtures.waits import observe
from suites.audit import audit
from suites.failover.searching import Searching, Warm
from suites.failover.writing import Writing
from suites.grid.aftermath import judge
from suites.grid.scenarios import Break, Scenario
from suites.load import under_load
from suites.support import front_doors

ANSWERS = 10
"""Good answers in a row at each door in the end: one alone may come from the one worker that is well."""


def upgrade(cluster: Cluster, candidate: Topology, trial: Trial, names: Names, history: History, seed: int) -> None:
    """Do it, and record what it shows."""
    with under_load(cluster, trial, names, history, seed) as load:
        done = _one_by_one(cluster, candidate, trial, history, load.searching, load.writing)
    load.searching.witness_meanwhile(trial, [(fault.began_s, fault.ended_s) for fault in done])
    load.searching.check_never_wrong(trial)
    if len(done) and _steady(trial, load.warm, load.clients):
        scenario = Scenario((Break(role="parts", how="upgrade"),))
        judge(cluster, trial, history, scenario, [], load.writing, load.mixing, load.clients)
        audit(cluster, trial, writer_quiet=False, through_empty_cache=True)


def _one_by_one(
    cluster: Cluster, candidate: Topology, trial: Trial, history: History, searching: Searching, writing: Writing
) -> list[Fault]:
    """All steps, each when all doors are well again after the one before; up to one that stays unwell."""
    done: list[Fault] = []
    for step in upgrades.steps(cluster, candidate, history):
        trial.progress(f"upgrading {step.part}")
        with step.fault:
            pass
        done.append(step.fault)
        trial.witness("upgraded", **step.fault.witness.proof)
        away_s = step.fault.ended_s - step.fault.began_s
        trial.measure(f"{step.part} away", away_s, "s")
        if not _well_again(cluster, trial, step.part, step.fault.ended_s, away_s, searching, writing):
            break
    if not done:
        trial.note("the two topologies do not differ in anything that a running cluster has: nothing was upgraded")
    return done


def _well_again(
    cluster: Cluster,
    trial: Trial,
    part: str,
    since_s: float,
    away_s: float,
    searching: Searching,
    writing: Writing,
) -> bool:
    within_s = cluster.budgets.proxy_recovery_s(away_s)

    def waited_for() -> list[str]:
        good = {answer.door for answer in searching.answers(since_s=since_s) if answer.good}
        unwell = [door for door in front_doors(cluster) if door not in good]
        return unwell if writing.flushed_since(since_s) else [*unwell, "a flush"]

    seen = observe(waited_for, accept=lambda missing: not missing, timeout_s=within_s, interval_s=0.1)
    writing.require_alive()
    for missing in seen.value or ():
        trial.check(False, f"not well {within_s:.0f} s after the upgrade of {part}", node=missing)
    if seen.satisfied:
        trial.measure(f"all well again after {part}", seen.elapsed_s, "s", within_s)
    return seen.satisfied


def _steady(trial: Trial, warm: Warm, clients: Mapping[str, Client]) -> bool:
    well = True
    for door, client in clients.items():
        bad = [reply.reason for reply in (warm.ask(client) for _ in range(ANSWERS)) if not reply.ok]
        well = trial.check(not bad, f"{len(bad)} of {ANSWERS} searches fail later: {bad[:1]}"[:300], node=door) and well
    return well
