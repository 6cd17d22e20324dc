"""What a part of the article's benchmark gives back: verdicts over the article's claims, tables, plots, raw values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from suites.performance.clusters import Lifetime, Place


class Verdict(str, enum.Enum):
    """Of one claim of the article, by what was measured here."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`said` is the article's sentence, `measured` the figure that stands against it, `why` the reason on one line."""

    claim: str
    said: str
    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table for people. `note` says below it what one must know to read it."""

    title: str
    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawing: inline SVG that takes its text and line colours from the page (`currentColor`)."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one part measured. `values` is everything, as JSON takes it; `unfinished` says what its time did not allow.

    `lifetimes` are the clusters it used, which name storage and versions.
    """

    judged: tuple[Judged, ...]
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    lifetimes: tuple[Lifetime, ...] = ()
    unfinished: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much to measure: `name` is "quick" or "full". A part that is not done after `limit_s` gives what it has."""

    name: str
    limit_s: float

    @property
    def full(self) -> bool:
        return self.name == "full"


class MeasureFunction(Protocol):
    """A part: a module-level function `measure`. Raises HarnessError."""

    def __call__(self, place: Place, profile: Profile, say: Callable[[str], None]) -> Measured:
        """Measure and judge."""
