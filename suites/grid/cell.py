"""One cell of the grid: a cluster under load, something broken, and what clients saw before, meanwhile and after."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError, MissingCapability
from fixtures.faults import Fault
from fixtures.history import History, Outcome
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import Observed, observe, pause
from suites.failover.searching import WEDGED, Searching, Warm
from suites.failover.writing import Writing
from suites.grid.aftermath import judge
from suites.grid.injections import Recovery, duration_s, inject, topology_for
from suites.grid.scenarios import Scenario
from suites.load import under_load
from suites.support import front_doors

A_FLUSH = "a flush"
ANSWERS = 10
"""Good answers in a row at each door that show it is well: a wedged one of Mishards' ten workers would show."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The cluster of one cell and what its test was given."""

    scenario: Scenario
    cluster: Cluster
    trial: Trial
    history: History

    @property
    def doors(self) -> list[str]:
        return front_doors(self.cluster)


def run(
    scenario: Scenario, fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    """Run the cell and record what it shows."""
    cell = Cell(scenario, fresh_cluster(**topology_for(scenario)), trial, history)
    for need in sorted(scenario.needs):
        if (reason := cell.cluster.capabilities.get(need)) is not None:
            raise MissingCapability(need, reason)
    with under_load(cell.cluster, trial, names, history, seed) as load:
        broken = _break(cell)
        healthy = _recover(cell, load.searching, load.writing, broken)
    span = min(fault.began_s for fault in broken), max(fault.ended_s for fault in broken)
    load.searching.witness_meanwhile(trial, [span])
    load.searching.check_never_wrong(trial)
    if healthy and _steady(cell, load.warm, load.clients):
        judge(cell.cluster, trial, history, scenario, broken, load.writing, load.mixing, load.clients)


def _break(cell: Cell) -> list[Fault]:
    """Inject all, let them last, heal all: the faults, with what proves each."""
    with contextlib.ExitStack() as stack:
        broken = [stack.enter_context(inject(cell.cluster, part, cell.history)) for part in cell.scenario.breaks]
        lasts_s = max(duration_s(cell.cluster, part) for part in cell.scenario.breaks)
        cell.trial.progress(f"{cell.scenario.name}: in force, for {lasts_s:.0f} s")
        pause(lasts_s, "the fault")
        if cell.scenario.kills_mount_of_writer:
            # As an operator has to: a writer that goes on while its mount is unmounted and mounted again writes its
            # segments to the folder beneath, where nobody finds them (seen here).
            cell.cluster.writer.stop()
    if cell.scenario.kills_mount_of_writer:
        cell.cluster.writer.start()
    for fault in broken:
        cell.trial.witness("fault", scenario=cell.scenario.name, how=fault.witness.kind, proof=fault.witness.proof)
    return broken


def _recover(cell: Cell, searching: Searching, writing: Writing, broken: list[Fault]) -> bool:
    """Wait until every door gives exact answers and writes are durable again; whether all that came true."""
    trial = cell.trial
    healed_s = max(fault.ended_s for fault in broken)
    recovery = Recovery.after(cell.cluster, cell.scenario, healed_s - min(fault.began_s for fault in broken))
    trial.progress(f"{cell.scenario.name}: healed; until all is well, {recovery.within_s:.0f} s at most")
    seen = _await_all(cell, searching, writing, healed_s, recovery)
    if seen.value == [A_FLUSH] and _index_build_hangs(cell):
        # Documented, if nobody measured it: a file that the failed flush left as NEW is never finished.
        text = "an index build waits for ever for a file of a flush that failed, and holds up every write behind it"
        trial.deviate(False, text, node=cell.cluster.writer.name)
        cell.cluster.writer.restart()
        seen = _await_all(cell, searching, writing, History.now_s(), recovery)
    writing.require_alive()
    for missing in seen.value or ():
        last = [answer for answer in searching.answers(missing) if not answer.good][-1:]
        why = f": {last[0].error or last[0].wrong[:1]}" if last else ""
        trial.check(False, f"not well {recovery.within_s:.0f} s after {cell.scenario.name}{why}"[:300], node=missing)
    if seen.satisfied:
        trial.measure("all well again", seen.elapsed_s, "s", recovery.within_s)
    return seen.satisfied


def _await_all(
    cell: Cell, searching: Searching, writing: Writing, since_s: float, recovery: Recovery
) -> Observed[list[str]]:
    """Until all doors and writes are well: the value is who is not."""
    refused: list[str] = []

    def waited_for() -> list[str]:
        refused.extend(_revive(cell))
        good = {answer.door for answer in searching.answers(since_s=since_s) if answer.good}
        unwell = [door for door in cell.doors if door not in good]
        return unwell if writing.flushed_since(since_s) else [*unwell, A_FLUSH]

    seen = observe(
        waited_for,
        accept=lambda missing: not missing,
        timeout_s=recovery.within_s,
        interval_s=0.1,
        give_up=lambda: refused[0] if refused else None,
    )
    for complaint in refused:
        cell.trial.check(False, complaint)
    return seen


def _index_build_hangs(cell: Cell) -> bool:
    """Whether MySQL was away and the last index build has had no answer.

    CreateIndex ends when no file of the collection is NEW (facts 5.9), one left behind stays so until the next start,
    and changes wait for each other (facts 4.4).
    """
    builds = [operation for operation in cell.history.operations() if operation.kind == "create_index"]
    return cell.scenario.concerns("mysql") and bool(builds) and builds[-1].outcome is Outcome.UNKNOWN


def _revive(cell: Cell) -> list[str]:
    """Start what has ended by itself, as an operator would: what could not be started.

    A writer that cannot write the shared storage ends itself (facts 1.8): documented, though nobody would call it
    recovering by itself.
    """
    refused = []
    for node in cell.cluster.nodes:
        if node.is_alive():
            continue
        code = node.process.exit_code()
        cell.trial.deviate(False, f"ended by itself with exit code {code}; an operator has to start it", node=node.name)
        try:
            node.start()
        except InfrastructureError as error:
            refused.append(f"{node.name} ended by itself and cannot be started: {str(error).splitlines()[0]}")
    return refused


def _steady(cell: Cell, warm: Warm, clients: Mapping[str, Client]) -> bool:
    """Many answers in a row at each door, since one alone may come from the one worker that is well."""
    for door, client in clients.items():
        replies = [warm.ask(client) for _ in range(ANSWERS)]
        bad = [reply.reason for reply in replies if not reply.ok]
        if bad and door == cell.cluster.mishards.name and WEDGED in bad[0] and cell.scenario.concerns("mysql"):
            text = f"{len(bad)} of {ANSWERS} searches fail after a reset from MySQL, until it is restarted: {bad[0]}"
            cell.trial.deviate(False, text[:300], node=door)
            cell.cluster.mishards.restart()
            bad = [reply.reason for reply in (warm.ask(client) for _ in range(ANSWERS)) if not reply.ok]
        if not cell.trial.check(not bad, f"{len(bad)} of {ANSWERS} searches fail later: {bad[:1]}"[:300], node=door):
            return False
    return True
