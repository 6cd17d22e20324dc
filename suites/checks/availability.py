"""Did a node answer, and how soon did it answer again after a fault? Told from its operations and the fault windows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fixtures.claims import Finding, Verdict
from fixtures.history import Operation, Outcome, Window

_NUMBER = re.compile(r"\d+")
_KIND_LENGTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One stretch of faults, from the first begin to the last end of windows that overlap, and what a node did.

    Seconds. `first_error_s` counts from the begin to the end of the first call that was not answered; None if there was
    none before the next stretch. All else counts from the end of the stretch and tells of the calls that began between
    it and the next, `asked_after` of them: `last_error_s` is the end of the last one without an answer,
    `first_answer_s` that of the first one with an answer, `recovered_s` that of the first one with an answer after the
    last error, and `asked_again_s` the begin of that one. So the node was well again by `recovered_s`, or sooner if
    nobody asked before `asked_again_s`. None where there is no such call, or while a fault is still in force. Of
    `asked` calls that overlap the stretch, `answered` were answered.
    """

    faults: tuple[str, ...]
    began_s: float
    ended_s: float | None
    asked: int
    answered: int
    asked_after: int
    first_error_s: float | None
    last_error_s: float | None
    first_answer_s: float | None
    asked_again_s: float | None
    recovered_s: float | None

    @property
    def judged(self) -> bool:
        """Whether anything may be said about recovery: the fault is over, and somebody asked."""
        return self.ended_s is not None and self.asked_after > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """How a node answered. `errors` counts the kinds of what was not: outcome and text, numbers left out."""

    node: str
    asked: int
    answered: int
    errors: Mapping[str, int]
    outages: tuple[Outage, ...]
    recovery_bound_s: float | None

    @property
    def share(self) -> float:
        """The share of calls that were answered; 1 of none."""
        return self.answered / self.asked if self.asked else 1.0

    @property
    def verdict(self) -> Verdict:
        """Violated if the node did not recover, or too late; unknown if no stretch of faults could be judged."""
        if self.findings():
            return Verdict.VIOLATED
        return Verdict.HOLDS if any(outage.judged for outage in self.outages) else Verdict.UNKNOWN

    def findings(self) -> list[Finding]:
        """One finding for each stretch of faults after which the node was not well again in time."""
        return [
            Finding(
                message=f"after {', '.join(outage.faults)}: {why}",
                node=self.node,
                facts={"rule": "recovery", "recovered_s": outage.recovered_s, "asked_after": outage.asked_after},
            )
            for outage in self.outages
            if (why := self._why_late(outage))
        ]

    def _why_late(self, outage: Outage) -> str:
        if not outage.judged:
            return ""
        if outage.recovered_s is None or outage.asked_again_s is None:
            return f"the last of {outage.asked_after} calls was not answered"
        bound_s = self.recovery_bound_s
        if bound_s is None:
            return ""
        if outage.last_error_s is not None and outage.last_error_s > bound_s:
            return f"an error still after {outage.last_error_s:.3f} s, of {bound_s:.3f} s allowed"
        # Who asks only later cannot say whether it was well before.
        if outage.asked_again_s <= bound_s < outage.recovered_s:
            return f"well again after {outage.recovered_s:.3f} s, of {bound_s:.3f} s allowed"
        return ""


def check_availability(
    operations: Iterable[Operation],
    windows: Iterable[Window],
    *,
    node: str,
    kinds: Collection[str] = (),
    refusals: Collection[int] = (),
    recovery_bound_s: float | None = None,
) -> Availability:
    """Judge how `node` answered its calls, of these `kinds` only where any are named.

    Every fault counts for every node: that a fault elsewhere does no harm here is part of what is asked. `refusals` are
    the codes with which a node that is well turns a bad request down: that is an answer.
    `recovery_bound_s` is how long after the end of a stretch of faults all must be well again (None: it must be once).
    """
    calls = sorted(
        (operation for operation in operations if operation.node == node and (not kinds or operation.kind in kinds)),
        key=lambda call: call.invoked_s,
    )

    def answered(call: Operation) -> bool:
        return call.outcome is Outcome.OK or call.reply.get("code") in refusals

    stretches = _stretches(windows)
    begins_s = [stretch.began_s for stretch in stretches[1:]] + [float("inf")]
    return Availability(
        node=node,
        asked=len(calls),
        answered=sum(map(answered, calls)),
        errors=dict(Counter(_kind(call) for call in calls if not answered(call)).most_common()),
        outages=tuple(_outage(calls, answered, one, next_s) for one, next_s in zip(stretches, begins_s, strict=False)),
        recovery_bound_s=recovery_bound_s,
    )


@dataclass(slots=True)
class _Stretch:
    faults: list[str]
    began_s: float
    ended_s: float


def _stretches(windows: Iterable[Window]) -> list[_Stretch]:
    """The windows in order, those that overlap or touch as one; an open one never ends."""
    stretches: list[_Stretch] = []
    for window in sorted(windows, key=lambda one: one.began_s):
        ended_s = float("inf") if window.ended_s is None else window.ended_s
        name = f"{window.name} of {window.target}"
        if stretches and window.began_s <= stretches[-1].ended_s:
            stretches[-1].faults.append(name)
            stretches[-1].ended_s = max(stretches[-1].ended_s, ended_s)
        else:
            stretches.append(_Stretch([name], window.began_s, ended_s))
    return stretches


def _outage(
    calls: Sequence[Operation], answered: Callable[[Operation], bool], stretch: _Stretch, next_s: float
) -> Outage:
    """What the calls, in the order in which they began, say of one stretch; `next_s` is when the next one begins."""
    over = stretch.ended_s < float("inf")
    during = [call for call in calls if call.invoked_s <= stretch.ended_s and _end_s(call) >= stretch.began_s]
    after = [call for call in calls if stretch.ended_s < call.invoked_s and _end_s(call) < next_s] if over else []
    errors_s = [_end_s(call) for call in (*during, *after) if not answered(call) and _end_s(call) < next_s]
    late = [call for call in after if not answered(call)]
    good = after[after.index(late[-1]) + 1 :] if late else after
    answers_s = [_end_s(call) for call in after if answered(call)]
    proof = min(good, key=_end_s, default=None)
    return Outage(
        faults=tuple(stretch.faults),
        began_s=stretch.began_s,
        ended_s=stretch.ended_s if over else None,
        asked=len(during),
        answered=sum(map(answered, during)),
        asked_after=len(after),
        first_error_s=min(errors_s) - stretch.began_s if errors_s else None,
        last_error_s=max(map(_end_s, late)) - stretch.ended_s if late else None,
        first_answer_s=min(answers_s) - stretch.ended_s if answers_s else None,
        asked_again_s=proof.invoked_s - stretch.ended_s if proof else None,
        recovered_s=_end_s(proof) - stretch.ended_s if proof else None,
    )


def _end_s(call: Operation) -> float:
    return float("inf") if call.completed_s is None else call.completed_s


def _kind(call: Operation) -> str:
    """What calls that failed alike have in common."""
    text = _NUMBER.sub("N", " ".join(call.error.split()))[:_KIND_LENGTH] or "no word"
    return f"{call.outcome.value}: {text}"
