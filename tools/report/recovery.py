"""How each node took each fault: the checker of availability, told in a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fixtures.clients.reply import REFUSALS
from fixtures.history import Operation, Stored
from fixtures.plugin.figures import number
from suites.checks.availability import Outage, check_availability
from tools.report.timeline import AUDIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What one node did about one stretch of faults, as texts; the greater `rank`, the worse it came out of it."""

    rank: tuple[float, float]
    faults: str
    duration: str
    node: str
    answered: str
    slowest: str
    first_error: str
    well_again: str


def recoveries(stored: Stored) -> Iterator[Recovery]:
    """What each node that was asked did about each stretch of faults."""
    nodes = dict.fromkeys(each.node for each in stored.operations if AUDIT not in each.node)
    for node in nodes if stored.windows else ():
        seen = check_availability(stored.operations, stored.windows, node=node, refusals=REFUSALS)
        for outage in seen.outages:
            if outage.asked or outage.asked_after:
                slowest_s = _slowest_s(stored.operations, node, outage)
                yield Recovery(
                    rank=(_rank_s(outage), slowest_s),
                    faults=", ".join(outage.faults),
                    duration="never healed" if outage.ended_s is None else _seconds(outage.ended_s - outage.began_s),
                    node=node,
                    answered=f"{outage.answered} of {outage.asked}",
                    slowest=_seconds(slowest_s) if outage.asked else "-",
                    first_error="none" if outage.first_error_s is None else f"after {_seconds(outage.first_error_s)}",
                    well_again=_well_again(outage),
                )


def slowest(recoveries: Iterable[Recovery]) -> list[Recovery]:
    """Of each stretch of faults the node that came out of it worst."""
    slowest: dict[str, Recovery] = {}
    for each in recoveries:
        if each.faults not in slowest or each.rank > slowest[each.faults].rank:
            slowest[each.faults] = each
    return list(slowest.values())


def _slowest_s(operations: Iterable[Operation], node: str, outage: Outage) -> float:
    """How long the slowest call took that overlaps the faults: what a pause does to a node is no error."""
    ended_s = math.inf if outage.ended_s is None else outage.ended_s
    return max(
        (
            each.completed_s - each.invoked_s
            for each in operations
            if each.node == node and each.completed_s is not None
            if each.invoked_s <= ended_s and each.completed_s >= outage.began_s
        ),
        default=0.0,
    )


def _rank_s(outage: Outage) -> float:
    if outage.first_error_s is None or not outage.judged:
        return -1.0
    return math.inf if outage.recovered_s is None else outage.recovered_s


def _well_again(outage: Outage) -> str:
    if outage.ended_s is None:
        return "-"
    if not outage.asked_after:
        return "nobody asked"
    if outage.first_error_s is None:
        return "no error"
    if outage.recovered_s is None or outage.asked_again_s is None:
        return "not seen well again"
    return f"within {_seconds(outage.recovered_s)} (asked at {_seconds(outage.asked_again_s)})"


def _seconds(seconds: float) -> str:
    return f"{number(seconds)} s"
