"""The ledger: what a run has made is known whatever becomes of the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import kernel, ledger

pytestmark = pytest.mark.selftest


def test_entries_come_back_as_written(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, "run1")
    book.folder(Path("/some/folder"))
    book.mount(Path("/some/folder/db"))
    book.mount(Path("/some/folder/db"))
    book.file(Path("/some/socket"))
    book.block("127.1.2")
    book.process("redis", os.getpid())
    entries = ledger.read(book.path)
    assert (entries.run_id, entries.owner_pid, entries.boot_id) == ("run1", os.getpid(), kernel.boot_id())
    assert entries.folders == [Path("/some/folder")]
    assert entries.mounts == [Path("/some/folder/db")], "a mount that is made again is noted once"
    assert entries.files == [Path("/some/socket")]
    assert entries.blocks == ["127.1.2"]
    assert entries.processes == [(os.getpid(), kernel.start_ticks(os.getpid()), "redis")]
    book.close()


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, "run1")
    book.folder(Path("/some/folder"))
    book.abandon()
    with book.path.open("a") as file:
        file.write('{"kind": "mount", "pa')
    assert ledger.read(book.path).folders == [Path("/some/folder")]
    assert ledger.read(book.path).mounts == []


def test_a_live_run_is_not_abandoned_and_a_closed_one_is_gone(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, "run1")
    assert list(ledger.abandoned(tmp_path)) == []
    book.close()
    assert ledger.ledgers(tmp_path) == []


def test_the_ledger_of_a_killed_run_is_abandoned(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from fixtures.runtimes import ledger\n"
        "book = ledger.Ledger(Path(sys.argv[1]), 'run1'); book.folder(Path('/left')); print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        assert list(ledger.abandoned(tmp_path)) == [], "while it lives its ledger is its own"
        run.send_signal(signal.SIGKILL)
        run.wait()
        (found,) = ledger.abandoned(tmp_path)
    assert found.entries.folders == [Path("/left")]
    assert list(ledger.abandoned(tmp_path)) == [], "one sweep at a time"
    found.close(done=False)
    (again,) = ledger.abandoned(tmp_path)
    again.close(done=True)
    assert ledger.ledgers(tmp_path) == []


def test_one_name_is_one_run(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, "run1")
    with pytest.raises(InfrastructureError, match="exists already"):
        ledger.Ledger(tmp_path, "run1")
    book.close()


def test_a_ledger_that_cannot_be_written_is_the_users_to_solve(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        ledger.Ledger(tmp_path / "file" / "index", "run1")
