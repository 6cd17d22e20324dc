"""Faults by commands: what proves them, and what does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import faults
from fixtures.errors import FaultNotEffective, InfrastructureError, MissingCapability
from fixtures.external import hooks
from fixtures.external.description import Hook, Part
from fixtures.external.services import ExternalPart
from fixtures.waits import wait_until
from suites.selftest import process_control

pytestmark = pytest.mark.selftest

# Answers one line to each caller: a port that is open says nothing of who is behind it.
SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(server.getsockname()[1], flush=True)
while True:
    caller, _ = server.accept()
    caller.sendall(b"well")
    caller.close()
"""
CONTROL = (sys.executable, process_control.__file__)


class Answering(ExternalPart):
    """A part that is ready when it says so."""

    def ready(self, timeout_s: float = 5.0) -> None:
        import socket

        with socket.create_connection(self.endpoint, timeout_s) as connection:
            connection.settimeout(timeout_s)
            if connection.recv(4) != b"well":
                raise OSError("it closed without an answer")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state file of a server that runs."""
    path = tmp_path / "server.json"
    child = subprocess.Popen([sys.executable, "-c", SERVER, "0"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    port = child.stdout.readline().strip()
    told = process_control.describe(child.pid, tmp_path / "log", os.getpid())
    told["argv"][-1] = port
    path.write_text(json.dumps({**told, "port": int(port)}), encoding="utf-8")
    yield path
    for pid in {child.pid, json.loads(path.read_text(encoding="utf-8"))["pid"]}:
        if (Path("/proc") / str(pid)).exists():
            os.kill(pid, 9)
    child.wait(10)
    child.stdout.close()


def command(verb: str, state: Path) -> tuple[str, ...]:
    return (*CONTROL, verb, str(state))


def part(state: Path, verb: str, inject: str, heal: str, *, identity: bool = True, allowed: bool = True) -> Answering:
    hook = Hook(inject=(command(inject, state),), heal=(command(heal, state),), timeout_s=20.0)
    described = Part(
        endpoint=f"127.0.0.1:{json.loads(state.read_text(encoding='utf-8'))['port']}",
        identity=command("identity", state) if identity else (),
        kill=hook if verb == "kill" else None,
        stop=hook if verb == "stop" else None,
        pause=hook if verb == "pause" else None,
    )
    why = None if allowed else "--allow-faults was not given"
    return Answering("writer", described, why, 20.0, state.parent / "to-heal.txt")


def await_gone(target: Answering) -> None:
    wait_until(lambda: not target.is_alive(), timeout_s=10.0, reason="it to be gone")


@pytest.mark.parametrize("identity", [True, False])
def test_a_killed_part_is_proven_dead(state: Path, identity: bool) -> None:
    target = part(state, "kill", "kill", "start", identity=identity)
    with faults.kill(target) as fault:
        assert not target.is_alive()
        assert "to heal it:" in (state.parent / "to-heal.txt").read_text(encoding="utf-8")
    assert target.is_alive()
    assert not (state.parent / "to-heal.txt").exists()
    proof = fault.witness.proof
    assert "ConnectionRefusedError" in str(proof["silence"])
    if identity:
        assert proof["identity_before"] != proof["identity_after"]


def test_a_paused_part_is_silent_and_stays_the_same(state: Path) -> None:
    target = part(state, "pause", "pause", "resume")
    with faults.pause(target) as fault:
        assert not target.is_alive()
    assert target.is_alive()
    assert fault.witness.proof["identity_before"] == fault.witness.proof["identity_after"]


def test_a_hook_that_does_nothing_is_noticed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_EFFECT_TIMEOUT_S", 0.3)
    target = part(state, "kill", "nothing", "nothing")
    with pytest.raises(FaultNotEffective, match="its commands succeeded, yet it still answers"), faults.kill(target):
        pytest.fail("the fault is in force")
    assert target.is_alive()


def test_a_pause_is_no_kill(state: Path) -> None:
    target = part(state, "kill", "pause", "resume", identity=False)
    with pytest.raises(FaultNotEffective, match="its port does not refuse"), faults.kill(target):
        pytest.fail("the fault is in force")
    assert target.is_alive()


def test_a_part_that_only_slept_was_not_killed(state: Path) -> None:
    target = part(state, "kill", "pause", "resume")
    with pytest.raises(FaultNotEffective, match="it is the same as before"), faults.kill(target):
        await_gone(target)


def test_a_kill_is_no_pause(state: Path) -> None:
    target = part(state, "pause", "kill", "start")
    with pytest.raises(FaultNotEffective, match="its port refuses"), faults.pause(target):
        pytest.fail("the fault is in force")
    assert target.is_alive()


def test_a_part_that_is_back_too_early_proves_nothing(state: Path) -> None:
    target = part(state, "kill", "kill", "nothing")
    fault = faults.kill(target)
    with fault:
        subprocess.run(command("start", state), check=True)
        target.await_ready()
        with pytest.raises(FaultNotEffective, match="it was back before it was healed"):
            fault.heal()


def test_what_cannot_be_healed_says_what_to_do(state: Path) -> None:
    target = part(state, "kill", "kill", "start")
    told = state.read_text(encoding="utf-8")
    fault = faults.kill(target)
    with fault:
        state.write_text("{", encoding="utf-8")
        with pytest.raises(InfrastructureError, match=r"heal it by hand: .*start"):
            fault.heal()
    assert (state.parent / "to-heal.txt").exists()
    state.write_text(told, encoding="utf-8")


@pytest.mark.parametrize(("allowed", "verb"), [(False, "kill"), (True, "stop")])
def test_what_is_not_allowed_or_not_given_is_missing(state: Path, allowed: bool, verb: str) -> None:
    target = part(state, "kill", "kill", "start", allowed=allowed)
    with pytest.raises(MissingCapability, match=f"{verb} writer: "):
        {"kill": faults.kill, "stop": faults.stop}[verb](target)
    assert target.is_alive()


def test_a_restart_is_a_stop_with_its_proof(state: Path) -> None:
    target = part(state, "stop", "kill", "start")
    before = target.incarnation
    target.restart()
    assert target.incarnation != before
    assert target.is_alive()


def test_what_only_its_host_could_tell_is_missing(state: Path) -> None:
    target = part(state, "kill", "kill", "start")
    for ask in (lambda: target.pid, lambda: target.log, target.start, target.kill):
        with pytest.raises(MissingCapability, match="internals: writer runs already"):
            ask()
