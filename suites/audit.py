"""The audit of all layers of the storage after a fault: who says what the others disprove.

    with faults.kill(cluster.writer, history) as dead:
        ...
    trial.add(dead.witness)
    audit(cluster, trial, writer_quiet=True)

It asks MySQL for its rows, each mount for its files, JuiceFS' metadata for the objects of each file, the bucket for its
objects, and `juicefs fsck`. Each lie is a violation whose node is the layer that lies; what is left over by design is a
note. The witness "audited" says how much was compared; a claim that is about the audit alone asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from fixtures import juicefs_metadata, walk
from fixtures.claims import Trial
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount
from fixtures.services.object_store import BUCKET, S3Store
from fixtures.waits import observe, pause
from suites.layers import Found, Layers, Row, Table, compare
from suites.support import in_parallel

WITNESS = "audited"
_FRESH = "audit"
_LOOK_TIMEOUT_S = 60.0
"""How long a mount may take to show its files: more than any claim writes, read over a slow store."""
_QUIET_TIMEOUT_S = 60.0
_LOOKS = 2
"""How often the same lie must be heard: layers are asked one after the other."""
_BINARY_METRICS = range(3, 8)


def audit(
    cluster: Cluster,
    trial: Trial,
    *,
    writer_quiet: bool,
    through_empty_cache: bool = False,
    mounted: Mapping[str, object] | None = None,
) -> Found:
    """Compare all layers and record the result.

    All services must run again. With `writer_quiet` nobody writes, and the rows of MySQL are first awaited to stand
    still, for `budgets.merge_s` (4 s in all); without, only rows that do not change meanwhile are judged (2 s).
    `through_empty_cache` mounts the volume once more, so that all bytes come from the store (1 s more); `mounted` are
    options of that mount, as `extra_mount` takes them. Raises HarnessErrors, pymysql's and minio's errors if another
    layer than a mount cannot be asked at all.
    """
    if writer_quiet:
        _await_quiet(cluster)
    else:
        # What was renamed or replaced just before may be seen by its old name for so long.
        pause(cluster.budgets.entry_cache_ttl_s, "the kernel's entry caches to expire")
    if through_empty_cache and cluster.mounts:
        with extra_mount(cluster, _FRESH, mounted) as fresh:
            found = _persisting(cluster, {"with an empty cache": fresh.point})
    else:
        found = _persisting(cluster, {})
    return record(trial, found)


def record(trial: Trial, found: Found) -> Found:
    """Write down what was found: each thing compared is a check, each lie a violation of the layer that lies."""
    trial.checks += sum(found.compared.values())
    for lie in found.lies:
        trial.check(False, lie.sentence, node=lie.layer)
    for note in found.notes:
        trial.note(note)
    if found.compared["files on mounts"] and found.compared["rows"]:
        trial.witness(WITNESS, **found.compared)
    return found


def collect(cluster: Cluster, mounts: Mapping[str, Path]) -> Layers:
    """All layers, asked side by side between two looks at MySQL."""
    tables, before = _tables(cluster), _rows(cluster)
    if cluster.topology.juicefs.writeback:
        _await_uploads(cluster)
    looked = in_parallel({name: partial(_look, point) for name, point in mounts.items()})
    dump = complaint = None
    objects = None
    if cluster.mounts:
        told = in_parallel({"dump": cluster.volume.dump, "fsck": cluster.volume.damage})
        dump, complaint = told["dump"], told["fsck"]
        objects = _objects(cluster)
    after = _rows(cluster)
    settings = cluster.topology.juicefs
    return Layers(
        tables={**tables, **_tables(cluster)},
        rows=sorted(before & after, key=lambda row: row.id),
        segments=frozenset(row.folder for row in before | after),
        mounts={name: seen for name, seen in looked.items() if not isinstance(seen, str)},
        silent={name: seen for name, seen in looked.items() if isinstance(seen, str)},
        metadata=None if dump is None else juicefs_metadata.files(dump),
        objects=objects,
        fsck=complaint or "",
        volume=cluster.volume.name,
        plain=settings.compression == "none" and not settings.encrypted,
    )


def _look(point: Path) -> dict[str, walk.Seen] | str:
    """What a mount shows, or why it shows nothing: no error of ours, but what the audit is there to find."""
    try:
        return walk.look(point, _LOOK_TIMEOUT_S)
    except OSError as error:
        return str(error)


def _persisting(cluster: Cluster, fresh: Mapping[str, Path]) -> Found:
    """What is found each time: between two layers that are asked one after the other, a file may come or go."""
    points = {**{node.name: node.storage for node in cluster.nodes}, **fresh}
    found = compare(collect(cluster, points))
    for _ in range(_LOOKS - 1):
        if not found.lies:
            break
        pause(cluster.budgets.entry_cache_ttl_s, "the kernel's entry caches to expire")
        again = compare(collect(cluster, points))
        again.lies = [lie for lie in again.lies if lie in found.lies]
        found = again
    return found


def _await_quiet(cluster: Cluster) -> None:
    """Merges and clean-ups go on for a while after the last write; how long, nobody promises: then it is judged so."""
    last: list[object] = []

    def still() -> bool:
        last.append(sorted(_rows(cluster), key=lambda row: row.id))
        return len(last) > 1 and last[-1] == last[-2]

    observe(still, timeout_s=_QUIET_TIMEOUT_S, interval_s=cluster.budgets.merge_s)


def _await_uploads(cluster: Cluster) -> None:
    """With writeback a closed file is in the store some time later; how much, nobody promises: then it is judged so."""

    def staged() -> float:
        return sum(mount.counters().get("juicefs_staging_blocks", 0.0) for mount in cluster.mounts.values())

    observe(staged, accept=lambda blocks: not blocks, timeout_s=_QUIET_TIMEOUT_S, interval_s=0.2)


def _rows(cluster: Cluster) -> frozenset[Row]:
    columns = "id, table_id, segment_id, file_id, file_type, file_size, row_count"
    return frozenset(
        Row(int(a), str(b), str(c), str(d), int(e), int(f), int(g))
        for a, b, c, d, e, f, g in cluster.query(f"SELECT {columns} FROM TableFiles")
    )


def _tables(cluster: Cluster) -> dict[str, Table]:
    asked = cluster.query("SELECT table_id, state, owner_table, dimension, metric_type FROM Tables")
    return {
        str(name): Table(
            str(name),
            int(state),
            str(owner),
            row_bytes=int(dimension) // 8 if metric in _BINARY_METRICS else int(dimension) * 4,
        )
        for name, state, owner, dimension, metric in asked
    }


def _objects(cluster: Cluster) -> dict[str, int] | None:
    """What the bucket has, asked with an S3 client of our own; None where the store does not speak S3."""
    if not isinstance(cluster.object_store, S3Store):
        return None
    listed = cluster.object_store.client(timeout_s=_LOOK_TIMEOUT_S).list_objects(BUCKET, recursive=True)
    return {str(item.object_name): int(item.size or 0) for item in listed}
