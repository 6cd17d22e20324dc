"""The folder of a run that never was, for the tests of what is made from one: two tests with histories, and logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.history import Outcome
from suites.selftest import inner
from suites.selftest.hand_made import NODE, HandMade, flushed

CLAIMS = """
@promise("V-1")
def test_holds(cluster, trial, history):
    trial.measure("visible", 0.5, "s", 2.0)
    trial.measure("calm", 0.1, "s", 2.0)

@promise("V-2", expected={"1.0.0": deviates("it is known")})
def test_deviates(cluster, trial):
    trial.deviate(False, "rows stale", node="reader-1", rows=[1, 2])

@promise("V-3")
@pytest.mark.parametrize("way", ["a", "b"])
def test_violated(cluster, trial, way, history):
    trial.note("seen on the way")
    trial.witness("kill", target="writer", pid=42)
    trial.measure("lost", float("inf"), "rows", 0.0)

@promise("V-4", needs=["fuse"])
def test_allowed(cluster, trial):
    trial.check(True, "fine")
"""
Json = dict[str, Any]


def make(pytester: pytest.Pytester) -> Path:
    """Run these claims on a cluster that exists in memory only, and put histories and a log where it would have."""
    inner.run(pytester, CLAIMS, capabilities={"fuse": "no device"})
    folder = pytester.path / "report"
    logs = folder / "shared" / "logs"
    logs.mkdir(parents=True)
    (logs / "reader 1#.log").write_text("up\n", "utf-8")
    for name in histories(load(folder)):
        history().save(folder / name, [("reader-1", 4.0, 6.0)])
    return folder


def load(folder: Path) -> Json:
    document: Json = json.loads((folder / "conformance.json").read_text("utf-8"))
    return document


def save(folder: Path, document: Json) -> None:
    (folder / "conformance.json").write_text(json.dumps(document), "utf-8")


def histories(document: Json) -> Sequence[str]:
    return [test["history"] for claim in document["claims"] for test in claim["tests"] if test["history"]]


def history() -> HandMade:
    """Rows that are flushed and found, and a reader that fails for some seconds."""
    made = flushed([1, 2])
    for at in (2, 3, 7, 9):
        made.read(at, [1, 2], [1, 2] if at > 2 else [1])
    made.read(5, [1], [], outcome=Outcome.FAILED, error="refused by 10.0.0.1:19530")
    made.add("search", 5, {}, node=NODE, outcome=Outcome.UNKNOWN, error="timed out", took=1)
    return made
