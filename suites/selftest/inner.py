"""Runs pytest inside pytest, with the real plugin and a cluster that exists in memory only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# Loaded here, since pytest inside pytest forgets what it imported itself, and protobuf takes a message type only once.
from fixtures import wire as _wire  # noqa: F401
from fixtures.errors import InfrastructureError
from fixtures.gpu import Decision
from fixtures.plugin.launcher import Component, Plan
from fixtures.topology import Topology
from fixtures.waits import observe, pause, wait_until

PROJECT = Path(__file__).resolve().parents[2]
CONFTEST = """
pytest_plugins = ["fixtures.plugin"]

def pytest_milvus_launcher(options, folders):
    from suites.selftest.inner import FakeLauncher
    return FakeLauncher(**{settings!r})
"""
INI = """
[pytest]
addopts = --strict-markers --import-mode=importlib -ra -p no:cacheprovider -p no:hypothesispytest
filterwarnings = error
timeout = 60
markers =
    beside: runs beside the others
    claim(claim): the claim
    cluster: on a cluster
    upgrade: an upgrade
    grid: a cell
    sample: a cell of the main job
    selftest: of the harness
"""
PRELUDE = """
import dataclasses
import pytest
from fixtures.claims import claim, holds, deviates
from fixtures.errors import FaultNotEffective, HarnessError, MissingCapability, NotReady
from fixtures.history import Outcome
from fixtures.waits import pause

def promise(claim_id, text="rows stay", *, expected=None, **more):
    return claim(claim_id, text, source="a test", expected=expected or {"1.0.0": holds()}, **more)
"""


@dataclass(frozen=True)
class FakeStep:
    name: str
    started_s: float
    ready_s: float


@dataclass
class FakeReply:
    ok: bool = True
    value: Any = None
    reason: str = ""


@dataclass
class FakeService:
    name: str
    implementation: str
    version: str
    collections: list[str] = field(default_factory=list)
    endpoint: tuple[str, int] = ("127.0.0.1", 1)
    image: str = ""
    digest: str = ""

    def is_alive(self) -> bool:
        return True


@dataclass
class FakeClient:
    writer: FakeService

    def list_collections(self) -> FakeReply:
        return FakeReply(value=list(self.writer.collections))

    def drop_collection(self, name: str) -> FakeReply:
        if name.endswith("_stuck"):
            return FakeReply(ok=False, reason="it is stuck")
        self.writer.collections.remove(name)
        return FakeReply()

    def close(self) -> None:
        return None


@dataclass
class FakeCluster:
    """As much of a cluster as the plugin asks for."""

    name: str
    topology: Topology
    stopped: Callable[[str], list[str]]
    storage: str = "juicefs"
    capabilities: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.writer = FakeService("milvus", "stand-in", self.topology.milvus.version)
        self.services: Sequence[FakeService] = [FakeService("mysql", "MariaDB", "11.8.3"), self.writer]
        self.bring_up = [FakeStep("mysql", 0.0, 0.25), FakeStep("milvus", 0.25, 0.5)]

    def require_whole(self) -> None:
        return None

    @property
    def milvus_version(self) -> str:
        return self.topology.milvus.version

    def connect(self, name: str) -> FakeClient:
        assert name == self.writer.name
        return FakeClient(self.writer)

    def stop(self) -> list[str]:
        return self.stopped(self.name)


@dataclass
class FakeLauncher:
    """Journals starts and stops in `events.txt` of the working directory, so that a test can count them."""

    capabilities: dict[str, str | None] = field(default_factory=lambda: {"fuse": None, "root": None})
    refuses: str = ""
    leaves: tuple[str, ...] = ()
    slow_stop_s: float = 0.0

    def plan(self) -> Plan:
        return Plan(
            runtime="embedded",
            reason="a fake of the self-test",
            device=Decision(device="cpu", reason="a fake has no GPU"),
            components=(Component(name="milvus", implementation="stand-in", version="1.1.0"),),
            capabilities=self.capabilities,
        )

    def prepare(self, progress: Callable[[str], None]) -> Plan:
        del progress
        return self.plan()

    def start(self, topology: Topology, name: str, seed: int, progress: Callable[[str], None]) -> FakeCluster:
        del seed
        progress("pretending")
        self._note(f"start {name}")
        if self.refuses and (self.refuses in name or self.refuses == "all"):
            raise InfrastructureError("mysql: did not answer (exit code 1); last lines of mysql.log:\nno space left")
        return FakeCluster(name, topology, self._stop)

    def close(self) -> list[str]:
        self._note("close")
        return []

    def _stop(self, name: str) -> list[str]:
        self._note(f"stopping {name}")
        if self.slow_stop_s:
            pause(self.slow_stop_s, "a shutdown that takes its time")
        self._note(f"stop {name}")
        return list(self.leaves)

    def _note(self, event: str) -> None:
        with Path("events.txt").open("a", encoding="utf-8") as file:
            file.write(f"{event}\n")


def write(pytester: pytest.Pytester, tests: str, **launcher: object) -> None:
    """Make a project of one test file, whose clusters are fakes with the given settings."""
    pytester.makeconftest(CONFTEST.format(settings=launcher))
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(test_inner=PRELUDE + tests)


def run(pytester: pytest.Pytester, tests: str, *args: str, **launcher: object) -> pytest.RunResult:
    """Run it with `--seed=7` and the report in `report`."""
    write(pytester, tests, **launcher)
    return pytester.runpytest_inprocess("--seed=7", "--report=report", *args)


@contextmanager
def started(pytester: pytest.Pytester, tests: str, *args: str, **launcher: object) -> Iterator[subprocess.Popen[bytes]]:
    """As `run`, but a process of its own, from when a test has made `running.txt`; what it prints goes to a file."""
    write(pytester, tests, **launcher)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "120"}
    with (pytester.path / "output.txt").open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "--seed=7", "--report=report", *args],
            cwd=pytester.path,
            env=environment,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
    try:
        wait_until(
            (pytester.path / "running.txt").exists,
            timeout_s=60,
            reason="the test to run",
            give_up=lambda: output(pytester) if process.poll() is not None else None,
        )
        yield process
    finally:
        process.kill()
        process.wait()


def output(pytester: pytest.Pytester) -> str:
    """What that process printed so far."""
    return (pytester.path / "output.txt").read_text(encoding="utf-8")


def report(pytester: pytest.Pytester) -> dict[str, Any]:
    """conformance.json of that run."""
    document: dict[str, Any] = json.loads((pytester.path / "report" / "conformance.json").read_text(encoding="utf-8"))
    return document


def claims(pytester: pytest.Pytester) -> dict[str, dict[str, Any]]:
    """Its claims by id."""
    return {entry["id"]: entry for entry in report(pytester)["claims"]}


def events(pytester: pytest.Pytester) -> list[str]:
    """What the launcher did, in order: `start NAME`, `stopping NAME`, `stop NAME` once that is done, `close`."""
    path = pytester.path / "events.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether it came true within some seconds."""
    return observe(condition, timeout_s=10).satisfied
