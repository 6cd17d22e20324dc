"""The embedded runtime: processes that start, end, and leave nothing; addresses that nobody else has."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import Folders, child, kernel, ledger, open_embedded
from fixtures.runtimes.addresses import choose_network, networks_in_use, require_free
from fixtures.runtimes.interrupts import shielded
from fixtures.waits import wait_until
from suites.selftest.embedded import GONE_TIMEOUT_S, alive, command, folders, index, runtime

pytestmark = pytest.mark.selftest

FOREVER = "import time; print('up', flush=True); time.sleep(1000)"
WITH_CHILD = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=False).pid, flush=True)\n"


def test_a_process_starts_ends_and_keeps_its_log(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        process = opened.process(command(opened, "print('hello'); import sys; sys.exit(3)"))
        assert (process.pid, process.exit_code(), process.is_alive()) == (None, None, False)
        process.start()
        wait_until(lambda: process.exit_code() == 3, timeout_s=10, reason="it to end")
        assert process.last_lines() == "hello"
        assert process.stop() is None, "it had ended by itself"
        process.start()
        wait_until(lambda: process.exit_code() == 3, timeout_s=10, reason="it to end again")
        assert process.last_lines() == "hello\nhello", "the log goes on"


def test_stop_asks_first_and_kills_in_the_end(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        polite = opened.process(command(opened, FOREVER, "polite"))
        polite.start()
        ended = polite.stop()
        assert ended is not None
        assert (ended.code, ended.forced) == (-signal.SIGTERM, False)
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER
        stubborn = opened.process(command(opened, deaf, "stubborn"))
        stubborn.start()
        wait_until(lambda: "up" in stubborn.last_lines(), timeout_s=10, reason="it to ignore SIGTERM")
        ended = stubborn.stop(timeout_s=0.2)
        assert ended is not None
        assert (ended.code, ended.forced) == (-signal.SIGKILL, True)


def test_kill_takes_the_children_along(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        parent = opened.process(command(opened, WITH_CHILD + FOREVER))
        parent.start()
        wait_until(lambda: "up" in parent.last_lines(), timeout_s=10, reason="its child to run")
        child = int(parent.last_lines().splitlines()[0])
        assert kernel.is_running(child)
        ended = parent.kill()
        assert ended is not None
        assert ended.code == -signal.SIGKILL
        assert not kernel.is_running(child)


def test_children_of_one_that_died_are_found(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        parent = opened.process(command(opened, WITH_CHILD))
        parent.start()
        wait_until(lambda: parent.exit_code() == 0, timeout_s=10, reason="the parent to end")
        child = int(parent.last_lines())
        assert [item for item in opened.leaks() if f"process {child} of part" in item]
        parent.stop()
        assert not kernel.is_running(child)


def test_pause_stops_all_and_resume_goes_on(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        process = opened.process(command(opened, WITH_CHILD + FOREVER))
        process.start()
        wait_until(lambda: "up" in process.last_lines(), timeout_s=10, reason="both to run")
        process.pause()
        wait_until(lambda: set(process.frozen().values()) == {"T"}, timeout_s=5, reason="both to be stopped")
        assert len(process.frozen()) == 2
        assert process.is_alive()
        process.resume()
        wait_until(lambda: not process.frozen(), timeout_s=5, reason="both to go on")
        process.pause()
        ended = process.stop()
        assert ended is not None
        assert not ended.forced, "a paused one is resumed, so that it can end in good order"


def test_one_that_runs_is_not_started_twice(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        process = opened.process(command(opened, FOREVER))
        process.start()
        with pytest.raises(InfrastructureError, match="runs already"):
            process.start()


def test_a_process_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    # PR_SET_PDEATHSIG is about the parent thread; the threads of a bring-up end at once.
    with runtime(tmp_path) as opened:
        process = opened.process(command(opened, FOREVER))
        thread = threading.Thread(target=process.start)
        thread.start()
        thread.join()
        wait_until(lambda: "up" in process.last_lines(), timeout_s=10, reason="it to run")
        assert process.is_alive()


def test_run_returns_what_was_printed_or_says_what_went_wrong(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        assert opened.run(command(opened, "print('one')"), timeout_s=10) == "one\n"
        assert opened.run(command(opened, "print('two')"), timeout_s=10) == "two\n", "of this run, not of all"
        with pytest.raises(InfrastructureError, match=r"(?s)part: failed \(exit code 4\).*part\.log:.*broken"):
            opened.run(command(opened, "print('broken'); raise SystemExit(4)"), timeout_s=10)
        with pytest.raises(InfrastructureError, match="did not end within 0 s and was killed"):
            opened.run(command(opened, FOREVER), timeout_s=0.3)


def test_services_get_no_settings_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://elsewhere")
    with runtime(tmp_path) as opened:
        said = opened.run(
            command(opened, "import os; print(os.environ.get('http_proxy'), os.environ['HOME'])"), timeout_s=10
        )
        assert said.split() == ["None", str(opened.folders.work / "part")]


def test_close_removes_all_and_says_what_was_left(tmp_path: Path) -> None:
    opened = open_embedded(folders(tmp_path), index=index(tmp_path))
    process = opened.process(command(opened, WITH_CHILD + FOREVER))
    process.start()
    wait_until(lambda: "up" in process.last_lines(), timeout_s=10, reason="both to run")
    pids = process.members()
    socket_file = tmp_path / "outside.sock"
    opened.claim_file(socket_file)
    socket_file.touch()
    left = opened.close()
    assert len([item for item in left if item.startswith("process")]) == 2
    assert f"file {socket_file}" in left
    assert alive(pids) == []
    assert not opened.folders.work.exists()
    assert not socket_file.exists()
    assert ledger.ledgers(index(tmp_path)) == []
    assert "outside.sock" in (opened.folders.report / "ledger.jsonl").read_text(), "the ledger is kept as evidence"
    assert opened.close() == []
    with pytest.raises(InfrastructureError, match="being closed"):
        process.start()


def test_an_aborted_folder_starts_nothing_more(tmp_path: Path) -> None:
    with runtime(tmp_path) as opened:
        ended, other = (opened.process(command(opened, FOREVER, name)) for name in ("ended", "other"))
        ended.start()
        opened.abort(ended.command.folder)
        assert ended.exit_code() == -signal.SIGKILL
        with pytest.raises(InfrastructureError, match="ended is not started: the cluster is being closed"):
            ended.start()
        other.start()
        assert other.is_alive()


def test_children_die_with_a_killed_run(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from suites.selftest import embedded as e\n"
        "from fixtures.runtimes import open_embedded\n"
        "folder = Path(sys.argv[1]); opened = open_embedded(e.folders(folder), index=e.index(folder))\n"
        "process = opened.process(e.command(opened, 'import time; time.sleep(1000)')); process.start()\n"
        "print(process.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert kernel.is_running(pid)
        run.kill()
        wait_until(lambda: not kernel.is_running(pid), timeout_s=GONE_TIMEOUT_S, reason="the kernel to kill the child")


def test_leaving_the_interpreter_cleans_up(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from suites.selftest import embedded as e\n"
        "from fixtures.runtimes import open_embedded\n"
        "folder = Path(sys.argv[1]); opened = open_embedded(e.folders(folder), index=e.index(folder))\n"
        "opened.process(e.command(opened, 'import time; time.sleep(1000)')).start()\n"
        "print(opened.folders.work); raise KeyboardInterrupt"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert not Path(done.stdout.strip()).exists()
    assert ledger.ledgers(index(tmp_path)) == []


def test_a_clean_up_is_not_cut_short_by_ctrl_c() -> None:
    steps = []

    def clean_up() -> None:
        with shielded() as shield:
            os.kill(os.getpid(), signal.SIGINT)
            wait_until(lambda: shield.pressed, timeout_s=5, reason="the signal")
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("finished")

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert steps == ["finished"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_networks_and_ports_are_nobody_elses(tmp_path: Path) -> None:
    with open_embedded(folders(tmp_path), namespaces=False, index=index(tmp_path)) as opened:
        first, second = opened.new_block(), opened.new_block()
        address = first.host("a")
        assert address.rsplit(".", 1)[0] != second.host("b").rsplit(".", 1)[0]
        assert first.host("a") != address
        with socket.create_server((address, first.port(address, 1))) as server:
            assert address.rsplit(".", 1)[0] in networks_in_use()
            taken = server.getsockname()
            with pytest.raises(InfrastructureError, match=f"{taken[0]}:{taken[1]} cannot be used: Address already in"):
                require_free(*taken)
        require_free("0.0.0.0", first.shared_port(1))
    with pytest.raises(InfrastructureError, match="no free loopback network"):
        choose_network(f"127.{a}.{b}" for a in range(256) for b in range(256))


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Milvus takes only paths of letters"):
        Folders.create(tmp_path / "report", tmp_path / "with.dot", "run1")
    with pytest.raises(UsageError, match=r"work folder .*: not writable: No such file.*--work-dir"):
        Folders.create(tmp_path / "report", tmp_path / "absent", "run1")
    with pytest.raises(UsageError, match=r"report folder .*Not a directory.*--report"):
        Folders.create(tmp_path / "file" / "report", tmp_path, "run1")


class _Undying:
    """A process that a thread stuck in the kernel keeps from ending: no signal helps, and it cannot be waited for."""

    pid = 2**22 + 1  # above what the kernel gives away

    def poll(self) -> None:
        return None

    def send_signal(self, _number: int) -> None:
        return None

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is not None, "without a limit it would wait for ever"
        raise subprocess.TimeoutExpired("it", timeout)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_does_not_die_is_an_error_and_not_for_ever(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_KILL_TIMEOUT_S", 0.1)
    with runtime(tmp_path) as opened:
        undying = child.Child(command(opened, FOREVER, "undying"), lambda _: _Undying())  # type: ignore[arg-type,return-value]
        undying.start()
        with pytest.raises(InfrastructureError, match=r"undying: process \d+ does not die of SIGKILL"):
            undying.stop(0.1) if end == "stop" else undying.kill()
