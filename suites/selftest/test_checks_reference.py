"""The checkers against ones written for nothing but being obviously right, on a thousand small random histories."""

from __future__ import annotations

import functools

import pytest

from fixtures.history import Operation
from suites.checks.availability import check_availability
from suites.checks.loss import check_loss
from suites.checks.sessions import check_monotonic_writes, check_read_your_writes
from suites.checks.set_full import Level, Miss, SetFull, check_monotonic, check_set_full
from suites.selftest.hand_made import COLLECTION, NODE, HandMade
from suites.selftest.random_histories import random_history, random_windows
from suites.selftest.slow_checks import (
    slow_disorders,
    slow_gaps,
    slow_loss,
    slow_outages,
    slow_read_your_writes,
    slow_set_full,
)

pytestmark = pytest.mark.selftest

ALL = 1000
HISTORIES = 1000
FIRST = 150
NODES = ("writer", NODE)

# In two parts, since the first one is enough for each mutant of tools/mutate.sh.
parts = pytest.mark.parametrize(
    "seeds", [pytest.param(range(FIRST), id="some"), pytest.param(range(FIRST, HISTORIES), id="many")]
)


@functools.cache
def history_of(seed: int) -> list[Operation]:
    return random_history(seed)


def level_and_grace_s(seed: int) -> tuple[Level, float]:
    """All combinations in turn, so that each history is judged once."""
    return list(Level)[seed // 2 % 2], (0.0, 2.0)[seed // 4 % 2]


def by_read(misses: tuple[Miss, ...]) -> dict[int, set[int]]:
    return {miss.operation: set(miss.examples) for miss in misses}


def as_dict(result: SetFull) -> dict[str, object]:
    return {
        "attempted": result.attempted,
        "reads": result.reads,
        "stable": result.stable,
        "stale": sorted((row.row, row.latency_s) for row in result.worst_stale),
        "never_read": result.never_read,
        "lost": result.lost.examples,
        "doubled": result.doubled.examples,
        "invented": result.invented.examples,
        "lingering": result.lingering.examples,
        "resurrected": result.resurrected.examples,
        "misses": {miss.operation: miss.examples for miss in result.misses},
        "greatest latency": result.stable_latency_s.p100 if result.stable_latency_s else None,
    }


@parts
def test_set_full_says_what_the_slow_checker_says(seeds: range) -> None:
    for seed in seeds:
        history = history_of(seed)
        level, grace_s = level_and_grace_s(seed)
        result = check_set_full(history, collection=COLLECTION, node=NODE, level=level, grace_s=grace_s, examples=ALL)
        assert as_dict(result) == slow_set_full(history, NODE, level, grace_s), f"seed {seed}"


def test_so_many_histories_are_clean_and_broken_in_every_way() -> None:
    """Otherwise agreeing on them would prove little."""
    results = [
        check_set_full(history, collection=COLLECTION, node=NODE, level=Level.CALLED)
        for history in map(history_of, range(HISTORIES))
    ]
    for broken in ("lost", "doubled", "invented", "lingering", "resurrected"):
        assert sum(bool(getattr(result, broken)) for result in results) >= 8, broken
    assert sum(not result.findings() and result.stable > 0 for result in results) >= 100


@parts
def test_gaps_are_reads_that_miss_what_a_read_before_them_found(seeds: range) -> None:
    for seed in seeds:
        history = history_of(seed)
        result = check_monotonic(history, collection=COLLECTION, node=NODE, examples=ALL)
        assert by_read(result.gaps) == slow_gaps(history, NODE), f"seed {seed}"


@parts
def test_sessions_miss_their_own_rows_where_the_slow_checker_says_so(seeds: range) -> None:
    shown = 0
    for seed in seeds:
        history = history_of(seed)
        level, _ = level_and_grace_s(seed)
        results = check_read_your_writes(
            history, collection=COLLECTION, level=level, here_s=1.0, elsewhere_s=2.0, examples=ALL
        )
        missed = {(each.session, each.node): by_read(each.misses) for each in results if each.misses}
        assert missed == slow_read_your_writes(history, level, 1.0, 2.0), f"seed {seed}"
        shown += bool(missed)
    assert shown >= len(seeds) // 50


@parts
def test_writes_are_out_of_order_where_the_slow_checker_says_so(seeds: range) -> None:
    shown = 0
    for seed in seeds:
        history = history_of(seed)
        result = check_monotonic_writes(history, collection=COLLECTION, node=NODE, examples=ALL)
        assert by_read(result.disorders) == slow_disorders(history, NODE), f"seed {seed}"
        shown += bool(result.disorders)
    assert shown >= len(seeds) // 50


@parts
def test_rows_are_lost_where_the_slow_checker_says_so(seeds: range) -> None:
    flushed = unflushed = 0
    for seed in seeds:
        history = history_of(seed)
        _, grace_s = level_and_grace_s(seed)
        began_s = [window.began_s for window in random_windows(seed)]
        result = check_loss(
            history, collection=COLLECTION, node=NODE, disasters_s=began_s, grace_s=grace_s, examples=ALL
        )
        told = {
            "acknowledged": result.acknowledged,
            "kept": result.kept,
            "unread": result.unread,
            "flushed": result.flushed.examples,
            "unflushed": result.unflushed.examples,
            "recovery_point_s": result.recovery_point_s,
        }
        assert told == slow_loss(history, NODE, began_s, grace_s), f"seed {seed}"
        flushed, unflushed = flushed + bool(result.flushed), unflushed + bool(result.unflushed)
    assert min(flushed, unflushed) >= len(seeds) // 100


@parts
def test_outages_are_what_the_slow_checker_says(seeds: range) -> None:
    told, late = 0, 0
    for seed in seeds:
        history, windows = history_of(seed), random_windows(seed)
        result = check_availability(history, windows, node=NODE, recovery_bound_s=2.0)
        expected = slow_outages(history, windows, NODE)
        assert [{key: getattr(outage, key) for key in expected[0]} for outage in result.outages] == expected, seed
        # An error that ended too late; or else nobody was answered who asked in time.
        broken = [
            (one["asked_after"] and one["recovered_s"] is None)
            or (one["last_error_s"] or 0.0) > 2.0
            or (one["recovered_s"] or 0.0) > 2.0 >= (one["asked_again_s"] or 0.0)
            for one in expected
        ]
        assert len(result.findings()) == sum(map(bool, broken)), seed
        told, late = told + any(one["first_error_s"] is not None for one in expected), late + any(broken)
    assert min(told, late) >= len(seeds) // 20


def test_long_runs_are_judged_as_short_ones_are() -> None:
    """Hundreds of rows go through slices instead of positions."""
    history = HandMade()
    history.insert(0, range(400))
    history.insert(0, range(5000, 5100, 2))
    history.flush(1)
    history.read(2, range(400), [*range(300), *range(350, 400)])
    history.delete(3, range(100, 300))
    history.flush(4)
    history.read(5, [*range(400), *range(5000, 5100)], [*range(150), *range(300, 400), 5000, 5002])
    result = check_set_full(history.operations, collection=COLLECTION, node=NODE, examples=ALL)
    assert as_dict(result) == slow_set_full(history.operations, NODE, Level.FLUSHED, 0.0)
    assert result.lost.count == 48
    assert result.lingering.count == 50
