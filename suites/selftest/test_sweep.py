"""`python -m tools.sweep`: all that a killed run left is removed, and nothing of a live one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.runtimes import kernel, ledger
from fixtures.waits import wait_until
from suites.selftest.embedded import GONE_TIMEOUT_S, index
from tools.sweep import main

pytestmark = pytest.mark.selftest

# A run with a process, a child of it that nothing ties to us, a file outside, and (where it can be) a real mount.
RUN = """
import sys, subprocess
from pathlib import Path
from fixtures import topology
from fixtures.runtimes import open_embedded
from fixtures.services import JuiceFSMount, Redis, SeaweedFS, Volume
from suites.selftest import embedded as e
folder = Path(sys.argv[1])
opened = open_embedded(e.folders(folder), index=e.index(folder))
orphan = "import subprocess, time; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid, flush=True)"
process = opened.process(e.command(opened, orphan + "; time.sleep(1000)"))
process.start()
opened.claim_file(folder / 'outside.sock')
(folder / 'outside.sock').touch()
site = e.site(opened)
if sys.argv[2] == 'mount':
    meta, store = Redis(site, topology.Redis()), SeaweedFS(site)
    host = site.block.host('node')
    volume = Volume(site, topology.JuiceFS(), meta, store, host)
    meta.start(); store.start(); volume.format()
    JuiceFSMount(site, volume, 'node', site.work / 'node' / 'db', host).start()
from fixtures.waits import wait_until
wait_until(lambda: process.last_lines().isdigit(), timeout_s=20, reason='the orphan')
print(opened.folders.work, process.pid, process.last_lines(), flush=True)
sys.stdin.read()
opened.close()
"""


@contextmanager
def _run(folder: Path, kind: str = "plain") -> Iterator[tuple[subprocess.Popen[str], Path, int, int]]:
    """A run in a process of its own: it, its work folder, a process of it, and that one's child in another session."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            work, pid, orphan = run.stdout.readline().split()
            yield run, Path(work), int(pid), int(orphan)
        finally:
            run.kill()


def _fuse() -> bool:
    return Path("/dev/fuse").exists() and os.access("/dev/fuse", os.W_OK) and os.getuid() == 0


def test_all_that_a_killed_run_left_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mounted = _fuse()
    with _run(tmp_path, "mount" if mounted else "plain") as (run, work, pid, orphan):
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not kernel.is_running(pid), timeout_s=GONE_TIMEOUT_S, reason="the kernel to kill it")
        assert kernel.is_running(orphan), "nothing ties it to the run but its mark"
        assert bool(kernel.mounts(work)) == mounted

        assert main(["--ledgers", str(index(tmp_path)), "--dry-run"]) == 1
        assert "would remove folder" in capsys.readouterr().out
        assert work.exists()

        assert main(["--ledgers", str(index(tmp_path))]) == 0
        said = capsys.readouterr().out
        assert f"removing process {orphan}" in said
        assert f"removing file {tmp_path / 'outside.sock'}" in said
        assert f"removing folder {work}" in said
        assert ("removing mount" in said) == mounted
        assert not kernel.is_running(orphan)
        assert kernel.mounts(work) == []
        assert not work.exists()
        assert not (tmp_path / "outside.sock").exists()
        assert kernel.marked(work.name.removeprefix("mjc_")) == []
        assert ledger.ledgers(index(tmp_path)) == []

        assert main(["--ledgers", str(index(tmp_path))]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"


def test_a_live_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _run(tmp_path) as (run, work, pid, orphan):
        assert main(["--ledgers", str(index(tmp_path))]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"
        assert kernel.is_running(pid)
        assert kernel.is_running(orphan)
        assert work.exists()
        assert run.stdin is not None
        run.stdin.close()
        assert run.wait(30) == 0
        assert not kernel.is_running(orphan), "at its own end the run removes all by itself"
        assert not work.exists()


def test_a_stranger_with_a_pid_of_a_dead_run_is_not_touched(tmp_path: Path) -> None:
    book = ledger.Ledger(index(tmp_path), "run1")
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            # As if the pid had been given to somebody else since: the start time differs.
            with book.path.open("a") as file:
                file.write(f'{{"kind": "process", "pid": {stranger.pid}, "ticks": 1, "name": "redis"}}\n')
            book.abandon()
            assert main(["--ledgers", str(index(tmp_path))]) == 0
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_folder_with_a_foreign_mount_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    (folder / "inner").mkdir(parents=True)
    monkeypatch.setattr(kernel, "mounts", lambda below: [below / "inner"])
    with pytest.raises(Exception, match="still mounted"):
        kernel.remove_folder(folder)
    assert (folder / "inner").is_dir()
