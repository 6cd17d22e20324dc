"""What is broken in each cell of the fault grid: data, composable, replayable by name.

A scenario is one or more breaks that are in force at the same time: `redis-kill`, `reader-1-cut-mysql-drop`,
`mishards-kill+reader-1-kill`. Its name says all of it, and is its test's id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHORT_S = 3.0
"""How long most faults last: past every heartbeat and flush interval, short of every client's patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One fault of one role. `how` is what fixtures call it, with its parameters after a colon.

    `peer` is the other side of a cut. `lasts_s` None means longer than JuiceFS waits for a silent client before it
    gives its session up, which the live configuration says.
    """

    role: str
    how: str
    peer: str = ""
    lasts_s: float | None = SHORT_S

    @property
    def name(self) -> str:
        long = "-long" if self.lasts_s is None else ""
        if self.peer:
            return f"{self.role}-cut-{self.peer}-{self.how.removeprefix('cut:')}"
        return f"{self.role}-{self.how.replace(':', '-')}{long}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Breaks that are in force together; injected in this order, healed in the reverse one."""

    breaks: tuple[Break, ...]

    @property
    def name(self) -> str:
        return "+".join(each.name for each in self.breaks)

    @property
    def needs(self) -> frozenset[str]:
        """The capabilities of the host without which it cannot be had."""
        return frozenset({"fuse"}.union(*(_NEEDS.get(each.how.partition(":")[0], ()) for each in self.breaks)))

    @property
    def kills_mount_of_writer(self) -> bool:
        return any(each.how == "kill" and each.role == MOUNTS[0] for each in self.breaks)

    def concerns(self, role: str) -> bool:
        """Whether a break is at this role, or cuts others off from it."""
        return any(role in (each.role, each.peer) for each in self.breaks)


_NEEDS = {"cut": {"partition"}, "late": {"partition"}, "lossy": {"partition"}, "full": {"disks"}}

NODES = ("writer", "reader-1", "reader-2")
MOUNTS = tuple(f"juicefs-{node}" for node in NODES)
STORES = ("mysql", "redis", "object-store")
HOSTS = (*NODES, "mishards", *STORES)
"""A mount shares the host of its node, so what befalls a host befalls both."""

PEERS = {
    **{node: STORES for node in NODES},
    "mishards": (*NODES, "mysql"),
}
"""Who talks to whom: a node's host also for its mount."""


def _of(role: str) -> list[Break]:
    if role in MOUNTS:
        # A mount in use cannot be stopped in good order: its node has files open.
        return [Break(role=role, how=how, lasts_s=s) for how, s in (("kill", 1.0), ("pause", SHORT_S), ("pause", None))]
    breaks = [Break(role=role, how=how, lasts_s=1.0) for how in ("kill", "stop")]
    return [*breaks, Break(role=role, how="pause"), Break(role=role, how="pause", lasts_s=None)]


def _network(host: str) -> list[Break]:
    cuts = [Break(role=host, how=f"cut:{way}", peer=peer) for peer in PEERS.get(host, ()) for way in ("drop", "reject")]
    return [*cuts, *(Break(role=host, how=f"late:{ms}ms") for ms in (100, 1000)), Break(role=host, how="lossy:10")]


def _all() -> Iterable[Scenario]:
    for role in (*HOSTS, *MOUNTS):
        yield from (Scenario((each,)) for each in _of(role))
    for host in HOSTS:
        yield from (Scenario((each,)) for each in _network(host))
    for full in ("writer", *MOUNTS):
        yield Scenario((Break(role=full, how="full"),))
    for how in ("503", "slow", "cut-off"):
        yield Scenario((Break(role="object-store", how=how),))
    yield Scenario((Break(role="mishards", how="kill", lasts_s=1.0), Break(role="reader-1", how="kill", lasts_s=1.0)))
    yield Scenario((Break(role="redis", how="pause"), Break(role="object-store", how="pause")))
    yield Scenario((Break(role="writer", how="kill", lasts_s=1.0), Break(role="mysql", how="stop", lasts_s=1.0)))


GRID = tuple(_all())
"""The whole of it."""

SAMPLE = ("writer-kill", "redis-pause", "juicefs-reader-1-kill")
"""What the main job runs of it: a program, a store and a mount, each by another fault."""


def of_group(group: str, names: Iterable[str] | None = None) -> list[Scenario]:
    """The scenarios of a claim's group, all or those named: the role of the only break, "mount", or "several"."""
    return [each for each in GRID if _group(each) == group and (names is None or each.name in names)]


def _group(scenario: Scenario) -> str:
    if len(scenario.breaks) > 1:
        return "several"
    role = scenario.breaks[0].role
    return "mount" if role in MOUNTS else "reader" if role.startswith("reader") else role
