"""A search hangs in Mishards until the files of its list are gone: is what comes then complete, or an error?

Mishards reads the list of files from MySQL, then asks the readers. If a reader cannot be reached for so long that its
files were merged away and removed meanwhile, the reader is asked for files that MySQL no longer knows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from fixtures import network
from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.errors import HarnessError
from fixtures.faults import Fault
from fixtures.history import History, Outcome
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import observe, pause, wait_until
from suites.support import DIMENSION, Rows, connect_all, insert_flushed, look_up, segment_files, served

CLEANUP_S = 2
"""Short, so that the cut may be: files are removed so long after their merge. Milvus' template has 10 s."""
BATCH = 60
MOST_TRIES = 40
LIST_READ_S = 1.0
DEFAULT = "_default"


@dataclass(slots=True)
class Growing:
    """A collection whose own rows are one segment that each further batch replaces; beside it partitions that stay.

    `written` are the collection's own rows, `still` those of the partitions.
    """

    name: str
    cluster: Cluster
    clients: dict[str, Client]
    seed: int
    written: list[Rows] = field(default_factory=list)
    still: list[Rows] = field(default_factory=list)
    still_files: set[int] = field(default_factory=set)

    @property
    def writer(self) -> Client:
        return self.clients[self.cluster.writer.name]

    @property
    def rows(self) -> Rows:
        return Rows.join([*self.written, *self.still])

    def files(self) -> set[int]:
        """The searchable files of the collection's own rows."""
        return {file for file, *_ in segment_files(self.cluster, self.name)} - self.still_files

    def grow(self) -> None:
        """Another batch, and the merge that puts one segment in the place of two."""
        batch = Rows.make(self.seed, len(self.written) * BATCH, BATCH)
        insert_flushed(self.writer, self.name, batch)
        wait_until(lambda: len(self.files()) == 1, timeout_s=20.0, reason=f"the segments of {self.name} to be merged")
        self.written.append(batch)

    def add_still(self) -> str:
        """A partition of one segment; its tag."""
        tag = f"still{len(self.still):02}"
        batch = Rows.make(self.seed, 100_000 + len(self.still) * BATCH, BATCH)
        self.writer.create_partition(self.name, tag).require()
        before = self.files()
        insert_flushed(self.writer, self.name, batch, tag)
        self.still_files |= self.files() - before
        self.still.append(batch)
        return tag

    def on(self, reader: str, tag: str) -> bool:
        """Whether Mishards has that reader search this partition, seen by asking."""
        before = served(self.cluster)
        self.clients[self.cluster.mishards.name].search(self.name, self.rows.vectors[:1], 1, tags=[tag]).require()
        return served(self.cluster)[reader] > before[reader]

    def settle_on(self, reader: str) -> None:
        """Grow until that reader is the one that searches the collection's own segment."""
        for _ in range(MOST_TRIES):
            self.grow()
            if self.on(reader, DEFAULT):
                return
        raise HarnessError(f"{self.name}: none of {MOST_TRIES} segments is searched on {reader}")


@claim(
    "F-21",
    "a search through Mishards whose files are removed while it hangs is complete, or fails and succeeds when repeated",
    source="facts 5.8, 7.5: SearchInFiles leaves out files that MySQL does not know; measured-2 1.3",
    expected={
        "1.1.0": deviates(
            'an error ("Invalid file id") if none of the files is left; a partial answer that says success if some are',
            "facts 5.8; measured-2 N7",
        )
    },
    needs=("fuse", "partition"),
    witnesses=("partition", "files removed", "hung until they were gone"),
)
@pytest.mark.beside
def test_search_with_an_old_list(
    fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    cluster = fresh_cluster(milvus={"file_cleanup_timeout_s": CLEANUP_S})
    clients = connect_all(cluster, history)
    victim, proxy = cluster.readers[0], cluster.mishards.name
    all_gone = Growing(names("all_gone"), cluster, clients, seed)
    some_left = Growing(names("some_left"), cluster, clients, seed + 1)
    for growing in (all_gone, some_left):
        growing.writer.create_collection(growing.name, DIMENSION).require()
        growing.settle_on(victim.name)
    for _ in range(MOST_TRIES):
        if some_left.on(victim.name, some_left.add_still()):
            break
    for growing in (all_gone, some_left):
        before = look_up(clients[proxy], growing.name, growing.rows)
        trial.check(before.complete, f"before the cut {len(before.missing)} rows are missing", node=proxy)

    patience_s = 2 * cluster.budgets.partition_recovery_s(cluster.budgets.cleanup_ttl_s)
    asked = {growing.name: growing.rows for growing in (all_gone, some_left)}
    listed = {growing.name: growing.files() for growing in (all_gone, some_left)}
    with ThreadPoolExecutor(max_workers=2) as pool:
        with network.partition(victim, cluster.mishards, "drop", history) as cut:
            hanging = {
                name: pool.submit(_search, cluster.connect(proxy, history=history, timeout_s=patience_s), name, rows)
                for name, rows in asked.items()
            }
            pause(LIST_READ_S, "both searches to have read their lists of files, and to hang")
            for growing in (all_gone, some_left):
                growing.grow()
            removed_s = _await_removal(cluster, trial, set().union(*listed.values()))
        trial.add(cut.witness)
        replies = {name: search.result() for name, search in hanging.items()}
    for growing in (all_gone, some_left):
        _judge(trial, replies[growing.name], asked[growing.name], growing, removed_s)
    for growing in (all_gone, some_left):
        _check_repeated(cluster, trial, clients[proxy], growing, cut)


def _search(client: Client, name: str, rows: Rows) -> Reply:
    return client.search(name, rows.vectors, 2, asked=rows.ids)


def _await_removal(cluster: Cluster, trial: Trial, files: set[int]) -> float:
    """Wait until MySQL knows none of these files any more: when that was, on the history's clock."""

    def left() -> set[int]:
        return {int(row[0]) for row in cluster.query("SELECT id FROM TableFiles")} & files

    gone = observe(left, accept=lambda some: not some, timeout_s=2 * cluster.budgets.cleanup_ttl_s, interval_s=0.1)
    if gone.satisfied:
        trial.witness("files removed", files=sorted(files), after_s=round(gone.elapsed_s, 1))
    return History.now_s()


def _judge(trial: Trial, reply: Reply, asked: Rows, growing: Growing, removed_s: float) -> None:
    """Hold the search that hung against what there was when it began, and still is."""
    node, kind = reply.operation.node, "some files left" if growing.still else "no file left"
    if reply.operation.invoked_s < removed_s < (reply.operation.completed_s or 0.0):
        trial.witness("hung until they were gone", case=kind, seconds=round(reply.elapsed_s, 1), code=reply.code)
    trial.note(f"{kind}: after {reply.elapsed_s:.1f} s code {reply.code} {reply.reason[:100]}")
    text = f"{kind}: neither an answer nor an error after {reply.elapsed_s:.0f} s"
    trial.check(reply.ok or "DEADLINE" not in reply.reason, text, node=node)
    trial.check(reply.outcome is not Outcome.UNKNOWN, text, node=node)
    if not reply.ok:
        return
    found = (reply.ids == asked.ids[:, None]).any(axis=1) if reply.ids.size else np.zeros(len(asked), dtype=bool)
    missing = asked.ids[~found]
    # The documented way to be partial: all rows of the removed segment are missing, where another file is left.
    own = np.isin(asked.ids, Rows.join(growing.written).ids)
    known = bool(growing.still) and np.array_equal(missing, asked.ids[own])
    hold = trial.deviate if known else trial.check
    text = f"{kind}: a partial answer says success: {len(missing)} of {len(asked)} rows are missing"
    hold(not len(missing), text, node=node, operation=reply.operation.index)
    strangers = np.setdiff1d(np.unique(reply.ids), [*growing.rows.ids.tolist(), -1])
    trial.check(not len(strangers), f"{kind}: rows that were never inserted: {strangers[:5].tolist()}", node=node)


def _check_repeated(cluster: Cluster, trial: Trial, proxy: Client, growing: Growing, cut: Fault) -> None:
    """The same search again, with the list of now."""
    budget_s = cluster.budgets.partition_recovery_s(cut.ended_s - cut.began_s)
    again = observe(
        lambda: look_up(proxy, growing.name, growing.rows),
        accept=lambda sighting: sighting.complete,
        timeout_s=budget_s,
    )
    trial.check(again.satisfied, f"repeated, it is not complete: {again.last_seen}"[:200], node=proxy.node)
    trial.measure("good again", again.elapsed_s, "s", budget_s, node=proxy.node)
