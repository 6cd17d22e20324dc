"""Small disks: full when they are said to be, with room again whatever happens, and gone with their cluster."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures import disks, faults, topology
from fixtures.cluster import NO_GPU, Cluster
from fixtures.errors import FaultNotEffective, InfrastructureError, UsageError
from fixtures.history import History
from fixtures.runtimes import host, kernel
from fixtures.services import MilvusNode
from fixtures.services import disk as disk_module
from fixtures.services.disk import Disk
from fixtures.topology import JuiceFS, Milvus, Topology
from suites.selftest import docker_daemon, embedded
from suites.selftest.embedded import index
from suites.support import Rows
from tools.sweep import main

pytestmark = pytest.mark.selftest

SMALL_MB = 4
NO_ROOM = "No space left on device"
needs_mounts = pytest.mark.skipif(host.why_no_disks() is not None, reason=str(host.why_no_disks()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if (reason := host.why_no_disks()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("disks")
    wanted = Topology(readers=1, milvus=Milvus(wal_disk_mb=SMALL_MB), juicefs=JuiceFS(cache_disk_mb=SMALL_MB))
    with embedded.runtime(folder) as opened:
        started = Cluster.start(wanted, opened, opened.folders, "disks", 1, device=NO_GPU)
        yield started
        assert started.stop() == []
        assert kernel.mounts(opened.folders.work) == []


@pytest.fixture
def writer(cluster: Cluster) -> MilvusNode:
    return cluster.writer


def _folder(node: MilvusNode) -> Path:
    assert node.disk is not None
    return node.disk.folder


def _proof(fault: faults.Fault, name: str) -> dict[str, Any]:
    seen: dict[str, dict[str, Any]] = fault.witness.proof["disks"]  # type: ignore[assignment]
    return seen[name]


def test_each_service_has_its_own(cluster: Cluster) -> None:
    found = {service.name: service.disk for service in cluster.services if service.disk is not None}
    assert set(found) == {"writer", "reader-1", *(mount.name for mount in cluster.mounts.values())}
    for disk in found.values():
        assert disk.attached
        assert 0 < disk.free_bytes <= SMALL_MB * 1024 * 1024
    assert cluster.mysql.disk is None


def test_a_full_disk_takes_no_byte_and_heals(writer: MilvusNode, tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    with disks.fill(writer, history) as fault:
        with pytest.raises(OSError, match=NO_ROOM):
            (_folder(writer) / "one more").write_bytes(b"x")
        (_folder(writer) / "one more").unlink()
        (window,) = history.windows()
        assert (window.name, window.target, window.ended_s) == ("fill", "writer", None)
    (_folder(writer) / "one more").write_bytes(bytes(100_000))
    (_folder(writer) / "one more").unlink()
    assert not (_folder(writer) / disks.FILLER).exists()
    proof = _proof(fault, "writer")
    assert (fault.witness.kind, proof["error"], proof["error_at_the_end"]) == ("full disk", NO_ROOM, NO_ROOM)
    assert (proof["free_bytes"], proof["size_mb"]) == (0, SMALL_MB)
    history.close()


def test_healed_when_the_body_fails(writer: MilvusNode) -> None:
    def body() -> None:
        with disks.fill(writer):
            raise AssertionError("a promise is broken")

    with pytest.raises(AssertionError, match="a promise is broken"):
        body()
    assert not (_folder(writer) / disks.FILLER).exists()


def test_several_are_full_at_once(cluster: Cluster) -> None:
    with disks.fill(cluster.nodes) as fault:
        for node in cluster.nodes:
            with pytest.raises(OSError, match=NO_ROOM):
                (_folder(node) / "one more").write_bytes(b"x")
            (_folder(node) / "one more").unlink()
    assert fault.target == "writer, reader-1"
    assert [_proof(fault, node.name)["error"] for node in cluster.nodes] == [NO_ROOM, NO_ROOM]


def test_a_cache_that_makes_room_is_filled_again(cluster: Cluster) -> None:
    mount = cluster.mounts["writer"]
    (mount.point / "cached").write_bytes(bytes(range(256)) * 4000)
    assert mount.disk is not None
    with disks.fill(mount) as fault:
        assert (mount.point / "cached").read_bytes() == bytes(range(256)) * 4000
        (mount.point / "more").write_bytes(b"written with a full cache")
    proof = _proof(fault, mount.name)
    assert proof["filled_bytes"] > proof["free_before_bytes"]
    assert (mount.point / "more").read_bytes() == b"written with a full cache"


def test_room_meanwhile_is_no_full_disk(writer: MilvusNode) -> None:
    def body() -> None:
        with disks.fill(writer):
            (_folder(writer) / disks.FILLER).unlink()

    with pytest.raises(FaultNotEffective, match="at its end there was room"):
        body()


def test_a_service_that_makes_room_for_ever_is_no_full_disk(
    writer: MilvusNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "_EFFECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(disks, "_top_up", lambda _file: 1)
    with pytest.raises(FaultNotEffective, match="as fast as it was filled"):
        disks.fill(writer).__enter__()


def test_the_users_own_disk_is_never_filled(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"mysql: it has none of its own \(topology: milvus\.wal_disk_mb"):
        disks.fill(cluster.mysql)
    monkeypatch.setattr(kernel, "mounts", lambda _below: [])
    fault = disks.fill(cluster.writer)
    monkeypatch.setattr(MilvusNode, "is_alive", lambda _self: True)
    with pytest.raises(FaultNotEffective, match="the user's disk is not to be filled"):
        fault.__enter__()


def test_the_log_survives_a_kill_and_is_lost_with_its_host(cluster: Cluster) -> None:
    rows, client = Rows.make(1, 0, 20), cluster.connect("writer")
    client.create_collection("log", 32).require()
    with faults.kill(cluster.writer):
        assert cluster.writer.disk is not None
        assert cluster.writer.disk.attached, "a disk outlives its service"
        (_folder(cluster.writer) / "kept").touch()
    assert (_folder(cluster.writer) / "kept").exists()
    client.insert("log", rows.vectors, rows.ids).require()
    client.flush(None).require()
    with faults.lose_host(cluster.writer) as fault:
        pass
    assert "kept" in fault.witness.proof["lost"]  # type: ignore[operator]
    assert not (_folder(cluster.writer) / "kept").exists()
    assert cluster.writer.disk.attached


def test_refused_where_nothing_can_be_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "why_no_disks", lambda: "running as user 1000, not as root")
    with embedded.runtime(tmp_path, fuse=False) as opened:
        with pytest.raises(UsageError, match=r"milvus\.wal_disk_mb = 4: no disk can be mounted here: running as user"):
            Cluster.start(
                Topology(readers=1, milvus=Milvus(wal_disk_mb=4)), opened, opened.folders, "refused", 1, device=NO_GPU
            )
        assert Disk.of(opened, tmp_path, 0, "milvus.wal_disk_mb") is None


@needs_mounts
def test_a_mount_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"absent: no disk of 4 MiB can be mounted: mount: "):
        kernel.mount_memory(tmp_path / "absent", SMALL_MB)


@pytest.mark.parametrize(
    "changed",
    [Topology(milvus=Milvus(wal_disk_mb=-1)), Topology(juicefs=JuiceFS(cache_disk_mb=topology.MAX_DISK_MB + 1))],
)
def test_sizes_that_cannot_be(changed: Topology) -> None:
    with pytest.raises(UsageError, match=r"here: (milvus\.wal|juicefs\.cache)_disk_mb = .*: must be 1 to 1024, or 0"):
        topology.check(changed, "here")


RUN = """
import sys
from pathlib import Path
from fixtures.runtimes import open_embedded
from fixtures.services.disk import Disk
from suites.selftest import embedded as e
folder = Path(sys.argv[1])
opened = open_embedded(e.folders(folder), index=e.index(folder))
disk = Disk(opened, opened.folders.work / 'node' / 'wal', 4, 'milvus.wal_disk_mb')
disk.attach()
(disk.folder / '0.wal').touch()
print(disk.folder, flush=True)
sys.stdin.read()
"""


@needs_mounts
def test_a_container_sees_the_disk(tmp_path: Path) -> None:
    script = "open('one more', 'wb').write(bytes(5_000_000))"
    with docker_daemon.runtime(tmp_path) as opened:
        command = docker_daemon.command(opened, script)
        disk = Disk(opened, command.folder / "wal", SMALL_MB, "milvus.wal_disk_mb")
        disk.attach()
        process = opened.process(
            replace(command, argv=("/bin/sh", "-c", f"cd wal && python3 -c {shlex.quote(script)}"))
        )
        process.start()
        assert process.wait(30) == 1
        assert NO_ROOM in process.last_lines()
        assert (disk.folder / "one more").stat().st_size == SMALL_MB * 1024 * 1024, "it is the same disk here"
        opened.release(command.folder)
        disk.detach()
        assert opened.close() == [], "nothing had to be removed by force"
        assert kernel.mounts(opened.folders.work) == []


@needs_mounts
def test_the_disk_of_a_killed_run_is_found_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        point = Path(run.stdout.readline().strip())
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert kernel.mounts(point) == [point]
    assert main(["--ledgers", str(index(tmp_path))]) == 0
    assert f"removing mount {point}" in capsys.readouterr().out
    assert kernel.mounts(point) == []
    assert not point.exists()
