"""Nothing outlives a run, however it ends; and two runs at the same time don't meet."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fixtures.plugin.exit_codes import ExitCode
from fixtures.runtimes import kernel
from fixtures.waits import wait_until
from suites.selftest import user_runs
from suites.selftest.embedded import GONE_TIMEOUT_S
from suites.selftest.user_runs import Look, UserRun

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(300)]

# Sixty seconds of inserts and searches: whatever ends the run, it comes in the middle of something.
STORM = ("-k", "V-4", "suites/visibility")
# Less than what is left of the storm: nobody who presses Ctrl-C wants to wait for its end.
INTERRUPTED_TIMEOUT_S = 40.0

PROJECT_OF_A_USER = """
[pytest]
addopts = --strict-markers --import-mode=importlib
markers =
    claim(claim): the claim
    cluster: on a cluster
"""
CLAIM = """
from pathlib import Path
from fixtures.claims import claim, holds
from fixtures.waits import wait_until

FOLDER = Path(__file__).parent

@claim("V-1", "rows stay", source="a self-test", expected={"1.0.0": holds()})
def test_stays(cluster, trial, names):
    own = names("own")
    cluster.connect("writer").create_collection(own, 8).require()
    (FOLDER / "up").touch()
    wait_until((FOLDER / "go").exists, timeout_s=200, reason="the self-test to have looked")
    listed = cluster.connect("mishards").list_collections().require().value
    trial.check(listed == [own], f"collections {listed}")
    trial.check(not (FOLDER / "lose").exists(), "a row is lost")
"""


def _claim(folder: Path) -> tuple[str, ...]:
    """A claim of the user's own, in a folder of its own; the words that run it."""
    folder.mkdir()
    (folder / "pytest.ini").write_text(PROJECT_OF_A_USER)
    (folder / "conftest.py").write_text('pytest_plugins = ["fixtures.plugin"]\n')
    (folder / "test_own.py").write_text(CLAIM)
    return "--readers=1", str(folder)


def _report(run: UserRun) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run.report / "conformance.json").read_text(encoding="utf-8"))
    return document


def test_a_run_that_passes_leaves_nothing(tmp_path: Path) -> None:
    with user_runs.start(tmp_path, "passing", "-k", "V-3", "suites/visibility") as run:
        run.wait_for_cluster()
        assert run.wait() == ExitCode.OK, run.output
        assert run.left() == []
        assert list(run.work.iterdir()) == []


def test_a_run_with_a_violated_claim_leaves_nothing(tmp_path: Path) -> None:
    own = _claim(tmp_path / "own")
    (tmp_path / "own" / "lose").touch()
    with user_runs.start(tmp_path, "failing", *own) as run:
        run.wait_for_cluster()
        (tmp_path / "own" / "go").touch()
        assert run.wait() == ExitCode.VIOLATED, run.output
        assert _report(run)["claims"][0]["verdict"] == "violated"
        assert run.left() == []
        assert list(run.work.iterdir()) == []


@pytest.mark.parametrize("moment", ["while it starts", "while it works"])
def test_ctrl_c_twice_leaves_nothing(tmp_path: Path, moment: str) -> None:
    with user_runs.start(tmp_path, "interrupted", *STORM) as run:
        if moment == "while it works":
            run.wait_for_cluster()
            run.wait_for_file("history-*.jsonl")
            stopping = "stopping the shared cluster"
        else:
            run.wait_for_processes(3)
            assert "shared cluster up" not in run.output
            stopping = "SIGINT: stopping"
        assert run.look().processes, "there is something to leak"
        os.killpg(run.process.pid, signal.SIGINT)
        run.wait_for_text(stopping)
        assert run.folder.is_dir(), "the second one comes during the shutdown"
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.wait(INTERRUPTED_TIMEOUT_S) == ExitCode.INTERRUPTED, run.output
        assert "Traceback" not in run.output
        assert _report(run)["exit_code"] == ExitCode.INTERRUPTED
        assert run.left() == []
        assert list(run.work.iterdir()) == []


def test_what_kill_9_leaves_is_swept(tmp_path: Path) -> None:
    with user_runs.start(tmp_path, "killed", *STORM) as run:
        before = run.wait_for_cluster()
        run.wait_for_file("history-*.jsonl")
        tied = _children(run, before)
        assert bool(run.cables()) == ("partition: yes" in run.output)
        assert len(tied) >= user_runs.FEWEST_PROCESSES
        os.kill(run.process.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL

        # What the run has started itself dies with it; what that has started may not, nor do mounts and folders.
        wait_until(
            lambda: [pid for pid in tied if kernel.is_running(pid, before.processes[pid])],
            timeout_s=GONE_TIMEOUT_S,
            reason="the kernel to kill what was tied to the run",
            accept=lambda running: not running,
        )
        document = _report(run)
        assert document["exit_code"] is None
        assert {claim["verdict"] for claim in document["claims"]} == {"unknown"}
        wait_until(lambda: not run.cables(), timeout_s=GONE_TIMEOUT_S, reason="its networks to vanish with it")
        after = run.look()
        assert after.mounts == before.mounts
        assert bool(after.sockets) == bool(before.sockets)
        assert run.folder.is_dir()

        said = user_runs.sweep(run.run_id)
        assert f"{run.run_id}: removing folder {run.folder}" in said
        for point in before.mounts:
            assert f"{run.run_id}: removing mount {point}" in said
        assert run.left() == []
        assert list(run.work.iterdir()) == []
        assert run.run_id not in user_runs.sweep(run.run_id)


def _children(run: UserRun, seen: Look) -> list[int]:
    """Those processes of the run that it has started itself."""
    return [pid for pid in seen.processes if user_runs.parent(pid) == run.process.pid]


def test_two_runs_side_by_side_do_not_meet(tmp_path: Path) -> None:
    first_claim, second_claim = _claim(tmp_path / "one"), _claim(tmp_path / "two")
    with (
        user_runs.start(tmp_path, "first", *first_claim) as first,
        user_runs.start(tmp_path, "second", *second_claim) as second,
    ):
        for run, name in ((first, "one"), (second, "two")):
            run.wait_for_cluster()
            wait_until((tmp_path / name / "up").exists, timeout_s=60, reason="its claim to be tried")
        _assert_apart(first, second)
        _assert_apart(second, first)

        (tmp_path / "one" / "go").touch()
        assert first.wait() == ExitCode.OK, first.output
        assert first.left() == []
        there, now = second.look(), second.look()
        assert there.processes == now.processes
        assert len(now.processes) >= user_runs.FEWEST_PROCESSES
        assert second.folder.is_dir()

        (tmp_path / "two" / "go").touch()
        assert second.wait() == ExitCode.OK, second.output
        assert second.left() == []
        assert list(second.work.iterdir()) == []


def _assert_apart(run: UserRun, other: UserRun) -> None:
    """Nothing of `run` is at a port of `other`, talks to it, or has its folder open."""
    ours, theirs = run.look(), other.look()
    assert len(ours.listening) >= user_runs.FEWEST_PROCESSES
    assert len(ours.connected_to) >= user_runs.FEWEST_PROCESSES
    assert ours.connected_to & ours.listening, "what it should be connected to"
    assert not ours.listening & theirs.listening
    assert not ours.connected_to & theirs.listening
    assert not set(ours.processes) & set(theirs.processes)
    assert not set(ours.mounts) & set(theirs.mounts)
    opened = {str(path) for pid in ours.processes for path in user_runs.open_files(pid)}
    assert any(str(run.folder) in path for path in opened), "that it can be seen"
    assert not [path for path in opened if str(other.folder) in path]
    assert not set(user_runs.mentioning(other.folder)) & set(ours.processes)
