"""`pytest -m cluster --runtime=docker` as a user starts it: nothing outlives it, however it ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from fixtures import images
from fixtures.plugin.exit_codes import ExitCode
from suites.selftest import docker_daemon, user_runs
from suites.selftest.user_runs import UserRun

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(600)]

DOCKER = ("--runtime=docker", "--images=local", "--object-store=seaweedfs", "--readers=1")
STORM = (*DOCKER, "-k", "V-4", "suites/visibility")
INTERRUPTED_TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def _images() -> None:
    chosen = images.choose(docker_daemon.LOCAL)
    docker_daemon.require(*(key for key in chosen if key != images.GPU))


def _left(run: UserRun) -> list[str]:
    """What the daemon and the kernel still have of it."""
    return docker_daemon.of_run(run.run_id) + run.left()


def _up(run: UserRun) -> None:
    run.wait_for_text(" cluster up in ")
    assert len(docker_daemon.of_run(run.run_id)) > 10, "containers, hosts and a network"
    assert run.folder.is_dir()


def test_a_run_that_passes_leaves_nothing_and_records_its_images(tmp_path: Path) -> None:
    with user_runs.start(tmp_path, "passing", *DOCKER, "-k", "V-9", "suites/visibility") as run:
        _up(run)
        assert run.wait() == ExitCode.OK, run.output
        assert _left(run) == []
        assert list(run.work.iterdir()) == []
        document = json.loads((run.report / "conformance.json").read_text(encoding="utf-8"))
        parts = {part["name"]: part for part in document["components"]}
        assert parts["redis"]["image"] == images.tag("redis")
        assert all(part["digest"].startswith("sha256:") for part in parts.values())
        assert (document["runtime"], document["exit_code"]) == ("docker", 0)


def test_ctrl_c_twice_leaves_nothing(tmp_path: Path) -> None:
    with user_runs.start(tmp_path, "interrupted", *STORM) as run:
        _up(run)
        run.wait_for_file("history-*.jsonl")
        os.killpg(run.process.pid, signal.SIGINT)
        run.wait_for_text("stopping the shared cluster")
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.wait(INTERRUPTED_TIMEOUT_S) == ExitCode.INTERRUPTED, run.output
        assert "Traceback" not in run.output
        assert _left(run) == []


def test_what_kill_9_leaves_is_swept(tmp_path: Path) -> None:
    with user_runs.start(tmp_path, "killed", *STORM) as run:
        _up(run)
        run.wait_for_file("history-*.jsonl")
        os.kill(run.process.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        before = docker_daemon.of_run(run.run_id)
        assert before, "containers do not die with the run that started them"
        said = user_runs.sweep(run.run_id)
        for thing in (*before, f"folder {run.folder}"):
            assert f"{run.run_id}: removing {thing}" in said
        assert _left(run) == []
        assert list(run.work.iterdir()) == []


def test_an_image_that_cannot_be_pulled_is_an_error_of_the_infrastructure(tmp_path: Path) -> None:
    absent = "127.0.0.1:1/nothing/there:1.1.0"
    words = ("--runtime=docker", "--images=local", f"--image=mysql={absent}", "-k", "V-9", "suites/visibility")
    with user_runs.start(tmp_path, "absent", *words) as run:
        assert run.wait() == ExitCode.INFRASTRUCTURE, run.output
        assert f"image {absent} cannot be pulled: " in run.output
        assert "Traceback" not in run.output
        assert list(run.work.iterdir()) == []
