"""From a scenario to faults in force: which fixture breaks what, and how long it may take until all is well again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fixtures import disks, faults, network, store_faults
from fixtures.cluster import Cluster
from fixtures.faults import Fault
from fixtures.history import History
from fixtures.services import Service
from suites.grid.scenarios import MOUNTS, Break, Scenario

HEARTBEAT_S = 2
"""So that a session of JuiceFS expires soon, and a pause can outlast it."""
DISK_MB = 48


def topology_for(scenario: Scenario) -> dict[str, object]:
    """What differs from the run's topology, as `fresh_cluster` takes it."""
    full = {each.role for each in scenario.breaks if each.how == "full"}
    changes: dict[str, object] = {
        "juicefs": {"heartbeat_s": HEARTBEAT_S, **({"cache_disk_mb": DISK_MB} if full & set(MOUNTS) else {})}
    }
    if "writer" in full:
        changes["milvus"] = {"wal_disk_mb": DISK_MB}
    if any(each.role.startswith("reader") and each.how in ("kill", "stop") for each in scenario.breaks):
        # Else a reader may be refused its start for flushes of others (claim F-14), and the cell end there.
        changes["milvus"] = {"reader_recovery_error_ignore": True}
    if any(each.how in _STORE for each in scenario.breaks):
        changes["store_proxy"] = True
    return changes


def duration_s(cluster: Cluster, part: Break) -> float:
    """How long a break lasts here."""
    return cluster.budgets.session_expiry_s + 2.0 if part.lasts_s is None else part.lasts_s


def inject(cluster: Cluster, part: Break, history: History) -> Fault:
    """The fault of a break; in force when its block is entered."""
    how, _, amount = part.how.partition(":")
    if how in _STORE:
        return _STORE[how](cluster, history)
    target = cluster.service(part.role)
    if how == "cut":
        return network.partition(target, cluster.service(part.peer), amount, history)
    if how == "kill" and part.role in MOUNTS:
        return faults.kill_mount(cluster.mounts[part.role.removeprefix("juicefs-")], history)
    return _OF_A_SERVICE[how](target, amount, history)


_OF_A_SERVICE: Mapping[str, Callable[[Service, str, History], Fault]] = {
    "kill": lambda target, _, history: faults.kill(target, history),
    "stop": lambda target, _, history: faults.stop(target, history),
    "pause": lambda target, _, history: faults.pause(target, history),
    "late": lambda target, amount, history: network.slow(target, _seconds(amount), (), history),
    "lossy": lambda target, amount, history: network.lossy(target, float(amount), history),
    "full": lambda target, _, history: disks.fill(target, history),
}

_STORE: Mapping[str, Callable[[Cluster, History], Fault]] = {
    "503": lambda cluster, history: store_faults.errors(cluster, store_faults.Some(share=0.5), history=history),
    "slow": lambda cluster, history: store_faults.slow(cluster, delay_s=0.5, history=history),
    "cut-off": lambda cluster, history: store_faults.cut_off(cluster, store_faults.Some(share=0.5), history=history),
}


def _seconds(amount: str) -> float:
    return float(amount.removesuffix("ms")) / 1000


@dataclass(frozen=True, slots=True)
class Recovery:
    """By when all must be well again after an outage, and why."""

    within_s: float
    because: str

    @staticmethod
    def after(cluster: Cluster, scenario: Scenario, outage_s: float) -> Recovery:
        """The longest of the bounds that the parts of the scenario have."""
        budgets = cluster.budgets
        bounds = [Recovery(budgets.proxy_recovery_s(outage_s), "Mishards' clients back off as long as the outage")]
        for part in scenario.breaks:
            if part.how == "cut:reject" and "redis" in (part.role, part.peer):
                bounds.append(Recovery(budgets.redis_refused_s(outage_s), "JuiceFS backs off from a refusing Redis"))
            if part.how.startswith("late"):
                # What was under way when the latency ended is still as late as it was.
                bounds.append(Recovery(budgets.partition_recovery_s(outage_s), "what is under way comes late"))
        return max(bounds, key=lambda bound: bound.within_s)
