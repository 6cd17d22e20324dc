"""From the baseline to the candidate while clients read and write: nothing is lost, and old and new get along.

`pytest -m upgrade --topology=BASELINE --candidate=CANDIDATE`, or as a part of the gate (python -m tools.gate).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib

import numpy as np
import pytest

from fixtures import pairs, upgrades
from fixtures.claims import Trial, claim, holds
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.errors import MissingCapability, UsageError
from fixtures.extras import extra_mount
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.services import JuiceFSMount
from fixtures.topology import JuiceFS, Milvus, Mishards, Redis, Topology
from fixtures.upgrades import mounted
from suites.audit import WITNESS, audit
from suites.failover.searching import Warm, make_collection, warm_up
from suites.storage.sides import FROM_STORE, from_store
from suites.support import (
    Rows,
    connect_all,
    front_doors,
    insert,
    insert_flushed,
    look_up,
    segment_files,
    watch,
)
from suites.upgrade import rolling

pytestmark = pytest.mark.upgrade

ROUNDS = 3
APPENDED = 1000
SIZES = (0, 1, 4096, 300_000, 4_500_000)
"""Bytes: nothing, within a page, one, within one object, and over two (of 4 MiB)."""


RESTARTS: dict[str, object] = {"reader_recovery_error_ignore": True}
"""Else a reader may be refused its start for flushes of others (claim F-14), and the upgrade end there."""
ROWS, WIDTH, DELETED = 2100, 128, 50
"""Over the least index_file_size (1 MB), so that no merge takes the deleted rows out before the restart."""
GOES_BACK = ("juicefs", "milvus", "mishards")


def restarting(candidate: Topology) -> Topology:
    return dataclasses.replace(
        candidate, milvus=dataclasses.replace(candidate.milvus, reader_recovery_error_ignore=True)
    )


@claim(
    "U-1",
    "what the baseline wrote the candidate reads, and clients of both share a volume as two of one version do",
    source="measured 9: clients of 1.3.0 and 1.4.2 read each other's files; JuiceFS documentation, guide/cache",
    expected={"1.1.0": holds()},
    needs=("fuse",),
    witnesses=("written by the baseline", "both clients", WITNESS),
)
def test_old_and_new_clients_share_a_volume(
    fresh_cluster: FreshCluster, candidate: Topology, trial: Trial, names: Names, history: History, seed: int
) -> None:
    cluster = fresh_cluster()
    clients = connect_all(cluster, history)
    written = make_collection(cluster, clients[cluster.writer.name], names("written"), seed)
    trial.witness("written by the baseline", rows=len(written.rows), client=cluster.mounts["writer"].client_version())
    audit(cluster, trial, writer_quiet=True, through_empty_cache=True, mounted=mounted(candidate))
    _exchange_all(cluster, candidate, trial, names, seed)
    for door in front_doors(cluster):
        seen = look_up(clients[door], written.name, written.rows)
        trial.check(seen.complete, f"after the other client wrote: {seen}", node=door)
    complaint = cluster.volume.damage()
    trial.check(not complaint, f"fsck: {complaint}"[:300])


@claim(
    "U-5",
    "what the baseline wrote is served once all parts are the candidate's: rows, deletes, what is only in the log",
    source="design 5: read through empty caches, so that all comes from the stores",
    expected={"1.1.0": holds()},
    needs=("fuse",),
    witnesses=("upgraded", FROM_STORE, "spread over readers"),
)
def test_written_before_is_read_after(
    fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int, candidate: Topology
) -> None:
    cluster = fresh_cluster(milvus=RESTARTS)
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    warm = make_collection(cluster, writer, names("warm"), seed)
    changed = names("changed")
    writer.create_collection(changed, WIDTH, index_file_size_mb=1).require()
    flushed, logged = Rows.make(seed, 0, ROWS, WIDTH), Rows.make(seed, ROWS, ROWS, WIDTH)
    insert_flushed(writer, changed, flushed)
    writer.delete(changed, flushed.ids[:DELETED]).require()
    writer.flush(None).require()
    insert(writer, changed, logged)
    for step in upgrades.steps(cluster, restarting(candidate), history):
        with step.fault:
            trial.progress(f"upgrading {step.part}")
        trial.witness("upgraded", part=step.part, **step.fault.witness.proof)
    again = connect_all(cluster, history)
    reader = cluster.readers[0].name
    with from_store(trial, _emptied(cluster, reader), len(segment_files(cluster, warm.name))):
        _check_exact(trial, warm, again[reader])
    warm_up(trial, cluster, warm, again.values())
    for client in again.values():
        _check_exact(trial, warm, client)
    present = Rows.join([flushed.take(range(DELETED, ROWS)), logged])
    seen = watch(again, changed, present, timeout_s=cluster.budgets.visibility_unflushed_s + 10)
    for door, observed in seen.items():
        trial.check(observed.satisfied, f"rows of before are not found: {observed.last_seen}"[:200], node=door)
    for node in cluster.nodes:
        gone = look_up(again[node.name], changed, flushed.take(range(DELETED)))
        trial.check(gone.gone, f"deleted before, found after: {gone}", node=node.name)
        counted = again[node.name].count(changed).require().value
        trial.check(counted == len(present), f"{counted} rows counted of {len(present)}", node=node.name)
    audit(cluster, trial, writer_quiet=True, through_empty_cache=True)


@claim(
    "U-2",
    "a rolling upgrade, one part at a time under load, loses nothing flushed, gives no wrong answer, and each part is "
    "well again within the budget",
    source="the promise of each fault claim for a part that its operator restarts (G-1 to G-3)",
    expected={"1.1.0": holds("Mishards hangs or fails while a reader is away")},
    needs=("fuse",),
    witnesses=("upgraded", "searched meanwhile", "spread over readers", "wrote before and after", WITNESS),
)
def test_rolling_upgrade(
    fresh_cluster: FreshCluster, candidate: Topology, trial: Trial, names: Names, history: History, seed: int
) -> None:
    cluster = fresh_cluster(milvus=RESTARTS)
    rolling.upgrade(cluster, restarting(candidate), trial, names, history, seed)


@claim(
    "U-4",
    "the nodes and their clients of JuiceFS can go back again: a rolling downgrade, where the volume allows it",
    source="juicefs: a client refuses a volume whose format asks for a newer one (MinClientVersion)",
    expected={"1.1.0": holds("information: servers that keep data, like Redis, promise no way back and are not taken")},
    needs=("fuse",),
    witnesses=("upgraded", "searched meanwhile", "spread over readers", "wrote before and after", WITNESS),
)
def test_rolling_downgrade(
    fresh_cluster: FreshCluster, candidate: Topology, trial: Trial, names: Names, history: History, seed: int
) -> None:
    cluster = fresh_cluster(milvus=RESTARTS)
    before = cluster.topology
    there = dataclasses.replace(before, **{name: getattr(restarting(candidate), name) for name in GOES_BACK})
    if not pairs.differing(before, there):
        raise MissingCapability("way back", "the two differ only in servers that keep data, which promise none")
    for step in upgrades.steps(cluster, there, history):
        with step.fault:
            trial.progress(f"upgrading {step.part}, to go back from there")
    rolling.upgrade(cluster, before, trial, names, history, seed)


IMPOSSIBLE = {
    "Milvus 1.0 to 1.1": (
        Topology(milvus=Milvus(version="1.0.0"), mishards=Mishards(version="1.0.0")),
        Topology(milvus=Milvus(version="1.1.0")),
    ),
    "another compression": (Topology(), Topology(juicefs=JuiceFS(compression="lz4"))),
    "encryption of what is not encrypted": (Topology(), Topology(juicefs=JuiceFS(encrypted=True))),
    "Redis backwards": (Topology(redis=Redis(version="7.0")), Topology(redis=Redis(version="6.2"))),
    "Valkey to a newer Redis": (
        Topology(redis=Redis(implementation="valkey", version="9.1.2")),
        Topology(redis=Redis(version="7.4")),
    ),
}


@claim(
    "U-3",
    "a pair that cannot work is refused before anything starts, with the rule and its source",
    source="facts 7.3, milvus #5111; juicefs format; Redis' and Valkey's file formats",
    expected={"1.1.0": holds()},
    witnesses=("refused",),
)
def test_impossible_pairs_are_refused(trial: Trial) -> None:
    for name, (before, after) in IMPOSSIBLE.items():
        try:
            pairs.refuse(before, after)
        except UsageError as refused:
            trial.witness("refused", pair=name, rule=str(refused))
            trial.check("(" in str(refused), f"{name}: no source is named: {refused}")
        else:
            trial.check(False, f"{name}: not refused")


def _exchange_all(cluster: Cluster, candidate: Topology, trial: Trial, names: Names, seed: int) -> None:
    """Both ways between the two versions, and between two clients of each.

    What two of the reader's own version get wrong as well is not what mixing them does: that is claim J-1's matter, on
    either side of the upgrade. JuiceFS 1.3.0, for one, shows a file that it saw empty as empty for the attribute
    cache's TTL, whoever has appended to it since; 1.4.2 does not (seen here).
    """
    with contextlib.ExitStack() as stack:

        def mount(name: str, options: dict[str, object] | None = None) -> JuiceFSMount:
            return stack.enter_context(extra_mount(cluster, name, options))

        old, other_old = mount("old"), mount("other-old")
        new, other_new = mount("new", mounted(candidate)), mount("other-new", mounted(candidate))
        trial.witness("both clients", baseline=old.client_version(), candidate=new.client_version())
        own = {
            old.name: _exchange(trial, other_old, old, names("among_old"), seed),
            new.name: _exchange(trial, other_new, new, names("among_new"), seed),
        }
        for number in range(ROUNDS):
            for here, there in ((old, new), (new, old)):
                broken = _exchange(trial, here, there, names(f"{here.name}_{number}"), seed + number)
                for what in sorted(broken - own[there.name]):
                    trial.check(False, f"{what}: not what {here.name} closed", node=there.name)
        for reader, wrong in own.items():
            if wrong:
                trial.note(f"{reader}: so it is with a client of its own version, too: {'; '.join(sorted(wrong))}")


def _exchange(trial: Trial, here: JuiceFSMount, there: JuiceFSMount, name: str, seed: int) -> set[str]:
    """Files written, appended to and overwritten on one mount, each read on the other once closed: what was wrong."""
    rng = np.random.default_rng(seed)
    wrong = set()
    for size in SIZES:
        content = rng.bytes(size)
        path, other = here.point / f"{name}_{size}", there.point / f"{name}_{size}"
        for how, more in (("new", content), ("appended to", rng.bytes(APPENDED)), ("overwritten", b"")):
            if how == "overwritten":
                content = rng.bytes(len(content))
                with path.open("r+b") as file:
                    file.write(content)
            else:
                content = more if how == "new" else content + more
                with path.open("ab") as file:
                    file.write(more)
            trial.checks += 1
            if hashlib.sha256(other.read_bytes()).digest() != hashlib.sha256(content).digest():
                wrong.add(f"a file of {size} bytes, {how}")
        path.unlink()
    return wrong


def _emptied(cluster: Cluster, node: str) -> JuiceFSMount:
    """The mount of a reader, mounted anew with an empty cache."""
    reader, mount = cluster.service(node), cluster.mounts[node]
    reader.stop()
    mount.stop()
    for entry in mount.cache.iterdir():
        cluster.site.runtime.remove_folder(entry)
    mount.start()
    reader.start()
    return mount


def _check_exact(trial: Trial, warm: Warm, client: Client) -> None:
    wrong = warm.complaints(warm.ask(client))
    trial.check(not wrong, f"what was written before the upgrade: {wrong[:1]}", node=client.node)
