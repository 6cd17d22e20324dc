"""What is read through an empty cache is what was written, however the volume stores it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fixtures import juicefs_metadata
from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount, extra_volume
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.services import JuiceFSMount, Volume
from fixtures.services.object_store import BUCKET, S3Store
from fixtures.waits import observe
from suites.failover.searching import make_collection
from suites.storage.sides import FROM_STORE, Sides, fetch, from_store, sides, told
from suites.support import segment_files

PROMISE = "what a mount or a node reads through an empty cache is what was written, however the volume stores it"
SOURCE = "JuiceFS documentation, command reference: format --compress, --encrypt-rsa-key; mount --writeback"
EXPECTED = {"1.1.0": holds()}
MARK = b"a line that is easy to find again in what a store keeps\n"
REPEATED = 20_000
_UPLOAD_TIMEOUT_S = 60.0

OPTIONS: dict[str, Mapping[str, Any]] = {
    "plain": {"compression": "none", "encrypted": False, "writeback": False},
    "lz4-writeback": {"compression": "lz4", "encrypted": False, "writeback": True},
    "zstd-encrypted": {"compression": "zstd", "encrypted": True, "writeback": False},
}


@claim("J-7", PROMISE, source=SOURCE, expected=EXPECTED, needs=("fuse",), witnesses=(FROM_STORE,))
@pytest.mark.parametrize("how", OPTIONS)
def test_stored_in_other_ways(cluster: Cluster, trial: Trial, names: Names, how: str) -> None:
    options = OPTIONS[how]
    copies = cluster.site.folder(f"copies/{how}")
    with (
        extra_volume(cluster, how, options) as volume,
        extra_mount(cluster, f"{how}-writes", volume=volume) as writes,
        extra_mount(cluster, f"{how}-reads", volume=volume) as reads,
        sides(trial, writes, reads, names("files")) as both,
    ):
        contents = _contents()
        for name, content in contents.items():
            (both.here / name).write_bytes(content)
        _await_uploads(trial, writes, options)
        # As many as have bytes; the holes of a sparse file are nowhere.
        with from_store(trial, reads, sum(bool(content.strip(b"\0")) for content in contents.values())):
            for name, content in contents.items():
                seen = told(fetch(both.there / name, copies), b"", content)
                trial.check(seen == "new", f"{name} ({len(content)} bytes) is {seen} on another mount", node=reads.name)
        damage = volume.damage()
        trial.check(not damage, f"juicefs fsck complains: {damage}", node=volume.name)
        _check_stored(cluster, trial, volume, both, options)


def _contents() -> dict[str, bytes]:
    """Empty, tiny, compressible, not compressible, vectors, more than one object, and zeros."""
    return {
        "empty": b"",
        "byte": b"\x00\x01"[1:],
        "lines": MARK * REPEATED,
        "random": os.urandom(300_000),
        "vectors": np.random.default_rng(1).random((2000, 32), dtype=np.float32).tobytes(),
        "two objects": os.urandom(5_000_000),
        "zeros": bytes(200_000),
    }


def _await_uploads(trial: Trial, mount: JuiceFSMount, options: Mapping[str, Any]) -> None:
    """With writeback a closed file is on its way to the store for a while."""
    if not options["writeback"]:
        return
    uploaded = observe(
        mount.counters, accept=lambda counted: not counted["juicefs_staging_blocks"], timeout_s=_UPLOAD_TIMEOUT_S
    )
    counted = uploaded.value or {}
    trial.check(uploaded.satisfied, f"not uploaded: {uploaded.last_seen[:200]}", node=mount.name)
    trial.check(
        counted.get("juicefs_staging_write_bytes", 0) > 0, "writeback wrote nothing to its own disk", node=mount.name
    )


def _check_stored(cluster: Cluster, trial: Trial, volume: Volume, both: Sides, options: Mapping[str, Any]) -> None:
    """That the store really has it compressed, or encrypted, or neither: seen with an S3 client of our own."""
    files = juicefs_metadata.files(volume.dump())
    objects = files[f"{both.name}/lines"].objects
    if not isinstance(cluster.object_store, S3Store):
        trial.note(f"what is in the store was not looked at: {cluster.object_store.implementation} does not speak S3")
        trial.witness("stored as asked", objects=len(objects), looked="no")
        return
    kept = b"".join(_object(cluster.object_store, name) for name in objects)
    written = len(MARK) * REPEATED
    legible, smaller = MARK in kept, len(kept) < written
    wanted_smaller = options["compression"] != "none"
    # Compressed, its first occurrence may still be there as it is.
    wanted_legible = {True: False, False: None if wanted_smaller else True}[bool(options["encrypted"])]
    how = f"{len(kept)} bytes of {written}, {'legible' if legible else 'not legible'}"
    trial.check(smaller == wanted_smaller, f"compression {options['compression']}: stored as {how}", node=volume.name)
    if wanted_legible is not None:
        trial.check(legible == wanted_legible, f"encrypted {options['encrypted']}: stored as {how}", node=volume.name)
    trial.witness("stored as asked", objects=len(objects), looked=how)


def _object(store: S3Store, name: str) -> bytes:
    answer = store.client().get_object(BUCKET, name)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


@claim("J-7", PROMISE, source=SOURCE, expected=EXPECTED, needs=("fuse",), witnesses=(FROM_STORE,))
def test_node_reads_from_the_store(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    reader = cluster.readers[0]
    writer = cluster.connect(cluster.writer.name, history=history)
    cold = make_collection(cluster, writer, names("cold"), seed)
    with from_store(trial, cluster.mounts[reader.name], len(segment_files(cluster, cold.name))):
        reply = cold.ask(cluster.connect(reader.name, history=history))
    wrong = cold.complaints(reply)
    trial.check(not wrong, f"a search that loads all segments from the store: {wrong[:1]}", node=reader.name)
