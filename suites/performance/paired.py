"""Is the candidate slower than the baseline? Both clusters at once, the same operations in turns, in one run.

Two absolute times from different moments say more about the moments than about the clusters. Here each operation is
done on one cluster and then at once on the other (A B, then B A, and so on), so what else the machine does meets both
alike, and only the ratio is judged. Where memory is short the clusters are up one after the other instead, in the same
order.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import psutil

from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from fixtures.plugin.figures import number
from fixtures.services import Programs
from fixtures.topology import Topology
from suites.performance.article.workload import CALL_TIMEOUT_S, DIMENSION, apart_mb
from suites.performance.clusters import Place, run_cluster
from suites.performance.intervals import Interval, ratio_of_medians
from suites.performance.queries import VISIBLE_WITHIN_S, find, require_found
from suites.support import Rows, front_doors, insert, watch

MARGIN = 1.25
"""A ratio within it is no difference: two equal clusters side by side on two cores that had much else to do gave ratios
of 0.86 to 1.21 in twelve pairs, and no operator would refuse an upgrade for less."""
WIDTH_LIMIT = 2.0
"""An interval whose ends are further apart than this factor could hide a doubling: nothing is concluded from it."""
MIN_PAIRS = 8
"""Of fewer, the bootstrap of a median draws from too few different values for its 95 % to be true."""

_APART = 1 << 40
"""Added to ids that must not be those of a batch."""
_CLUSTER_BYTES = 2 << 30
"""What a cluster of three nodes takes at most here, its stores and proxy included."""
_LAST, _STEPS = "visible everywhere after flush", 9
"""The last operation of a round, and how many there are in one."""
_BLOCKS = 4
"""How often each cluster is brought up where both do not fit at once."""


class PairedVerdict(str, enum.Enum):
    """Of the candidate against the baseline."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One operation on both clusters. `pairs` are (baseline, candidate) in `unit`, of which less is better.

    `ratio` is candidate / baseline, of the medians; None of too few pairs. `why` says how the verdict came about.
    """

    name: str
    unit: str
    pairs: tuple[tuple[float, float], ...]
    ratio: Interval | None
    verdict: PairedVerdict
    why: str
    margin: float = MARGIN

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "unit": self.unit,
            "pairs": [list(pair) for pair in self.pairs],
            "ratio": self.ratio.to_json() if self.ratio else None,
            "margin": self.margin,
            "verdict": self.verdict.value,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: `rows` in a batch, `rounds` of all operations, which is the number of pairs."""

    rows: int
    rounds: int


SIZES: Mapping[str, Size] = {"quick": Size(5_000, 16), "standard": Size(20_000, 24), "full": Size(100_000, 24)}


def compare(
    place: Place,
    baseline: Topology,
    candidate: Topology,
    *,
    seed: int,
    profile: str,
    say: Callable[[str], None],
    candidate_programs: Programs | None = None,
) -> list[Paired]:
    """Measure both and judge each operation. Raises HarnessError if a cluster fails or does not end cleanly.

    `candidate_programs` play Milvus in the candidate, for a seeded defect in it alone; None: those of `place`.
    """
    size = SIZES[profile]
    other = dataclasses.replace(place, programs=candidate_programs or place.programs)
    sides = (_Side(place, "baseline", baseline, seed), _Side(other, "candidate", candidate, seed))
    needed = 2 * (_CLUSTER_BYTES + size.rows * size.rounds * DIMENSION * 4 * (2 + baseline.readers))
    if psutil.virtual_memory().available >= needed:
        _side_by_side(sides, size, say)
    else:
        say("too little memory for both clusters at once: one after the other, in turns")
        _in_turns(sides, size, say)
    taken = [side.seconds for side in sides]
    return [
        judge(name, "s", list(zip(taken[0][name], taken[1][name], strict=True)), seed=seed)
        for name in taken[0]
        if name in taken[1]
    ]


def judge(name: str, unit: str, pairs: Sequence[tuple[float, float]], *, seed: int, margin: float = MARGIN) -> Paired:
    """The verdict over pairs of (baseline, candidate), of which less is better.

    Worse, or better, only if the whole interval of the ratio lies beyond the margin. The same if the ratio lies within
    it, and its interval is narrow enough to have shown a difference that matters. Otherwise unknown.
    """

    def told(verdict: PairedVerdict, why: str, ratio: Interval | None) -> Paired:
        return Paired(name=name, unit=unit, pairs=tuple(pairs), ratio=ratio, verdict=verdict, why=why, margin=margin)

    if len(pairs) < MIN_PAIRS:
        return told(PairedVerdict.UNKNOWN, f"{len(pairs)} pairs, {MIN_PAIRS} are needed", None)
    ratio = ratio_of_medians(pairs, seed)
    if ratio.low > margin:
        return told(PairedVerdict.WORSE, f"at least {number(ratio.low)} times as long", ratio)
    if ratio.high < 1 / margin:
        return told(PairedVerdict.BETTER, f"at most {number(ratio.high)} times as long", ratio)
    if ratio.high / ratio.low > WIDTH_LIMIT:
        wide = f"the interval spans {number(ratio.high / ratio.low)} times, {number(WIDTH_LIMIT)} at most"
        return told(PairedVerdict.UNKNOWN, wide, ratio)
    if 1 / margin <= ratio.value <= margin:
        return told(PairedVerdict.SAME, f"within {number(margin)} times", ratio)
    return told(PairedVerdict.UNKNOWN, "beyond the margin, but its interval reaches into it", ratio)


@dataclass(slots=True)
class _Side:
    """One of the two clusters, and how long each operation took on it, in the order of rounds. Seconds."""

    place: Place
    name: str
    topology: Topology
    seed: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self, turn: str, use: Callable[[Cluster], None]) -> None:
        """A cluster of this side, used and stopped. Raises InfrastructureError if it leaves something behind."""
        lifetime = run_cluster(self.place, f"paired-{self.name}{turn}", use, topology=self.topology)
        if lifetime.left:
            raise InfrastructureError(f"{self.name}: it did not end cleanly: {', '.join(lifetime.left)}")

    def rounds(self, cluster: Cluster, rows: int, numbers: Iterable[int]) -> Iterator[str]:
        """Do and time rounds of all operations; a step of this iterator is one operation, and says which.

        The first round meets programs that have never done any of it: it is not counted.
        """
        doors = {door: cluster.connect(door, timeout_s=CALL_TIMEOUT_S) for door in front_doors(cluster)}
        kept = {name: list(values) for name, values in self.seconds.items()}
        yield from self._round(doors, cluster.mishards.name, 0, rows)
        self.seconds = kept
        for each in numbers:
            yield from self._round(doors, cluster.mishards.name, each, rows)

    def _round(self, doors: Mapping[str, Client], proxy: str, number: int, rows: int) -> Iterator[str]:
        """A batch that the readers load when they are asked, and another that they load for Mishards.

        In a collection of its own, so that a late round searches no more rows than an early one; each batch stays a
        segment, so that no merge in the background meets one side alone.
        """
        writer, name = doors["writer"], f"paired_{number}"
        writer.create_collection(name, DIMENSION, index_file_size_mb=apart_mb(rows)).require()
        readers = [client for door, client in doors.items() if door not in ("writer", proxy)]
        batches = [Rows.make(self.seed, (2 * number + at) * rows, rows, DIMENSION) for at in range(2)]
        for batch, asked, whom in ((batches[0], readers, "a reader"), (batches[1], [doors[proxy]], "Mishards")):
            yield self._timed("insert", partial(insert, writer, name, batch))
            yield self._timed("flush", lambda: writer.flush(name).require())
            probe = batch.take([number % rows])
            for kind in ("first query", "warm query"):
                took_s = [find(each, name, probe).seconds for each in asked]
                yield self._took(f"{kind}, {whom}", statistics.mean(took_s))
            # Mishards keeps what it learnt of a collection: asked once, it is not new to it when the next batch is.
            find(doors[proxy], name, probe)
        # One row costs no load: what is left is how long the news takes.
        one = Rows.make(self.seed + 1, 2 * rows * (number + 1), 1, DIMENSION)
        one = Rows(one.ids + _APART, one.vectors)
        insert(writer, name, one)
        writer.flush(name).require()
        seen = watch(doors, name, one, timeout_s=VISIBLE_WITHIN_S)
        yield self._took(_LAST, max(require_found(door, each).seconds for door, each in seen.items()))

    def _timed(self, name: str, work: Callable[[], object]) -> str:
        began_s = time.perf_counter()
        work()
        return self._took(name, time.perf_counter() - began_s)

    def _took(self, name: str, seconds: float) -> str:
        self.seconds.setdefault(name, []).append(seconds)
        return name


def _side_by_side(sides: tuple[_Side, _Side], size: Size, say: Callable[[str], None]) -> None:
    """Both clusters up; each operation on one and at once on the other, the order changing from round to round."""

    def measure(clusters: tuple[Cluster, Cluster]) -> None:
        running = [
            side.rounds(it, size.rows, range(1, size.rounds + 1)) for side, it in zip(sides, clusters, strict=True)
        ]
        for turn in itertools.count():
            done = [next(running[at], None) for at in ((0, 1), (1, 0), (1, 0), (0, 1))[turn % 4]]
            if done == [None, None]:
                return
            if done[0] == _LAST:
                say(f"paired round {turn // _STEPS + 1} of {size.rounds + 1}")

    baseline, candidate = sides
    baseline.run("", lambda ours: candidate.run("", lambda theirs: measure((ours, theirs))))


def _in_turns(sides: tuple[_Side, _Side], size: Size, say: Callable[[str], None]) -> None:
    """One cluster up at a time, each side twice or more: A B B A."""
    blocks = [list(block) for block in np.array_split(np.arange(1, size.rounds + 1), _BLOCKS)]
    for turn, block in enumerate(blocks):
        for side in sides if turn % 2 == 0 else reversed(sides):
            say(f"paired, {side.name}, rounds {block[0]} to {block[-1]} of {size.rounds}")

            def use(cluster: Cluster, side: _Side = side, block: Sequence[int] = block) -> None:
                for _ in side.rounds(cluster, size.rows, block):
                    pass

            side.run(f"-{turn + 1}", use)
