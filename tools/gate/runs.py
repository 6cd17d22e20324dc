"""One run of pytest as the gate needs it: started, and read from its conformance.json. No opinion on what changed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.claims import Verdict
from fixtures.plugin.conformance import FILE_NAME
from fixtures.plugin.exit_codes import ExitCode
from fixtures.plugin.verdicts import Cause
from fixtures.topology import Topology
from tools.gate.children import Children, Ended
from tools.gate.compare import Seen
from tools.summary import required_but_missing

PYTEST = (sys.executable, "-m", "pytest")
TEST_LIMIT_S = 300
"""As pyproject.toml has it for one test."""
START_LIMIT_S = 300
_NUMBERED = re.compile(r"\S*\d\S*")
_JUDGED = (ExitCode.OK, ExitCode.VIOLATED, ExitCode.UNKNOWN)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Baseline or candidate: how it is called, the word that named its topology, and what that is.

    `arguments` are for its runs alone.
    """

    name: str
    word: str
    topology: Topology
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one run. `folder` has its evidence, beside gate.json; `document` is its report, if it left one."""

    name: str
    folder: str
    command: tuple[str, ...]
    ended: Ended
    document: Json | None

    @property
    def judged(self) -> bool:
        """Whether it ran to its end with a cluster, so that what is unknown in it is so for a reason of its own."""
        return self.document is not None and self.ended.code in _JUDGED

    @property
    def trouble(self) -> str:
        """Why nothing, or not everything, was judged in it; empty where that is not so."""
        if self.judged:
            return ""
        error = None if self.document is None else self.document["infrastructure_error"]
        why = str(error).partition("\n")[0] if error is not None else self.ended.last
        code = "it did not end" if self.ended.code is None else f"exit code {self.ended.code}"
        return f"{self.name}: {code}: {why}"

    @property
    def doubts(self) -> list[str]:
        """What its report says against the harness: that leaves verdicts in doubt, and blames nobody."""
        if self.document is None:
            return []
        failed = self.document["harness_tests_failed"]
        required = [f"--require={name}: missing: {why}" for name, why in required_but_missing(self.document).items()]
        return [*self.document["problems"], *required, *([f"{failed} tests of the harness failed"] if failed else [])]

    def seen(self) -> dict[str, Seen]:
        """What it concluded on each claim."""
        return {claim["id"]: _seen(claim, self.name) for claim in (self.document or {"claims": ()})["claims"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pytest:
    """Starts runs. `arguments` go to each of them, `report` is the folder that all their folders are in."""

    children: Children
    report: Path
    arguments: tuple[str, ...] = ()
    program: Sequence[str] = PYTEST

    def run(self, name: str, marker: str, options: Sequence[str], nodes: Sequence[str]) -> Run:
        """Run these tests, or all with the marker; raises KeyboardInterrupt once it has stopped."""
        folder = self.report / name
        folder.mkdir(parents=True, exist_ok=True)
        command = (
            *self.program,
            *("-m", marker, f"--report={folder}", f"--junitxml={folder / 'junit.xml'}"),
            *options,
            *self.arguments,
            *nodes,
        )
        # What an earlier gate left here must not be taken for this one's.
        (folder / FILE_NAME).unlink(missing_ok=True)
        limit_s = START_LIMIT_S + TEST_LIMIT_S * max(len(nodes), 20)
        ended = self.children.run(command, output=folder / "output.txt", limit_s=limit_s)
        return Run(name=name, folder=name, command=command, ended=ended, document=_read(folder / FILE_NAME))


def _read(file: Path) -> Json | None:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _seen(claim: Json, run: str) -> Seen:
    return Seen(
        verdict=Verdict(claim["verdict"]),
        reason=claim["reason"],
        run=run,
        cause=Cause(claim["cause"]),
        allowed=claim["allowed"],
        expected=Verdict(claim["expected"]),
        kinds=_kinds(claim),
        duration_s=claim["duration_s"],
    )


def _kinds(claim: Json) -> frozenset[str]:
    """The ways in which it was violated: the messages of its findings without what differs each time."""
    if claim["verdict"] != Verdict.VIOLATED:
        return frozenset()
    findings = claim["evidence"]["findings"]
    violations = [finding["message"] for finding in findings if finding["kind"] == "violation"]
    # Where the version is expected to hold, the documented failure is a violation as well.
    documented = [finding["message"] for finding in findings] if claim["expected"] == Verdict.HOLDS else []
    return frozenset(map(_kind, violations or documented or [claim["reason"]]))


def _kind(message: str) -> str:
    return _NUMBERED.sub("N", message)


def bounds(before: Json, after: Json) -> list[str]:
    """Figures that the candidate was held to another bound for, so that its verdict is about another promise."""
    old, new = _budgets(before), _budgets(after)
    return [
        f"{name}: held to {new[name][0]:.3g} {new[name][1]}, the baseline to {old[name][0]:.3g} {old[name][1]}"
        for name in new
        if name in old and abs(new[name][0] - old[name][0]) > 0.01 * old[name][0]
    ]


def _budgets(claim: Json) -> dict[str, tuple[float, str]]:
    """The widest bound of each figure."""
    widest: dict[str, tuple[float, str]] = {}
    for figure in claim["evidence"]["figures"]:
        if figure["budget"] is not None:
            budget = float(figure["budget"])
            widest[figure["name"]] = max(widest.get(figure["name"], (0.0, "")), (budget, figure["unit"]))
    return widest
