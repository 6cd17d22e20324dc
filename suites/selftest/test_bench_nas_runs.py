"""JuiceFS beside other file systems, for real: a tiny run of each part, and one that is ended while it measures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.runtimes import kernel
from fixtures.runtimes.host import why_no_fuse
from fixtures.waits import wait_until
from suites.performance.clusters import Place
from suites.performance.commandline import PROJECT
from suites.performance.nas import compression, metadata, part
from suites.performance.nas.mix import PHASES
from suites.performance.nas.opponents import JUICEFS, LOCAL, RCLONE, WEED
from suites.performance.verdicts import Profile, Verdict
from suites.selftest import user_runs

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(why_no_fuse() is not None, reason=f"nothing can be mounted: {why_no_fuse()}"),
]

QUICK = Profile(name="quick", limit_s=0.0)
"""No time at all: one round of each."""
TINY = part.Load(
    rounds=2, files=metadata.Size(alone=3, each=2), stream_bytes=4 << 20, bench_rounds=1, jobs=(1, 2), watch_s=1.0
)
UP_TIMEOUT_S = 120.0
END_TIMEOUT_S = 60.0
STUCK_S = 5.0


def place(folder: Path, *compare: Path) -> Place:
    return Place(report=folder / "report", work_parent=folder, seed=1, say=lambda _line: None, compare=compare)


def test_a_tiny_run_measures_juicefs_beside_all_that_is_here(tmp_path: Path) -> None:
    nas = tmp_path / "nas"
    nas.mkdir()
    measured = part.measure(place(tmp_path, nas), QUICK, lambda _line: None, TINY)
    # On a disk of this machine as a rule, so no NAS, but measured like one.
    given = f"{kernel.file_system(nas)} at {nas}"
    assert [judged.claim for judged in measured.judged] == ["P-2", "P-3"]
    assert {judged.verdict for judged in measured.judged} == {Verdict.NOT_COMPARABLE}, "of one round"
    missing = measured.values["missing"]
    assert isinstance(missing, dict)
    assert set(missing) <= {RCLONE, "fio"}, "the wheels have the rest"
    assert all("apt-get install" in why for why in missing.values())
    assert all(name in measured.unfinished for name in missing)
    here = {JUICEFS, WEED, LOCAL, given} | ({RCLONE} - set(missing))
    mixed = measured.values["mix"]
    assert isinstance(mixed, dict)
    assert mixed["errors"] == {}
    assert len(mixed["rates"]) == len(PHASES) * len(TINY.jobs)
    for by_name in mixed["rates"].values():
        assert set(by_name) == here
        assert all(rate > 0 for rates in by_name.values() for rate in rates)
    seen = measured.values["close_to_open"]
    assert isinstance(seen, dict)
    assert seen[JUICEFS]["a new file"] == seen[WEED]["a new file"] == "at once"
    assert set(seen) == here - {LOCAL, given}, "who has two mounts"
    mdtest = measured.values["juicefs_mdtest_files_per_s"]
    assert isinstance(mdtest, dict)
    assert set(mdtest) == {str(jobs) for jobs in TINY.jobs}
    if "fio" not in missing:
        streamed = measured.values["streams"]
        assert isinstance(streamed, dict)
        assert streamed["errors"] == {}
    assert [lifetime.left for lifetime in measured.lifetimes] == [()]
    assert list(nas.iterdir()) == [], "nothing is left in the folder that was given"


def test_a_tiny_run_of_compression_proves_cold_and_warm(tmp_path: Path) -> None:
    load = compression.Load(file_bytes=1 << 19, rounds=2)
    measured = compression.measure(place(tmp_path), QUICK, lambda _line: None, load)
    assert measured.values["unproved"] == []
    assert measured.unfinished == "1 of 2 rounds"
    shares = measured.values["stored_share"]
    assert isinstance(shares, dict)
    assert all(by_codec["none"] == [1.0] for by_codec in shares.values()), "the store keeps them as they are"
    assert shares["ids in a row"]["zstd"] < shares["ids in a row"]["lz4"] < [0.7]
    assert [lifetime.left for lifetime in measured.lifetimes] == [()]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark in a process of its own, that has all its mounts up. `folders` are those to be gone at its end."""

    process: subprocess.Popen[bytes]
    run_id: str
    folders: tuple[Path, Path]

    def left(self) -> list[str]:
        things = [f"process {pid} ({kernel.command_line(pid)})" for pid in kernel.marked(self.run_id)]
        things += [f"mount {point}" for point in kernel.mounts(self.folders[0])]
        things += [f"folder {folder}" for folder in self.folders if folder.exists()]
        return things + [f"socket {path}" for path in Path("/tmp").glob(f"mjc-{self.run_id}-*")]


@contextmanager
def started(folder: Path) -> Iterator[Benchmark]:
    nas, output = folder / "nas", folder / "stderr.txt"
    nas.mkdir()
    options = ["--only=NAS", f"--report={folder / 'report'}", f"--work-dir={folder}", f"--compare-dir={nas}"]
    argv = [sys.executable, "-m", "suites.performance.claims", *options]
    with output.open("wb") as said:
        process = subprocess.Popen(argv, cwd=PROJECT, stdout=said, stderr=said, start_new_session=True)
    try:
        wait_until(
            lambda: "beside juicefs: " in output.read_text(),
            timeout_s=UP_TIMEOUT_S,
            reason="all mounts to be up",
            give_up=lambda: output.read_text() if process.poll() is not None else None,
        )
        (own,) = nas.iterdir()
        yield Benchmark(process, own.name.removeprefix("mjc_"), (folder / own.name, own))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(END_TIMEOUT_S)


def end(process: subprocess.Popen[bytes], number: signal.Signals, points: Sequence[Path]) -> int:
    """Send the signal, and the exit code.

    A killed process does not die while one of its threads waits for an answer of a mount (over 60 s, seen once beside
    other work): the connections are ended then, as `JuiceFSMount.kill` does.
    """
    connections = [found for point in points if (found := kernel.fuse_connection(point))]
    os.kill(process.pid, number)
    if number == signal.SIGKILL:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(STUCK_S)
        for connection in connections:
            kernel.abort_fuse(connection)
    return process.wait(END_TIMEOUT_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_one_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as benchmark:
        points = kernel.mounts(benchmark.folders[0])
        assert len(points) >= 4, "two of JuiceFS, two of weed, and two of rclone where that is installed"
        code = end(benchmark.process, number, points)
        if number == signal.SIGINT:
            assert code == 2
        else:
            assert benchmark.left(), "a killed run leaves something, or this would prove nothing"
            assert f"mount {points[0]}" in user_runs.sweep(benchmark.run_id)
        assert benchmark.left() == []
