"""What one bad request does to the next ones."""

from __future__ import annotations

from fixtures.claims import Trial, claim, deviates, holds
from fixtures.clients import Client
from fixtures.clients.reply import NO_REPLY
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import pause
from suites.support import DIMENSION, Rows, connect_all, insert, insert_flushed, look_up, settle_log_numbers

FAILING_SEARCHES = 6
LATER_SEARCHES = 60
NOT_FOUND = 4


@claim(
    "R-4",
    "a failed search does not blind Mishards to what comes later",
    source="facts 7.7: the session of a failed search keeps its transaction; measured 4.1",
    expected={
        "1.1.0": deviates(
            "after a search of a dropped name its worker keeps an old MySQL snapshot and finds no later collection",
            "measured S7; READ-COMMITTED mends it",
        )
    },
    needs=("stop mishards",),
    witnesses=("searches failed", "healthy before", "healthy after restart"),
)
def test_failed_search_blinds_nobody(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    dropped, later = names("dropped"), names("later")
    clients = connect_all(cluster, history)
    writer, proxy = clients[cluster.writer.name], clients[cluster.mishards.name]
    rows = Rows.make(seed, 0, 500)
    probe = rows.take(range(5))
    writer.create_collection(dropped, DIMENSION).require()
    insert_flushed(writer, dropped, rows)
    if look_up(proxy, dropped, probe).complete:
        trial.witness("healthy before", collection=dropped)
    writer.drop_collection(dropped).require()
    codes = [look_up(proxy, dropped, probe).reply.code for _ in range(FAILING_SEARCHES)]
    if all(code != 0 for code in codes):
        trial.witness("searches failed", collection=dropped, codes=codes)

    writer.create_collection(later, DIMENSION).require()
    insert_flushed(writer, later, rows)
    try:
        seen = [look_up(proxy, later, probe) for _ in range(LATER_SEARCHES)]
        blind = [sighting.reply for sighting in seen if not sighting.complete]
        # The documented failure is an old snapshot of MySQL, which only REPEATABLE-READ has.
        hold = trial.deviate if cluster.topology.mysql.isolation == "REPEATABLE-READ" else trial.check
        text = f"{len(blind)} of {LATER_SEARCHES} searches of a later collection did not find it"
        hold(not blind, text, node=cluster.mishards.name)
        other = [reply for reply in blind if reply.code != NOT_FOUND]
        text = f"{len(other)} searches failed otherwise: {other[0].reason or 'rows missing' if other else ''}"
        trial.check(not other, text, node=cluster.mishards.name)
    finally:
        # Whatever the failed searches left behind in Mishards ends with its process.
        cluster.mishards.restart()
    healed = cluster.connect(cluster.mishards.name, history=history)
    after = [look_up(healed, later, probe).complete for _ in range(LATER_SEARCHES)]
    if trial.check(all(after), f"{after.count(False)} searches failed after a restart", node=cluster.mishards.name):
        trial.witness("healthy after restart", searches=len(after))


@claim(
    "R-5",
    "a write sent to a reader never becomes visible and harms nothing",
    source="facts 1.3: no RPC is refused on a reader; an insert goes to its own WAL, which nothing consumes",
    expected={"1.1.0": holds("though the reader acknowledges it")},
    needs=("stop readers", "mysql"),
    witnesses=("sent to a reader", "reader restarted"),
)
def test_write_to_a_reader_is_harmless(
    cluster: Cluster, trial: Trial, names: Names, history: History, seed: int
) -> None:
    collection, scratch = names("misdirected"), names("log_numbers")
    clients = connect_all(cluster, history)
    writer, reader = clients[cluster.writer.name], clients[cluster.readers[0].name]
    for name in (collection, scratch):
        writer.create_collection(name, DIMENSION).require()
    rows, stray = Rows.make(seed, 0, 500), Rows.make(seed, 10_000, 200)
    insert_flushed(writer, collection, rows)
    inserted = reader.insert(collection, stray.vectors, stray.ids)
    deleted = reader.delete(collection, rows.ids[:10])
    if inserted.code != NO_REPLY and deleted.code != NO_REPLY:
        trial.witness("sent to a reader", insert=inserted.code, delete=deleted.code)
    trial.note(f"the reader {'acknowledged' if inserted.ok else 'refused'} the insert")

    pause(cluster.budgets.visibility_unflushed_s, "the time in which a write to the writer would have become visible")
    _check_unharmed(trial, clients, collection, rows=rows, stray=stray, after="the wait")
    settle_log_numbers(cluster, writer, scratch, Rows.make(seed, 0, 1))
    before = cluster.readers[0].incarnation
    cluster.readers[0].restart()
    trial.witness("reader restarted", before=before, after=cluster.readers[0].incarnation)
    more = Rows.make(seed, 20_000, 300)
    insert(writer, collection, more)
    writer.flush(collection).require()
    everything = Rows.join([rows, more])
    pause(cluster.budgets.visibility_after_flush_s, "a merge of the two segments to be over")
    _check_unharmed(trial, clients, collection, rows=everything, stray=stray, after="a restart of the reader")


def _check_unharmed(
    trial: Trial, clients: dict[str, Client], collection: str, *, rows: Rows, stray: Rows, after: str
) -> None:
    for door, client in clients.items():
        counted = client.count(collection).require().value
        trial.check(counted == len(rows), f"{counted} rows counted after {after}, {len(rows)} written", node=door)
        trial.check(look_up(client, collection, stray).gone, f"stray rows are found after {after}", node=door)
        missing = look_up(client, collection, rows).missing
        trial.check(not len(missing), f"{len(missing)} rows are missing after {after}", node=door)
