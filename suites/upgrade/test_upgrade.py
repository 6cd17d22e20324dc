"""From the baseline to the candidate while clients read and write: nothing is lost, and old and new get along.

`pytest -m upgrade --topology=BASELINE --candidate=CANDIDATE`, or as a part of the gate (python -m tools.gate).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib

import numpy as np
import pytest

from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.services import JuiceFSMount
from fixtures.topology import Topology
from fixtures.upgrades import mounted
from suites.audit import WITNESS, audit
from suites.failover.searching import make_collection
from suites.support import connect_all, front_doors, look_up
from suites.upgrade import rolling

pytestmark = pytest.mark.upgrade

ROUNDS = 3
APPENDED = 1000
SIZES = (0, 1, 4096, 300_000, 4_500_000)
"""Bytes: nothing, within a page, one, within one object, and over two (of 4 MiB)."""


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
    # Else a reader may be refused its start for flushes of others (claim F-14), and the upgrade end there.
    cluster = fresh_cluster(milvus={"reader_recovery_error_ignore": True})
    changed = dataclasses.replace(candidate.milvus, reader_recovery_error_ignore=True)
    rolling.upgrade(cluster, dataclasses.replace(candidate, milvus=changed), trial, names, history, seed)


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
