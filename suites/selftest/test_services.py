"""Each service from its real program: it starts, answers, keeps what it must, and says clearly why it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import minio
import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fixtures import topology
from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import Command, Folders, Runtime, new_run_id, open_embedded
from fixtures.runtimes.host import find_program
from fixtures.services import (
    READER,
    WRITER,
    JuiceFSMount,
    MilvusNode,
    Mishards,
    MySQL,
    Programs,
    Redis,
    SeaweedFS,
    Service,
    Site,
    Volume,
    object_store,
)
from fixtures.services.milvus import render
from fixtures.services.object_store import BUCKET, REGION
from fixtures.standin.config import load
from fixtures.standin.deviations import Deviation
from fixtures.steps import Step, run_steps
from fixtures.waits import wait_until
from suites.selftest import embedded

pytestmark = pytest.mark.selftest

NODES = ("writer", "reader-1")


class Stores:
    """The real stores and two mounts, once for this file."""

    def __init__(self, opened: Runtime) -> None:
        self.runtime = opened
        self.site = embedded.site(opened)
        self.mysql = MySQL(self.site, topology.MySQL(isolation="READ-COMMITTED"))
        self.redis = Redis(self.site, topology.Redis(appendfsync="always"))
        self.store = SeaweedFS(self.site)
        self.settings = topology.JuiceFS(compression="lz4", attr_cache_s=0.5, trash_days=0)
        host = self.site.block.host("nodes")
        self.volume = Volume(self.site, self.settings, self.redis, self.store, host)
        self.mounts = {
            name: JuiceFSMount(self.site, self.volume, name, self.site.work / name / "db", host) for name in NODES
        }
        steps = [Step("init", self.mysql.initialise), Step("mysql", self.mysql.start, ("init",))]
        steps += [Step("redis", self.redis.start), Step("store", self.store.start)]
        if opened.why_no_fuse() is None:
            steps.append(Step("format", self.volume.format, ("redis", "store")))
            steps += [Step(name, mount.start, ("format",)) for name, mount in self.mounts.items()]
        run_steps(steps)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with embedded.runtime(tmp_path_factory.mktemp("stores")) as opened:
        yield Stores(opened)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with embedded.runtime(tmp_path) as opened:
        yield embedded.site(opened)


@pytest.fixture
def mounts(stores: Stores) -> dict[str, JuiceFSMount]:
    if (reason := stores.runtime.why_no_fuse()) is not None:
        pytest.skip(reason)
    return stores.mounts


def test_mysql_is_durable_private_and_as_asked(stores: Stores) -> None:
    mysql = stores.mysql
    ((isolation, flush, address, skip),) = mysql.query(
        "SELECT @@tx_isolation, @@innodb_flush_log_at_trx_commit, @@bind_address, @@skip_networking"
        if mysql.implementation == "MariaDB"
        else "SELECT @@transaction_isolation, @@innodb_flush_log_at_trx_commit, @@bind_address, @@skip_networking"
    )
    assert (isolation, flush, address, skip) == ("READ-COMMITTED", 1, mysql.endpoint[0], 0)
    assert mysql.version[0].isdigit()
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host=mysql.endpoint[0], port=mysql.endpoint[1], user="milvus", password="wrong")
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host=mysql.endpoint[0], port=mysql.endpoint[1], user="root", password="")


def test_mysql_keeps_its_rows_over_a_kill(stores: Stores) -> None:
    stores.mysql.query("CREATE TABLE kept (id INT PRIMARY KEY)")
    stores.mysql.query("INSERT INTO kept VALUES (%s)", (7,))
    stores.mysql.kill()
    stores.mysql.start()
    assert stores.mysql.query("SELECT id FROM kept") == [(7,)]


def test_redis_is_append_only_and_wants_its_password(stores: Stores) -> None:
    server = stores.redis
    with redis.Redis(*server.endpoint, password=server.password) as client:
        assert client.config_get("append*")["appendonly"] == "yes"
        assert client.config_get("append*")["appendfsync"] == "always"
    with (
        redis.Redis(*server.endpoint, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    assert server.version[0].isdigit()


def test_the_object_store_wants_its_keys(stores: Stores) -> None:
    stores.store.ask_version()
    assert stores.store.version[0].isdigit()
    assert stores.store.client().bucket_exists(BUCKET)
    address = "{}:{}".format(*stores.store.endpoint)
    stranger = minio.Minio(address, access_key="somebody", secret_key="else", secure=False, region=REGION)
    with pytest.raises(minio.error.S3Error, match="InvalidAccessKeyId"):
        list(stranger.list_objects(BUCKET))


def test_two_mounts_are_one_volume(stores: Stores, mounts: dict[str, JuiceFSMount]) -> None:
    content = b"x" * 100_000
    (mounts["writer"].point / "file").write_bytes(content)
    assert (mounts["reader-1"].point / "file").read_bytes() == content
    stored = stores.store.client().list_objects(BUCKET, prefix="milvus/chunks/", recursive=True)
    assert sum(1 for _ in stored) >= 1, "the data are objects in the bucket"
    assert mounts["writer"].cache != mounts["reader-1"].cache
    assert any(mounts["writer"].cache.iterdir())
    assert len(mounts["writer"].process.members()) == 2, "JuiceFS' supervisor and its FUSE server"


def test_mount_options_are_those_of_the_topology(stores: Stores, mounts: dict[str, JuiceFSMount]) -> None:
    command = " ".join(mounts["writer"].process.command.argv)
    for option in ("--attr-cache=0.5", "--entry-cache=1.0", "--dir-entry-cache=1.0", "--heartbeat=12"):
        assert option in command
    volume = (mounts["writer"].point / ".config").read_text()
    assert '"Compression": "lz4"' in volume
    assert '"TrashDays": 0' in volume
    assert stores.redis.password not in command, "a list of processes shows no password"


def test_a_mount_can_be_taken_off_and_put_back(mounts: dict[str, JuiceFSMount]) -> None:
    mount = mounts["reader-1"]
    ended = mount.stop()
    assert ended is not None
    assert (ended.code, ended.forced) == (0, False)
    assert not mount.is_alive()
    assert list(mount.point.iterdir()) == []
    mount.start()
    assert mount.is_alive()


def test_a_port_in_use_is_named_before_anything_starts(site: Site) -> None:
    server = Redis(site, topology.Redis())
    host, port = server.endpoint
    script = (
        f"import socket, time; s = socket.create_server(({host!r}, {port})); print('up', flush=True); time.sleep(9)"
    )
    other = site.runtime.process(replace(embedded.command(site.runtime, script), host=host))
    other.start()
    wait_until(lambda: "up" in other.last_lines(), timeout_s=10, reason="the other to have the port")
    with pytest.raises(InfrastructureError, match=f"redis: {host}:{port} cannot be used: Address already in use"):
        server.start()
    assert server.pid is None
    other.stop()


def test_a_part_that_exits_while_starting_is_reported_at_once(site: Site) -> None:
    node = MilvusNode(site, "writer", WRITER, topology.Milvus(), "mysql://u:p@127.0.0.1:1/milvus")
    with pytest.raises(InfrastructureError, match=r"(?s)writer: .*exited.*exit code 1.*writer\.log:\n.+"):
        node.start(timeout_s=60)


def test_a_part_that_never_answers_is_given_up(site: Site) -> None:
    class Silent(Service):
        name, implementation, endpoint = "silent", "none", ("127.0.0.1", 1)

        def __init__(self) -> None:
            argv = (sys.executable, "-c", "import time; print('still here', flush=True); time.sleep(1000)")
            self.block = site.block
            self.runtime = site.runtime
            self.process = site.runtime.process(
                Command(name="silent", argv=argv, folder=site.folder("silent"), log=site.log("silent"))
            )

        def ready(self, timeout_s: float = 5.0) -> None:
            raise OSError(f"not yet, not in {timeout_s} s")

    with pytest.raises(InfrastructureError, match=r"(?s)not within 1\.0 s.*not yet.*still running.*still here"):
        Silent().start(timeout_s=1.0)


def test_a_missing_program_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InfrastructureError, match="no weedy or weed2 on PATH: install the wheel"):
        find_program(("weedy", "weed2"), "install the wheel")


def test_an_unknown_object_store_is_refused(site: Site) -> None:
    with pytest.raises(UsageError, match="must be auto or one of seaweedfs, minio, azurite"):
        object_store(site, "ceph")


def test_native_programs_take_the_place_of_stand_ins(site: Site, tmp_path: Path) -> None:
    settings, uri = topology.Milvus(), "mysql://u:p@127.0.0.1:1/milvus"
    with pytest.raises(UsageError, match="--defect is for the stand-in"):
        MilvusNode(site, "writer", WRITER, settings, uri, binary=Path("/bin/true"), defect="lost-delete")
    native = MilvusNode(site, "writer", WRITER, settings, uri, binary=Path("/bin/true"))
    assert native.implementation == "Milvus"
    assert native.process.command.argv == ("/bin/true", "-c", str(native.config_path))
    mysql = MySQL(site, topology.MySQL())
    proxy = Mishards(
        site, topology.Mishards(), mysql, native, [native], checkout=tmp_path, python=Path("/other/python")
    )
    assert proxy.implementation == "Mishards"
    assert proxy.process.command.argv == ("/other/python", str(tmp_path / "mishards" / "main.py"))
    assert proxy.process.command.env["WOSERVER"] == f"tcp://{native.endpoint[0]}:{native.endpoint[1]}"


def test_stand_ins_are_told_what_they_shall_not_repeat(site: Site) -> None:
    settings, uri, mysql = topology.Milvus(), "mysql://u:p@127.0.0.1:3306/d", MySQL(site, topology.MySQL())
    fixed = frozenset({Deviation.MERGE_GAP, Deviation.PREFIX_TAGS})
    writer = MilvusNode(site, "writer", WRITER, settings, uri, defect="lost-delete", as_fixed=fixed)
    assert writer.process.command.argv[-6:-2] == ("--defect", "lost-delete", "--as-fixed", "merge-gap")
    proxy = Mishards(site, topology.Mishards(), mysql, writer, [writer], as_fixed=fixed)
    assert proxy.process.command.env["STANDIN_AS_FIXED"] == "prefix-tags"
    plain = Mishards(site, topology.Mishards(), mysql, writer, [writer])
    assert not {"STANDIN_AS_FIXED", "STANDIN_DEFECT"} & plain.process.command.env.keys()


def test_a_defect_is_told_to_the_program_that_is_to_have_it(site: Site) -> None:
    settings, uri, mysql = topology.Milvus(), "mysql://u:p@127.0.0.1:3306/d", MySQL(site, topology.MySQL())
    for defect, of_node, of_proxy in (("lost-delete", True, False), ("never-reloads", False, True)):
        node = MilvusNode(site, "writer", WRITER, settings, uri, defect=defect)
        assert (defect in node.process.command.argv) is of_node
        proxy = Mishards(site, topology.Mishards(), mysql, node, [node], defect=defect)
        assert (proxy.process.command.env.get("STANDIN_DEFECT") == defect) is of_proxy


def test_one_node_may_have_a_binary_of_its_own() -> None:
    programs = Programs(milvus=Path("/all"), milvus_of={"reader-1": Path("/one")})
    assert (programs.binary("writer", WRITER), programs.binary("reader-1", READER)) == (Path("/all"), Path("/one"))


@pytest.mark.parametrize("role", [WRITER, READER])
def test_the_configuration_says_what_the_topology_says(tmp_path: Path, role: str) -> None:
    settings = topology.Milvus(
        auto_flush_interval_s=3, file_cleanup_timeout_s=7, cache_size="2GB", recovery_error_ignore=True
    )
    path = tmp_path / "server_config.yaml"
    folder = Path("/var/tmp/node")
    path.write_text(
        render(
            settings, role=role, meta_uri="mysql://u:p@127.1.2.3:99/milvus", endpoint=("127.1.2.4", 5000), folder=folder
        )
    )
    config = load(path)
    assert (config.cluster.enable, config.cluster.role) == (True, role)
    assert (config.general.meta.host, config.general.meta.port, config.general.meta.database) == (
        "127.1.2.3",
        99,
        "milvus",
    )
    assert (config.network.address, config.network.port) == ("127.1.2.4", 5000)
    assert (config.storage.path, config.wal.path, config.logs.path) == (folder, folder / "wal", folder / "logs")
    assert (config.storage.auto_flush_interval_s, config.storage.file_cleanup_timeout_s) == (3, 7)
    assert (config.cache.size_bytes, config.cache.insert_buffer_bytes) == (2 << 30, 256 << 20)
    assert (config.wal.enable, config.wal.recovery_error_ignore, config.wal.buffer_bytes) == (True, True, 64 << 20)


def test_without_fuse_the_reason_is_given(tmp_path: Path) -> None:
    folders = Folders.create(tmp_path / "report", tmp_path, new_run_id())
    with open_embedded(folders, fuse=False, index=embedded.index(tmp_path)) as opened:
        assert opened.why_no_fuse() == "FUSE was switched off for this run"
