"""Ctrl-C ends a gate with all that it started, and leaves what it knew until then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.waits import wait_until
from suites.selftest.gate_runs import FakeGate
from suites.selftest.inner import PROJECT
from tools.gate import children, document
from tools.gate.children import Children

pytestmark = pytest.mark.selftest

GATE = """
import sys
from suites.selftest.gate_runs import TESTS
from tools.gate.__main__ import main
sys.exit(main(sys.argv[2:], program=(sys.executable, sys.argv[1]), tests=TESTS))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_gate_stops_its_run_and_tells_what_it_knew(tmp_path: Path, number: signal.Signals) -> None:
    gate = FakeGate(tmp_path)
    program, _ = gate.programs(codes={"candidate": "hang"})
    words = ["--baseline=juicefs-1.3.0", "--candidate=juicefs-1.4.2", "--claims=V-1", f"--report={gate.report}"]
    with (tmp_path / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", GATE, str(program), *words],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=said,
            stderr=said,
            # As a shell with job control starts it: its group is not ours.
            start_new_session=True,
        )
    candidate = gate.report / "candidate"
    try:
        wait_until(
            (candidate / "running").exists,
            timeout_s=120,
            reason="the candidate's run",
            give_up=lambda: (tmp_path / "said.txt").read_text() if process.poll() is not None else None,
        )
        process.send_signal(number)
        code = process.wait(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert code == 2, (tmp_path / "said.txt").read_text()
    assert (candidate / "stopped").exists(), "it was asked to stop, and had the time to"
    known = gate.known()
    assert (known["interrupted"], known["exit_code"], known["verdict"]) == (True, 2, "unknown")
    assert known["headline"] == "Interrupted: not everything was judged"
    (row,) = known["claims"]
    assert (row["baseline"][0]["verdict"], row["candidate"]) == ("holds", [])
    assert "Traceback" not in (tmp_path / "said.txt").read_text()


SLOW = """
import pathlib, threading
try:
    threading.Event().wait(60)
except KeyboardInterrupt:
    print("stopping as asked")
"""


def test_a_run_that_takes_too_long_is_asked_to_stop(tmp_path: Path) -> None:
    said: list[str] = []
    output = tmp_path / "output.txt"
    ended = Children(say=said.append).run([sys.executable, "-c", SLOW], output=output, limit_s=3.0)
    assert (ended.code, ended.last) == (None, "stopped after 3 s")
    assert ended.duration_s < 60


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "END_LIMIT_S", 0.5)
    deaf = "import signal, threading; signal.signal(signal.SIGINT, signal.SIG_IGN); threading.Event().wait(60)"
    ended = Children(say=print).run([sys.executable, "-c", deaf], output=tmp_path / "output.txt", limit_s=2.0)
    assert ended.code is None
    assert ended.duration_s < 60


RUN = """
print("collected 3 items")
print("shared cluster up in 4.2 s: mysql 1.3")
print("  V-1 running 10 s: asking")
print("V-10 a promise  holds  3.1 s")
print("V-1 violated: rows stay")
print("claim verdict   expected")
print("V-10  holds")
print()
"""


def test_signs_of_life_are_relayed_and_all_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    output = tmp_path / "output.txt"
    ended = Children(say=said.append).run([sys.executable, "-c", RUN], output=output, limit_s=60)
    assert [line.strip() for line in said] == [
        "shared cluster up in 4.2 s: mysql 1.3",
        "V-1 running 10 s: asking",
        "V-10 a promise  holds  3.1 s",
    ]
    assert len(output.read_text("utf-8").splitlines()) == 8
    assert (ended.code, ended.last) == (0, "V-10  holds")


def test_what_is_known_is_kept_after_each_step(tmp_path: Path) -> None:
    """A gate that is killed leaves a whole file, which says so."""
    gate = FakeGate(tmp_path)
    kept: list[dict[str, object]] = []
    before = document.save

    def save(results: object, report: Path) -> Path:
        path = before(results, report)  # type: ignore[arg-type]
        kept.append(json.loads(path.read_text("utf-8")))
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "save", save)
        gate.run("--claims=V-1", "--without=upgrade,performance")
    assert [len(each["steps"]) for each in kept] == [1, 2, 3, 4, 4]  # type: ignore[arg-type]
    assert {(each["exit_code"], each["verdict"]) for each in kept[:-1]} == {(None, "unknown")}
    assert kept[0]["exit_meaning"] == "the gate has not ended, or was killed"
