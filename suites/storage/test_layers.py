"""After faults the layers of the storage agree: no row without its files, no file without its objects."""

from __future__ import annotations

from fixtures import faults
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import wait_until
from suites.audit import audit
from suites.failover.writing import BATCH, Writing

BATCHES = 2
_WRITTEN_TIMEOUT_S = 60.0


@claim(
    "J-4",
    "after a fault MySQL's rows, the files on each mount, JuiceFS' metadata, the objects and `juicefs fsck` agree",
    source="facts 2.3, 2.6, 2.7; measured-2 5",
    expected={"1.1.0": holds("folders without a row, and objects without a file, may be left over: measured-2 5")},
    needs=("fuse", "internals"),
    witnesses=("kill", "kill_mount", "written around the faults", "audited"),
)
def test_layers_agree(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    collection = names("written")
    writer = cluster.connect(cluster.writer.name, history=history)
    with Writing(cluster.connect(cluster.writer.name, history=history), collection, seed) as writing:
        _await_batches(writing, BATCHES)
        with faults.kill(cluster.writer, history) as dead:
            pass
        trial.add(dead.witness)
        _await_batches(writing, BATCHES)
        with faults.kill_mount(cluster.mounts[cluster.readers[0].name], history) as unmounted:
            _await_batches(writing, BATCHES)
        trial.add(unmounted.witness)
    trial.witness("written around the faults", flushed=len(writing.flushed), uncertain=writing.uncertain)
    # A few rows of the first segment, then most of the second: one keeps its files, the other is written anew.
    writer.delete(collection, list(range(10))).require()
    writer.delete(collection, list(range(BATCH, 2 * BATCH, 2))).require()
    writer.flush(collection).require()
    writer.compact(collection).require()
    audit(cluster, trial, writer_quiet=True, through_empty_cache=True)


def _await_batches(writing: Writing, count: int) -> None:
    """Wait until as many more are flushed: faults are to hit a store that is written to."""
    enough = len(writing.flushed) + count
    wait_until(
        lambda: len(writing.flushed) >= enough, timeout_s=_WRITTEN_TIMEOUT_S, reason=f"{count} more batches flushed"
    )
