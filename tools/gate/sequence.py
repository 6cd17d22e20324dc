"""The gate's steps in their order: both sides, again what is not settled, the upgrade, the measurements."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures import pairs
from fixtures.errors import UsageError
from fixtures.plugin.exit_codes import ExitCode
from fixtures.plugin.options import MAX_SEED
from tools.gate import measurements
from tools.gate.children import Children
from tools.gate.profiles import PERFORMANCE, UPGRADE
from tools.gate.results import ASKED, Results, Step
from tools.gate.runs import Pytest, Run, Side

MEASURE = (sys.executable, "-m", "tools.gate.measure")
MEASURE_LIMIT_S = 1800
AGAIN = "again"
_NAMED_AT_MOST = 8


@dataclass(slots=True, kw_only=True)
class Gate:
    """Runs everything into `results`. `tests` are the node ids of each claim that is to be run, `kept` is called after
    each step."""

    results: Results
    pytest: Pytest
    children: Children
    report: Path
    tests: Mapping[str, Sequence[str]]
    say: Callable[[str], None]
    kept: Callable[[], object] = field(default=lambda: None)
    measure: Sequence[str] = MEASURE
    _began_s: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """All steps. Raises UsageError where a run refuses its arguments, KeyboardInterrupt once all has stopped."""
        results = self.results
        for number, side in enumerate((results.baseline, results.candidate), start=1):
            run = self._side(side, f"[{number}/5] claims on the {side.name}", side.name, self.tests, results.seed)
            if not run.judged and not any(seen.known for seen in run.seen().values()):
                # Nothing that follows could be compared with anything.
                return
        self._again()
        self._upgrade()
        self._performance()

    def _side(self, side: Side, title: str, name: str, claims: Sequence[str] | Mapping[str, object], seed: int) -> Run:
        nodes = list(dict.fromkeys(test for claim in claims for test in self.tests[claim]))
        which = ", ".join(claims) if len(claims) <= _NAMED_AT_MOST else f"{len(claims)} claims"
        self.say(f"{title} ({side.word}): {which}; seed {seed}")
        options = (f"--topology={side.word}", f"--seed={seed}", *side.arguments)
        run = self.pytest.run(name, "cluster", options, nodes)
        if run.ended.code in (ExitCode.USAGE, ExitCode.NOTHING_COLLECTED) and not self.results.runs:
            raise UsageError(f"the {side.name}'s run was refused: {run.ended.last}")
        self.results.runs.setdefault(side.name, []).append(run)
        self._done(run, title)
        return run

    def _again(self) -> None:
        """Both sides again, in turns, as long as that may change an answer; each round with a seed of its own."""
        results, until_s = self.results, self.results.profile.repeat_until_s
        sides = (results.baseline, results.candidate)
        number = 0
        while unsettled := results.unsettled():
            number += 1
            if time.monotonic() - self._began_s > until_s:
                self._left_out(AGAIN, f"{', '.join(unsettled)}: no time left to run again ({until_s:g} s are over)")
                return
            # In turns: what changes with the time of day must not favour either.
            for side in sides if number % 2 == 0 else sides[::-1]:
                title = f"[3/5] again, round {number}, {side.name}"
                run = self._side(
                    side, title, f"{AGAIN}-{number}-{side.name}", unsettled, (results.seed + number) % (MAX_SEED + 1)
                )
                if not run.judged:
                    return

    def _upgrade(self) -> None:
        results = self.results
        if UPGRADE in results.without:
            self._left_out(UPGRADE, ASKED)
            return
        if why_not := pairs.why_not_rolled(results.baseline.topology, results.candidate.topology):
            self._left_out(UPGRADE, f"not tried: {why_not}")
            results.unjudged.append(UPGRADE)
            return
        self.say(f"[4/5] the upgrade itself, from {results.baseline.word} to {results.candidate.word}")
        options = (
            f"--topology={results.baseline.word}",
            f"--candidate={results.candidate.word}",
            f"--seed={results.seed}",
        )
        run = self.pytest.run(UPGRADE, UPGRADE, options, ())
        results.upgrade = run
        self._done(run, "the upgrade")

    def _performance(self) -> None:
        results = self.results
        why_not = (
            ASKED if PERFORMANCE in results.without else measurements.why_not(results.ran_on, self.pytest.arguments)
        )
        if why_not:
            self._left_out(PERFORMANCE, why_not)
            return
        self.say("[5/5] performance, both sides in turns")
        folder = self.report / PERFORMANCE
        folder.mkdir(exist_ok=True)
        file = folder / measurements.FILE_NAME
        file.unlink(missing_ok=True)
        command = (
            *self.measure,
            *(f"--baseline={results.baseline.word}", f"--candidate={results.candidate.word}"),
            *(f"--seed={results.seed}", f"--profile={results.profile.name}", f"--report={folder}"),
            *results.candidate.arguments,
        )
        ended = self.children.run(command, output=folder / "output.txt", limit_s=MEASURE_LIMIT_S)
        trouble = f"{PERFORMANCE}: exit code {ended.code}: {ended.last}" if ended.code != 0 else ""
        try:
            results.measured = measurements.read(file)
        except ValueError as error:
            trouble = trouble or f"{PERFORMANCE}: {error}"
        self._step(
            Step(
                name=PERFORMANCE,
                title="performance",
                folder=PERFORMANCE,
                command=command,
                code=ended.code,
                duration_s=ended.duration_s,
                trouble=trouble,
            )
        )

    def _done(self, run: Run, title: str) -> None:
        self._step(
            Step(
                name=run.name,
                title=title.partition("] ")[2] or title,
                folder=run.folder,
                command=run.command,
                code=run.ended.code,
                duration_s=run.ended.duration_s,
                trouble=run.trouble,
            )
        )

    def _left_out(self, name: str, why: str) -> None:
        self._step(Step(name=name, title=name, trouble=why, left_out=True))

    def _step(self, step: Step) -> None:
        self.results.steps.append(step)
        took = f"{step.duration_s:.0f} s" if step.duration_s else "left out"
        self.say(f"    {step.title}: {took}{f': {step.trouble}' if step.trouble else ''}")
        self.kept()
