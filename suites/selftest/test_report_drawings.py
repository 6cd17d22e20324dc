"""What the page of a run draws of a history: ticks, waits and faults, lags of rows, recovery of nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.history import Outcome, Stored, Window
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed
from tools.report import turnbull
from tools.report.evidence import history as load
from tools.report.lag import curves, lags
from tools.report.recovery import recoveries, slowest
from tools.report.timeline import COLUMNS, timeline

pytestmark = pytest.mark.selftest


def kill(target: str, began_s: float, ended_s: float | None) -> Window:
    return Window(name="kill", target=target, began_s=began_s, ended_s=ended_s)


def test_each_outcome_has_a_row_of_its_own() -> None:
    history = HandMade()
    history.add("search", 0, {}, took=0.0)
    history.add("search", 30, {}, took=0.0, outcome=Outcome.FAILED)
    history.add("search", 60, {}, took=0.0, outcome=Outcome.UNKNOWN)
    drawn = timeline(Stored(history.operations, []))
    assert drawn is not None
    (lane,) = drawn.lanes
    assert [(mark.outcome, mark.count, mark.ticks) for mark in lane.marks] == [
        ("ok", 1, "M0 20V2H1V20z"),
        ("failed", 1, "M300 36V24H301V36z"),
        ("unknown", 1, "M599 52V40H600V52z"),
    ]
    assert [text for _, text in drawn.axis] == ["0 s", "20 s", "40 s", "60 s"]


def test_what_takes_long_is_a_line_and_what_never_ends_goes_on_to_the_end() -> None:
    history = HandMade()
    history.add("search", 0, {}, took=2)
    history.add("search", 1, {}, took=2)
    history.add("flush", 5, {}, took=None, outcome=Outcome.UNKNOWN)
    history.add("search", 10, {}, took=0.0)
    drawn = timeline(Stored(history.operations, []))
    assert drawn is not None
    assert [mark.waits for mark in drawn.lanes[0].marks] == ["M0 20H180", "M300 52H599"]


def test_a_taller_tick_is_more_operations() -> None:
    history = HandMade()
    for at in (0, 0, 0, 0, 5, 10):
        history.add("search", at, {}, took=0.0)
    drawn = timeline(Stored(history.operations, []))
    assert drawn is not None
    assert drawn.lanes[0].marks[0].ticks == "M0 20V2H1V20zM300 20V9H301V20zM599 20V9H600V20z"


def test_a_hundred_thousand_operations_take_no_more_room_than_the_columns() -> None:
    history = HandMade()
    for place in range(100_000):
        history.add("search", place / 100, {}, outcome=Outcome.FAILED if place % 7 else Outcome.OK)
    drawn = timeline(Stored(history.operations, [kill("reader-1", 1, 2)] * 2))
    assert drawn is not None
    assert sum(mark.count for mark in drawn.lanes[0].marks) == drawn.operations == 100_000
    assert max(len(mark.ticks) for mark in drawn.lanes[0].marks) < 10 * COLUMNS


def test_a_fault_shades_all_lanes_and_is_said_to_aim_at_one() -> None:
    history = HandMade()
    for node in ("writer", "reader-1", "reader-1, in the end", "mishards"):
        history.add("search", 0, {}, node=node, took=10)
    windows = [kill("juicefs-writer", 5, None), kill("reader-1, mishards", 2, 4)]
    drawn = timeline(Stored(history.operations, windows))
    assert drawn is not None
    assert [(lane.node, sorted(lane.hit)) for lane in drawn.lanes] == [
        ("writer", [2]),
        ("reader-1", [1]),
        ("mishards", [1]),
    ]
    assert [(shade.text, shade.left, shade.width) for shade in drawn.shades] == [
        ("kill of reader-1, mishards, at 2 s: 2 s", 120, 120),
        ("kill of juicefs-writer, at 5 s: never healed", 300, 300),
    ]
    assert drawn.badges == [(20, "1"), (50, "2")]


def test_faults_that_begin_together_share_a_number() -> None:
    history = HandMade()
    history.add("search", 0, {}, took=100)
    drawn = timeline(Stored(history.operations, [kill("a", 10, 20), kill("b", 11, 20), kill("c", 50, 60)]))
    assert drawn is not None
    assert [text for _, text in drawn.badges] == ["1\N{EN DASH}2", "3"]


def test_what_failed_is_counted_by_kind_and_a_refusal_is_told_apart() -> None:
    history = HandMade()
    for port in (1, 22):
        history.add("search", 0, {}, outcome=Outcome.FAILED, error=f"10.0.0.1:{port}: refused")
    history.add("search", 0, {}, {"code": 4}, outcome=Outcome.FAILED)
    drawn = timeline(Stored(history.operations, []))
    assert drawn is not None
    assert drawn.lanes[0].errors == [("search failed: N.N.N.N:N: refused", 2), ("search failed: code 4", 1)]
    assert drawn.lanes[0].refused == 1


def test_nothing_is_drawn_of_nothing() -> None:
    assert timeline(Stored([], [kill("a", 1, 2)])) is None
    assert curves(Stored([], [])) is None


def test_a_row_became_visible_between_its_last_miss_and_the_first_read_that_found_it() -> None:
    history = flushed([1, 2, 3])
    history.read(1, [1], [1], took=0.25)
    history.read(2, [1, 2, 3], [1])
    history.read(4, [1, 2, 3], [1, 2])
    history.read(6, [2, 3], [3])
    seen = lags(history.operations, COLLECTION, NODE)
    assert seen.missed_until_s.tolist() == [0.0, 0.5, 2.5]
    assert seen.seen_by_s.tolist() == [0.0, 3.0, 5.0]
    assert seen.unseen == 0


def test_a_row_that_is_never_seen_keeps_the_curve_below_all() -> None:
    history = flushed([1, 2])
    history.read(1.5, [1], [1], took=0.0)
    history.read(2, [1, 2], [1])
    drawn = curves(Stored(history.operations, []))
    assert drawn is not None
    (curve,) = drawn.nodes
    assert (curve.rows, curve.unseen) == (2, 1)
    assert (curve.median_s, curve.most_s, curve.seen_by_s) == (0.0, None, None)
    assert curve.likely == "M0 100L0 50 100 50"


@pytest.mark.parametrize("asked", [[2], []])
def test_what_was_deleted_or_never_asked_for_is_not_late(asked: list[int]) -> None:
    history = flushed([1, 2])
    history.delete(2, [2])
    history.read(3, [1, *asked], [1])
    seen = lags(history.operations, COLLECTION, NODE)
    assert (seen.rows, seen.unseen) == (1, 0)


def test_an_audit_at_the_end_says_nothing_of_when_rows_became_visible() -> None:
    history = flushed([1])
    history.read(9, [1], [1], node=f"{NODE}, in the end")
    assert curves(Stored(history.operations, [])) is None


def test_curves_have_one_scale() -> None:
    history = flushed([1])
    history.read(1.75, [1], [1], node="reader-1", took=0.0)
    history.read(11.5, [1], [1], node="reader-2", took=0.0)
    drawn = curves(Stored(history.operations, []))
    assert drawn is not None
    assert [(round(left), text) for left, text in drawn.axis] == [
        (0, "1 ms"),
        (25, "10 ms"),
        (50, "0.1 s"),
        (75, "1 s"),
        (100, "10 s"),
    ]
    assert [curve.likely for curve in drawn.nodes] == [
        "M0 100L0 100 60 100 60 0 100 0",
        "M0 100L0 100 100 100 100 0 100 0",
    ]
    assert [curve.band for curve in drawn.nodes] == [
        "M0 0 100 0L100 0 60 0 60 100 0 100z",
        "M0 0 100 0L100 0 100 0 100 100 0 100z",
    ]
    assert [curve.median_s for curve in drawn.nodes] == pytest.approx([0.2512, 10], rel=1e-3)


def test_who_is_asked_late_is_not_taken_for_slow() -> None:
    """Of nine rows that were only asked for after a minute nothing is known; two that were watched decide."""
    history = flushed(list(range(1, 12)))
    history.read(1.6, [1, 2], [])
    history.read(2.4, [1, 2], [1, 2], took=0.1)
    history.read(60, list(range(1, 12)), list(range(1, 12)))
    drawn = curves(Stored(history.operations, []))
    assert drawn is not None
    (curve,) = drawn.nodes
    assert (curve.rows, curve.unseen) == (11, 0)
    assert curve.median_s == curve.most_s == pytest.approx(1.0, rel=0.12)
    assert (curve.proven_s, curve.seen_by_s) == pytest.approx((0.1, 59.0))


def test_turnbull_finds_the_distribution_behind_the_intervals() -> None:
    """True places are known here, and looked for at random moments only."""
    random = np.random.default_rng(5)
    truth = random.choice([2, 5, 8], p=[0.5, 0.3, 0.2], size=20_000)
    looks = np.sort(random.integers(0, 10, size=(len(truth), 2)), axis=1)
    earlier, later = looks[:, 0], looks[:, 1]
    after = np.where(truth > later, later + 1, np.where(truth > earlier, earlier + 1, 0))
    by = np.where(truth <= earlier, earlier, np.where(truth <= later, later, 9))
    shares = turnbull.shares(after, by, 10)
    assert np.cumsum(shares)[[1, 4, 7, 9]] == pytest.approx([0.0, 0.5, 0.8, 1.0], abs=0.03)


def test_turnbull_takes_exact_cases_as_they_are_and_the_later_of_a_choice() -> None:
    places = np.array([0, 3, 3, 7])
    assert turnbull.shares(places, places, 8) == pytest.approx([0.25, 0, 0, 0.5, 0, 0, 0, 0.25])
    assert turnbull.shares(np.array([1, 2]), np.array([4, 6]), 8).tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_recovery_is_told_of_every_node_that_was_asked() -> None:
    history = HandMade()
    for node, failing_s in (("writer", 0.0), ("reader-1", 3.0), ("reader-2", 99.0)):
        for at in np.arange(0.0, 10.0):
            failed = 4 <= at < 4 + failing_s
            history.add("search", at, {}, node=node, outcome=Outcome.FAILED if failed else Outcome.OK, took=0.5)
    history.add("count", 4, {}, node="mishards", outcome=Outcome.FAILED)
    told = list(recoveries(Stored(history.operations, [kill("reader-1", 4, 6)])))
    assert [(each.node, each.answered, each.first_error, each.well_again) for each in told] == [
        ("writer", "3 of 3", "none", "no error"),
        ("reader-1", "0 of 3", "after 0.5 s", "within 1.5 s (asked at 1 s)"),
        ("reader-2", "0 of 3", "after 0.5 s", "not seen well again"),
        ("mishards", "0 of 1", "after 0.5 s", "nobody asked"),
    ]
    assert {each.duration for each in told} == {"2 s"}
    assert [each.node for each in slowest(told)] == ["reader-2"]
    assert [each.node for each in slowest(told[:2])] == ["reader-1"]


def test_of_nodes_without_an_error_the_one_that_was_held_up_came_out_worst() -> None:
    history = HandMade()
    for node, took in (("writer", 0.5), ("reader-1", 4.0), ("reader-2", 0.25)):
        history.add("search", 3, {}, node=node, took=took)
        history.add("search", 9, {}, node=node, took=30)
    told = list(recoveries(Stored(history.operations, [kill("reader-1", 3, 6)])))
    assert [(each.slowest, each.well_again) for each in told] == [
        ("0.5 s", "no error"),
        ("4 s", "no error"),
        ("0.25 s", "no error"),
    ]
    assert [each.node for each in slowest(told)] == ["reader-1"]


def test_a_fault_that_was_never_healed_says_so() -> None:
    history = HandMade()
    history.add("search", 4, {}, outcome=Outcome.FAILED)
    (told,) = recoveries(Stored(history.operations, [kill("writer", 3, None)]))
    assert (told.duration, told.well_again) == ("never healed", "-")
    assert not list(recoveries(Stored(history.operations, []))), "no fault, no recovery"


def test_a_stored_history_is_drawn_as_it_was(tmp_path: Path) -> None:
    history = flushed([1])
    stored = load(tmp_path, history.save(tmp_path / "history-a.jsonl", [("writer", 1, 2)]).name)
    assert isinstance(stored, Stored)
    assert timeline(stored) == timeline(Stored(history.operations, [kill("writer", 1, 2)]))
