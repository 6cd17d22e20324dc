"""Rates of several file systems, taken in turns: every round measures each of them once, in an order of its own.

What the machine did in a round is in all of that round's rates, so ratios are of rates of the same round. Pure but for
the clock.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fixtures.plugin.figures import number
from suites.performance.intervals import Interval, ratio_of_medians


@dataclass(frozen=True, slots=True)
class What:
    """Something that has a rate, done by so many jobs at once."""

    name: str
    jobs: int

    def __str__(self) -> str:
        return f"{self.name}, {self.jobs} {'job' if self.jobs == 1 else 'jobs'}"


Rates = Mapping[str, float | None]
"""What one file system did in one round, by name, per second; None where something failed, which is no rate."""


@dataclass(slots=True)
class Samples:
    """All rates measured: for each what, by file system, one value a round, None where something failed."""

    values: dict[What, dict[str, list[float | None]]] = field(default_factory=dict)
    errors: dict[tuple[str, What], dict[str, int]] = field(default_factory=dict)
    """How often what failed, by the words of the error."""

    def add(self, who: str, jobs: int, rates: Rates) -> None:
        for name, rate in rates.items():
            self.values.setdefault(What(name, jobs), {}).setdefault(who, []).append(rate)

    def add_errors(self, who: str, jobs: int, name: str, errors: Mapping[str, int]) -> None:
        counted = self.errors.setdefault((who, What(name, jobs)), {})
        for words, count in errors.items():
            counted[words] = counted.get(words, 0) + count

    def failed(self, who: str, jobs: int, names: Sequence[str], error: BaseException) -> None:
        """A round in which nothing could be measured: no rates, and why."""
        self.add(who, jobs, dict.fromkeys(names))
        self.add_errors(who, jobs, "all", {str(error).splitlines()[-1]: 1})

    def to_json(self) -> dict[str, object]:
        return {
            "rates": {str(what): by_name for what, by_name in self.values.items()},
            "errors": {f"{who}: {what}": counted for (who, what), counted in self.errors.items() if counted},
        }


def run_rounds(
    names: Sequence[str],
    jobs: Sequence[int],
    rounds: int,
    measure: Callable[[str, int, int], None],
    *,
    seed: int,
    limit_s: float,
    say: Callable[[str], None],
) -> int:
    """Call `measure(name, jobs, round)` for all, round by round in random order; how many rounds there were.

    No round begins that would end after the limit, if it took as long as the longest before; one is always done.
    """
    began_s, longest_s = time.monotonic(), 0.0
    rng = random.Random(seed)
    for turn in range(rounds):
        started_s = time.monotonic()
        if turn and started_s - began_s + longest_s > limit_s:
            return turn
        for name, count in in_random_order(names, jobs, rng):
            measure(name, count, turn)
        longest_s = max(longest_s, time.monotonic() - started_s)
        say(f"round {turn + 1} of {rounds}: {time.monotonic() - started_s:.1f} s")
    return rounds


def in_random_order(names: Sequence[str], jobs: Sequence[int], rng: random.Random) -> list[tuple[str, int]]:
    """Every name with every count once. All names of a count stand together, since their rates are compared."""
    counts = rng.sample(list(jobs), len(jobs))
    return [(name, count) for count in counts for name in rng.sample(list(names), len(names))]


def means(samples: Samples, names: Sequence[str], called: str) -> Samples:
    """The geometric mean over these names for each round, as a rate of its own; None if one of them is.

    A ratio of geometric means weighs each operation alike, however fast it is.
    """
    found = Samples()
    for jobs in sorted({what.jobs for what in samples.values}):
        columns = [samples.values[What(name, jobs)] for name in names]
        for who in columns[0]:
            for rates in zip(*(column[who] for column in columns), strict=True):
                known = [rate for rate in rates if rate is not None]
                mean = math.exp(statistics.fmean(map(math.log, known))) if len(known) == len(names) else None
                found.add(who, jobs, {called: mean})
    return found


MIN_ROUNDS = 5
"""So many rounds make an interval: were both equally fast, the same one would win 5 of 5 in 1 of 16 runs."""


@dataclass(frozen=True, slots=True)
class Against:
    """The rate of another, and how many times as fast the subject was in the `rounds` that have both.

    No ratio where there is none, and no interval worth the name where there are fewer than MIN_ROUNDS.
    """

    rate: float | None
    ratio: Interval | None
    rounds: int

    @property
    def decisive(self) -> bool:
        return self.ratio is not None and self.rounds >= MIN_ROUNDS

    @property
    def times(self) -> str:
        if self.ratio is None:
            return "no ratio"
        return f"{self.ratio} x" if self.decisive else f"{number(self.ratio.value)} x of {self.rounds}"

    def __str__(self) -> str:
        return "failed" if self.rate is None else f"{number(self.rate)} ({self.times})"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison: the subject's median rate, and the others by name."""

    what: What
    rate: float | None
    others: Mapping[str, Against]


def compare(samples: Samples, subject: str, others: Sequence[str], seed: int) -> list[Row]:
    """Each what with the medians and the ratios subject / other, from the rounds that have both."""
    rows = []
    for what, by_name in samples.values.items():
        against = {}
        for other in others:
            both = zip(by_name.get(other, ()), by_name[subject], strict=False)
            pairs = [(theirs, ours) for theirs, ours in both if theirs is not None and ours is not None]
            ratio = ratio_of_medians(pairs, seed) if pairs else None
            against[other] = Against(_median(by_name.get(other, ())), ratio, len(pairs))
        rows.append(Row(what, _median(by_name[subject]), against))
    return rows


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
