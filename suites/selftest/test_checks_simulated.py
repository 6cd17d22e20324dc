"""No false alarm in a thousand runs of a simulated cluster that keeps its promises; each broken promise is noticed."""

from __future__ import annotations

import pytest

from fixtures.claims import Verdict
from suites.checks.elements import Level
from suites.checks.judge import Judgement, Rules, judge_history
from suites.selftest.simulated import BREAKS, LAG_S, UNFLUSHED_S, Run, simulate

pytestmark = pytest.mark.selftest

RULES = (
    # Nobody is silent for longer than that, from the end of a fault to the end of the next call.
    Rules(bound_s=LAG_S, recovery_s=3.7),
    Rules(level=Level.CALLED, bound_s=UNFLUSHED_S),
)
RUNS = 1000
BROKEN_RUNS = 80
ENOUGH = 3


def judged(run: Run, rules: Rules) -> list[Judgement]:
    return list(judge_history(run.operations, run.windows, rules))


def alarms(judgements: list[Judgement]) -> list[str]:
    return [
        f"{each.checker} at {each.node}: {each.says} {[finding.message for finding in each.findings]}"
        for each in judgements
        if each.verdict is Verdict.VIOLATED
    ]


@pytest.mark.parametrize("first", range(0, RUNS, 100))
def test_a_correct_cluster_raises_no_alarm(first: int) -> None:
    """Each seed is judged by one of the two rules in turn; every checker must have had something to say."""
    spoke: set[str] = set()
    for seed in range(first, first + 100):
        judgements = judged(simulate(seed), RULES[seed % len(RULES)])
        assert alarms(judgements) == [], f"seed {seed}"
        spoke |= {each.checker for each in judgements if each.verdict is Verdict.HOLDS}
    assert spoke == set(BREAKS.values())


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_promise_is_noticed_by_its_checker(name: str) -> None:
    """Not in every run: what nobody asked for, or what an unknown outcome excuses, proves nothing."""
    noticed = 0
    for seed in range(BROKEN_RUNS):
        run = simulate(seed, name)
        judgements = [each for rules in RULES for each in judged(run, rules)] if run.broke else []
        noticed += BREAKS[name] in {each.checker for each in judgements if each.verdict is Verdict.VIOLATED}
        if noticed == ENOUGH:
            return
    pytest.fail(f"noticed in {noticed} of {BROKEN_RUNS} runs")


def test_the_same_seed_gives_the_same_run() -> None:
    assert simulate(7) == simulate(7)
    assert simulate(7).operations != simulate(8).operations
