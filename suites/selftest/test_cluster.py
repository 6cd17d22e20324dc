"""A whole cluster of real parts: it comes up, serves, and goes without a trace, whatever happens to it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures import data
from fixtures.cluster import FIRST_SEARCH, Cluster
from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import Command, Runtime, kernel, ledger
from fixtures.services import Programs
from fixtures.services.juicefs import ROOT_INODE
from fixtures.steps import slowest_chain
from fixtures.topology import Milvus, Topology
from fixtures.waits import pause
from suites.selftest import embedded

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with (
        embedded.runtime(tmp_path_factory.mktemp("cluster")) as opened,
        Cluster.start(Topology(), opened, opened.folders, "the shared one", seed=1) as started,
    ):
        yield started


def _start(opened: Runtime, name: str = "plain", programs: Programs = Programs()) -> Cluster:  # noqa: B008 - frozen
    topology = Topology(milvus=Milvus(auto_flush_interval_s=2))
    return Cluster.start(topology, opened, opened.folders, name, seed=2, programs=programs)


def test_every_part_is_there_and_says_what_it_is(cluster: Cluster) -> None:
    services = {service.name: service for service in cluster.services}
    expected = ["mysql", "redis", "object-store", *(f"juicefs-{node.name}" for node in cluster.nodes)]
    if cluster.storage != "juicefs":
        expected = ["mysql"]
    assert list(services) == [*expected, "writer", "reader-1", "reader-2", "mishards"]
    assert all(service.is_alive() for service in cluster.services)
    assert all(service.version[0].isdigit() for service in cluster.services)
    assert {services[name].implementation for name in ("writer", "reader-2")} == {"stand-in (not Milvus)"}
    assert services["mishards"].implementation == "stand-in (not Mishards)"
    assert cluster.milvus_version == "1.1.0"
    hosts = {service.endpoint[0] for service in cluster.services}
    assert len(hosts) == len(services) - len(cluster.mounts), "a host each, and a mount on that of its node"


def test_the_bring_up_says_where_the_time_went(cluster: Cluster) -> None:
    phases = {phase.name: phase for phase in cluster.bring_up}
    assert phases["mishards"].started_s >= max(phases[node.name].ready_s for node in cluster.nodes)
    assert all(phases[node.name].started_s >= phases["mysql"].ready_s for node in cluster.nodes)
    assert phases[FIRST_SEARCH].ready_s == cluster.first_search_s > 0
    chain_s, names = slowest_chain(cluster.bring_up)
    assert names[-3:] != []
    assert chain_s <= max(phase.ready_s for phase in cluster.bring_up) * 1.001
    table = cluster.bring_up_table()
    assert "first search after" in table
    assert "mysql init" in table


def test_each_node_has_a_mount_of_its_own_and_local_logs(cluster: Cluster) -> None:
    if cluster.storage != "juicefs":
        pytest.skip(cluster.storage_reason or "")
    assert {node.storage.stat().st_ino for node in cluster.nodes} == {ROOT_INODE}
    assert len({node.storage.stat().st_dev for node in cluster.nodes}) == 3
    for node in cluster.nodes:
        assert node.storage in kernel.mounts(node.folder)
        assert node.wal_folder.stat().st_dev == node.folder.stat().st_dev, "the WAL is not on the volume"
    (cluster.writer.storage / "seen").write_text("by all")
    assert [(node.storage / "seen").read_text() for node in cluster.nodes] == ["by all"] * 3
    (cluster.writer.storage / "seen").unlink()


def test_clients_reach_every_door_and_readers_count_what_they_serve(cluster: Cluster) -> None:
    vectors = data.vectors(5, 20, 8)
    writer = cluster.connect("writer")
    writer.create_collection("served", 8).require()
    writer.insert("served", vectors, list(range(20))).require()
    writer.flush(None).require()
    before = {node.name: node.requests_served() for node in cluster.nodes}
    for door in ("writer", "reader-1", "reader-2"):
        assert cluster.connect(door).search("served", vectors[:1], 1).require().ids.tolist() == [[0]]
    assert {node.name: node.requests_served() - before[node.name] for node in cluster.nodes} == {
        "writer": 1,
        "reader-1": 1,
        "reader-2": 1,
    }
    proxy = cluster.connect("mishards")
    assert proxy.search("served", vectors[:1], 1).require().ids.tolist() == [[0]]
    assert sum(node.requests_served() - before[node.name] for node in cluster.readers) == 3
    ((files,),) = cluster.query("SELECT COUNT(*) FROM TableFiles WHERE table_id = %s AND file_type = 1", ("served",))
    assert files == 1
    writer.drop_collection("served").require()
    with pytest.raises(UsageError, match=r"no node 'reader-9' .*there are: writer, reader-1, reader-2, mishards"):
        cluster.connect("reader-9")
    with pytest.raises(UsageError, match="no service 'postgres'"):
        cluster.service("postgres")


def test_a_node_restarts_with_its_log_or_without(cluster: Cluster) -> None:
    reader = cluster.readers[0]
    before = reader.pid
    ended = reader.restart()
    assert ended is not None
    assert (ended.code, ended.forced) == (0, False)
    assert reader.pid != before
    assert reader.requests_served() == 0, "of this incarnation"
    with pytest.raises(InfrastructureError, match="cannot be emptied while it runs"):
        reader.start(wal="empty")
    reader.stop()
    (reader.wal_folder / "stray").touch()
    reader.start(wal="empty")
    assert not (reader.wal_folder / "stray").exists()
    with pytest.raises(ValueError, match="must be 'same' or 'empty'"):
        reader.start(wal="new")


def test_evidence_is_kept_and_nothing_else(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path) as opened:
        cluster = Cluster.start(Topology(readers=1), opened, opened.folders, "evidence", seed=3)
        pids = [pid for service in cluster.services for pid in service.process.members()]
        assert embedded.alive(pids) == pids
        assert cluster.stop() == []
        assert embedded.alive(pids) == []
        assert opened.leaks() == []
        assert list(opened.folders.work.iterdir()) == []
        assert cluster.stop() == []
        report = opened.folders.report / "evidence"
        assert {"writer.yaml", "reader-1.yaml", "mishards.env"} <= {path.name for path in (report / "config").iterdir()}
        logs = {path.name for path in (report / "logs").iterdir()}
        assert {"mysql.log", "writer.log", "reader-1.log", "mishards.log"} <= logs
        assert opened.close() == []
    assert not opened.folders.work.exists()


def test_without_fuse_all_share_a_plain_folder(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path, fuse=False) as opened, _start(opened) as cluster:
        assert (cluster.storage, cluster.storage_reason) == ("shared-folder", "FUSE was switched off for this run")
        assert cluster.capabilities["fuse"] == "FUSE was switched off for this run"
        assert cluster.mounts == {}
        assert len({node.storage.resolve() for node in cluster.nodes}) == 1
        assert [service.name for service in cluster.services] == ["mysql", "writer", "reader-1", "reader-2", "mishards"]


def test_two_runs_side_by_side_do_not_meet(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        embedded.runtime(tmp_path / "one", fuse=False) as one,
        embedded.runtime(tmp_path / "two", fuse=False) as two,
        ThreadPoolExecutor() as pool,
    ):
        first, second = pool.map(_start, (one, two))
        for cluster in (first, second):
            cluster.connect("writer").create_collection(f"of_{cluster.mysql.endpoint[1]}", 8).require()
        assert first.stop() == []
        assert one.close() == []
        listed = second.connect("mishards").list_collections().require().value
        assert listed == [f"of_{second.mysql.endpoint[1]}"]
        assert all(service.is_alive() for service in second.services)
        assert second.stop() == []


def test_a_part_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path, fuse=False) as opened:
        with pytest.raises(InfrastructureError, match=r"(?s)reader-1: .*exit code 1"):
            _start(opened, programs=Programs(milvus_of={"reader-1": Path("/bin/false")}))
        with pytest.raises(InfrastructureError, match=r"(?s)exit code 127.*/absent"):
            _start(opened, programs=Programs(milvus=Path("/absent")))
        assert opened.leaks() == []
        assert list(opened.folders.work.iterdir()) == []
        assert kernel.marked(opened.folders.run_id) == []


def test_a_store_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'disk on fire'; exit 9\n")
    broken.chmod(0o755)
    with embedded.runtime(tmp_path) as opened:
        if (reason := opened.why_no_fuse()) is not None:
            pytest.skip(reason)
        monkeypatch.setenv("PATH", str(broken.parent), prepend=":")
        with pytest.raises(InfrastructureError, match=r"(?s)redis: .*exit code 9.*redis\.log:\ndisk on fire"):
            _start(opened)
        assert opened.leaks() == []
        assert list(opened.folders.work.iterdir()) == []


def test_a_leak_is_reported_and_removed(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path, fuse=False) as opened:
        cluster = _start(opened)
        folder = opened.new_folder(opened.folders.work / "plain" / "stray")
        stray = opened.process(
            Command(name="stray", argv=("sleep", "1000"), folder=folder, log=opened.folders.report / "stray.log")
        )
        stray.start()
        (leak,) = cluster.stop()
        assert f"process {stray.pid} of stray" in leak
        assert opened.close() != []
        assert not stray.is_alive()


INTERRUPTED = """
import sys
from pathlib import Path
from fixtures.cluster import Cluster
from fixtures.topology import Topology
from suites.selftest import embedded as e
with e.runtime(Path(sys.argv[1])) as opened:
    say = lambda line: print(line, opened.folders.work, flush=True)
    cluster = Cluster.start(Topology(), opened, opened.folders, 'interrupted', seed=4, progress=say)
    say('stopping')
    cluster.stop()
"""


@pytest.mark.parametrize("moment", ["mysql init is ready", "juicefs format is ready", "reader-1 is ready", "stopping"])
def test_ctrl_c_twice_leaves_nothing(tmp_path: Path, moment: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            said, _, work = line.rstrip().rpartition(" ")
            if said == moment or (said == "shared folder is ready" and moment.startswith("juicefs")):
                break
        run.send_signal(signal.SIGINT)
        pause(0.2, "the first one to have begun the clean-up")
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert run.returncode != 0
    assert not Path(work).exists()
    assert kernel.mounts(Path(work)) == []
    assert kernel.marked(Path(work).name.removeprefix("mjc_")) == []
    assert ledger.ledgers(embedded.index(tmp_path)) == []
