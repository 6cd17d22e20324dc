"""JuiceFS beside what an operator could take instead: metadata (P-2), throughput (P-3), and what else that one gives.

One cluster, all file systems up at the same time, everything in turns; `measure` is a part of claims.py.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from suites.performance.clusters import Place, run_cluster
from suites.performance.nas import judge, metadata, streams
from suites.performance.nas.basics import Seen, look_at
from suites.performance.nas.metadata import run_juicefs_bench, run_mdtest, run_mix
from suites.performance.nas.mix import METADATA, PHASES
from suites.performance.nas.opponents import JUICEFS, RCLONE, Field, Opponent, limited, open_field
from suites.performance.nas.rounds import Samples, compare, means, run_rounds
from suites.performance.nas.streams import fio_version, run_streams
from suites.performance.verdicts import Judged, Measured, Profile, Table

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much a profile does: rounds at most, files of the mix, bytes of a stream, rounds of `juicefs bench`.

    `watch_s` is how long it is looked whether a stale file gets right in the end.
    """

    rounds: int
    files: metadata.Size
    stream_bytes: int
    bench_rounds: int
    jobs: tuple[int, ...] = (1, 16)
    watch_s: float = 10.0


LOADS: Mapping[str, Load] = {
    "quick": Load(rounds=5, files=metadata.Size(alone=60, each=6), stream_bytes=32 * _MIB, bench_rounds=1),
    "full": Load(rounds=15, files=metadata.Size(alone=400, each=40), stream_bytes=128 * _MIB, bench_rounds=5),
}
MIX, STREAMS, BENCH = "mix", "streams", "bench"
NAMES = {MIX: PHASES, STREAMS: streams.NAMES, BENCH: metadata.BENCH_NAMES}
_SHARES = {MIX: 0.45, STREAMS: 0.8, BENCH: 0.95}
"""When each should be done, as a share of the time; the rest is for the last round, and for the end."""


@dataclass(slots=True)
class _Part:
    """What has been measured so far."""

    place: Place
    load: Load
    limit_s: float
    basics: dict[str, dict[str, Seen]] = field(default_factory=dict)
    samples: dict[str, Samples] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    nas: str | None = None
    fio: str = ""
    """Its version; empty if it is missing."""
    seen_s: dict[str, list[float]] = field(default_factory=dict)
    mdtest: dict[int, list[float]] = field(default_factory=dict)
    """Files a second by the number of jobs."""
    began_s: float = field(default_factory=time.monotonic)

    def use(self, cluster: Cluster) -> None:
        """Measure all of it on a cluster."""
        with open_field(cluster, self.place.compare, self.place.say) as found:
            self.missing = dict(found.missing)
            self.notes = {each.name: each.note for each in found.all}
            self.others = [each.name for each in found.others]
            self.nas = found.nas.name if found.nas else None
            self.place.say(f"beside juicefs: {', '.join(self.others)}")
            self.basics = look_at(found, self.load.watch_s)
            self._rounds(MIX, cluster, found, self.load.rounds)
            try:
                self.fio = fio_version(cluster)
            except InfrastructureError as error:
                self.missing["fio"] = str(error)
            else:
                self._rounds(STREAMS, cluster, found, self.load.rounds)
            self._rounds(BENCH, cluster, found, self.load.bench_rounds)

    def _rounds(self, what: str, cluster: Cluster, found: Field, rounds: int) -> None:
        samples = self.samples[what] = Samples()
        by_name = {each.name: each for each in found.all}

        def measure(name: str, jobs: int, turn: int) -> None:
            try:
                self._once(what, cluster, by_name[name], jobs, turn)
            except (InfrastructureError, OSError) as error:
                # One that fails is a finding about that one; the others are measured all the same.
                samples.failed(name, jobs, NAMES[what], error)

        with limited(found.points, self.limit_s):
            self.rounds[what] = run_rounds(
                list(by_name),
                self.load.jobs,
                rounds,
                measure,
                seed=self.place.seed,
                limit_s=_SHARES[what] * self.limit_s - (time.monotonic() - self.began_s),
                say=lambda line: self.place.say(f"{what}: {line}"),
            )

    def _once(self, what: str, cluster: Cluster, who: Opponent, jobs: int, turn: int) -> None:
        """One measurement of one file system, in a folder of its own."""
        samples, files, seed = self.samples[what], self.load.files.files(jobs), self.place.seed + turn
        name = f"{what}-{jobs}-{turn}"
        if what == MIX:
            seen_s = run_mix(cluster, who, jobs, files, name, seed, samples)
            self.seen_s.setdefault(who.name, []).append(seen_s)
        elif what == STREAMS:
            run_streams(cluster, who, jobs, self.load.stream_bytes, name, seed, samples)
        else:
            run_juicefs_bench(cluster, who, jobs, files, name, samples)
            if who.name == JUICEFS:
                self.mdtest.setdefault(jobs, []).append(run_mdtest(cluster, jobs, files, name))


def measure(place: Place, profile: Profile, say: Callable[[str], None], load: Load | None = None) -> Measured:
    """P-2 and P-3, in `profile.limit_s` at most but for one round of each. Raises HarnessError."""
    part = _Part(dataclasses.replace(place, say=say), load or LOADS[profile.name], profile.limit_s)
    lifetime = run_cluster(part.place, "opponents", part.use, topology=dataclasses.replace(place.topology, readers=1))
    judged, tables = _results(part)
    return Measured(
        judged=tuple(judged),
        tables=tuple(tables),
        values={
            "rounds": part.rounds,
            "missing": part.missing,
            "set_up": part.notes,
            "fio": part.fio,
            "seen_by_the_other_mount_after_s": part.seen_s,
            "close_to_open": {who: {case: str(seen) for case, seen in by.items()} for who, by in part.basics.items()},
            "juicefs_mdtest_files_per_s": {str(jobs): rates for jobs, rates in part.mdtest.items()},
            **{what: samples.to_json() for what, samples in part.samples.items()},
        },
        lifetimes=(lifetime,),
        unfinished=_unfinished(part),
    )


def _results(part: _Part) -> tuple[list[Judged], list[Table]]:
    judged, tables, seed = [], [judge.basics_table(part.basics, part.notes)], part.place.seed
    for what, samples in part.samples.items():
        rows = compare(samples, JUICEFS, part.others, seed)
        if what in _OVERALL:
            names, called, judging = _OVERALL[what]
            overall = compare(means(samples, names, called), JUICEFS, part.others, seed)
            judged.append(judging(overall, part.nas, part.others))
            rows += overall
        table = judge.rates_table(*_TITLES[what], rows, part.others, samples, part.rounds[what])
        tables.append(dataclasses.replace(table, note=f"{table.note} {_NOTES[what]}".strip()))
    if not part.fio:
        judged.append(judge.not_measured("P-3", part.missing["fio"]))
    if part.mdtest:
        tables.append(judge.mdtest_table(part.mdtest))
    return judged, tables


_OVERALL = {
    MIX: (METADATA, "all metadata (not write, read)", judge.judge_metadata),
    STREAMS: (streams.NAMES, "all streams", judge.judge_streams),
}
_TITLES = {
    MIX: ("Metadata operations: our own mix, made on one mount and looked at on another", "A second"),
    STREAMS: ("Throughput: fio, written on one mount and read on another", "MiB/s"),
    BENCH: ("Small files by `juicefs bench`, beside the mix: made and read on the same mount", "Files a second"),
}


_NOTES = {
    MIX: f"The geometric mean of {', '.join(METADATA)} weighs each alike.",
    STREAMS: (
        "Buffered, and the kernel's pages are dropped before each; `cold` has never been read on that mount, `warm` "
        "just has; the object store's own files stay in memory. A write counts until fsync and close return, which "
        f"with {RCLONE} is before the upload."
    ),
    BENCH: "",
}


def _unfinished(part: _Part) -> str:
    wanted = {MIX: part.load.rounds, STREAMS: part.load.rounds, BENCH: part.load.bench_rounds}
    short = [f"{what}: {done} of {wanted[what]} rounds" for what, done in part.rounds.items() if done < wanted[what]]
    lacking = [f"{name} is missing: {why}" for name, why in part.missing.items()]
    return "; ".join([*short, *lacking])
