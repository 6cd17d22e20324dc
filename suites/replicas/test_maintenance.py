"""Do readers go on while the writer merges, compacts and builds indexes under them?"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import Deadline, pause
from fixtures.wire import IndexType
from suites.checks.gaps import longest_gap_s
from suites.checks.set_full import check_set_full
from suites.support import (
    DIMENSION,
    Rows,
    connect_all,
    front_doors,
    in_parallel,
    insert_flushed,
    look_up,
    segment_files,
    wait_for_quiet_files,
)

LONGEST_S = 12.0
KEPT = 1500
PASSING = 1000
"""Rows that come and go in each round: with 4000 of them beside those kept, a round deletes over a tenth of a segment,
which is what Compact asks for, and one segment has the 4096 rows that an index asks for."""
PASSING_ROUNDS = 4
ASKED = 4
PACE_S = 0.01
READ_BACK = 750
NLIST = 16
# All lists are looked at, so that an index finds whatever a search of all rows does.
ALL_LISTS = {"nprobe": NLIST}
INDEX_STATE = 3  # TableFiles.file_type
# As for the storm of V-4: far more than that is no swap.
MISSED_AT_MOST = 0.2
KNOWN_ERRORS = ("Failed to load", "Invalid file id", "index is null")
"""What a search says whose files were removed under it (facts 8 number 8; measured 3; measured-2 N7)."""


@dataclass(slots=True)
class Round:
    """What the writer does, over and over, and the changes of the segments that came of it."""

    cluster: Cluster
    writer: Client
    name: str
    seed: int
    passing: list[Rows]
    deleted: list[Rows] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)

    def run(self, deadline: Deadline) -> None:
        """Insert (and so merge), delete, compact, and every other time build an index, which the next one drops."""
        for number in itertools.count(PASSING_ROUNDS):
            self._step("merged", partial(self._insert, number))
            self._step("compacted", self._compact)
            if number % 2:
                self._step("indexed", self._index)
            else:
                self.writer.drop_index(self.name).require()
            if deadline.expired:
                return

    def _step(self, what: str, action: Callable[[], None]) -> None:
        before = segment_files(self.cluster, self.name)
        action()
        now = segment_files(self.cluster, self.name)
        states = {state for *_, state, _ in now}
        gone = {segment for _, segment, *_ in before} - {segment for _, segment, *_ in now}
        self.changed[what] += INDEX_STATE in states if what == "indexed" else bool(gone)

    def _insert(self, number: int) -> None:
        rows = _passing(self.seed, number)
        insert_flushed(self.writer, self.name, rows)
        self.passing.append(rows)

    def _compact(self) -> None:
        gone = self.passing.pop(0)
        self.writer.delete(self.name, gone.ids).require()
        self.writer.flush(self.name).require()
        self.deleted.append(gone)
        self.writer.compact(self.name).require()

    def _index(self) -> None:
        self.writer.create_index(self.name, IndexType.IVF_FLAT, {"nlist": NLIST}).require()


@claim(
    "R-7",
    "readers go on while the writer merges, compacts and builds indexes",
    source="facts 2.6, 2.7: the swaps are not atomic, and files go without asking other nodes; measured 3",
    expected={
        "1.1.0": deviates(
            "a search in a swap misses rows or shows them twice, one whose files are removed fails; the next is right",
            "milvus #17177, #4415; measured S5",
        )
    },
    needs=("mysql",),
    witnesses=("merged", "compacted", "indexed", "searched meanwhile"),
)
def test_readers_go_on(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    name = names("maintained")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(name, DIMENSION, index_file_size_mb=1).require()
    kept = Rows.make(seed, 0, KEPT)
    insert_flushed(writer, name, kept)
    passing = [_passing(seed, number) for number in range(PASSING_ROUNDS)]
    for rows in passing:
        insert_flushed(writer, name, rows)
    busy = Round(cluster, cluster.connect(cluster.writer.name, history=history), name, seed, passing)
    milvus = cluster.topology.milvus
    # As long as it takes to remove what was merged away, too.
    deadline = Deadline(min(LONGEST_S, milvus.file_cleanup_timeout_s + milvus.auto_flush_interval_s))
    first = {file for file, *_ in segment_files(cluster, name)}
    replies: dict[str, list[Reply]] = {door: [] for door in clients}
    in_parallel(
        {
            "maintenance": partial(busy.run, deadline),
            **{door: partial(_search, clients[door], name, kept, seed, deadline, replies[door]) for door in clients},
        }
    )
    for what, times in busy.changed.items():
        if times:
            trial.witness(what, times=times)
    left = {int(row[0]) for row in cluster.query("SELECT id FROM TableFiles")}
    done = ", ".join(f"{what} {times} times" for what, times in busy.changed.items())
    trial.note(f"in {deadline.timeout_s:.0f} s {done}; {len(first - left)} of {len(first)} old files removed")
    writer.drop_index(name).require()
    wait_for_quiet_files(cluster, name, 1.0)
    for door in front_doors(cluster):
        _check_all_there(trial, clients[door], name, kept, busy)
        _judge_meanwhile(cluster, trial, history, name, door, replies[door])


def _passing(seed: int, number: int) -> Rows:
    return Rows.make(seed, 100_000 + number * PASSING, PASSING)


def _search(client: Client, name: str, kept: Rows, seed: int, deadline: Deadline, replies: list[Reply]) -> None:
    """Ask for a few of the rows that stay, all the time."""
    rng = np.random.default_rng([seed, sum(client.node.encode())])
    while not deadline.expired:
        some = kept.take(rng.choice(len(kept), ASKED, replace=False))
        replies.append(client.search(name, some.vectors, 2, ALL_LISTS, asked=some.ids))
        pause(PACE_S, "the pace of the load")


def _judge_meanwhile(
    cluster: Cluster, trial: Trial, history: History, name: str, door: str, replies: list[Reply]
) -> None:
    """The writer orders its own searches and swaps; elsewhere a miss, a double or an error for a moment is known."""
    hold = trial.check if door == cluster.writer.name else trial.deviate
    failed = [reply for reply in replies if not reply.ok]
    if len(replies) - len(failed) > ASKED:
        trial.witness("searched meanwhile", node=door, searches=len(replies), failed=len(failed))
    known = [reply for reply in failed if any(words in reply.reason for words in KNOWN_ERRORS)]
    hold(not known, f"{len(known)} of {len(replies)} searches failed: {_first(known)}", node=door)
    other = [reply for reply in failed if reply not in known]
    trial.check(not other, f"{len(other)} of {len(replies)} searches failed otherwise: {_first(other)}", node=door)
    seen = check_set_full(history.operations(), collection=name, node=door)
    hold(not seen.doubled, f"{seen.doubled.count} rows came twice in one answer", node=door)
    hold(not seen.misses, f"{len(seen.misses)} of {seen.reads} searches missed rows that stayed", node=door)
    for finding in seen.findings():
        trial.check(finding.facts["count"] == seen.doubled.count and bool(seen.doubled), finding.message, node=door)
    disturbed = len(failed) + len(seen.misses)
    trial.check(disturbed <= MISSED_AT_MOST * len(replies), f"{disturbed} of {len(replies)}: no swap", node=door)
    gap_s = longest_gap_s(history.operations(), seen.misses, collection=name, node=door)
    trial.measure("longest gap", gap_s, "s", float(cluster.topology.milvus.auto_flush_interval_s), node=door)
    good_s = [reply.operation.completed_s or 0.0 for reply in replies if reply.ok]
    silence_s = max((after - before for before, after in itertools.pairwise(good_s)), default=LONGEST_S)
    trial.measure("longest wait for an answer", silence_s, "s", cluster.budgets.visibility_unflushed_s, node=door)


def _first(replies: list[Reply]) -> str:
    return replies[0].reason[:120] if replies else ""


def _check_all_there(trial: Trial, client: Client, name: str, kept: Rows, busy: Round) -> None:
    """Once quiet: what stayed is found and returned by id, what was deleted is not, and the counts are right."""
    total = len(kept) + sum(map(len, busy.passing))
    door = client.node
    for first in range(0, len(kept), READ_BACK):
        some = kept.take(range(first, first + READ_BACK))
        seen = look_up(client, name, some)
        trial.check(seen.complete, f"in the end {len(seen.missing)} rows that stayed are not found", node=door)
        trial.check(not len(seen.doubled), f"in the end {len(seen.doubled)} rows come twice", node=door)
        by_id = client.get(name, some.ids).require().value
        pairs = zip(by_id, some.vectors, strict=True)
        same = [vector is not None and np.array_equal(vector, row) for vector, row in pairs]
        trial.check(all(same), f"in the end {same.count(False)} rows are not returned by id", node=door)
    counted = client.count(name).require().value
    trial.check(counted == total, f"in the end {counted} rows counted, {total} are there", node=door)
    for gone in busy.deleted:
        back = sum(vector is not None for vector in client.get(name, gone.ids[:100]).require().value)
        trial.check(back == 0, f"in the end {back} deleted rows are returned by id", node=door)
