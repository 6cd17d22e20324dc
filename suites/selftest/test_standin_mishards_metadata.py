"""What the stand-in Mishards reads from the metadata tables, and what a failed search leaves in its worker thread."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from fixtures.standin.mishards.errors import Refused, SettingsError
from fixtures.standin.mishards.metadata import Metadata
from fixtures.standin.mishards.settings import Database
from fixtures.waits import wait_until
from suites.selftest.fake_milvus import MetadataTables

pytestmark = pytest.mark.selftest


@pytest.fixture
def tables(tmp_path: Path) -> MetadataTables:
    return MetadataTables(tmp_path / "meta.sqlite")


def found(tables: MetadataTables, collection: str, *tags: str) -> list[int]:
    with closing(Metadata(Database(uri=tables.uri))) as metadata:
        return [file.id for file in metadata.files(collection, tags)]


def test_files_of_the_collection_and_all_its_partitions_are_found(tables: MetadataTables) -> None:
    tables.add_collection("c")
    tables.add_partition("c", "p1", "c_p1")
    tables.add_collection("other")
    for table, file in (("c", 1), ("c_p1", 2), ("other", 3)):
        tables.add_file(table, file, updated_time=7)
    assert found(tables, "c") == [1, 2]
    with closing(Metadata(Database(uri=tables.uri))) as metadata:
        assert {file.updated_time for file in metadata.files("c", [])} == {7}


def test_only_raw_to_index_and_index_files_are_searched(tables: MetadataTables) -> None:
    tables.add_collection("c")
    for file_type in range(8):
        tables.add_file("c", 10 + file_type, file_type=file_type)
    assert found(tables, "c") == [11, 12, 13]


def test_a_tag_matches_the_beginning_of_a_tag(tables: MetadataTables) -> None:
    tables.add_collection("c")
    tables.add_file("c", 1)
    for file, tag in ((2, "p1"), (3, "p10"), (4, "xp1")):
        tables.add_partition("c", tag, f"c_{tag}")
        tables.add_file(f"c_{tag}", file)
    assert found(tables, "c", "p1") == [2, 3]
    assert found(tables, "c", "p1$") == [2]
    assert found(tables, "c", ".*p1") == [2, 3, 4]
    assert found(tables, "c", "_default") == [1]
    assert found(tables, "c", "_default", "x") == [1, 4]
    assert found(tables, "c", "unknown") == []
    with pytest.raises(re.error):
        found(tables, "c", "p(")


def test_a_collection_without_metadata_is_refused_with_its_tags(tables: MetadataTables) -> None:
    tables.add_collection("c")
    tables.add_partition("c", "p", "c_p")
    tables.drop("c")
    with pytest.raises(Refused, match=r"^c:\[\] not found in metadata$") as refused:
        found(tables, "c")
    assert refused.value.code == 4
    with pytest.raises(Refused, match=r"^c:\['nope', 'p'\] not found in metadata$"):
        found(tables, "c", "nope", "p")


@pytest.mark.parametrize("uri", ["nonsense", "mysql+nosuchdriver://root@127.0.0.1/milvus", "nosuch://127.0.0.1/milvus"])
def test_an_unusable_uri_is_refused_at_once(uri: str) -> None:
    with pytest.raises(SettingsError, match="SQLALCHEMY_DATABASE_URI"):
        Metadata(Database(uri=uri))


# --- against a real MySQL: what transactions do to a worker thread


@dataclass(frozen=True)
class MySql:
    port: int
    socket: Path

    @property
    def uri(self) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/milvus?charset=utf8mb4"

    def accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        connection = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def add_collection(self, name: str, file: int) -> None:
        self.execute(f"INSERT INTO milvus.Tables VALUES ('{name}', 0, '', '')")
        self.execute(f"INSERT INTO milvus.TableFiles VALUES ({file}, '{name}', 1, 1)")

    def kill_sessions(self) -> None:
        """Cut every connection that came by TCP, as a restart of MySQL or a reset on the way does."""
        for id_, host in self.execute("SELECT id, host FROM information_schema.processlist"):
            if ":" in host:
                self.execute(f"KILL {id_}")


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySql]:
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("needs mariadbd and mariadb-install-db on PATH (Debian: mariadb-server)")
    folder = tmp_path_factory.mktemp("mysql")
    data = folder / "data"
    common = ["--no-defaults", f"--datadir={data}", "--user=root"]
    subprocess.run(
        ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db", "--force"],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = MySql(probe.getsockname()[1], folder / "socket")
    listen = ["--bind-address=127.0.0.1", f"--port={server.port}", f"--socket={server.socket}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["mariadbd", *common, *listen, "--innodb-flush-log-at-trx-commit=0"], stdout=log, stderr=log
        )
    try:
        wait_until(
            server.accepts,
            timeout_s=30,
            reason="mariadbd accepts connections",
            give_up=lambda: None if process.poll() is None else (folder / "log").read_text(),
        )
        yield server
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def schema(mysql: MySql) -> MySql:
    mysql.execute("SET GLOBAL tx_isolation = 'REPEATABLE-READ'")
    mysql.execute("DROP DATABASE IF EXISTS milvus")
    mysql.execute("CREATE DATABASE milvus")
    mysql.execute(
        "CREATE TABLE milvus.Tables (table_id varchar(255), state int, owner_table varchar(255),"
        " partition_tag varchar(255))"
    )
    mysql.execute(
        "CREATE TABLE milvus.TableFiles (id bigint primary key, table_id varchar(255), file_type int,"
        " updated_time bigint)"
    )
    mysql.add_collection("old", 1)
    return mysql


@dataclass(frozen=True)
class Worker:
    """One worker thread of the proxy: whatever it is given runs in the same thread."""

    metadata: Metadata
    thread: ThreadPoolExecutor

    def files(self, collection: str) -> list[int]:
        return [file.id for file in self.thread.submit(self.metadata.files, collection, []).result()]

    def refusal(self, collection: str) -> Refused:
        with pytest.raises(Refused) as refused:
            self.files(collection)
        return refused.value


@pytest.fixture
def workers(schema: MySql) -> Iterator[Callable[[], Worker]]:
    metadata = Metadata(Database(uri=schema.uri))
    started: list[ThreadPoolExecutor] = []

    def start() -> Worker:
        started.append(ThreadPoolExecutor(max_workers=1))
        return Worker(metadata, started[-1])

    yield start
    for thread in started:
        thread.shutdown()
    metadata.close()


def test_a_failed_search_keeps_its_threads_old_snapshot(schema: MySql, workers: Callable[[], Worker]) -> None:
    poisoned, healthy = workers(), workers()
    assert poisoned.refusal("gone").code == 4
    schema.add_collection("later", 2)
    assert healthy.files("later") == [2]
    assert poisoned.refusal("later").code == 4, "the snapshot of the failed search does not know it"
    assert poisoned.refusal("later").code == 4, "and that failure does not free it either"
    assert poisoned.files("old") == [1]
    assert poisoned.files("later") == [2], "a search that succeeds gives the old snapshot up"


def test_read_committed_avoids_the_old_snapshot(schema: MySql, workers: Callable[[], Worker]) -> None:
    schema.execute("SET GLOBAL tx_isolation = 'READ-COMMITTED'")
    worker = workers()
    assert worker.refusal("gone").code == 4
    schema.add_collection("later", 2)
    assert worker.files("later") == [2]


def test_a_cut_connection_wedges_a_thread_after_a_failed_search(schema: MySql, workers: Callable[[], Worker]) -> None:
    wedged, healthy = workers(), workers()
    assert wedged.refusal("gone").code == 4
    assert healthy.files("old") == [1]
    schema.kill_sessions()
    first = wedged.refusal("old")
    assert first.code == 1
    assert "OperationalError" in first.reason
    for _ in range(3):
        refused = wedged.refusal("old")
        assert refused.code == 1
        assert "Can't reconnect until invalid transaction is rolled back" in refused.reason
    assert healthy.files("old") == [1], "a thread without an open transaction reconnects by itself"


def test_without_mysql_a_search_is_refused_with_the_drivers_own_words() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with closing(Metadata(Database(uri=f"mysql+pymysql://root@127.0.0.1:{port}/milvus"))) as metadata:
            for _ in range(2):
                with pytest.raises(Refused, match=r"\(pymysql.err.OperationalError\) \(2003, ") as refused:
                    metadata.files("c", [])
                assert refused.value.code == 1
