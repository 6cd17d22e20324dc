r"""Better, same, worse or unknown: from what became of a claim on both sides. Pure: no pytest, no cluster, no files.

| baseline \ candidate | holds | deviates | violated | unknown |
|---|---|---|---|---|
| holds | same | worse | worse | unknown |
| deviates | better | same | worse | unknown |
| violated | better | better | same, or unknown (1) | unknown |
| unknown | unknown | unknown | unknown | unknown (2) |

A promise that a version is known to break is a promise lost all the same, so `deviates` after `holds` is worse though
the run itself passes. (1) Same if the candidate breaks it in ways that the baseline showed as well; in another way:
unknown, since each break may hide the other's. (2) Allowed, which does not fail the gate, where both lack a capability.

Where a side ran several times its worst verdict counts, since what was seen was seen: no further run takes it back.
An unknown run says nothing, and is repeated.

**Claims that go either way by chance** (`CHANCE` in profiles.py) are compared by rates instead. One run each that end
alike are `same`. Else both sides run again in turns, `ROUNDS` times in all, and how often each broke the promise is
compared by Fisher's exact test, one-sided at `LEVEL`: `worse` or `better` if that says so, else `same` within chance.
With five runs each it takes 0 and 4, or 1 and 5; a side that is in truth like the other is called worse in at most
1.1 % of all cases, whatever its rate (a test computes it). The runs end early only where no outcome of those left
could change the answer. A break that is *not* documented (`violated`) on the candidate alone is worse at once.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from fixtures.claims import Verdict
from fixtures.plugin.verdicts import Cause
from tools.gate.fisher import more_often

LEVEL = 0.05
ROUNDS = 5
"""Runs of each side that decide about a claim that varies by chance."""
UNKNOWN_ROUNDS = 3
"""Runs of each side at most, where the others concluded nothing."""

_RANK = {Verdict.HOLDS: 0, Verdict.DEVIATES: 1, Verdict.VIOLATED: 2}
_IS = {Verdict.HOLDS: "it holds", Verdict.DEVIATES: "it deviates", Verdict.VIOLATED: "it is violated"}
_WAS = {Verdict.HOLDS: "held", Verdict.DEVIATES: "only deviated", Verdict.VIOLATED: "was violated"}


class Change(str, enum.Enum):
    """What became of a promise. The order is that of the report: what matters most comes first."""

    WORSE = "worse"
    UNKNOWN = "unknown"
    BETTER = "better"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one run of one side concluded on a claim. `kinds` are the ways in which it was violated, without numbers."""

    verdict: Verdict
    reason: str
    run: str
    cause: Cause = Cause.CLUSTER
    allowed: bool = False
    expected: Verdict = Verdict.HOLDS
    kinds: frozenset[str] = frozenset()
    duration_s: float = 0.0

    @property
    def known(self) -> bool:
        return self.verdict is not Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed, and the sentence that says why. `allowed` marks an unknown that does not fail the gate.

    `settled` is false where another run of both sides could still change the answer.
    """

    change: Change
    reason: str
    allowed: bool = False
    settled: bool = True


def compare(baseline: Sequence[Seen], candidate: Sequence[Seen], *, by_chance: bool = False) -> Comparison:
    """What became of a claim, from all its runs on both sides, in their order."""
    if not baseline or not candidate:
        side = "baseline" if not baseline else "candidate"
        return Comparison(Change.UNKNOWN, f"it did not run on the {side}")
    if all(seen.allowed for seen in (*baseline, *candidate)):
        return Comparison(Change.UNKNOWN, candidate[0].reason, allowed=True)
    before, after = [seen for seen in baseline if seen.known], [seen for seen in candidate if seen.known]
    if not before or not after:
        return _unknown(baseline, candidate)
    broken = _violated(before, after)
    if broken is not None:
        return broken
    return _rates(baseline, candidate) if by_chance else _ranks(before, after)


def _unknown(baseline: Sequence[Seen], candidate: Sequence[Seen]) -> Comparison:
    which, runs = ("baseline", baseline) if not any(seen.known for seen in baseline) else ("candidate", candidate)
    # A capability does not come by itself; a witness that was missed may.
    hopeless = any(seen.cause is Cause.CAPABILITY for seen in runs)
    spent = min(len(baseline), len(candidate)) >= UNKNOWN_ROUNDS
    return Comparison(Change.UNKNOWN, f"on the {which}: {runs[-1].reason}", settled=hopeless or spent)


def _violated(before: Sequence[Seen], after: Sequence[Seen]) -> Comparison | None:
    """The answer where the candidate breaks it otherwise than documented; None where it does not."""
    worst = [seen for seen in after if seen.verdict is Verdict.VIOLATED]
    if not worst:
        return None
    known = [seen for seen in before if seen.verdict is Verdict.VIOLATED]
    if not known:
        return Comparison(Change.WORSE, _after(before, worst[0]))
    new = frozenset().union(*(seen.kinds for seen in worst)) - frozenset().union(*(seen.kinds for seen in known))
    if new:
        return Comparison(
            Change.UNKNOWN,
            f"broken on both sides, on the candidate in a way that the baseline did not: {min(new)}",
        )
    return Comparison(Change.SAME, f"broken on both sides, in the same way: {worst[0].reason}")


def _ranks(before: Sequence[Seen], after: Sequence[Seen]) -> Comparison:
    old, new = _worst(before), _worst(after)
    difference = _RANK[new.verdict] - _RANK[old.verdict]
    if difference == 0:
        return Comparison(Change.SAME, new.reason)
    if difference > 0:
        return Comparison(Change.WORSE, _after([old], new))
    return Comparison(Change.BETTER, f"{_IS[new.verdict]} ({new.reason}); on the baseline: {old.reason}")


def _rates(baseline: Sequence[Seen], candidate: Sequence[Seen]) -> Comparison:
    """By how often each side broke it."""
    before, after = [seen for seen in baseline if seen.known], [seen for seen in candidate if seen.known]
    old, of_old = sum(seen.verdict is not Verdict.HOLDS for seen in before), len(before)
    new, of_new = sum(seen.verdict is not Verdict.HOLDS for seen in after), len(after)
    if (of_old, of_new) == (1, 1) and old == new:
        return Comparison(Change.SAME, after[0].reason)
    left = max(0, ROUNDS - min(len(baseline), len(candidate)))
    counted = f"it broke in {old} of {of_old} runs on the baseline, in {new} of {of_new} on the candidate"
    ends = {_rate(old + i, of_old + left, new + j, of_new + left) for i in range(left + 1) for j in range(left + 1)}
    change = _rate(old, of_old, new, of_new)
    if len(ends) > 1:
        return Comparison(change, f"{counted}; it varies by chance, and more runs are needed", settled=False)
    (change,) = ends
    if change is Change.UNKNOWN:
        return Comparison(change, f"{counted}: too few runs to tell this from chance")
    p = min(more_often(old, of_old, new, of_new), more_often(new, of_new, old, of_old))
    beyond = "within chance" if change is Change.SAME else "beyond chance"
    return Comparison(change, f"{counted}: {beyond} (Fisher's exact test, p = {p:.2g})")


def _rate(old: int, of_old: int, new: int, of_new: int) -> Change:
    if more_often(old, of_old, new, of_new) <= LEVEL:
        return Change.WORSE
    if more_often(new, of_new, old, of_old) <= LEVEL:
        return Change.BETTER
    # Where not even all against none would tell, nothing was found out.
    return Change.SAME if more_often(0, of_old, of_new, of_new) <= LEVEL else Change.UNKNOWN


def _worst(runs: Sequence[Seen]) -> Seen:
    """The first of the worst."""
    return max(runs, key=lambda seen: _RANK[seen.verdict])


def _after(before: Sequence[Seen], new: Seen) -> str:
    old = _worst(before)
    known = ", as documented for its version" if new.verdict is Verdict.DEVIATES else ""
    return f"{_IS[new.verdict]}{known}, and {_WAS[old.verdict]} on the baseline: {new.reason}"
