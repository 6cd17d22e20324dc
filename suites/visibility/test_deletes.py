"""When is a deleted row gone, and does it stay gone?

A reader keeps the deletes of a segment as they were when it loaded the segment; only a reload, a release or another
segment changes them. Mishards orders that reload once, through a mount that may still show the old `deleted_docs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fixtures.claims import Trial, claim, deviates, holds
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import observe, pause
from suites.support import (
    DIMENSION,
    Rows,
    connect_all,
    insert_flushed,
    look_up,
    reader_names,
    segment_files,
    settle_log_numbers,
    watch,
)

ROWS = 1000
DELETED = 20
REPETITIONS = 6


@dataclass(frozen=True, slots=True)
class Loaded:
    """A collection of one segment that every door has searched, so that every reader holds it in its cache."""

    name: str
    rows: Rows
    clients: dict[str, Client]
    writer: Client

    def delete(self, rows: Rows) -> None:
        self.writer.delete(self.name, rows.ids).require()
        self.writer.flush(self.name).require()

    @property
    def kept(self) -> Rows:
        """Some rows that no test deletes: a node that finds nothing at all would seem to have applied every delete."""
        return self.rows.take(range(ROWS // 2, ROWS // 2 + 50))

    def still_there(self, door: str, rows: Rows) -> int:
        """How many of `rows` a search at `door` returns."""
        sighting = look_up(self.clients[door], self.name, rows)
        sighting.reply.require()
        return len(rows) - len(sighting.missing)

    def check_kept(self, trial: Trial, door: str, *, after: str) -> None:
        """The rows beside the deleted ones are found as before."""
        found = self.still_there(door, self.kept)
        trial.check(
            found == len(self.kept),
            f"{found} of {len(self.kept)} rows that nobody deleted found after {after}",
            node=door,
        )


def load(cluster: Cluster, trial: Trial, name: str, history: History, seed: int) -> Loaded:
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(name, DIMENSION).require()
    rows = Rows.make(seed, 0, ROWS)
    insert_flushed(writer, name, rows)
    seen = watch(clients, name, rows.take(range(50)), timeout_s=cluster.budgets.visibility_after_flush_s)
    unseen = [door for door, observed in seen.items() if not observed.satisfied]
    if trial.check(not unseen, f"flushed rows were not found at {', '.join(unseen)}, before any delete"):
        trial.witness("loaded everywhere", collection=name, doors=list(clients), rows=ROWS)
    return Loaded(name, rows, clients, writer)


@claim(
    "V-6",
    "a flushed delete is gone on the writer and through Mishards",
    source="measured 2: Mishards reloads a changed segment once; facts 7.5",
    expected={
        "1.1.0": deviates(
            "stale for ever through Mishards when the reader loaded the segment less than the entry-cache TTL before:"
            " its reload reads the old deleted_docs and is not repeated",
            "measured S1; --entry-cache 0 mends it",
        )
    },
    needs=("fuse",),
    witnesses=("loaded everywhere", "deleted"),
)
def test_flushed_delete_is_gone_through_mishards(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    proxy, writer = cluster.mishards.name, cluster.writer.name
    stale = 0
    for repetition in range(REPETITIONS):
        loaded = load(cluster, trial, names(f"fresh{repetition}"), history, seed + repetition)
        gone = loaded.rows.take(range(DELETED))
        loaded.delete(gone)
        trial.witness("deleted", collection=loaded.name, ids=gone.ids.tolist())
        left = loaded.still_there(writer, gone)
        trial.check(left == 0, f"{left} of {DELETED} flushed deletes still found", node=writer)
        left = loaded.still_there(proxy, gone)
        stale += left > 0
        trial.deviate(left == 0, f"{left} of {DELETED} deletes still found, loaded just before", node=proxy)
        trial.check(left in (0, DELETED), f"{left} of {DELETED} deletes still found: neither old nor new", node=proxy)
        for door in (writer, proxy):
            loaded.check_kept(trial, door, after="a delete just after loading")
        if left:
            _check_cure_by_next_delete(cluster, trial, loaded, gone)
    trial.note(f"deleted right after loading: {stale} of {REPETITIONS} collections stale through Mishards")
    for repetition in range(REPETITIONS):
        loaded = load(cluster, trial, names(f"old{repetition}"), history, seed + 100 + repetition)
        gone = loaded.rows.take(range(DELETED))
        pause(cluster.budgets.entry_cache_ttl_s, "the mounts' entry caches to expire, so that the load is an old one")
        loaded.delete(gone)
        for door in (writer, proxy):
            left = loaded.still_there(door, gone)
            trial.check(left == 0, f"{left} of {DELETED} deletes still found, loaded long before", node=door)
            loaded.check_kept(trial, door, after="a delete long after loading")


def _check_cure_by_next_delete(cluster: Cluster, trial: Trial, loaded: Loaded, gone: Rows) -> None:
    """The next delete in the same segment orders another reload, which by then reads the new file."""
    pause(cluster.budgets.entry_cache_ttl_s, "the mounts' entry caches to expire before the next delete")
    another = loaded.rows.take(range(DELETED, DELETED + 1))
    loaded.delete(another)
    left = loaded.still_there(cluster.mishards.name, Rows.join([gone, another]))
    trial.check(left == 0, f"{left} rows still found after another delete made it reload", node=cluster.mishards.name)
    loaded.check_kept(trial, cluster.mishards.name, after="another delete made it reload")


@claim(
    "V-7",
    "a flushed delete is gone on a reader asked directly: by id at once, by search after reload or replacement",
    source="milvus #2368; facts 1.4; measured 2",
    expected={"1.1.0": deviates("a search returns it until a reload, release or replacement", "milvus #2368")},
    needs=("mysql",),
    witnesses=("loaded everywhere", "cured by reload", "cured by release", "cured by compaction", "cured by merge"),
)
def test_flushed_delete_on_a_reader(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    for number, (cure, apply) in enumerate(CURES.items()):
        loaded = load(cluster, trial, names(cure), history, seed + number)
        pause(cluster.budgets.entry_cache_ttl_s, "the mounts' entry caches to expire: only Milvus' own cache is stale")
        # Enough for compaction (a tenth of the segment), and the same for every cure.
        gone = loaded.rows.take(range(ROWS // 5))
        loaded.delete(gone)
        for reader in reader_names(cluster):
            by_id = loaded.clients[reader].get(loaded.name, gone.ids[:10]).require().value
            trial.check(all(vector is None for vector in by_id), "a deleted row is returned by id", node=reader)
            by_id = loaded.clients[reader].get(loaded.name, loaded.kept.ids[:10]).require().value
            others = [
                vector is not None and np.array_equal(vector, row)
                for vector, row in zip(by_id, loaded.kept.vectors[:10], strict=True)
            ]
            trial.check(
                all(others),
                f"{others.count(False)} of 10 rows nobody deleted are not returned as they were",
                node=reader,
            )
            counted = loaded.clients[reader].count(loaded.name).require().value
            trial.check(counted == ROWS - len(gone), f"{counted} rows counted of {ROWS - len(gone)}", node=reader)
            left = loaded.still_there(reader, gone)
            trial.deviate(left == 0, f"a search returns {left} of {len(gone)} deleted rows", node=reader, before=cure)
            trial.check(left in (0, len(gone)), f"{left} of {len(gone)} deletes: neither old nor new", node=reader)
            loaded.check_kept(trial, reader, after="the delete")
        for reader in reader_names(cluster):
            apply(cluster, loaded, reader)
            cured = observe(
                lambda: (loaded.still_there(reader, gone), loaded.still_there(reader, loaded.kept)),  # noqa: B023
                accept=lambda found: found == (0, len(loaded.kept)),  # noqa: B023 - called before the next turn
                timeout_s=cluster.budgets.visibility_after_flush_s,
            )
            message = f"(deleted, other) rows found after {cure}: {cured.value}, expected (0, {len(loaded.kept)})"
            if trial.check(cured.satisfied, message, node=reader):
                trial.witness(f"cured by {cure}", node=reader, after_s=round(cured.elapsed_s, 3))
        trial.progress(f"cured by {cure}")


def _reload(cluster: Cluster, loaded: Loaded, reader: str) -> None:
    files = [file_id for file_id, *_ in segment_files(cluster, loaded.name)]
    loaded.clients[reader].reload_segments(loaded.name, files).require()


def _release(_cluster: Cluster, loaded: Loaded, reader: str) -> None:
    loaded.clients[reader].release(loaded.name).require()


def _compact(_cluster: Cluster, loaded: Loaded, _reader: str) -> None:
    loaded.writer.compact(loaded.name).require()


def _merge(_cluster: Cluster, loaded: Loaded, reader: str) -> None:
    # Another small segment of the same layer: the background merge rewrites both into a new one.
    first_id = 10_000 if reader.endswith("1") else 20_000
    insert_flushed(loaded.writer, loaded.name, Rows.make(1, first_id, ROWS))


CURES = {"reload": _reload, "release": _release, "compaction": _compact, "merge": _merge}


@claim(
    "V-8",
    "a deleted row never comes back: merge, compaction, reader restart, remount",
    source="facts 3.2, 4.3: merging and compacting drop deleted rows; a restarted reader reads deleted_docs",
    expected={"1.1.0": holds()},
    needs=("stop readers", "stop writer", "mysql"),
    witnesses=("loaded everywhere", "merged", "compacted", "reader restarted", "writer restarted"),
)
def test_deleted_rows_stay_deleted(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    loaded = load(cluster, trial, names("final"), history, seed)
    writer = cluster.writer.name
    gone = loaded.rows.take(range(ROWS // 5))
    loaded.delete(gone)
    kept = len(loaded.rows) - len(gone)
    for reader in reader_names(cluster):
        loaded.clients[reader].release(loaded.name).require()
    _check_stays_gone(cluster, trial, loaded, gone, after="release")

    before = segment_files(cluster, loaded.name)
    more = Rows.make(seed, 10_000, ROWS)
    insert_flushed(loaded.writer, loaded.name, more)
    kept += len(more)
    merged = observe(
        lambda: segment_files(cluster, loaded.name),
        accept=lambda files: not {f[1] for f in before} & {f[1] for f in files},
        timeout_s=cluster.budgets.merge_s,
    )
    if merged.satisfied:
        trial.witness("merged", before=before, after=merged.value)
    _check_stays_gone(cluster, trial, loaded, gone, after="merge")

    also_gone = more.take(range(ROWS // 2))
    loaded.delete(also_gone)
    kept -= len(also_gone)
    before = segment_files(cluster, loaded.name)
    loaded.writer.compact(loaded.name).require()
    if {f[1] for f in before} != {f[1] for f in segment_files(cluster, loaded.name)}:
        trial.witness("compacted", before=before, after=segment_files(cluster, loaded.name))
    gone = Rows.join([gone, also_gone])
    _check_stays_gone(cluster, trial, loaded, gone, after="compaction")

    # Too few for a compaction: when the nodes restart, only `deleted_docs` knows of these.
    few = more.take(range(ROWS // 2, ROWS // 2 + DELETED))
    loaded.delete(few)
    kept -= len(few)
    pause(cluster.budgets.entry_cache_ttl_s, "the mounts' entry caches to expire, so that all see the new deletes")
    for reader in reader_names(cluster):
        loaded.clients[reader].release(loaded.name).require()
    gone = Rows.join([gone, few])
    _check_stays_gone(cluster, trial, loaded, gone, after="a delete that nothing rewrites")

    scratch = names("log_numbers")
    loaded.writer.create_collection(scratch, DIMENSION).require()
    for node, kind in ((cluster.readers[0], "reader restarted"), (cluster.writer, "writer restarted")):
        settle_log_numbers(cluster, loaded.writer, scratch, Rows.make(seed, 0, 1))
        former = node.incarnation
        node.restart()
        trial.witness(kind, node=node.name, before=former, after=node.incarnation)
        _check_stays_gone(cluster, trial, loaded, gone, after=kind)
    if cluster.storage == "juicefs":
        mount = cluster.mounts[cluster.readers[0].name]
        mount.restart()
        trial.witness("remounted", mount=mount.name)
        loaded.clients[cluster.readers[0].name].release(loaded.name).require()
        _check_stays_gone(cluster, trial, loaded, gone, after="remount")
    counted = loaded.clients[writer].count(loaded.name).require().value
    trial.check(counted == kept, f"{counted} rows counted, {kept} were not deleted", node=writer)
    left = more.take(range(ROWS // 2 + DELETED, ROWS))
    missing = len(left) - loaded.still_there(writer, left)
    trial.check(missing == 0, f"{missing} rows that nobody deleted are missing", node=writer)


def _check_stays_gone(cluster: Cluster, trial: Trial, loaded: Loaded, gone: Rows, *, after: str) -> None:
    for door in [cluster.writer.name, *reader_names(cluster), cluster.mishards.name]:
        others = observe(
            lambda: loaded.still_there(door, loaded.kept),  # noqa: B023 - called before the next turn
            accept=lambda found: found == len(loaded.kept),
            timeout_s=cluster.budgets.visibility_after_flush_s,
        )
        trial.check(others.satisfied, f"{others.value} of {len(loaded.kept)} other rows after {after}", node=door)
        left = loaded.still_there(door, gone)
        trial.check(left == 0, f"{left} deleted rows are back after {after}", node=door, after=after)
        returned = loaded.clients[door].get(loaded.name, gone.ids[:10]).require().value
        back = sum(vector is not None for vector in returned)
        trial.check(back == 0, f"{back} deleted rows returned by id after {after}", node=door, after=after)
    trial.progress(f"gone after {after}")
