"""Availability: what counts as a call, as an answer, as one outage, and as well again in time."""

from __future__ import annotations

import pytest

from fixtures.claims import Verdict
from fixtures.history import Operation, Outcome, Window
from suites.checks.availability import check_availability
from suites.selftest.hand_made import NODE, HandMade

pytestmark = pytest.mark.selftest


def call(at_s: float, took_s: float, outcome: Outcome = Outcome.OK, code: int = 0, kind: str = "search") -> Operation:
    return HandMade().add(kind, at_s, {}, {"code": code}, took=took_s, outcome=outcome, node=NODE)


def test_availability_counts_what_it_is_told_to() -> None:
    calls = [call(1, 1), call(2, 1, Outcome.FAILED, code=4), call(3, 1, kind="insert"), call(4, 1, Outcome.FAILED)]
    all_of_them = check_availability(calls, [], node=NODE)
    assert (all_of_them.asked, all_of_them.answered, all_of_them.share) == (4, 2, 0.5)
    assert (all_of_them.node, all_of_them.verdict, all_of_them.recovery_bound_s) == (NODE, Verdict.UNKNOWN, None)
    searches = check_availability(calls, [], node=NODE, kinds=["search"], refusals=[4])
    assert (searches.asked, searches.answered) == (3, 2)
    nobody = check_availability(calls, [], node="writer")
    assert (nobody.asked, nobody.share) == (0, 1.0)


def test_kinds_of_errors_are_cut_and_have_no_numbers() -> None:
    call_ = HandMade().add(
        "search", 1, {}, {}, node=NODE, outcome=Outcome.FAILED, error="after 12 s\n of 34 " + "x" * 99
    )
    (kind,) = check_availability([call_], [], node=NODE).errors
    assert kind == "failed: after N s of N " + "x" * 65


def test_an_outage_that_touches_another_is_one_with_it() -> None:
    windows = [
        Window(name="kill", target="a", began_s=5.0, ended_s=6.0),
        Window(name="kill", target="b", began_s=1.0, ended_s=5.0),
        Window(name="pause", target="c", began_s=2.0, ended_s=3.0),
        Window(name="kill", target="d", began_s=6.5, ended_s=7.0),
    ]
    first, second = check_availability([call(0.5, 0.5), call(6, 1)], windows, node=NODE).outages
    assert first.faults == ("kill of b", "pause of c", "kill of a")
    assert (first.began_s, first.ended_s, first.asked, first.judged) == (1.0, 6.0, 2, False)
    assert (second.faults, second.began_s, second.ended_s, second.asked) == (("kill of d",), 6.5, 7.0, 1)


def test_what_ends_with_the_bound_is_in_time() -> None:
    window = Window(name="kill", target="a", began_s=1.0, ended_s=2.0)

    def verdict(*calls: Operation) -> Verdict:
        return check_availability(calls, [window], node=NODE, recovery_bound_s=3.0).verdict

    assert verdict(call(3, 2)) is Verdict.HOLDS
    assert verdict(call(3, 2.1)) is Verdict.VIOLATED
    assert verdict(call(5, 1)) is Verdict.VIOLATED, "asked at the bound, answered after it"
    assert verdict(call(5.1, 1)) is Verdict.HOLDS, "asked after it"
    assert verdict(call(4, 1, Outcome.FAILED), call(6, 1)) is Verdict.HOLDS
    assert verdict(call(4, 1.1, Outcome.FAILED), call(6, 1)) is Verdict.VIOLATED


def test_what_touches_a_stretch_is_within_it() -> None:
    windows = [
        Window(name="kill", target="a", began_s=1.0, ended_s=2.0),
        Window(name="kill", target="b", began_s=8.0, ended_s=None),
    ]
    calls = [call(2, 1, Outcome.FAILED), call(4, 1), call(7, 1, Outcome.FAILED)]
    first, second = check_availability(calls, windows, node=NODE).outages
    assert (first.asked, first.asked_after, first.first_error_s, first.last_error_s) == (1, 1, 2.0, None)
    assert (second.asked, second.ended_s, second.judged, second.asked_after) == (1, None, False, 0)


def test_a_call_that_never_ended_is_no_answer_and_proves_no_outage() -> None:
    window = Window(name="kill", target="a", began_s=1.0, ended_s=2.0)
    left_open = HandMade().add("search", 1.5, {}, {}, node=NODE, took=None, outcome=Outcome.UNKNOWN)
    (outage,) = check_availability([left_open], [window], node=NODE).outages
    assert (outage.asked, outage.answered, outage.asked_after, outage.first_error_s) == (1, 0, 0, None)


def test_all_faults_of_a_stretch_are_told() -> None:
    windows = [
        Window(name="kill", target="a", began_s=1.0, ended_s=2.0),
        Window(name="pause", target="b", began_s=1.5, ended_s=2.5),
    ]
    (finding,) = check_availability([call(3, 1, Outcome.FAILED)], windows, node=NODE).findings()
    assert finding.message == "after kill of a, pause of b: the last of 1 calls was not answered"
