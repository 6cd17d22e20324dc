"""When is a write seen, and where? Through the writer, each reader asked directly, and Mishards."""

from __future__ import annotations

from fixtures.claims import Trial, claim, holds
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.waits import Observed, pause
from suites.support import DIMENSION, Rows, Sighting, connect_all, insert, insert_flushed, look_up, watch

ROUNDS = 40
BATCH = 100
# A swap hides rows from the first search of 1 to 2 % of rounds, of 14 % while merges ran (measured 1 and 9). Far more
# than that is no swap but a node that looks at old metadata.
RETRIED_AT_MOST = ROUNDS // 3
# Rounds that may fail before the rest is not worth its waiting: the claim is violated by the first one.
GIVES_UP_AFTER = 3


@claim(
    "V-1",
    "a flushed insert is found by the writer, every reader and Mishards within the budget after Flush returns",
    source="readers ask MySQL for the segments at each request; measured 1 and 3: one retry for a segment swap",
    expected={"1.1.0": holds("on readers 1 to 2 % of first queries need one more try: segment swap")},
    witnesses=("rows counted",),
)
def test_flushed_insert_is_visible(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    collection = names("flushed")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION).require()
    slowest = dict.fromkeys(clients, 0.0)
    retried = dict.fromkeys(clients, 0)
    inserted = failed = 0
    for round_number in range(ROUNDS):
        rows = Rows.make(seed, round_number * BATCH, BATCH)
        insert_flushed(writer, collection, rows)
        inserted += len(rows)
        seen = watch(clients, collection, rows, timeout_s=cluster.budgets.visibility_after_flush_s)
        for door, observed in seen.items():
            slowest[door] = max(slowest[door], observed.elapsed_s)
            retried[door] += observed.attempts > 1
            _check_found(trial, door, round_number, observed)
        trial.progress(f"round {round_number + 1} of {ROUNDS}")
        failed += not all(observed.satisfied for observed in seen.values())
        if failed >= GIVES_UP_AFTER:
            break
    for door, elapsed_s in slowest.items():
        trial.measure("visible after flush", elapsed_s, "s", cluster.budgets.visibility_after_flush_s, node=door)
    for door, rounds in retried.items():
        # The writer's swap is behind a lock of its own: it needs no second try.
        allowed = 0 if door == cluster.writer.name else RETRIED_AT_MOST
        trial.check(rounds <= allowed, f"{rounds} of {ROUNDS} flushed batches were not found at once", node=door)
    trial.note(f"{sum(retried.values())} of {ROUNDS * len(clients)} first searches needed another try")
    counted = writer.count(collection).require().value
    trial.witness("rows counted", on="writer", rows=counted)
    trial.check(counted == inserted, f"{counted} rows counted, {inserted} inserted", node="writer")


def _check_found(trial: Trial, door: str, round_number: int, observed: Observed[Sighting]) -> None:
    sighting = observed.value
    if sighting is None or not sighting.reply.ok:
        trial.check(False, f"round {round_number}: no answer: {observed.last_seen}", node=door)
        return
    missing, doubled = sighting.missing.tolist(), sighting.doubled.tolist()
    operation = sighting.reply.operation.index
    trial.check(
        not missing, f"{len(missing)} acknowledged rows not found", node=door, ids=missing[:5], operation=operation
    )
    trial.check(not doubled, f"{len(doubled)} rows found twice", node=door, ids=doubled[:5], operation=operation)


UNFLUSHED_ROUNDS = 16


@claim(
    "V-2",
    "an unflushed insert is found by the writer, every reader and Mishards within the budget",
    source="storage.auto_flush_interval of Milvus, entry cache of JuiceFS; measured 1",
    expected={"1.1.0": holds()},
    witnesses=("seen late",),
)
def test_unflushed_insert_becomes_visible(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    collection = names("unflushed")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION).require()
    budget_s = cluster.budgets.visibility_unflushed_s
    slowest, failed = dict.fromkeys(clients, 0.0), 0
    for round_number in range(UNFLUSHED_ROUNDS):
        rows = Rows.make(seed, round_number * BATCH, BATCH)
        # Spread over the interval between two auto flushes, or every round would meet the same phase of it.
        pause((round_number * 0.37) % cluster.topology.milvus.auto_flush_interval_s, "another phase of the auto flush")
        insert(writer, collection, rows)
        seen = watch(clients, collection, rows, timeout_s=budget_s)
        for door, observed in seen.items():
            slowest[door] = max(slowest[door], observed.elapsed_s)
            if observed.attempts > 1:
                trial.witness("seen late", node=door, after_s=round(observed.elapsed_s, 3), tries=observed.attempts)
            _check_found(trial, door, round_number, observed)
        trial.progress(f"round {round_number + 1} of {UNFLUSHED_ROUNDS}")
        failed += not all(observed.satisfied for observed in seen.values())
        if failed >= GIVES_UP_AFTER:
            break
    for door, elapsed_s in slowest.items():
        trial.measure("visible without flush", elapsed_s, "s", budget_s, node=door)


@claim(
    "V-3",
    "before a flush nothing of an insert is searched, counted or returned",
    source="facts 4.3: rows in memory tables are never searched, counted, nor returned by id",
    expected={"1.1.0": holds()},
    witnesses=("rows were there",),
)
def test_unflushed_rows_are_invisible(
    fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    # Without auto flush the moment of the flush is ours, so "before" is not a race.
    cluster = fresh_cluster(milvus={"auto_flush_interval_s": 0})
    collection = names("held_back")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION).require()
    flushed, held_back = Rows.make(seed, 0, 500), Rows.make(seed, 500, 1000)
    insert_flushed(writer, collection, flushed)
    insert(writer, collection, held_back)
    for _ in range(3):
        for door, client in clients.items():
            _check_hidden(trial, door, client, collection, flushed=flushed, hidden=held_back)
        pause(1.0, "time in which nothing may happen: no auto flush is configured")
    writer.flush(collection).require()
    seen = watch(clients, collection, held_back, timeout_s=cluster.budgets.visibility_after_flush_s)
    for door, observed in seen.items():
        if trial.check(observed.satisfied, "the rows were not there after the flush either", node=door):
            trial.witness("rows were there", node=door, rows=len(held_back))


def _check_hidden(trial: Trial, door: str, client: Client, collection: str, *, flushed: Rows, hidden: Rows) -> None:
    sighting = look_up(client, collection, hidden)
    trial.check(sighting.gone, f"{len(hidden) - len(sighting.missing)} unflushed rows searched", node=door)
    counted = client.count(collection).require().value
    trial.check(counted == len(flushed), f"{counted} rows counted, {len(flushed)} are flushed", node=door)
    returned = client.get(collection, hidden.ids[:10]).require().value
    trial.check(all(vector is None for vector in returned), "unflushed rows returned by id", node=door)
