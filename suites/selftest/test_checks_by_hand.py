"""Every checker on histories whose results were worked out by hand: data/histories.json, each with its reasoning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.history import Operation, Window
from suites.checks.availability import check_availability
from suites.checks.counts import expected_count
from suites.checks.elements import Level
from suites.checks.loss import check_loss
from suites.checks.sessions import check_monotonic_writes, check_read_your_writes
from suites.checks.set_full import Quantiles, check_monotonic, check_set_full
from suites.selftest.hand_made import COLLECTION, NODE, HandMade

pytestmark = pytest.mark.selftest

Case = dict[str, Any]
CASES: list[Case] = json.loads((Path(__file__).parent / "data" / "histories.json").read_text("utf-8"))["histories"]
WHERE: dict[str, Any] = {"collection": COLLECTION, "node": NODE}


def operations(case: Case) -> list[Operation]:
    history = HandMade()
    for each in case["operations"]:
        began_s, ended_s = each["t"]
        how = {key: each[key] for key in ("client", "node", "outcome", "error") if key in each}
        how["took"] = None if ended_s is None else ended_s - began_s
        if each["op"] == "flush":
            history.flush(began_s, **how)
        elif each["op"] == "read":
            history.read(began_s, each["rows"], each["found"], each.get("doubled", ()), **how)
        else:
            {"insert": history.insert, "delete": history.delete}[each["op"]](began_s, each["rows"], **how)
    return history.operations


def level(case: Case) -> Level:
    return Level(case.get("level", "called"))


def quantiles(told: Quantiles | None) -> list[float] | None:
    return None if told is None else [told.p0, told.p50, told.p95, told.p99, told.p100]


def set_full(case: Case) -> Case:
    result = check_set_full(operations(case), level=level(case), **WHERE)
    broken = ("lost", "doubled", "lingering", "resurrected", "invented")
    told = {name: list(getattr(result, name).examples) for name in broken}
    counts = {name: getattr(result, name) for name in ("attempted", "stable", "stale", "never_read")}
    latencies = {name: quantiles(getattr(result, name)) for name in ("stable_latency_s", "lost_latency_s")}
    assert all(getattr(result, name).count == len(told[name]) for name in broken)
    return {"verdict": result.verdict.value, **counts, **told, **latencies}


def monotonic_reads(case: Case) -> Case:
    result = check_monotonic(operations(case), **WHERE)
    return {"verdict": result.verdict.value, "gaps": [gap.operation for gap in result.gaps]}


def read_your_writes(case: Case) -> Case:
    results = check_read_your_writes(
        operations(case), collection=COLLECTION, level=level(case), elsewhere_s=case.get("elsewhere_s", 0.0)
    )
    return {
        "sessions": {
            f"{each.session} at {each.node}": [each.verdict.value, [miss.operation for miss in each.misses]]
            for each in results
        }
    }


def monotonic_writes(case: Case) -> Case:
    result = check_monotonic_writes(operations(case), **WHERE)
    return {"verdict": result.verdict.value, "disorders": [each.operation for each in result.disorders]}


def loss(case: Case) -> Case:
    result = check_loss(operations(case), disasters_s=case.get("disasters_s", ()), **WHERE)
    return {
        "verdict": result.verdict.value,
        "acknowledged": result.acknowledged,
        "kept": result.kept,
        "unread": result.unread,
        "flushed": list(result.flushed.examples),
        "unflushed": list(result.unflushed.examples),
        "recovery_point_s": result.recovery_point_s,
    }


def availability(case: Case) -> Case:
    windows = [
        Window(name=each["name"], target=each["target"], began_s=each["t"][0], ended_s=each["t"][1])
        for each in case["windows"]
    ]
    result = check_availability(operations(case), windows, node=NODE, recovery_bound_s=case.get("recovery_bound_s"))
    calls = ("asked", "answered", "asked_after")
    seconds = ("first_error_s", "last_error_s", "first_answer_s", "asked_again_s", "recovered_s")
    return {
        "verdict": result.verdict.value,
        "asked": result.asked,
        "answered": result.answered,
        "errors": result.errors,
        "outages": [{name: getattr(outage, name) for name in calls + seconds} for outage in result.outages],
    }


def count(case: Case) -> Case:
    result = expected_count(operations(case), collection=COLLECTION)
    return {"least": result.least, "most": result.most}


CHECKERS: dict[str, Callable[[Case], Case]] = {
    "set-full": set_full,
    "monotonic reads": monotonic_reads,
    "read your writes": read_your_writes,
    "monotonic writes": monotonic_writes,
    "loss": loss,
    "availability": availability,
    "count": count,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_checker_says_what_was_worked_out_by_hand(case: Case) -> None:
    told = CHECKERS[case["checker"]](case)
    broken = ("doubled", "lingering", "resurrected", "invented")
    expected = {name: [] for name in broken if name in told} | case["expect"]
    assert told == expected, case["why"]


def test_there_are_cases_for_every_checker_each_with_its_reasoning() -> None:
    assert {case["checker"] for case in CASES} == set(CHECKERS)
    assert len({case["name"] for case in CASES}) == len(CASES) >= 32
    assert all(len(case["why"]) > 40 for case in CASES)
