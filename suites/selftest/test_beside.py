"""Tests that run beside the others: at the same time, judged like any other, and stopped with the run."""

from __future__ import annotations

import signal

import pytest

from fixtures.plugin.exit_codes import ExitCode
from suites.selftest import inner

pytestmark = pytest.mark.selftest

# Each of the two waits for the other, so neither could end if they ran one after the other.
BOTH = """
from pathlib import Path
from fixtures.waits import wait_until

@promise("V-1")
@pytest.mark.beside
def test_waits(fresh_cluster, trial, history, names, seed, rng):
    fresh_cluster()
    Path("here.txt").touch()
    wait_until(Path("there.txt").exists, timeout_s=20, reason="the other test")
    trial.check(True, "fine")
    trial.note(names("x"))

@promise("V-2")
def test_works(cluster, trial):
    wait_until(Path("here.txt").exists, timeout_s=20, reason="the other test")
    Path("there.txt").touch()
    trial.check(True, "fine")
"""


def test_it_runs_while_others_run_and_is_judged_last(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, BOTH)
    assert result.ret == ExitCode.OK
    claims = inner.claims(pytester)
    assert {name: claim["verdict"] for name, claim in claims.items()} == {"V-1": "holds", "V-2": "holds"}
    assert claims["V-1"]["evidence"]["checks"] == 1
    assert claims["V-1"]["tests"][0]["cluster"].startswith("fresh-")
    assert "_waits_x" in claims["V-1"]["evidence"]["notes"][0]
    events = [event for event in inner.events(pytester) if event.startswith(("start ", "stop ", "close"))]
    # Not before the shared cluster is up, whose start is a figure; and stopped without waiting for its turn.
    assert events[0] == "start shared"
    assert events[1].startswith("start fresh")
    assert sorted(events[2:4]) == sorted([events[1].replace("start", "stop"), "stop shared"])
    assert events[4:] == ["close"]
    judged = [line.split()[0] for line in result.outlines if line.startswith("V-") and " holds " in line]
    assert judged[:2] == ["V-2", "V-1"]


def test_what_it_found_is_its_own(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-1")
@pytest.mark.beside
def test_loses(trial):
    trial.check(False, "row lost")

@promise("V-2")
@pytest.mark.beside
def test_breaks(trial):
    raise FaultNotEffective("nobody died")

@promise("V-3", needs=["fuse"])
@pytest.mark.beside
def test_needs(trial):
    open("ran.txt", "w").close()

@promise("V-4")
@pytest.mark.beside
@pytest.mark.parametrize("number", [4])
def test_takes_parameters(trial, number):
    trial.check(number == 4, "another number")
"""
    result = inner.run(pytester, tests, capabilities={"fuse": "no /dev/fuse"})
    claims = inner.claims(pytester)
    assert result.ret == ExitCode.VIOLATED
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "V-1": "violated",
        "V-2": "unknown",
        "V-3": "unknown",
        "V-4": "holds",
    }
    assert "nobody died" in claims["V-2"]["reason"]
    assert "no /dev/fuse" in claims["V-3"]["reason"]
    assert not (pytester.path / "ran.txt").exists()


def test_its_duration_is_that_of_its_body(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-1")
@pytest.mark.beside
def test_waits(trial):
    pause(0.3, "a while")
    trial.check(True, "fine")

@promise("V-2")
def test_longer(trial):
    pause(0.6, "longer")
    trial.check(True, "fine")
"""
    inner.run(pytester, tests)
    assert inner.claims(pytester)["V-1"]["duration_s"] >= 0.3


def test_one_that_asks_for_more_is_refused(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-1")
@pytest.mark.beside
def test_asks(cluster, trial): ...
"""
    result = inner.run(pytester, tests)
    assert result.ret == ExitCode.USAGE
    result.stderr.fnmatch_lines(["*test_asks: a test beside the others may not ask for cluster; only for *"])
    assert inner.events(pytester) == ["close"]


SLOW = """
@promise("V-1")
@pytest.mark.beside
def test_waits(fresh_cluster, trial):
    fresh_cluster()
    open("running.txt", "w").close()
    pause(60, "until it is interrupted")

@promise("V-2")
@pytest.mark.beside
def test_never(trial):
    open("never.txt", "w").close()

@promise("V-3")
def test_works(cluster, trial):
    pause(60, "until it is interrupted")
"""


def test_an_interrupt_stops_it_and_its_cluster_at_once(pytester: pytest.Pytester) -> None:
    with inner.started(pytester, SLOW) as process:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED, inner.output(pytester)
    events = [event.split("-")[0] for event in inner.events(pytester) if event.startswith(("stop ", "close"))]
    assert sorted(events[:2]) == ["stop fresh", "stop shared"]
    assert events[2:] == ["close"]
    assert not (pytester.path / "never.txt").exists()
    assert {claim["reason"] for claim in inner.claims(pytester).values()} == {
        "not run",
        "not finished: the run ended while it ran",
    }


def test_a_run_that_stops_early_stops_it_too(pytester: pytest.Pytester) -> None:
    tests = SLOW.replace('pause(60, "until it is interrupted")\n\n@promise("V-2")', 'pause(60, "x")\n\n@promise("V-2")')
    tests = tests.replace(
        'def test_works(cluster, trial):\n    pause(60, "until it is interrupted")',
        "def test_works(cluster, trial):\n    while not __import__('os').path.exists('running.txt'):\n"
        '        pause(0.01, "the other to run")\n    trial.check(False, "row lost")',
    )
    result = inner.run(pytester, tests, "-x")
    assert result.ret == ExitCode.VIOLATED
    assert any(event.startswith("stop fresh") for event in inner.events(pytester))
    assert inner.claims(pytester)["V-1"]["reason"] == "not run"
