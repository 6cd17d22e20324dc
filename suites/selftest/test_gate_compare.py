"""Better, same, worse or unknown: every pair of verdicts, claims that vary by chance, and what no answer may do."""

from __future__ import annotations

from itertools import product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.claims import Verdict
from fixtures.plugin.verdicts import Cause
from tools.gate.compare import LEVEL, ROUNDS, Change, Seen, compare
from tools.gate.exit_codes import GateCode, decide
from tools.gate.fisher import more_often

pytestmark = pytest.mark.selftest

H, D, V, U = Verdict.HOLDS, Verdict.DEVIATES, Verdict.VIOLATED, Verdict.UNKNOWN
BETTER, SAME, WORSE, UNKNOWN = Change.BETTER, Change.SAME, Change.WORSE, Change.UNKNOWN


def seen(verdict: Verdict, *kinds: str, allowed: bool = False) -> Seen:
    cause = Cause.CAPABILITY if allowed else Cause.HARNESS if verdict is U else Cause.CLUSTER
    return Seen(
        verdict=verdict,
        reason=f"why {verdict.value}",
        run="a run",
        cause=cause,
        allowed=allowed,
        kinds=frozenset(kinds),
    )


def runs(*verdicts: Verdict) -> list[Seen]:
    return [seen(verdict, *(["rows lost"] if verdict is V else [])) for verdict in verdicts]


TABLE = {
    (H, H): SAME,
    (H, D): WORSE,
    (H, V): WORSE,
    (H, U): UNKNOWN,
    (D, H): BETTER,
    (D, D): SAME,
    (D, V): WORSE,
    (D, U): UNKNOWN,
    (V, H): BETTER,
    (V, D): BETTER,
    (V, V): SAME,
    (V, U): UNKNOWN,
    (U, H): UNKNOWN,
    (U, D): UNKNOWN,
    (U, V): UNKNOWN,
    (U, U): UNKNOWN,
}


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(product(Verdict, Verdict))


@pytest.mark.parametrize(("before", "after"), TABLE)
def test_each_pair_of_verdicts(before: Verdict, after: Verdict) -> None:
    told = compare(runs(before), runs(after))
    assert told.change is TABLE[before, after]
    assert not told.allowed
    assert told.settled == (U not in (before, after)), "only what nobody knows may be found out by another run"


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        # The worst that was seen counts, on either side.
        ([H, H], [H, V], WORSE),
        ([H, H], [V, H], WORSE),
        ([H, D], [D, H], SAME),
        ([D, H], [H, H], BETTER),
        # An unknown run says nothing.
        ([U, H], [H, H], SAME),
        ([H, U], [U, D], WORSE),
        ([U, U], [H, H], UNKNOWN),
        ([U, V], [U, V], SAME),
    ],
)
def test_several_runs(before: list[Verdict], after: list[Verdict], change: Change) -> None:
    assert compare(runs(*before), runs(*after)).change is change


def test_a_promise_that_is_lost_is_said_though_it_is_documented() -> None:
    documented = "it deviates, as documented for its version, and held on the baseline: why deviates"
    assert compare(runs(H), runs(D)).reason == documented
    assert compare(runs(D), runs(V)).reason == "it is violated, and only deviated on the baseline: why violated"
    assert compare(runs(D), runs(H)).reason == "it holds (why holds); on the baseline: why deviates"


def test_another_break_than_the_baseline_s_is_not_the_same() -> None:
    told = compare([seen(V, "stale")], [seen(V, "stale", "rows lost")])
    assert (told.change, told.allowed, told.settled) == (UNKNOWN, False, True)
    assert told.reason.endswith("in a way that the baseline did not: rows lost")
    assert compare([seen(V, "stale", "rows lost")], [seen(V, "stale")]).change is SAME


def test_a_capability_that_both_lack_is_allowed() -> None:
    lacking = [seen(U, allowed=True)]
    told = compare(lacking, lacking)
    assert (told.change, told.allowed, told.settled) == (UNKNOWN, True, True)
    for one_side in (compare(lacking, runs(H)), compare(runs(H), lacking), compare(lacking, runs(U))):
        assert (one_side.change, one_side.allowed) == (UNKNOWN, False)


def test_a_claim_that_ran_on_one_side_only_is_unknown() -> None:
    assert compare(runs(H), []).reason == "it did not run on the candidate"
    assert compare([], runs(H)).reason == "it did not run on the baseline"


def test_what_stays_unknown_is_not_tried_for_ever() -> None:
    assert not compare(runs(U, U), runs(H, H)).settled
    assert compare(runs(U, U, U), runs(H, H, H)).settled


# Worked by hand: of `of_many` runs at least `many` broken, of the ways to place all that broke.
FISHER = [
    ((0, 5, 5, 5), 1 / 252),
    ((0, 5, 4, 5), 6 / 252),
    ((1, 5, 5, 5), 6 / 252),
    ((0, 5, 3, 5), 21 / 252),
    ((1, 5, 4, 5), 26 / 252),
    ((0, 1, 1, 1), 1 / 2),
    ((0, 3, 3, 3), 1 / 20),
    ((2, 5, 2, 5), 186 / 252),
    ((0, 5, 0, 5), 1.0),
    ((5, 5, 0, 5), 1.0),
    ((0, 0, 0, 5), 1.0),
]


@pytest.mark.parametrize(("counts", "p"), FISHER)
def test_fisher_by_hand(counts: tuple[int, int, int, int], p: float) -> None:
    assert more_often(*counts) == pytest.approx(p)


def test_more_broken_than_ran_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="more broke than ran"):
        more_often(0, 5, 6, 5)


@pytest.mark.parametrize(
    ("before", "after", "change", "settled"),
    [
        ([H], [H], SAME, True),
        ([D], [D], SAME, True),
        ([H], [D], UNKNOWN, False),
        ([D], [H], UNKNOWN, False),
        # After 0 and 1, then 0 and 0 twice, not even two more could make four.
        ([H, H], [D, H], UNKNOWN, False),
        ([H, H, H], [D, H, H], SAME, True),
        ([H] * 4, [D] * 4, WORSE, False),
        ([H] * 5, [D] * 4 + [H], WORSE, True),
        ([H] * 5, [D] * 3 + [H] * 2, SAME, True),
        ([H] * 4 + [D], [D] * 5, WORSE, True),
        ([D] * 5, [H] * 5, BETTER, True),
        ([D, H, D, H, D], [H, D, H, D, D], SAME, True),
        # Undocumented on the candidate alone: no matter of chance.
        ([H], [V], WORSE, True),
        ([D, H], [H, V], WORSE, True),
        # The baseline broke otherwise than documented: it breaks, no more is said of it.
        ([V], [D], SAME, True),
        # Unknown runs leave too few to tell.
        ([H, U, U, U, U], [D, U, U, U, U], UNKNOWN, True),
    ],
)
def test_claims_that_vary_by_chance(before: list[Verdict], after: list[Verdict], change: Change, settled: bool) -> None:
    told = compare(runs(*before), runs(*after), by_chance=True)
    assert (told.change, told.settled) == (change, settled), told.reason


def test_chance_is_said_with_its_counts() -> None:
    told = compare(runs(H, H, H, H, H), runs(D, D, D, D, H), by_chance=True)
    counted = "it broke in 0 of 5 runs on the baseline, in 4 of 5 on the candidate"
    assert told.reason == f"{counted}: beyond chance (Fisher's exact test, p = 0.024)"


def test_how_often_a_side_that_is_like_the_other_is_called_worse() -> None:
    """Exactly, over all outcomes, for each rate: what the docstring promises."""

    def false_alarm(rate: float) -> float:
        def chance(broke: int) -> float:
            return comb(ROUNDS, broke) * rate**broke * (1 - rate) ** (ROUNDS - broke)

        pairs = product(range(ROUNDS + 1), repeat=2)
        return sum(chance(b) * chance(c) for b, c in pairs if more_often(b, ROUNDS, c, ROUNDS) <= LEVEL)

    assert max(false_alarm(rate / 100) for rate in range(101)) < 0.011


SIDES = st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=ROUNDS)


@given(SIDES, SIDES, st.booleans())
def test_what_is_the_same_is_never_worse_nor_better(
    before: list[Verdict], after: list[Verdict], by_chance: bool
) -> None:
    assert compare(runs(*before), runs(*before), by_chance=by_chance).change in (SAME, UNKNOWN)
    there = compare(runs(*before), runs(*after), by_chance=by_chance).change
    back = compare(runs(*after), runs(*before), by_chance=by_chance).change
    assert (there, back) not in ((WORSE, WORSE), (BETTER, BETTER))


@given(SIDES, SIDES, st.booleans())
def test_a_violation_on_the_candidate_alone_is_always_worse(
    before: list[Verdict], after: list[Verdict], by_chance: bool
) -> None:
    clean = [verdict for verdict in before if verdict is not V] or [H]
    if set(clean) == {U}:
        clean.append(H)
    assert compare(runs(*clean), runs(*after, V), by_chance=by_chance).change is WORSE


@given(SIDES, SIDES)
def test_another_run_never_hides_what_was_seen(before: list[Verdict], after: list[Verdict]) -> None:
    """Of a claim that ends the same each time: a further good run of both sides changes no answer but unknown."""
    first = compare(runs(*before), runs(*after))
    if first.change is not UNKNOWN:
        assert compare(runs(*before, H), runs(*after, H)).change is first.change


@given(SIDES, SIDES, st.booleans())
def test_nothing_known_is_never_a_pass(before: list[Verdict], after: list[Verdict], by_chance: bool) -> None:
    if set(before) == {U} or set(after) == {U}:
        assert compare(runs(*before), runs(*after), by_chance=by_chance).change is UNKNOWN


@pytest.mark.parametrize(
    ("changes", "infrastructure", "code"),
    [
        ([SAME, BETTER], False, GateCode.NOTHING_WORSE),
        ([], False, GateCode.NOTHING_WORSE),
        ([SAME, UNKNOWN], False, GateCode.UNKNOWN),
        ([WORSE, UNKNOWN], False, GateCode.WORSE),
        ([WORSE], True, GateCode.WORSE),
        ([UNKNOWN], True, GateCode.INFRASTRUCTURE),
        ([SAME], True, GateCode.INFRASTRUCTURE),
    ],
)
def test_the_exit_code(changes: list[Change], infrastructure: bool, code: GateCode) -> None:
    assert decide(changes, infrastructure=infrastructure) is code


def test_every_code_says_what_it_means() -> None:
    assert [int(code) for code in GateCode] == [0, 1, 2, 3, 4]
    assert len({code.meaning for code in GateCode}) == len(GateCode)
