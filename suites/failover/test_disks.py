"""A disk is full: that of the writer's log, or those of the JuiceFS caches."""

from __future__ import annotations

from fixtures import disks, faults
from fixtures.claims import Trial, claim, deviates, holds
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.history import History, Outcome
from fixtures.plugin import FreshCluster, Names
from suites.failover.searching import Warm, make_collection, warm_up
from suites.support import DIMENSION, Rows, connect_all, insert, insert_flushed, look_up, watch

WAL_DISK_MB = 16
CACHE_DISK_MB = 16
BATCHES = 10
# More than a page of the disk each, in whose rest a small record would still fit.
BATCH = 200
NO_SPACE = "no space left on device"


@claim(
    "F-16",
    "a full WAL disk: what was acknowledged is not lost by a crash that follows, and with room again writes work again",
    source="a write-ahead log promises it; facts 4.1",
    expected={
        "1.1.0": deviates(
            "an insert that the log could not take is acknowledged with SUCCESS, and lost",
            "facts 4.1 (read in the source, not measured)",
        )
    },
    needs=("disks",),
    witnesses=("full disk", "more than the log took", "kill", "writes again"),
)
def test_full_wal_disk(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    # Without auto flush all that is acknowledged is in the log alone until the crash.
    cluster = fresh_cluster(readers=1, milvus={"auto_flush_interval_s": 0, "wal_disk_mb": WAL_DISK_MB})
    clients = connect_all(cluster, history)
    writer, collection = clients[cluster.writer.name], names("full")
    writer.create_collection(collection, DIMENSION).require()
    with_room = Rows.make(seed, 0, BATCH)
    insert(writer, collection, with_room)
    with disks.fill(cluster.writer, history) as full:
        acknowledged = _insert_more_than_fits(cluster, trial, writer, collection, seed)
        with faults.kill(cluster.writer, history) as dead:
            full.heal()
    trial.add(full.witness)
    trial.add(dead.witness)
    # All collections, so that the node may be restarted later (facts, measured 5.8).
    writer.flush(None).require()
    kept = look_up(writer, collection, with_room)
    trial.check(kept.reply.ok, f"no answer: {kept.reply.reason}", node=writer.node)
    trial.check(not len(kept.missing), f"{len(kept.missing)} rows lost that the log had room for", node=writer.node)
    if acknowledged:
        _check_kept(trial, writer, collection, Rows.join(acknowledged))
    _check_writes_again(cluster, trial, clients, collection, Rows.make(seed, 20_000, BATCH))
    with disks.fill(cluster.writer, history):
        writer.insert(collection, with_room.vectors, list(range(30_000, 30_000 + BATCH)))
    trial.progress("full and freed again, without a restart")
    _check_writes_again(cluster, trial, clients, collection, Rows.make(seed, 40_000, BATCH))


def _insert_more_than_fits(cluster: Cluster, trial: Trial, writer: Client, collection: str, seed: int) -> list[Rows]:
    """Insert with a full disk: what was acknowledged all the same."""
    size = _log_bytes(cluster)
    batches = [Rows.make(seed, 10_000 + n * BATCH, BATCH) for n in range(BATCHES)]
    replies = [writer.insert(collection, rows.vectors, rows.ids) for rows in batches]
    offered, taken = sum(rows.vectors.nbytes for rows in batches), _log_bytes(cluster) - size
    acknowledged = [rows for rows, reply in zip(batches, replies, strict=True) if reply.ok]
    if taken < offered:
        trial.witness(
            "more than the log took",
            offered_bytes=offered,
            taken_bytes=taken,
            acknowledged=len(acknowledged),
            refused=sum(reply.outcome is Outcome.FAILED for reply in replies),
            of=BATCHES,
        )
    return acknowledged


def _log_bytes(cluster: Cluster) -> int:
    return sum(path.stat().st_size for path in cluster.writer.wal_folder.glob("*.wal"))


def _check_kept(trial: Trial, writer: Client, collection: str, acknowledged: Rows) -> None:
    seen = look_up(writer, collection, acknowledged)
    trial.check(seen.reply.ok, f"no answer: {seen.reply.reason}", node=writer.node)
    trial.check(not len(seen.doubled), f"{len(seen.doubled)} rows doubled", node=writer.node)
    lost = f"{len(seen.missing)} of {len(acknowledged)} rows acknowledged with a full disk are lost"
    trial.deviate(not len(seen.missing), lost, node=writer.node)
    trial.measure("acknowledged rows lost", float(len(seen.missing)), "rows", node=writer.node)


def _check_writes_again(
    cluster: Cluster, trial: Trial, clients: dict[str, Client], collection: str, rows: Rows
) -> None:
    if _check_writes(cluster, trial, clients, collection, rows, "with room again"):
        trial.witness("writes again", rows=len(rows), doors=len(clients))


def _check_writes(
    cluster: Cluster, trial: Trial, clients: dict[str, Client], collection: str, rows: Rows, when: str
) -> bool:
    """Insert and flush, which are required to succeed, and see the rows at every door."""
    insert_flushed(clients[cluster.writer.name], collection, rows)
    budget_s = cluster.budgets.proxy_recovery_s(cluster.budgets.writer_restart_s)
    seen = watch(clients, collection, rows, timeout_s=budget_s)
    for door, observed in seen.items():
        trial.check(observed.satisfied, f"what was written {when} is not visible: {observed.last_seen}", node=door)
    return all(observed.satisfied for observed in seen.values())


@claim(
    "F-17",
    "full cache disks cost JuiceFS' clients speed, never an answer nor a write",
    source="JuiceFS documentation, guide/cache: where the cache's file system fails, the object store is read directly",
    expected={"1.1.0": holds()},
    needs=("fuse", "disks"),
    witnesses=("spread over readers", "full disk", "cache could not be written"),
)
def test_full_cache_disks(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster(readers=1, juicefs={"cache_disk_mb": CACHE_DISK_MB})
    reader, proxy = cluster.readers[0].name, cluster.mishards.name
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    warm = make_collection(cluster, writer, names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    cold = make_collection(cluster, writer, names("cold"), seed + 1)
    ours = cluster.mounts[reader]
    with disks.fill([ours, cluster.mounts[cluster.writer.name]], history) as full:
        before = _refusals(ours.log.read_text(errors="replace"))
        for door in (reader, proxy):
            _check_exact(trial, warm, warm.ask(clients[door]), door, "a warm search")
        # Cold to the mount, then in the node's memory: the second one is Mishards'.
        for door in (reader, proxy):
            reply = cold.ask(clients[door])
            _check_exact(trial, cold, reply, door, "a cold search")
            trial.measure("search with a full cache", reply.elapsed_s, "s", node=door)
        written = names("written")
        writer.create_collection(written, DIMENSION).require()
        _check_writes(cluster, trial, clients, written, Rows.make(seed, 50_000, BATCH), "with full caches")
        refused = _refusals(ours.log.read_text(errors="replace")) - before
    if refused:
        trial.witness("cache could not be written", mount=ours.name, times=refused, said=NO_SPACE)
    trial.add(full.witness)
    for door, client in clients.items():
        for collection in (warm, cold):
            _check_exact(trial, collection, collection.ask(client), door, "with room again: a search")


def _refusals(log: str) -> int:
    """How often JuiceFS said that it could not write to its cache."""
    return sum(NO_SPACE in line for line in log.splitlines())


def _check_exact(trial: Trial, collection: Warm, reply: Reply, door: str, what: str) -> None:
    wrong = collection.complaints(reply)
    trial.check(not wrong, f"{what}: {wrong[:1]}", node=door)
