"""How each node took each fault: the checker of availability, told in a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fixtures.clients.reply import REFUSALS
from fixtures.history import Stored
from fixtures.plugin.figures import number
from suites.checks.availability import Outage, check_availability
from tools.report.timeline import AUDIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What one node did about one stretch of faults, as texts; the greater `rank_s`, the worse it came out of it."""

    rank_s: float
    faults: str
    duration: str
    node: str
    answered: str
    first_error: str
    well_again: str


def recoveries(stored: Stored) -> Iterator[Recovery]:
    """What each node that was asked did about each stretch of faults."""
    nodes = dict.fromkeys(each.node for each in stored.operations if AUDIT not in each.node)
    for node in nodes if stored.windows else ():
        seen = check_availability(stored.operations, stored.windows, node=node, refusals=REFUSALS)
        for outage in seen.outages:
            if outage.asked or outage.asked_after:
                yield Recovery(
                    rank_s=_rank_s(outage),
                    faults=", ".join(outage.faults),
                    duration="never healed" if outage.ended_s is None else _seconds(outage.ended_s - outage.began_s),
                    node=node,
                    answered=f"{outage.answered} of {outage.asked}",
                    first_error="none" if outage.first_error_s is None else f"after {_seconds(outage.first_error_s)}",
                    well_again=_well_again(outage),
                )


def slowest(recoveries: Iterable[Recovery]) -> list[Recovery]:
    """Of each stretch of faults the node that came out of it worst."""
    slowest: dict[str, Recovery] = {}
    for each in recoveries:
        if each.faults not in slowest or each.rank_s > slowest[each.faults].rank_s:
            slowest[each.faults] = each
    return list(slowest.values())


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
        return "never unwell"
    if outage.recovered_s is None or outage.asked_again_s is None:
        return "not seen well again"
    return f"within {_seconds(outage.recovered_s)} (asked at {_seconds(outage.asked_again_s)})"


def _seconds(seconds: float) -> str:
    return f"{number(seconds)} s"
