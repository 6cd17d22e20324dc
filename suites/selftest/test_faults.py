"""Faults: each proves that it took effect, heals whatever happens, and is in the journal with its window."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from fixtures import faults, topology
from fixtures.errors import FaultNotEffective, UsageError
from fixtures.history import History
from fixtures.runtimes import kernel
from fixtures.runtimes.base import Exit
from fixtures.services import JuiceFSMount, Redis, SeaweedFS, Volume
from fixtures.waits import wait_until
from suites.selftest import embedded

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with embedded.runtime(tmp_path_factory.mktemp("faults")) as opened:
        started = Redis(embedded.site(opened), topology.Redis(appendfsync="always"))
        started.start()
        yield started


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JuiceFSMount]:
    with embedded.runtime(tmp_path_factory.mktemp("mount")) as opened:
        if (reason := opened.why_no_fuse()) is not None:
            pytest.skip(reason)
        site = embedded.site(opened)
        meta, store = Redis(site, topology.Redis()), SeaweedFS(site)
        host = site.block.host("node")
        volume = Volume(site, topology.JuiceFS(), meta, store, host)
        meta.start()
        store.start()
        volume.format()
        started = JuiceFSMount(site, volume, "node", site.work / "node" / "db", host)
        started.start()
        yield started


def _write(server: Redis, value: str) -> None:
    with redis.Redis(*server.endpoint, password=server.password) as client:
        client.set("key", value)


def _read(server: Redis) -> str:
    with redis.Redis(*server.endpoint, password=server.password) as client:
        return bytes(client.get("key")).decode()


def test_kill_is_proven_healed_and_journaled(server: Redis, tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    _write(server, "before")
    before = server.pid
    with faults.kill(server, history) as fault:
        assert not server.is_alive()
        (open_window,) = history.windows()
        assert (open_window.name, open_window.target, open_window.ended_s) == ("kill", "redis", None)
    assert server.pid != before
    assert _read(server) == "before"
    assert fault.witness.kind == "kill"
    assert fault.witness.proof["exit_code"] == -9
    assert fault.witness.proof["port"] == "Connection refused"
    (window,) = history.windows()
    assert (window.began_s, window.ended_s) == (fault.began_s, fault.ended_s)
    assert fault.ended_s is not None
    assert fault.ended_s > fault.began_s
    history.close()


def test_stop_ends_in_good_order(server: Redis) -> None:
    with faults.stop(server) as fault:
        assert server.process.exit_code() == 0
    assert fault.witness.proof["exit_code"] == 0
    server.ready()


def test_pause_is_silence_and_not_death(server: Redis) -> None:
    before = server.pid
    with faults.pause(server) as fault:
        assert server.process.frozen()
        with pytest.raises(redis.TimeoutError):
            server.ready(timeout_s=0.2)
    assert server.pid == before
    server.ready()
    assert "Timeout" in str(fault.witness.proof["silence"])


def test_healed_when_the_body_fails_and_only_once(server: Redis) -> None:
    def body() -> None:
        with faults.kill(server) as fault:
            fault.heal()
            server.ready()
            pid = server.pid
            fault.heal()
            assert server.pid == pid
            raise AssertionError("a promise is broken")

    with pytest.raises(AssertionError, match="a promise is broken"):
        body()
    server.ready()

    def dies_in_the_fault() -> None:
        with faults.pause(server):
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        dies_in_the_fault()
    server.ready()


def test_a_fault_on_what_is_dead_already_proves_nothing(server: Redis) -> None:
    server.kill()
    try:
        with pytest.raises(FaultNotEffective, match="kill of redis: it was not running"):
            faults.kill(server).__enter__()
    finally:
        server.start()


def test_a_fault_without_effect_is_not_taken_for_one(server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(server, "pause", lambda: None)
        patch.setattr(faults, "_EFFECT_TIMEOUT_S", 0.2)
        with pytest.raises(FaultNotEffective, match="not all of its processes are stopped"):
            faults.pause(server).__enter__()
    with monkeypatch.context() as patch:
        # A kill that killed something else: whatever is at the port still answers.
        patch.setattr(server, "kill", lambda: Exit(code=-9, forced=True, elapsed_s=0.0))
        patch.setattr(server, "start", lambda: 0.0)
        with pytest.raises(FaultNotEffective, match="still runs"):
            faults.kill(server).__enter__()
    server.ready()


def test_there_is_no_witness_before_the_fault(server: Redis) -> None:
    with pytest.raises(FaultNotEffective, match="not yet in force"):
        _ = faults.kill(server).witness


def test_a_dead_mount_is_loud_and_a_remount_heals(mount: JuiceFSMount) -> None:
    (mount.point / "file").write_text("kept")
    with faults.kill_mount(mount) as fault:
        with pytest.raises(OSError, match="Transport endpoint is not connected"):
            (mount.point / "file").read_text()
        assert not mount.is_alive()
    assert (mount.point / "file").read_text() == "kept"
    assert "Transport endpoint" in str(fault.witness.proof["stat"])


def test_who_waits_for_a_silent_mount_is_freed_by_an_abort(mount: JuiceFSMount) -> None:
    """What a killed client may need, whose supervisor waits for it and cannot die meanwhile."""
    if os.geteuid() != 0:
        pytest.skip("only root may abort a FUSE connection")
    connection = kernel.fuse_connection(mount.point)
    assert connection is not None
    mount.pause()
    waiting = subprocess.Popen(["stat", str(mount.point / "nowhere")], stderr=subprocess.DEVNULL)
    where = Path(f"/proc/{waiting.pid}/wchan")
    wait_until(lambda: "request_wait" in where.read_text(), timeout_s=10, reason="it to wait for an answer")
    kernel.abort_fuse(connection)
    assert waiting.wait(10) != 0
    mount.kill()
    mount.start()
    mount.ready()


def test_a_mount_that_does_not_stop_is_helped_to_die(mount: JuiceFSMount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor may wait for an answer that never comes, and then no signal ends it (seen with Redis away)."""
    connection, aborted = kernel.fuse_connection(mount.point), threading.Event()
    stopped = mount.process.stop

    def stuck_until_aborted(timeout_s: float | None = None) -> Exit | None:
        assert aborted.wait(10), "nobody helped it"
        return stopped(timeout_s)

    def abort(which: str) -> None:
        assert which == connection
        aborted.set()

    with monkeypatch.context() as patch:
        patch.setattr(mount, "_umount", lambda: None)
        patch.setattr(mount.process, "stop", stuck_until_aborted)
        patch.setattr(kernel, "abort_fuse", abort)
        mount.stop(timeout_s=0.1)
    assert aborted.is_set()
    assert not mount.is_alive()
    mount.start()
    mount.ready()


def test_a_view_with_a_hosts_file_of_its_own_keeps_no_mount_busy(mount: JuiceFSMount, tmp_path: Path) -> None:
    """Where `/` is private no unmount reaches such a view, and a mount's server lives as long as anyone has it."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    words = mount.runtime.with_hosts_file(hosts)
    if words is None:
        pytest.skip("no views of their own on this host")
    mount.ready()
    viewer = subprocess.Popen([*words, "sh", "-c", "echo up; exec sleep 60"], stdout=subprocess.PIPE)
    try:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == b"up\n"
        ended = mount.stop()
        assert ended is not None
        assert (ended.code, ended.forced) == (0, False), "in good order"
        assert ended.elapsed_s < 4, "its server ended by itself"
    finally:
        viewer.kill()
        viewer.communicate()
    mount.start()
    mount.ready()


def test_a_mount_is_not_killed_by_halves(mount: JuiceFSMount) -> None:
    with pytest.raises(UsageError, match="use kill_mount"):
        faults.kill(mount)


def test_a_frozen_mount_hangs_and_thaws(mount: JuiceFSMount) -> None:
    with faults.pause(mount) as fault:
        pass
    mount.ready()
    assert "no answer" in str(fault.witness.proof["silence"])
    assert len(fault.witness.proof["states"]) == 2  # type: ignore[arg-type]
