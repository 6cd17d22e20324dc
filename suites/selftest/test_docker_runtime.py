"""The docker runtime: containers that start, end, freeze and leave nothing; hosts that outlive their services."""

from __future__ import annotations

import dataclasses
import signal
import socket
from pathlib import Path

import pytest

from fixtures.errors import InfrastructureError
from fixtures.runtimes import kernel, ledger
from fixtures.waits import wait_until
from suites.selftest.docker_daemon import command, of_run, runtime

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(300)]

FOREVER = "import time; print('up', flush=True); time.sleep(1000)"
LISTEN = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000)); print('up', flush=True)
while True: server.accept()[0].close()
"""


def _answers(address: str) -> bool:
    socket.create_connection((address, 7000), timeout=1).close()
    return True


def test_a_container_starts_ends_and_keeps_its_log(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        process = opened.process(command(opened, "print('hello'); import sys; sys.exit(3)"))
        assert (process.pid, process.exit_code(), process.is_alive()) == (None, None, False)
        process.start()
        assert process.wait(20) == 3
        assert process.last_lines() == "hello"
        assert process.stop() is None, "it had ended by itself"
        process.start()
        assert process.wait(20) == 3
        assert process.last_lines() == "hello\nhello", "the log goes on"
        assert "exit code 3" in str(process.failure("ended"))
        assert process.digest.startswith("sha256:")


def test_stop_asks_first_and_kills_in_the_end(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        polite = opened.process(command(opened, FOREVER, "polite"))
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER
        stubborn = opened.process(command(opened, deaf, "stubborn"))
        for process in (polite, stubborn):
            process.start()
            wait_until(lambda it=process: "up" in it.last_lines(), timeout_s=20, reason="it to be up")  # type: ignore[misc]
        ended = polite.stop()
        assert ended is not None
        assert (ended.code, ended.forced) == (-signal.SIGTERM, False)
        ended = stubborn.stop(timeout_s=0.2)
        assert ended is not None
        assert (ended.code, ended.forced) == (-signal.SIGKILL, True)
        polite.start()
        killed = polite.kill()
        assert killed is not None
        assert killed.code == -signal.SIGKILL
        assert polite.kill() is None


def test_a_frozen_container_shows_it_and_can_be_killed(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        process = opened.process(command(opened, FOREVER))
        process.start()
        wait_until(lambda: "up" in process.last_lines(), timeout_s=20, reason="it to be up")
        assert not process.frozen()
        process.pause()
        assert process.frozen()["container"] == "paused"
        assert process.is_alive()
        process.resume()
        assert not process.frozen()
        process.pause()
        ended = process.kill()
        assert ended is not None
        assert ended.code == -signal.SIGKILL


def test_a_host_outlives_its_service_and_refuses(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        block = opened.new_block()
        address = block.host("server")
        described = command(opened, LISTEN, "server", host=address)
        process = opened.process(dataclasses.replace(described, argv=(*described.argv, address)))
        for _ in range(2):
            process.start()
            wait_until(lambda: _answers(address), timeout_s=20, reason="it to listen", errors=(OSError,))
            process.kill()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, 7000), timeout=5)


def test_a_program_in_the_network_of_a_host(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        block = opened.new_block()
        one, other = block.host("one"), block.host("other")
        assert one != other
        said = opened.in_network_of(one, ["ip", "-4", "-o", "addr", "show", "eth0"])
        assert one in said
        assert other not in said
        assert opened.in_network_of(one, ["python3", "-"], "print(6 * 7)\n") == "42\n"
        with pytest.raises(InfrastructureError, match="exit code 2"):
            opened.in_network_of(one, ["iptables", "--nonsense"])


def test_a_mount_in_one_container_is_seen_in_another_and_outside(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        if (reason := opened.why_no_fuse()) is not None:
            pytest.skip(reason)
        node = opened.new_folder(opened.folders.work / "node")
        reader = opened.process(
            dataclasses.replace(command(opened, "import os, time; time.sleep(1000)", "reader"), sees=(node,))
        )
        reader.start()
        mounter = opened.process(
            dataclasses.replace(
                command(
                    opened,
                    f"import os, subprocess, time; os.makedirs('{node}/db'); "
                    f"subprocess.run(['mount', '-t', 'tmpfs', 'none', '{node}/db'], check=True); "
                    f"open('{node}/db/there', 'w').close(); time.sleep(1000)",
                    "mounter",
                ),
                mounts=node,
            )
        )
        mounter.start()
        wait_until((node / "db" / "there").exists, timeout_s=20, reason="the mount to be seen outside")
        look = dataclasses.replace(command(opened, "", "look"), argv=("ls", f"{node}/db"))
        assert "there" in opened.run(look, 20, beside=reader)
        mounter.kill()
        assert opened.unmount(node / "db")


def test_a_missing_program_or_image_is_named(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        absent = opened.process(dataclasses.replace(command(opened, "", "absent"), argv=("no-such-program",)))
        absent.start()
        assert absent.wait(20) == 127
        assert "no-such-program" in absent.last_lines()
        assert opened.find("host", ("no-such-program", "python3"), "").endswith("/python3.11")
        with pytest.raises(InfrastructureError, match=r"no this or that in the image milvus-juicefs/host:"):
            opened.find("host", ("this", "that"), "")
        with pytest.raises(InfrastructureError, match="no image for nothing: this run has host, "):
            opened.process(dataclasses.replace(command(opened, "", "x"), image="nothing")).start()


def test_close_removes_all_and_says_what_was_left(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        block = opened.new_block()
        process = opened.process(command(opened, FOREVER, host=block.host("one")))
        process.start()
        pid = process.pid
        left = opened.close()
    assert pid is not None
    assert not kernel.is_running(pid)
    assert len([item for item in left if item.startswith("container")]) == 2, "the service and its host"
    assert len([item for item in left if item.startswith("network")]) == 1
    assert of_run(opened.folders.run_id) == []
    assert not opened.folders.work.exists()
    assert ledger.ledgers(tmp_path / "ledgers") == []


def test_nothing_starts_in_a_cluster_that_is_being_closed(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        late = opened.process(command(opened, FOREVER, "late"))
        opened.abort(opened.folders.work / "late")
        with pytest.raises(InfrastructureError, match="late is not started: the cluster is being closed"):
            late.start()


def test_a_host_that_moves_twice_is_two_more_hosts(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        block = opened.new_block()
        addresses = [block.host("moved") for _ in range(3)]
        for address in addresses:
            block.prepare(address)
        assert len(set(addresses)) == 3
