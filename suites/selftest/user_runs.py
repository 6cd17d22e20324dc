"""`pytest -m cluster` as a user starts it: a process of its own on a real cluster, watched from outside.

What a run has made is asked of the kernel (the mark in the environment of its processes, mounts, listening ports,
sockets in /tmp), so that a ledger that forgets something is noticed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from fixtures.runtimes import kernel, ledger
from fixtures.waits import wait_until

PROJECT = Path(__file__).resolve().parents[2]
UP_TIMEOUT_S = 120.0
END_TIMEOUT_S = 120.0
# Without FUSE: MySQL, the writer, a reader and Mishards.
FEWEST_PROCESSES = 4

_TMP = Path("/tmp")
_LISTEN = "0A"
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What of a run exists at one moment. `processes` are pid and start time, `ports` those they listen at."""

    processes: Mapping[int, int]
    mounts: tuple[Path, ...]
    listening: frozenset[tuple[str, int]]
    connected_to: frozenset[tuple[str, int]]
    sockets: tuple[Path, ...]

    @property
    def ports(self) -> frozenset[int]:
        return frozenset(port for _, port in self.listening)


@dataclass(slots=True)
class UserRun:
    """A run in progress or ended. `work` is its --work-dir, which nobody else may use but other user runs."""

    process: subprocess.Popen[bytes]
    report: Path
    work: Path
    output_path: Path
    strangers: frozenset[Path]
    _folder: Path | None = None
    _processes: dict[int, int] = field(default_factory=dict)
    _ports: set[int] = field(default_factory=set)
    _networks: set[str] = field(default_factory=set)

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    @property
    def folder(self) -> Path:
        """The work folder, by the ledger of this process; known for good once the run has been seen."""
        if self._folder is None:
            (entries,) = self.ledgers()
            (self._folder,) = entries.folders
        return self._folder

    @property
    def run_id(self) -> str:
        return self.folder.name.removeprefix("mjc_")

    @property
    def mounts_expected(self) -> bool:
        return "fuse: yes" in self.output

    def wait(self, timeout_s: float = END_TIMEOUT_S) -> int:
        """The exit code, once it has ended. Raises TimeoutExpired."""
        return self.process.wait(timeout_s)

    def wait_for_text(self, text: str) -> None:
        self._wait(lambda: text in self.output, f"the run to say {text!r}")

    def wait_for_file(self, pattern: str) -> None:
        """Wait until a file of that name in the report folder has something in it."""
        self._wait(lambda: any(path.stat().st_size for path in self.report.glob(pattern)), pattern)

    def wait_for_processes(self, count: int) -> None:
        self._wait(lambda: bool(self.ledgers()) and len(kernel.marked(self.run_id)) >= count, f"{count} processes")

    def wait_for_cluster(self) -> Look:
        """Wait until the cluster is up, and see what there is to leak."""
        self._wait(lambda: " cluster up in " in self.output, "its cluster to be up")
        seen = self.look()
        assert len(seen.processes) >= FEWEST_PROCESSES, seen
        assert bool(seen.mounts) == bool(seen.sockets) == self.mounts_expected, seen
        assert self.folder.is_dir()
        return seen

    def look(self) -> Look:
        """What is there now, remembered for `left`."""
        processes = {pid: kernel.start_ticks(pid) or 0 for pid in kernel.marked(self.run_id)}
        listening, connected = _addresses(processes)
        self._processes.update(processes)
        self._ports.update(port for _, port in listening)
        self._networks.update(network for entries in self.ledgers() for network in entries.blocks)
        return Look(
            processes=processes,
            mounts=self._mounts(),
            listening=frozenset(listening),
            connected_to=frozenset(connected),
            sockets=self._sockets(),
        )

    def left(self) -> list[str]:
        """All that still exists of this run, in words: [] is what every test here is about."""
        pids = set(kernel.marked(self.run_id))
        pids |= {pid for pid, ticks in self._processes.items() if kernel.is_running(pid, ticks)}
        things = [f"process {pid} ({kernel.command_line(pid)})" for pid in sorted(pids)]
        things += [f"mount {point}" for point in self._mounts()]
        things += [f"cable {cable}" for cable in self.cables()]
        things += [f"folder {self.folder}"] if self.folder.exists() else []
        things += [f"ledger of {entries.run_id}" for entries in self.ledgers()]
        return things + [f"socket {path}" for path in self._sockets()]

    def cables(self) -> list[str]:
        """The interfaces of this machine that lead to networks of the run."""
        names = [f"mjc-{network.replace('.', '-')}" for network in self._networks]
        return [name for name in names if Path("/sys/class/net", name).exists()]

    def _mounts(self) -> tuple[Path, ...]:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return tuple(Path(line.split()[1]) for line in lines if self.folder.name in line)

    def _sockets(self) -> tuple[Path, ...]:
        """New sockets in /tmp that are named after a process or a port of the run."""
        numbers = {str(number) for number in (*self._processes, *self._ports)}
        fresh = _sockets() - self.strangers
        return tuple(sorted(path for path in fresh if numbers & set(_NUMBER.findall(path.name))))

    def ledgers(self) -> list[ledger.Entries]:
        """What its ledger says, as long as there is one."""
        # One of another run may vanish while it is read.
        found = []
        for path in ledger.ledgers(ledger.default_index()):
            try:
                entries = ledger.read(path)
            except FileNotFoundError:
                continue
            if entries.owner_pid == self.process.pid and [path.parent for path in entries.folders] == [self.work]:
                found.append(entries)
        return found

    def _wait(self, condition: object, reason: str) -> None:
        assert callable(condition)
        wait_until(
            condition,
            timeout_s=UP_TIMEOUT_S,
            interval_s=0.1,
            reason=reason,
            give_up=lambda: self.output if self.process.poll() is not None else None,
        )


@contextmanager
def start(
    folder: Path, name: str, *words: str, env: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[UserRun]:
    """Run `pytest -m cluster` with these words more, from the project, in a process group as a shell makes one.

    `env` is added to the environment, `before` are the words of a command that runs it. Report and output are named
    after `name` below `folder`, the work folder is `folder/work`. A run that has not ended with the test is stopped.
    """
    work, report, output_path = folder / "work", folder / f"report-{name}", folder / f"{name}.txt"
    work.mkdir(exist_ok=True)
    # The last one counts, so `words` may name another runtime.
    options = ["--runtime=embedded", f"--report={report}", f"--work-dir={work}", "--seed=7", *words]
    strangers = frozenset(_sockets())
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "pytest", "-m", "cluster", "-p", "no:cacheprovider", *options],
            cwd=PROJECT,
            env={**os.environ, "COLUMNS": "120", "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    run = UserRun(process, report, work, output_path, strangers)
    try:
        yield run
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def sweep(run_id: str) -> str:
    """`make clean`: what it printed. It touches no live run, so those of others are safe.

    All of this run must have been removed; what another dead run has left, and cannot be removed, is not its fault.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tools.sweep"], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == int("NOT removed" in done.stdout), done.stdout + done.stderr
    assert f"{run_id}: NOT removed" not in done.stdout
    assert done.stderr == ""
    return done.stdout


def skip_without_fuse() -> None:
    """For what concerns the parts under JuiceFS, which are not started where nothing can be mounted."""
    if not os.access("/dev/fuse", os.W_OK):
        pytest.skip("no FUSE here, so no JuiceFS and nothing that it stands on")


def mentioning(folder: Path) -> list[int]:
    """The running processes that have `folder` in their environment or on their command line."""
    found = []
    for pid in kernel.pids():
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if os.fsencode(folder) in words and kernel.is_running(pid):
            found.append(pid)
    return found


def open_files(pid: int) -> list[Path]:
    """What its file descriptors and its working directory are."""
    links = [Path(f"/proc/{pid}/cwd")]
    found = []
    try:
        links += Path(f"/proc/{pid}/fd").iterdir()
    except (FileNotFoundError, ProcessLookupError):
        return []
    for link in links:
        # Closed meanwhile, or the process is gone.
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(link.readlink())
    return found


def parent(pid: int) -> int:
    """The process that started it; 1 or the like once that one is gone, 0 if the process itself is."""
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return 0


def _sockets() -> set[Path]:
    found = set()
    for entry in os.scandir(_TMP):
        try:
            is_socket = not entry.is_dir(follow_symlinks=False) and Path(entry.path).is_socket()
        except OSError:
            continue
        if is_socket:
            found.add(Path(entry.path))
    return found


def _addresses(pids: Iterable[int]) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """Where these processes listen, and to whom they are connected; each may live in a network of its own."""
    listening, connected = set(), set()
    for pid in pids:
        sockets = {str(path) for path in open_files(pid)}
        for line in _tcp_sockets(pid):
            fields = line.split()
            if f"socket:[{fields[9]}]" not in sockets:
                continue
            if fields[3] == _LISTEN:
                listening.add(_endpoint(fields[1]))
            else:
                connected.add(_endpoint(fields[2]))
    return listening, connected


def _tcp_sockets(pid: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        # The process is gone.
        with suppress(FileNotFoundError, ProcessLookupError, OSError):
            yield from Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]


def _endpoint(text: str) -> tuple[str, int]:
    """Hexadecimal, in words of four bytes as a little-endian machine sees them."""
    address, port = text.split(":")
    words = bytes.fromhex(address)
    packed = b"".join(words[first : first + 4][::-1] for first in range(0, len(words), 4))
    return str(ip_address(packed)), int(port, 16)
