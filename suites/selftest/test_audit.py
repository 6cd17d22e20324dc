"""The audit on a running cluster: content with a sound one, and each layer that is made to lie is named."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import juicefs_metadata
from fixtures.claims import Claim, Trial, holds
from fixtures.cluster import Cluster
from fixtures.errors import UsageError
from fixtures.extras import extra_mount, extra_volume
from fixtures.runtimes import kernel
from fixtures.services.object_store import BUCKET, S3Store
from fixtures.topology import JuiceFS, Milvus, Topology
from fixtures.waits import wait_until
from suites.audit import WITNESS, audit, collect
from suites.layers import FILES, MYSQL, OBJECTS, Found, compare
from suites.selftest import embedded
from suites.support import DIMENSION, Rows, insert_flushed

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(180)]

ROWS = 200
# So that what the test does through one mount is seen on the other at once.
NO_CACHES = JuiceFS(attr_cache_s=0.0, entry_cache_s=0.0, dir_entry_cache_s=0.0, trash_days=0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with embedded.runtime(tmp_path_factory.mktemp("audit")) as opened:
        if (reason := opened.why_no_fuse()) is not None:
            pytest.skip(reason)
        topology = Topology(readers=1, juicefs=NO_CACHES, milvus=Milvus(file_cleanup_timeout_s=1))
        with Cluster.start(topology, opened, opened.folders, "audited", seed=1) as started:
            writer = started.connect("writer")
            writer.create_collection("audited", DIMENSION).require()
            insert_flushed(writer, "audited", Rows.make(1, 0, ROWS))
            # The bring-up's collection was dropped; a clean-up in the middle of one look would be told as a lie.
            wait_until(
                lambda: [path.name for path in (started.writer.storage / "tables").iterdir()] == ["audited"],
                timeout_s=10 * started.budgets.cleanup_ttl_s,
                reason="the clean-up after the bring-up",
            )
            yield started


def new_trial() -> Trial:
    return Trial(claim=Claim(id="J-0", promise="it is so", source="here", expected={"1.1.0": holds()}))


def look(cluster: Cluster) -> Found:
    return compare(collect(cluster, {node.name: node.storage for node in cluster.nodes}))


def lies(cluster: Cluster) -> set[tuple[str, str]]:
    return {(lie.layer, lie.sentence) for lie in look(cluster).lies}


def vectors(cluster: Cluster) -> Path:
    """The one file of vectors, as the writer sees it."""
    (path,) = cluster.writer.storage.glob("tables/audited/*/*.rv")
    return path


@contextlib.contextmanager
def saved(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    try:
        yield content
    finally:
        path.write_bytes(content)


def test_a_sound_cluster_is_called_so(cluster: Cluster) -> None:
    trial = new_trial()
    audit(cluster, trial, writer_quiet=True, through_empty_cache=True)
    assert not trial.violations
    assert not trial.notes
    (witness,) = trial.witnesses
    assert witness.kind == WITNESS
    # Four files of a segment on three mounts.
    assert witness.proof == {"rows": 1, "files on mounts": 12, "objects": 4}
    assert trial.checks == 17


def test_a_file_that_is_gone_makes_its_row_a_lie(cluster: Cluster) -> None:
    path = vectors(cluster)
    with saved(path):
        path.unlink()
        found = lies(cluster)
    assert {layer for layer, _ in found} == {MYSQL}
    assert any(f"{path.name}, which is nowhere" in sentence for _, sentence in found)


def test_a_file_that_is_cut_off_is_named(cluster: Cluster) -> None:
    path = vectors(cluster)
    with saved(path) as content:
        path.write_bytes(content[:-100])
        found = lies(cluster)
    ((layer, sentence),) = found
    assert layer == FILES
    assert f"{len(content) - 100} bytes, its header promises {len(content)}" in sentence


def test_a_wrong_row_count_is_mysqls(cluster: Cluster) -> None:
    cluster.query("UPDATE TableFiles SET row_count = row_count - 1 WHERE table_id = 'audited'")
    found = lies(cluster)
    cluster.query("UPDATE TableFiles SET row_count = row_count + 1 WHERE table_id = 'audited'")
    ((layer, sentence),) = found
    assert layer == MYSQL
    assert f"{ROWS} live rows are in the files" in sentence


def test_an_object_that_is_gone_is_the_stores_and_told_in_the_report(cluster: Cluster) -> None:
    assert isinstance(cluster.object_store, S3Store)
    client = cluster.object_store.client()
    path = vectors(cluster)
    name = next(
        name
        for file, stored in juicefs_metadata.files(cluster.volume.dump()).items()
        if file.endswith(path.name)
        for name in stored.objects
    )
    # Both mounts have it in their caches, so that they serve it still: only the store's listing can tell.
    assert not lies(cluster)
    with contextlib.closing(client.get_object(BUCKET, name)) as answer:
        content = answer.read()
    client.remove_object(BUCKET, name)
    trial = new_trial()
    audit(cluster, trial, writer_quiet=False)
    client.put_object(BUCKET, name, io.BytesIO(content), len(content))
    (finding,) = trial.violations
    assert finding.node == OBJECTS
    assert finding.message.startswith(f"{name} of tables/audited/")
    assert not lies(cluster)


def test_an_extra_mount_shows_the_volume_and_is_gone_afterwards_even_if_killed(cluster: Cluster) -> None:
    known = set(cluster.site.runtime.leaks(cluster.site.work))
    with extra_mount(cluster, "killed", {"entry_cache_s": 0.5}) as mount:
        assert "--entry-cache=0.5" in mount.process.command.argv
        assert (mount.point / "tables" / "audited").is_dir()
        assert mount.endpoint[0] not in {service.endpoint[0] for service in cluster.services}, "a host of its own"
        mount.kill()
    assert mount.point not in kernel.mounts(mount.point)
    assert not any(path.exists() for path in mount.outside)
    assert set(cluster.site.runtime.leaks(cluster.site.work)) == known


def test_an_extra_mount_may_share_the_cache_folder_of_another_and_keep_what_it_writes(cluster: Cluster) -> None:
    with (
        extra_mount(cluster, "one", {"cache_large_write": True}) as one,
        extra_mount(cluster, "other", cache=one.cache) as other,
    ):
        assert "--cache-large-write" in one.process.command.argv
        assert "--cache-large-write" not in other.process.command.argv
        assert f"--cache-dir={one.cache}" in other.process.command.argv


def test_an_extra_volume_is_another_one_and_leaves_no_metadata(cluster: Cluster) -> None:
    with extra_volume(cluster, "other", {"trash_days": 3}) as volume, extra_volume(cluster, "another") as another:
        assert len({volume.url, another.url, cluster.volume.url}) == 3
        assert juicefs_metadata.files(volume.dump()) == {}
        assert '"TrashDays": 3' in volume.dump()
    for number in (1, 2):
        with cluster.redis.connect(number) as client:
            assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entry_cache": 1.0}, r"wrong: unknown entry_cache \(known: attr_cache_s, "),
        ({"compression": "gzip"}, r"wrong: juicefs\.compression = 'gzip': must be one of none, lz4, zstd"),
    ],
)
def test_options_that_cannot_be_are_refused(cluster: Cluster, options: dict[str, object], message: str) -> None:
    for extra in (extra_mount, extra_volume):
        with pytest.raises(UsageError, match=message), extra(cluster, "wrong", options):
            pass


def test_a_folder_without_a_row_is_a_note(cluster: Cluster) -> None:
    folder = cluster.writer.storage / "tables" / "audited" / "99"
    folder.mkdir()
    (folder / "99.rv").write_bytes(bytes(8))
    found = look(cluster)
    (folder / "99.rv").unlink()
    folder.rmdir()
    assert not found.lies
    (note,) = [note for note in found.notes if "without a row" in note]
    assert "tables/audited/99" in note
