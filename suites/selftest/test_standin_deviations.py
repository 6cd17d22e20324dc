"""What a stand-in node gets wrong as 1.1.0 does, and that it does not where that is switched off (`--as-fixed`)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pymysql
import pytest

from fixtures import topology
from fixtures.clients import Client
from fixtures.errors import InfrastructureError
from fixtures.file_types import FileType
from fixtures.services.milvus import WRITER, MilvusNode
from fixtures.services.mysql import DATABASE, USER, MySQL
from fixtures.standin import meta_schema
from fixtures.standin.cache import SegmentCache
from fixtures.standin.cleanup import Cleaner
from fixtures.standin.config import MetaUri
from fixtures.standin.deviations import AS_1_1_0, Deviation, Fixed
from fixtures.standin.failures import NodeError
from fixtures.standin.meta_collections import Collections
from fixtures.standin.meta_files import Files, FilesInUse
from fixtures.standin.mysql_pool import Pool
from fixtures.standin.queues import Group, RequestQueues
from fixtures.standin.rows import CollectionRow, FileRow, Layout
from fixtures.standin.search import Metric
from fixtures.standin.search_service import Reading
from fixtures.standin.segments import IdGenerator, SegmentFolder
from fixtures.standin.validation import Engine
from fixtures.standin.wal import Wal, WalInitError, WalRecord
from fixtures.waits import observe, wait_until
from fixtures.wire import Milvus
from suites.selftest.standin_nodes import DIMENSION, Nodes, exit_code, metadata_alone, nearest, running, vectors

pytestmark = pytest.mark.selftest

READ_ONLY = 3
ALL: Fixed = frozenset(Deviation)
both = pytest.mark.parametrize("fixed", [AS_1_1_0, ALL], ids=["1.1.0", "fixed"])


@pytest.fixture(scope="module", params=[AS_1_1_0, ALL], ids=["1.1.0", "fixed"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("standin"), request.param) as cluster:
        yield cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, nodes: Nodes) -> Iterator[str]:
    """A collection of the test's own, with 100 flushed rows of ids 0 to 99."""
    collection = re.sub(r"\W", "_", request.node.originalname.removeprefix("test_"))[:100]
    nodes.write.create_collection(collection, DIMENSION).require()
    nodes.write.insert(collection, vectors(1, 100), np.arange(100)).require()
    nodes.write.flush(collection).require()
    yield collection
    nodes.write.drop_collection(collection)


@pytest.fixture
def milvus(nodes: Nodes) -> Iterator[Milvus]:
    """The writer's own pymilvus client, for what `Client` has no words."""
    host, port = nodes.writer.endpoint
    with closing(Milvus(host=host, port=str(port))) as client:
        yield client


# --- on running nodes


def test_stale_deletes(nodes: Nodes, name: str) -> None:
    queries = vectors(1, 100)[:3]
    assert nearest(nodes.read, name, queries, topk=1) == [[0], [1], [2]]
    nodes.write.delete(name, [0, 1]).require()
    nodes.write.flush(name).require()
    seen = [ids[0] for ids in nearest(nodes.read, name, queries, topk=1)]
    assert seen[2] == 2
    assert (seen[:2] == [0, 1]) is (not nodes.as_fixed)


@contextmanager
def failing_updates(mysql: MySQL) -> Iterator[None]:
    """No row of TableFiles can be changed meanwhile; new ones can be made."""
    mysql.query(
        "CREATE TRIGGER refuse BEFORE UPDATE ON TableFiles FOR EACH ROW "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by a test'"
    )
    try:
        yield
    finally:
        mysql.query("DROP TRIGGER refuse")


def test_lost_flush(nodes: Nodes, name: str) -> None:
    with failing_updates(nodes.mysql):
        nodes.write.insert(name, vectors(2, 20), np.arange(100, 120)).require()
        reply = nodes.write.flush(name)
    if nodes.as_fixed:
        assert (reply.code, reply.reason) == (15, "Failed to update collection files:refused by a test")
    else:
        reply.require()
    nodes.write.insert(name, vectors(3, 5), np.arange(200, 205)).require()
    wait_until(lambda: nodes.write.flush(name).ok, timeout_s=10, reason="a flush succeeds again")
    assert nodes.write.count(name).require().value == (125 if nodes.as_fixed else 105)
    assert nearest(nodes.read, name, vectors(3, 5)[:1], topk=1) == [[200]]


def test_lost_flush_of_rows_that_mysql_did_not_take(nodes: Nodes, name: str) -> None:
    flushed: list[bool] = []
    nodes.mysql.query("RENAME TABLE TableFiles TO HiddenFiles")
    try:
        nodes.write.insert(name, vectors(2, 20), np.arange(100, 120)).require()
        thread = threading.Thread(target=lambda: flushed.append(nodes.write.flush(name).ok))
        thread.start()
        early = observe(lambda: bool(flushed), timeout_s=0.5).satisfied
    finally:
        nodes.mysql.query("RENAME TABLE HiddenFiles TO TableFiles")
    thread.join(timeout=10)
    assert flushed == [True]
    assert early is (not nodes.as_fixed), "a fixed node answers once the rows are safe"
    assert nodes.write.count(name).require().value == (120 if nodes.as_fixed else 100)


def test_local_lock(nodes: Nodes, name: str) -> None:
    """A second writer, as on another host: its own lock and log, the same db/."""
    second = nodes.new_node(f"second-{len(nodes.as_fixed)}", WRITER)
    if not nodes.as_fixed:
        second.start()
        second.stop()
        return
    with pytest.raises(InfrastructureError, match="exit code 1"):
        second.start()
    assert exit_code(second) == 1
    assert "db path failed.Can't lock file:" in second.log.read_text()
    assert nodes.write.count(name).require().value == 100


def test_reader_writes(nodes: Nodes, name: str) -> None:
    codes = [
        nodes.read.insert(name, vectors(2, 1), [500]).code,
        nodes.read.delete(name, [1]).code,
        nodes.read.compact(name).code,
    ]
    assert codes == ([READ_ONLY] * 3 if nodes.as_fixed else [0] * 3)
    if nodes.as_fixed:
        reply = nodes.read.flush(name)
        assert (reply.code, reply.reason) == (READ_ONLY, "This node is read only: write through the rw node")
    assert nodes.read.count(name).require().value == 100


def test_reader_ddl(nodes: Nodes) -> None:
    """Rows of a collection that the writer does not know of are lost."""
    made = nodes.read.create_collection("made_on_a_reader", DIMENSION)
    if nodes.as_fixed:
        assert made.code == nodes.read.drop_index("made_on_a_reader").code == READ_ONLY
        assert nodes.write.has_collection("made_on_a_reader").require().value is False
        return
    nodes.write.insert("made_on_a_reader", vectors(1, 5), np.arange(5)).require()
    nodes.write.flush("made_on_a_reader").require()
    assert nodes.write.count("made_on_a_reader").require().value == 0
    nodes.write.drop_collection("made_on_a_reader")


def test_unlogged_writes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The log cannot be written: where its file should be is a folder."""
    with metadata_alone(tmp_path_factory.mktemp("unlogged")) as (site, mysql):
        for number, fixed in enumerate((AS_1_1_0, ALL)):
            node = MilvusNode(site, f"w{number}", WRITER, topology.Milvus(), mysql.milvus_uri, as_fixed=fixed)
            node.storage.mkdir()
            for file_no in range(3):
                (node.wal_folder / f"{file_no}.wal").mkdir(parents=True)
            node.start()
            with Client(node.name, node.endpoint) as client:
                client.create_collection(f"c{number}", DIMENSION).require()
                replies = [client.insert(f"c{number}", vectors(1, 5), np.arange(5)), client.delete(f"c{number}", [1])]
                assert [reply.code for reply in replies] == ([1, 1] if fixed else [0, 0])
                client.flush(f"c{number}").require()
                assert client.count(f"c{number}").require().value == 0
            node.stop()


def test_unknown_tag_delete(nodes: Nodes, name: str, milvus: Milvus) -> None:
    status = milvus.delete_entity_by_id(name, [1], partition_tag="nope")
    if nodes.as_fixed:
        assert (status.code, status.message) == (1, f"Partition nope of collection {name} not found")
    else:
        assert status.code == 0


def test_default_tag(nodes: Nodes, name: str, milvus: Milvus) -> None:
    nodes.write.create_partition(name, "p").require()
    milvus.insert(name, vectors(2, 1).tolist(), ids=[1], partition_tag="p")
    status, _ = milvus.insert(name, vectors(3, 20).tolist(), ids=list(range(100, 120)), partition_tag="_default")
    assert status.OK()
    nodes.write.flush(name).require()
    if nodes.as_fixed:
        assert nodes.write.count(name).require().value == 121, "the flush waited for them"
    nodes.await_count(nodes.write, name, 121)
    assert milvus.delete_entity_by_id(name, [1, 2], partition_tag="_default").OK()
    nodes.write.flush(name).require()
    assert nodes.write.count(name).require().value == (119 if nodes.as_fixed else 121), "of id 1, not the one in p"
    status, found = milvus.get_entity_by_id(name, [3, 1], partition_tag="_default")
    if nodes.as_fixed:
        assert [len(vector) for vector in found] == [DIMENSION, 0]
    else:
        assert (status.code, status.message) == (1, "Collection or partition is empty")


# --- in this process


class Metadata:
    """A node's way to MySQL, without a node."""

    def __init__(self, mysql: MySQL, folder: Path, fixed: Fixed) -> None:
        host, port = mysql.endpoint
        self.pool = Pool(MetaUri("mysql", USER, mysql.password, host, port, DATABASE))
        meta_schema.prepare(self.pool, writes=True)
        ids, lock = IdGenerator(), threading.Lock()
        self.layout = Layout(folder / "db")
        self.collections = Collections(self.pool, lock, ids)
        self.files = Files(self.pool, lock, ids, self.collections, self.layout, fixed)
        self.name = f"c{ids.new()}"
        self.collections.create(CollectionRow(self.name, DIMENSION, Metric.L2, 1 << 30, Engine.FLAT))

    def states(self, mysql: MySQL) -> list[int]:
        rows = mysql.query("SELECT file_type FROM TableFiles WHERE table_id = %s ORDER BY id", (self.name,))
        return [int(row[0]) for row in rows]


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySQL]:
    with metadata_alone(tmp_path_factory.mktemp("metadata")) as (_, started):
        yield started


@contextmanager
def locked_row(mysql: MySQL, file: FileRow) -> Iterator[None]:
    """Whoever changes that row waits until the end."""
    host, port = mysql.endpoint
    connection = pymysql.connect(host=host, port=port, user=USER, password=mysql.password, database=DATABASE)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT id FROM TableFiles WHERE id = %s FOR UPDATE", (file.id,))
        yield


@both
def test_merge_gap(mysql: MySQL, tmp_path: Path, fixed: Fixed) -> None:
    metadata = Metadata(mysql, tmp_path, fixed)
    old, new = (metadata.files.create(metadata.name, FileType.NEW_MERGE) for _ in range(2))
    mysql.query("UPDATE TableFiles SET file_type = 1 WHERE id = %s", (old.id,))
    gone, done = (
        FileRow(**{**vars(file), "file_type": state})
        for file, state in ((old, FileType.TO_DELETE), (new, FileType.RAW))
    )
    with locked_row(mysql, new):
        swap = threading.Thread(target=metadata.files.update, args=([gone, done],))
        swap.start()
        gap = observe(lambda: metadata.states(mysql), timeout_s=0.5, accept=lambda seen: seen == [4, 5])
    swap.join(timeout=10)
    assert gap.satisfied is (not fixed), gap.last_seen
    assert metadata.states(mysql) == [4, 1]
    metadata.pool.close()


def test_a_swap_that_fails_in_the_middle_is_taken_back(mysql: MySQL, tmp_path: Path) -> None:
    metadata = Metadata(mysql, tmp_path, ALL)
    first, second = (metadata.files.create(metadata.name, FileType.NEW) for _ in range(2))
    mysql.query(
        f"CREATE TRIGGER second BEFORE UPDATE ON TableFiles FOR EACH ROW BEGIN IF NEW.id = {second.id} THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by a test'; END IF; END"
    )
    try:
        with pytest.raises(NodeError, match="refused by a test"):
            metadata.files.update([FileRow(**{**vars(each), "file_type": FileType.RAW}) for each in (first, second)])
    finally:
        mysql.query("DROP TRIGGER second")
    assert metadata.states(mysql) == [0, 0]
    assert metadata.files.row_count(metadata.name) == 0, "the connection was replaced"
    metadata.pool.close()


class Replacing(SegmentCache):
    """When the file `old` is to be loaded, a merge has just put `new` in its place, and its folder is gone."""

    def __init__(self, mysql: MySQL, old: FileRow, new: FileRow) -> None:
        super().__init__(1 << 20, 0.7)
        self._mysql, self._old, self._new = mysql, old, new

    def load(self, file: FileRow, folder: SegmentFolder) -> Any:
        if file.id == self._old.id:
            self._mysql.query("UPDATE TableFiles SET file_type = 4 WHERE id = %s", (self._old.id,))
            self._mysql.query("UPDATE TableFiles SET file_type = 1 WHERE id = %s", (self._new.id,))
        return super().load(file, folder)


@both
def test_lost_files(mysql: MySQL, tmp_path: Path, fixed: Fixed) -> None:
    metadata = Metadata(mysql, tmp_path, fixed)
    old, new = (metadata.files.create(metadata.name, FileType.NEW) for _ in range(2))
    mysql.query("UPDATE TableFiles SET row_count = 5 WHERE table_id = %s", (metadata.name,))
    mysql.query("UPDATE TableFiles SET file_type = 1 WHERE id = %s", (old.id,))
    data = vectors(1, 5)
    metadata.layout.segment(new).write(new.file_id, data, np.arange(5))
    cache = Replacing(mysql, old, new)
    reading = Reading(metadata.collections, metadata.files, FilesInUse(), cache, metadata.layout, fixed)
    collection = metadata.collections.describe(metadata.name)
    if fixed:
        found = reading.search(collection, [], data[3:4], 1, {})
        assert found is not None
        assert found[0].tolist() == [[3]]
        mysql.query("UPDATE TableFiles SET file_type = 1 WHERE id = %s", (old.id,))
        cache.forget(new)
        metadata.layout.segment(new).folder.rename(tmp_path / "away")
    with pytest.raises(NodeError, match="Failed to load index file"):
        reading.search(collection, [], data[3:4], 1, {})
    metadata.pool.close()


@both
def test_missing_files(mysql: MySQL, tmp_path: Path, fixed: Fixed) -> None:
    metadata = Metadata(mysql, tmp_path, fixed)
    left, gone = (metadata.files.create(metadata.name, FileType.NEW) for _ in range(2))
    mysql.query("UPDATE TableFiles SET row_count = 5, file_type = 1 WHERE table_id = %s", (metadata.name,))
    data = vectors(1, 10)
    for number, file in enumerate((left, gone)):
        rows = slice(5 * number, 5 * number + 5)
        metadata.layout.segment(file).write(file.file_id, data[rows], np.arange(10)[rows])
    cache = SegmentCache(1 << 20, 0.7)
    reading = Reading(metadata.collections, metadata.files, FilesInUse(), cache, metadata.layout, fixed)
    asked = [str(left.id), str(gone.id)]
    assert set(reading.search_in_files(asked, data[:1], 10, {})[0][0].tolist()) == set(range(10))
    mysql.query("DELETE FROM TableFiles WHERE id = %s", (gone.id,))
    if fixed:
        with pytest.raises(NodeError, match="Invalid file id"):
            reading.search_in_files(asked, data[:1], 10, {})
    else:
        assert set(reading.search_in_files(asked, data[:1], 10, {})[0][0].tolist()) - {-1} == set(range(5))
    with pytest.raises(NodeError, match="Invalid file id"):
        reading.search_in_files([str(gone.id)], data[:1], 10, {})
    metadata.pool.close()


@both
def test_orphan_folders(mysql: MySQL, tmp_path: Path, fixed: Fixed) -> None:
    metadata = Metadata(mysql, tmp_path, fixed)
    file = metadata.files.create(metadata.name, FileType.NEW)
    kept = metadata.files.create(metadata.name, FileType.RAW)
    mysql.query("UPDATE TableFiles SET file_type = 4, updated_time = 1 WHERE id = %s", (file.id,))
    cleaner = Cleaner(metadata.pool, FilesInUse(), SegmentCache(1 << 20, 0.7), metadata.layout, 0.0, fixed)
    mysql.query("RENAME TABLE Tables TO HiddenTables")
    try:
        with pytest.raises(NodeError):
            cleaner.run()
    finally:
        mysql.query("RENAME TABLE HiddenTables TO Tables")
    cleaner.run()
    assert metadata.states(mysql) == [FileType.RAW]
    assert metadata.layout.segment(file).folder.exists() is (not fixed)
    assert metadata.layout.segment(kept).folder.exists()
    metadata.pool.close()


def replayed(wal: Wal) -> list[int]:
    records: list[WalRecord] = list(wal.recovery())
    return [uid for record in records for uid in record.uids.tolist()]


@both
def test_wal_init(tmp_path: Path, fixed: Fixed) -> None:
    """A new host: MySQL counts on log files of the lost one, and still does at the next start with its own log."""
    behind, ahead = 1 << 32, (20 << 32) + 700
    flushed = {("c", ""): ahead, ("bystander", ""): behind}
    wal = Wal(tmp_path, 1 << 16, fixed=fixed)
    if not fixed:
        with pytest.raises(WalInitError):
            wal.open(behind, flushed)
        return
    wal.open(behind, flushed)
    assert replayed(wal) == []
    assert wal.append_insert("c", "", np.array([7]), np.zeros((1, 4), dtype=np.float32)) > ahead
    wal.close()
    wal = Wal(tmp_path, 1 << 16, fixed=fixed)
    wal.open(behind, flushed)
    assert replayed(wal) == [7]
    wal.append_insert("c", "", np.array([8]), np.zeros((1, 4), dtype=np.float32))
    wal.close()


@both
def test_serial_searches(fixed: Fixed) -> None:
    queues, begun, over, done = RequestQueues(fixed), threading.Event(), threading.Event(), threading.Event()

    def cold() -> None:
        begun.set()
        over.wait(10)

    with ThreadPoolExecutor(max_workers=2) as pool:
        searches = [pool.submit(queues.run, Group.SEARCH, cold)]
        assert begun.wait(10)
        searches.append(pool.submit(queues.run, Group.SEARCH, done.set))
        assert done.wait(10 if fixed else 0.3) == bool(fixed), "the warm one waits behind the cold one in 1.1.0 only"
        over.set()
        assert done.wait(10)
        for search in searches:
            search.result()


def test_a_log_that_is_really_damaged_is_refused_all_the_same(tmp_path: Path) -> None:
    wal = Wal(tmp_path, 1 << 16)
    wal.open(0, {("c", ""): 0})
    wal.append_insert("c", "", np.array([7]), np.zeros((1, 4), dtype=np.float32))
    wal.close()
    (tmp_path / "0.wal").write_bytes(b"")
    with pytest.raises(WalInitError):
        Wal(tmp_path, 1 << 16, fixed=ALL).open(0, {("c", ""): 0})
