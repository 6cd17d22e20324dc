"""What a gate found out, as plain values: rows for claims, measurements, steps. All reports are made from it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fixtures.claims import Verdict
from fixtures.plugin.conformance import plain
from fixtures.topology import Topology
from tools.gate.compare import Change, Comparison, Seen, compare
from tools.gate.exit_codes import GateCode, decide
from tools.gate.profiles import CHANCE, INFORMATION, Profile
from tools.gate.runs import Json, Run, Side, bounds

ASKED = "as asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that the gate did, or did not do: `trouble` says why, empty where all is well."""

    name: str
    title: str
    folder: str = ""
    command: tuple[str, ...] = ()
    code: int | None = None
    duration_s: float = 0.0
    trouble: str = ""
    left_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim: every run of it on both sides, or in the upgrade, and what that comes to."""

    id: str
    promise: str
    comparison: Comparison
    baseline: tuple[Seen, ...] = ()
    candidate: tuple[Seen, ...] = ()
    upgrade: Seen | None = None
    by_chance: str = ""
    notes: tuple[str, ...] = ()

    @property
    def change(self) -> Change:
        return self.comparison.change

    @property
    def decides(self) -> bool:
        """Whether the exit code follows from it; an unknown that is allowed says nothing."""
        return not self.comparison.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One figure of both sides, measured in turns; `ratio` is candidate to baseline, of medians, with its bounds."""

    name: str
    unit: str
    change: Change
    reason: str
    pairs: tuple[tuple[float, float], ...]
    ratio: float | None
    low: float | None
    high: float | None
    margin: float


@dataclass(slots=True, kw_only=True)
class Results:
    """Filled as the gate goes on, so that one that is interrupted leaves what it knew."""

    gate_id: str
    baseline: Side
    candidate: Side
    profile: Profile
    seed: int
    runtime: str
    defect: str | None
    command: tuple[str, ...]
    started: datetime.datetime
    only: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    ended: datetime.datetime | None = None
    interrupted: bool = False
    steps: list[Step] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    upgrade: Run | None = None
    unjudged: list[str] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Each claim of either side, then those of the upgrade."""
        before, after = self._by_claim(self.baseline), self._by_claim(self.candidate)
        documents = self._documents()
        rows = [
            Row(
                id=claim,
                promise=documents[claim]["promise"],
                comparison=compare(before.get(claim, ()), after.get(claim, ()), by_chance=claim in CHANCE),
                baseline=tuple(before.get(claim, ())),
                candidate=tuple(after.get(claim, ())),
                by_chance=CHANCE.get(claim, ""),
                notes=self._bounds(claim),
            )
            for claim in dict.fromkeys((*before, *after))
        ]
        return rows + self._upgrade_rows()

    def code(self) -> GateCode:
        """The exit code for what is known so far."""
        rows = self.rows()
        # A figure that cannot be told from noise says nothing, and is named; promises are what decides.
        changes = [row.change for row in rows if row.decides]
        changes += [each.change for each in self.measured if each.change is not Change.UNKNOWN]
        compared = any(row.change is not Change.UNKNOWN for row in rows)
        # What was left out as asked is no unknown; what could not be tried is.
        if self.interrupted or self.unjudged or self.doubts or not compared:
            changes.append(Change.UNKNOWN)
        return decide(changes, infrastructure=bool(self.troubles))

    @property
    def troubles(self) -> list[str]:
        """What broke that is nobody's verdict."""
        return [step.trouble for step in self.steps if step.trouble and not step.left_out]

    @property
    def doubts(self) -> list[str]:
        """What went wrong beside the claims of a run: something left behind, a capability that was demanded."""
        return [f"{run.name}: {doubt}" for run in self.all_runs() for doubt in run.doubts]

    @property
    def ran_on(self) -> str:
        """The runtime that the runs had."""
        return next((run.document["runtime"] for run in self.all_runs() if run.document is not None), self.runtime)

    def all_runs(self) -> list[Run]:
        """In the order of the sides, the upgrade last."""
        runs = [run for side in (self.baseline, self.candidate) for run in self.runs.get(side.name, ())]
        return runs + ([self.upgrade] if self.upgrade is not None else [])

    def unsettled(self) -> list[str]:
        """Claims for which another run of both sides could change the answer."""
        return [row.id for row in self.rows() if not row.comparison.settled]

    def _by_claim(self, side: Side) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for run in self.runs.get(side.name, ()):
            for claim, seen in run.seen().items():
                found.setdefault(claim, []).append(seen)
        return found

    def _documents(self, which: Sequence[Side] = ()) -> dict[str, Json]:
        """The first account of each claim."""
        sides = which or (self.candidate, self.baseline)
        claims = [
            claim
            for side in sides
            for run in self.runs.get(side.name, ())
            for claim in (run.document or {"claims": ()})["claims"]
        ]
        return {claim["id"]: claim for claim in reversed(claims)}

    def _bounds(self, claim: str) -> tuple[str, ...]:
        before, after = (self._documents([side]).get(claim) for side in (self.baseline, self.candidate))
        return tuple(bounds(before, after)) if before is not None and after is not None else ()

    def _upgrade_rows(self) -> list[Row]:
        if self.upgrade is None or self.upgrade.document is None:
            return []
        seen = self.upgrade.seen()
        return [
            Row(
                id=claim["id"],
                promise=claim["promise"],
                comparison=of_upgrade(seen[claim["id"]], information=INFORMATION.get(claim["id"], "")),
                upgrade=seen[claim["id"]],
            )
            for claim in self.upgrade.document["claims"]
        ]


def of_upgrade(seen: Seen, *, information: str = "") -> Comparison:
    """What a claim about the upgrade itself comes to: there is one run of it, and staying is what it is compared with.

    What the version is documented to do it does where it stays, too, so that is no reason not to go. With `information`
    it decides nothing, however it ends.
    """
    if information and seen.verdict in (Verdict.UNKNOWN, Verdict.VIOLATED):
        return Comparison(Change.UNKNOWN, f"for information, {information}: {seen.reason}", allowed=True)
    if seen.verdict is Verdict.UNKNOWN:
        return Comparison(Change.UNKNOWN, seen.reason, allowed=seen.allowed)
    if seen.verdict is Verdict.VIOLATED:
        return Comparison(Change.WORSE, f"the upgrade breaks it: {seen.reason}")
    documented = "as documented for this version, upgraded or not: " if seen.verdict is Verdict.DEVIATES else ""
    return Comparison(Change.SAME, f"{documented}{seen.reason}")


def differences(before: Topology, after: Topology) -> list[tuple[str, str, str]]:
    """The settings in which two topologies differ: key, baseline, candidate."""
    old, new = dict(_flat(plain(before))), dict(_flat(plain(after)))
    return [(key, old.get(key, ""), new.get(key, "")) for key in {**old, **new} if old.get(key) != new.get(key)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found
