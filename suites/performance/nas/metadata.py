"""P-2: metadata operations, our own mix (mix.py) on every file system, and JuiceFS' own benchmarks beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from suites.performance.nas.mix import PHASES
from suites.performance.nas.opponents import Opponent
from suites.performance.nas.programs import run_program
from suites.performance.nas.rounds import Rates, Samples

SMALL_BYTES = 4096
BENCH_NAMES = ("write", "read", "stat")
_BENCH_NAMES = {"Write small file": "write", "Read small file": "read", "Stat file": "stat"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much one round does: files of one job, and of each of many."""

    alone: int
    each: int

    def files(self, jobs: int) -> int:
        return self.alone if jobs == 1 else self.each


def run_mix(cluster: Cluster, who: Opponent, jobs: int, files: int, name: str, seed: int, samples: Samples) -> float:
    """One run of the mix in a new folder of that name; when the other mount had all files, in seconds after the last.

    Raises InfrastructureError if it does not end.
    """
    argv, env = cluster.site.runtime.python("suites.performance.nas.mix")
    words = (str(who.here / name), str(who.there / name), jobs, files, SMALL_BYTES, seed, int(who.late))
    told = json.loads(run_program(cluster, "mix", (*argv, *map(str, words)), env).splitlines()[-1])
    rates, errors = rates_of(told)
    samples.add(who.name, jobs, rates)
    for phase, counted in errors.items():
        samples.add_errors(who.name, jobs, phase, counted)
    return float(told["seen_s"])


def rates_of(told: Mapping[str, object]) -> tuple[Rates, dict[str, dict[str, int]]]:
    """Operations a second for each phase, None where one failed; and what failed. `told` is what mix.py prints."""
    phases = told["phases"]
    assert isinstance(phases, Mapping)
    rates: dict[str, float | None] = {}
    errors: dict[str, dict[str, int]] = {}
    for name in PHASES:
        phase = phases[name]
        rates[name] = None if phase["errors"] else phase["operations"] / phase["took_s"]
        if phase["errors"]:
            errors[name] = phase["errors"]
    return rates, errors


def run_juicefs_bench(cluster: Cluster, who: Opponent, jobs: int, files: int, name: str, samples: Samples) -> None:
    """`juicefs bench`, small files only, on any mount: made, read and asked for on one mount, by JuiceFS' own code."""
    folder = who.here / name
    folder.mkdir()
    options = ("--big-file-size=0", f"--small-file-size={SMALL_BYTES // 1024}K", f"--small-file-count={files}")
    argv = (cluster.volume.program, "bench", *options, "--threads", str(jobs), str(folder))
    printed = run_program(cluster, "juicefs bench", argv, {})
    samples.add(who.name, jobs, bench_rates(printed))


def bench_rates(printed: str) -> Rates:
    """The files a second in the table that `juicefs bench` prints. Raises InfrastructureError if it has none."""
    rates: dict[str, float | None] = {}
    for line in printed.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1] in _BENCH_NAMES and (match := re.match(r"([\d.]+) files/s", cells[2])):
            rates[_BENCH_NAMES[cells[1]]] = float(match[1])
    if rates.keys() != set(BENCH_NAMES):
        raise InfrastructureError(f"juicefs bench printed no table that we know: {printed[-300:]!r}")
    return rates


def run_mdtest(cluster: Cluster, jobs: int, files: int, name: str) -> float:
    """`juicefs mdtest`: empty files a second that JuiceFS' client makes by itself, around FUSE. Raises as `run_mix`."""
    # On the writer's host, from where Redis is reached. With one folder below the root it makes twice as many.
    host = cluster.writer.endpoint[0]
    argv = (
        cluster.volume.program,
        "mdtest",
        "--no-usage-report",
        f"--metrics={host}:0",
        f"--cache-dir={cluster.site.folder('benchmarks/mdtest')}",
        f"--threads={jobs}",
        "--dirs=1",
        "--depth=1",
        f"--files={files}",
        cluster.volume.url,
        f"/{name}",
    )
    return mdtest_rate(run_program(cluster, "juicefs mdtest", argv, cluster.volume.env, host))


def mdtest_rate(printed: str) -> float:
    """Files a second by what `juicefs mdtest` logs. Raises InfrastructureError if it does not say."""
    found = re.findall(r"Created \d+ files in .* \((\d+) files/s\)", printed)
    if len(found) != 1:
        raise InfrastructureError(f"juicefs mdtest says no rate that we know: {printed[-300:]!r}")
    return float(found[0])
