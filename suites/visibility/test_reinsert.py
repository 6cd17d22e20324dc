"""An id that is deleted and inserted again: does any door still show its old vector?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import observe, pause
from suites.support import (
    Rows,
    connect_all,
    insert,
    insert_flushed,
    look_up,
    reader_names,
    segment_files,
    wait_for_quiet_files,
    watch,
)

# A segment of 1.1 MB is over the least index_file_size (1 MB), so that no merge replaces it, which would cure a reader.
WIDTH = 128
ROWS = 2100
MERGED_ROWS = 500
AGAIN = 20
QUIET_S = 1.0
"""How long no merge of the new rows' small segments must have changed the files: in a swap rows go missing (V-4)."""
SAME = 1e-3
"""Squared distance below which a hit is the very vector that was asked for; different ones are over 100 apart."""


@dataclass(frozen=True, slots=True)
class Again:
    """Rows of the same ids before and after; what was done to them is `how`."""

    how: str
    old: Rows
    new: Rows

    @staticmethod
    def of(how: str, old: Rows, seed: int) -> Again:
        return Again(how, old, Rows(old.ids, Rows.make(seed, 1_000_000 + int(old.ids[0]), len(old), WIDTH).vectors))


@claim(
    "V-12",
    "an id that was deleted and inserted again shows its new vector, once, and no longer its old one, at every door",
    source="facts 4.3: a delete applies to what came before it; facts 1.4; measured 2",
    expected={
        "1.1.0": deviates(
            "a reader that had the old segment in its cache finds the id by its old vector, too, until a merge",
            "measured 2",
        )
    },
    needs=("mysql",),
    witnesses=("loaded everywhere", "deleted and inserted again", "merged"),
)
def test_reinserted_ids_show_the_new_vector(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    apart, merged = names("apart"), names("merged")
    rows = _load(cluster, trial, clients, apart, seed, ROWS)
    few = _load(cluster, trial, clients, merged, seed + 1, MERGED_ROWS)
    pause(cluster.budgets.entry_cache_ttl_s, "the mounts' entry caches to expire: claim V-6 is about younger loads")

    never_flushed = Again.of("the old one never flushed", Rows.make(seed, 50_000, AGAIN, WIDTH), seed)
    insert(writer, apart, never_flushed.old)
    batches = [
        never_flushed,
        Again.of("one flush", rows.take(range(AGAIN)), seed),
        Again.of("each flushed", rows.take(range(AGAIN, 2 * AGAIN)), seed),
    ]
    for batch in batches:
        writer.delete(apart, batch.old.ids).require()
        if batch.how == "each flushed":
            writer.flush(apart).require()
        insert(writer, apart, batch.new)
    writer.flush(apart).require()
    wait_for_quiet_files(cluster, apart, QUIET_S)
    trial.witness("deleted and inserted again", ids=sum(len(batch.new) for batch in batches))
    kept = rows.take(range(2 * AGAIN, 2 * AGAIN + 50))
    # Mishards last: it tells the readers to reload their deletes, which cures them.
    for door in [cluster.writer.name, *reader_names(cluster), cluster.mishards.name]:
        for batch in batches:
            stale = door in reader_names(cluster) and batch is not never_flushed
            _check(trial, clients[door], apart, batch, may_be_stale=stale)
        seen = look_up(clients[door], apart, kept)
        trial.check(seen.complete, f"{len(seen.missing)} rows beside them are missing", node=door)
        counted = clients[door].count(apart).require().value
        trial.check(counted == ROWS + AGAIN, f"{counted} rows counted, {ROWS + AGAIN} are there", node=door)
    _check_merge_cures(cluster, trial, clients, merged, few, seed)


def _load(cluster: Cluster, trial: Trial, clients: dict[str, Client], name: str, seed: int, count: int) -> Rows:
    """A collection of one segment that every door has searched."""
    writer = clients[cluster.writer.name]
    writer.create_collection(name, WIDTH, index_file_size_mb=1).require()
    rows = Rows.make(seed, 0, count, WIDTH)
    insert_flushed(writer, name, rows)
    seen = watch(clients, name, rows.take(range(50)), timeout_s=cluster.budgets.visibility_after_flush_s)
    if trial.check(all(each.satisfied for each in seen.values()), f"{name}: flushed rows were not found everywhere"):
        trial.witness("loaded everywhere", collection=name, doors=list(clients), rows=count)
    return rows


def _check(trial: Trial, client: Client, name: str, batch: Again, *, may_be_stale: bool) -> None:
    """The new vectors are found, once, and returned by id; the old ones find nothing that is theirs."""
    seen = look_up(client, name, batch.new)
    trial.check(seen.complete, f"{batch.how}: {len(seen.missing)} new vectors are not found", node=client.node)
    hold = trial.deviate if may_be_stale else trial.check
    # The old row may happen to be the second nearest: an id that comes twice is the same failure.
    hold(not len(seen.doubled), f"{batch.how}: {len(seen.doubled)} ids come twice", node=client.node)
    left = _found_by_old_vector(client, name, batch)
    text = f"{batch.how}: {left} of {len(batch.old)} ids are still found by their old vector"
    hold(left == 0, text, node=client.node)
    trial.check(left in (0, len(batch.old)), f"{text}: neither old nor new", node=client.node)
    by_id = client.get(name, batch.new.ids).require().value
    wrong = sum(
        vector is None or not np.array_equal(vector, new) for vector, new in zip(by_id, batch.new.vectors, strict=True)
    )
    trial.check(wrong == 0, f"{batch.how}: by id {wrong} of {len(by_id)} are not the new vector", node=client.node)


def _found_by_old_vector(client: Client, name: str, batch: Again) -> int:
    """How many ids a search for their old vectors returns at no distance."""
    reply = client.search(name, batch.old.vectors, 2).require()
    if not reply.ids.size:
        return 0
    return int(((reply.ids == batch.old.ids[:, None]) & (reply.distances < SAME)).any(axis=1).sum())


def _check_merge_cures(
    cluster: Cluster, trial: Trial, clients: dict[str, Client], name: str, rows: Rows, seed: int
) -> None:
    """Small segments: the new rows are soon merged with what is left of the old segment, and all doors are right."""
    writer = clients[cluster.writer.name]
    batch = Again.of("merged", rows.take(range(AGAIN)), seed)
    before = {segment for _, segment, *_ in segment_files(cluster, name)}
    writer.delete(name, batch.old.ids).require()
    insert_flushed(writer, name, batch.new)
    merged = observe(
        lambda: {segment for _, segment, *_ in segment_files(cluster, name)},
        accept=lambda now: len(now) == 1 and not now & before,
        timeout_s=cluster.budgets.merge_s,
    )
    if merged.satisfied:
        trial.witness("merged", before=sorted(before), after=sorted(merged.value or ()))
        for client in clients.values():
            _check(trial, client, name, batch, may_be_stale=False)
