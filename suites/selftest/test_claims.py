"""Verdicts: `judge` as a truth table, and the record that it is made from."""

from __future__ import annotations

import math

import pytest

from fixtures.claims import Claim, Expectation, Figure, Trial, Verdict, Witness, claim, deviates, holds, judge, worst

pytestmark = pytest.mark.selftest

HOLDS = holds()
DEVIATES = deviates("as documented", "#1")


def described(witnesses: frozenset[str] = frozenset()) -> Claim:
    return Claim(id="X-1", promise="p", source="s", expected={"1.1.0": HOLDS}, witnesses=witnesses)


def trial(*, checked: bool, violated: bool, deviated: bool, witness: str) -> Trial:
    """A trial with these contents; `witness` is absent, seen, or not asked for."""
    made = Trial(described(frozenset() if witness == "not asked for" else frozenset({"kill"})))
    if checked:
        made.check(True, "fine")
    if violated:
        made.check(False, "broken", node="reader-1")
    if deviated:
        made.deviate(False, "as feared")
    if witness == "seen":
        made.witness("kill", pid=1)
    return made


H, D, U, V = Verdict.HOLDS, Verdict.DEVIATES, Verdict.UNKNOWN, Verdict.VIOLATED
TABLE = [
    # checked, violated, deviated, witness, verdict where it must hold, verdict where it is known to deviate
    (False, False, False, "not asked for", U, U),
    (True, False, False, "not asked for", H, H),
    (False, False, True, "not asked for", V, D),
    (True, False, True, "not asked for", V, D),
    (False, True, False, "not asked for", V, V),
    (True, True, True, "not asked for", V, V),
    (False, False, False, "seen", U, U),
    (True, False, False, "seen", H, H),
    (True, False, True, "seen", V, D),
    (True, True, False, "seen", V, V),
    (False, False, False, "absent", U, U),
    (True, False, False, "absent", U, U),
    (True, False, True, "absent", V, U),
    (True, True, False, "absent", V, V),
    (True, True, True, "absent", V, V),
]


@pytest.mark.parametrize(("checked", "violated", "deviated", "witness", "strict", "excused"), TABLE)
def test_the_verdict_follows_from_the_record(
    checked: bool, violated: bool, deviated: bool, witness: str, strict: Verdict, excused: Verdict
) -> None:
    made = trial(checked=checked, violated=violated, deviated=deviated, witness=witness)
    assert judge(made, HOLDS).verdict is strict
    assert judge(made, DEVIATES).verdict is excused


def test_the_reason_tells_what_was_seen_where_and_how_often() -> None:
    made = Trial(described())
    made.check(False, "a row is gone", node="reader-1")
    made.check(False, "another one")
    assert judge(made, HOLDS).reason == "reader-1: a row is gone (and 1 more)"
    assert judge(trial(checked=True, violated=False, deviated=False, witness="absent"), HOLDS).reason == (
        "no witness of: kill"
    )
    assert judge(Trial(described()), HOLDS).reason == "nothing was checked"
    fine = trial(checked=True, violated=False, deviated=False, witness="seen")
    assert judge(fine, DEVIATES).reason == "1 checks (this version was expected to deviate)"


def test_checks_return_what_they_saw_and_keep_the_facts() -> None:
    made = Trial(described())
    assert made.check(True, "m") is True
    assert made.deviate(True, "m") is True
    assert made.check(False, "m", node="n", missing=[3]) is False
    assert made.checks == 3
    assert (made.violations[0].node, made.violations[0].facts) == ("n", {"missing": [3]})
    made.add(Witness(kind="kill", proof={"pid": 1}))
    made.note("by the way")
    assert ([witness.kind for witness in made.witnesses], made.notes) == (["kill"], ["by the way"])


def test_a_figure_beyond_its_budget_is_a_violation_and_one_without_decides_nothing() -> None:
    made = Trial(described())
    made.measure("lag", 1.0, "s")
    assert made.checks == 0
    made.measure("lag", 1.0, "s", budget=1.0)
    assert (made.checks, made.violations) == (1, [])
    made.measure("lag", 1.5, "s", budget=1.0, node="reader-2")
    assert made.violations[0].message == "lag: 1.500 s, budget 1.000 s"
    assert made.violations[0].node == "reader-2"


def test_strain_orders_figures_from_harmless_to_worst() -> None:
    figures = [
        Figure(name="none", value=9, unit="s"),
        Figure(name="zero of zero", value=0, unit="s", budget=0),
        Figure(name="half", value=1, unit="s", budget=2),
        Figure(name="over", value=3, unit="s", budget=2),
        Figure(name="some of zero", value=1, unit="s", budget=0),
    ]
    assert [figure.strain for figure in figures] == [-1.0, 0.0, 0.5, 1.5, math.inf]
    assert [figure.exceeded for figure in figures] == [False, False, False, True, True]


def test_the_worst_of_several_verdicts_decides_and_none_is_unknown() -> None:
    assert worst([H, D, H]) is D
    assert worst([D, U]) is U
    assert worst([U, V, H]) is V
    assert worst([]) is U


@pytest.mark.parametrize(
    ("version", "because"),
    [("1.0.0", "old"), ("1.1.0", "new"), ("1.1.1", "new"), ("1.10.0", "newest"), ("1.9.9", "new"), ("0.9.0", "old")],
)
def test_a_version_does_what_the_newest_one_not_newer_than_it_does(version: str, because: str) -> None:
    expected = {"1.10.0": holds("newest"), "1.0.0": holds("old"), "1.1.0": holds("new")}
    assert Claim(id="X", promise="p", source="s", expected=expected).expectation(version) == Expectation(H, because)


def test_the_decorator_marks_a_test_with_its_claim_and_as_one_of_the_cluster() -> None:
    @claim("X-1", "a promise", source="doc", expected={"1.1.0": HOLDS}, needs=["fuse"], witnesses=["kill"])
    def decorated() -> None: ...

    marks = {mark.name: mark for mark in decorated.pytestmark}  # type: ignore[attr-defined]
    assert set(marks) == {"claim", "cluster"}
    (carried,) = marks["claim"].args
    assert (carried.id, carried.needs, carried.witnesses) == ("X-1", {"fuse"}, {"kill"})


def test_progress_is_passed_on_and_decides_nothing() -> None:
    told: list[str] = []
    made = Trial(described(), on_progress=told.append)
    made.progress("half way")
    assert told == ["half way"]
    assert judge(made, HOLDS).verdict is U
