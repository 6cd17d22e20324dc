"""What JuiceFS' compression and its cache give for files like Milvus': time and bytes, all in turns in one run.

`measure` is a part of claims.py. One volume for each compression, each with a mount that writes and one that reads: at
first from the object store (cold), then again from its cache on disk (warm); both are proved by what it fetched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fixtures import data
from fixtures.cluster import Cluster
from fixtures.errors import InfrastructureError
from fixtures.extras import extra_mount, extra_volume
from fixtures.services import JuiceFSMount, Volume
from fixtures.services.object_store import S3Store
from fixtures.topology import CHOICES
from suites.performance.clusters import Place, run_cluster
from suites.performance.nas.judge_compression import judge_cache, judge_compression, tables
from suites.performance.nas.opponents import limited
from suites.performance.nas.rounds import Samples, run_rounds
from suites.performance.nas.transfer import objects_fetched, read, stored_bytes, write
from suites.performance.verdicts import Measured, Profile

CODECS = CHOICES["juicefs.compression"]
DIMENSION = 128
WRITE, COLD, WARM = "write", "cold", "warm"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Bytes of each file, and rounds at most."""

    file_bytes: int
    rounds: int


LOADS: Mapping[str, Load] = {
    "quick": Load(file_bytes=8 * _MIB, rounds=5),
    "full": Load(file_bytes=64 * _MIB, rounds=15),
}


def contents(size: int, seed: int) -> dict[str, bytes]:
    """Files of `size` bytes like those of a segment: vectors of three kinds, and the ids of rows."""
    rows = size // (4 * DIMENSION)
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(256, DIMENSION)).astype(np.float32)
    clustered = centres[rng.integers(0, len(centres), rows)]
    clustered += rng.normal(scale=0.05, size=clustered.shape).astype(np.float32)
    # As those of SIFT: histograms, so that most numbers are small and many are zero.
    whole = np.floor(rng.exponential(28, (rows, DIMENSION))).clip(0, 255).astype(np.float32)
    ids = np.arange(1_600_000_000_000_000_000, 1_600_000_000_000_000_000 + size // 8, dtype=np.int64)
    return {
        "vectors, uniform": data.vectors(seed, rows, DIMENSION).tobytes(),
        "vectors, clustered": clustered.tobytes(),
        "vectors of whole numbers": whole.tobytes(),
        "ids in a row": ids.tobytes(),
    }


@dataclass(frozen=True, slots=True)
class _Ways:
    """A volume of one compression, by the mount that writes and the one that reads."""

    volume: Volume
    writes: JuiceFSMount
    reads: JuiceFSMount


@dataclass(slots=True)
class _Part:
    """What has been measured so far."""

    place: Place
    load: Load
    limit_s: float
    samples: Samples = field(default_factory=Samples)
    stored: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By file and codec, the share of its bytes that the store keeps, once a round."""
    unproved: list[str] = field(default_factory=list)
    rounds: int = 0

    def use(self, cluster: Cluster) -> None:
        if (why := cluster.capabilities["fuse"]) is not None:
            raise InfrastructureError(f"nothing can be mounted: {why}")
        with contextlib.ExitStack() as stack:
            ways = {codec: stack.enter_context(_opened(cluster, codec)) for codec in CODECS}
            points = [mount.point for each in ways.values() for mount in (each.writes, each.reads)]
            stack.enter_context(limited(points, self.limit_s))

            def measure(codec: str, _jobs: int, turn: int) -> None:
                try:
                    self._once(cluster, codec, ways[codec], turn)
                except OSError as error:
                    raise InfrastructureError(f"JuiceFS with compression {codec}: {error}") from error

            self.rounds = run_rounds(
                CODECS,
                (1,),
                self.load.rounds,
                measure,
                seed=self.place.seed,
                limit_s=0.85 * self.limit_s,
                say=self.place.say,
            )

    def _once(self, cluster: Cluster, codec: str, ways: _Ways, turn: int) -> None:
        for number, (name, content) in enumerate(contents(self.load.file_bytes, self.place.seed + turn).items()):
            file = f"{turn}-{number}"
            before = _stored(cluster, ways.volume)
            rates = {WRITE: len(content) / write(ways.writes.point / file, content) / _MIB}
            after = _stored(cluster, ways.volume)
            if before is not None and after is not None:
                self.stored.setdefault(name, {}).setdefault(codec, []).append((after - before) / len(content))
            for how in (COLD, WARM):
                fetched = objects_fetched(ways.reads)
                rates[how] = len(content) / read(ways.reads.point / file, content) / _MIB
                fetched = objects_fetched(ways.reads) - fetched
                if (fetched > 0) != (how == COLD):
                    self.unproved.append(f"{codec}, {name}: {how}, but {fetched:.0f} objects were fetched")
            self.samples.add(codec, 1, {f"{name}: {how}": rate for how, rate in rates.items()})


@contextlib.contextmanager
def _opened(cluster: Cluster, codec: str) -> Iterator[_Ways]:
    with (
        extra_volume(cluster, codec, {"compression": codec}) as volume,
        extra_mount(cluster, f"{codec}-writes", volume=volume) as writes,
        extra_mount(cluster, f"{codec}-reads", volume=volume) as reads,
    ):
        yield _Ways(volume, writes, reads)


def _stored(cluster: Cluster, volume: Volume) -> int | None:
    store = cluster.object_store
    return stored_bytes(store, volume.name) if isinstance(store, S3Store) else None


def measure(place: Place, profile: Profile, say: Callable[[str], None], load: Load | None = None) -> Measured:
    """Time and bytes by compression, cold and warm, in `profile.limit_s` but for a round. Raises HarnessError."""
    part = _Part(dataclasses.replace(place, say=say), load or LOADS[profile.name], profile.limit_s)
    lifetime = run_cluster(part.place, "compression", part.use, topology=dataclasses.replace(place.topology, readers=1))
    shares = {
        name: {codec: statistics.median(values) for codec, values in by_codec.items()}
        for name, by_codec in part.stored.items()
    }
    return Measured(
        judged=(judge_compression(shares), judge_cache(part.samples, part.unproved, place.seed)),
        tables=tables(part.samples, shares, CODECS, part.rounds, place.seed),
        values={
            "file_bytes": part.load.file_bytes,
            "rounds": part.rounds,
            "stored_share": part.stored,
            "unproved": part.unproved,
            **part.samples.to_json(),
        },
        lifetimes=(lifetime,),
        unfinished=f"{part.rounds} of {part.load.rounds} rounds" if part.rounds < part.load.rounds else "",
    )
