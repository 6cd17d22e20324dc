"""The stand-in node as a process: how it starts, what it refuses to start on, and how it ends."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from fixtures.clients import Client
from fixtures.services.milvus import READER, WRITER
from fixtures.waits import wait_until
from suites.selftest.standin_nodes import DIMENSION, Nodes, exit_code, exit_code_after, nearest, running, vectors

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("process")) as cluster:
        yield cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, nodes: Nodes) -> Iterator[str]:
    """An empty collection of the test's own."""
    collection = re.sub(r"\W", "_", request.node.name.removeprefix("test_"))
    nodes.write.create_collection(collection, DIMENSION).require()
    yield collection
    nodes.write.drop_collection(collection)


def test_a_reader_is_refused_after_an_explicit_flush_and_starts_after_an_auto_flush(nodes: Nodes, name: str) -> None:
    # Were this the only collection, recovery would begin at its own flush LSN, and nothing would be missing.
    nodes.write.create_collection("older", DIMENSION).require()
    nodes.write.insert(name, vectors(1, 100), np.arange(100)).require()
    nodes.write.flush(name).require()
    late = nodes.new_node("late-reader", READER)
    late.process.start()
    assert exit_code(late) == 1
    assert "failed to open database: Wal init error!" in late.process.last_lines()
    nodes.write.insert(name, vectors(3, 1), [900]).require()
    nodes.await_count(nodes.write, name, 101)
    wait_until(
        lambda: nodes.mysql.query("SELECT global_lsn >= (SELECT MAX(flush_lsn) FROM Tables) FROM Environment")[0][0],
        timeout_s=10,
        reason="the auto flush raised the global LSN",
    )
    late.start()
    late.stop()
    nodes.write.drop_collection("older")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGUSR2, 0), (signal.SIGTERM, 1), (signal.SIGHUP, 1)]
)
def test_exit_codes_and_the_flush_of_a_clean_stop(nodes: Nodes, name: str, number: signal.Signals, code: int) -> None:
    nodes.write.insert(name, vectors(1, 30), np.arange(30)).require()
    assert exit_code_after(nodes.writer, number) == code
    assert [rows for _, _, rows in nodes.files(name)] == [30], "not flushed at the stop"
    nodes.writer.start()


def test_a_second_writer_on_the_same_folder_is_refused(nodes: Nodes) -> None:
    second = nodes.new_node("second-writer", WRITER)
    config = second.config_path.read_text()
    second.config_path.write_text(config.replace(f"path: {second.folder}\n", f"path: {nodes.writer.folder}\n"))
    second.process.start()
    assert exit_code(second) == 1
    assert f"Can't lock file: {nodes.writer.folder}/lock, due to permission denied." in second.process.last_lines()


def test_a_port_in_use_is_said_before_anything_is_touched(nodes: Nodes) -> None:
    other = nodes.new_node("port-taken", WRITER)
    address, port = nodes.reader.endpoint
    config = other.config_path.read_text()
    config = config.replace(f"bind.address: {other.endpoint[0]}", f"bind.address: {address}")
    other.config_path.write_text(config.replace(f"bind.port: {other.endpoint[1]}", f"bind.port: {port}"))
    other.process.start()
    assert exit_code(other) == 1
    assert f"cannot listen on {address}:{port}: Address already in use" in other.process.last_lines()
    assert not (other.folder / "lock").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("role: ro", "role: boss", "cluster.role is not one of rw and ro."),
        ("meta_uri: mysql", "meta_uri: oracle", "Invalid meta uri: oracle://"),
        ("meta_uri: mysql", "meta_uri: sqlite", "the stand-in keeps its metadata in MySQL only"),
        ("version: 0.5", "version: 0.4", "Invalid config version: 0.4"),
        (
            "gpu:\n  enable: false",
            "gpu:\n  enable: true",
            "gpu resource config: true. Possible reason: this is a CPU",
        ),
    ],
)
def test_a_bad_config_is_refused_with_a_clear_line(nodes: Nodes, old: str, new: str, said: str) -> None:
    node = nodes.new_node(f"bad-{abs(hash(new)) % 10000}", READER)
    config = node.config_path.read_text()
    assert old in config
    node.config_path.write_text(config.replace(old, new))
    node.process.start()
    assert exit_code(node) == 1
    assert said in node.process.last_lines()


def test_tables_of_another_version_are_refused(nodes: Nodes) -> None:
    nodes.mysql.query("ALTER TABLE Fields ADD COLUMN extra INT")
    node = nodes.new_node("other-schema", READER)
    try:
        node.process.start()
        assert exit_code(node) == 1
        assert "Meta Fields schema is created by Milvus old version" in node.process.last_lines()
    finally:
        nodes.mysql.query("ALTER TABLE Fields DROP COLUMN extra")


def test_a_reader_without_a_log_flushes_like_a_second_writer(nodes: Nodes, name: str) -> None:
    reader = nodes.new_node("reader-without-log", READER)
    config = reader.config_path.read_text()
    assert "wal:\n  enable: true" in config
    reader.config_path.write_text(config.replace("wal:\n  enable: true", "wal:\n  enable: false"))
    reader.start()
    with Client("reader-without-log", reader.endpoint) as client:
        client.insert(name, vectors(1, 10), np.arange(10)).require()
        assert nodes.write.count(name).require().value == 0, "nothing flushes it by itself"
        client.flush(name).require()
    assert nodes.write.count(name).require().value == 10
    reader.stop()
    assert not (reader.folder / "wal" / "mxlog.meta").exists()


def test_commands_say_what_it_is(nodes: Nodes) -> None:
    for client in (nodes.write, nodes.read):
        told = {text: client.cmd(text).require().value for text in ("version", "status", "mode", "build_commit_id")}
        assert told == {"version": "1.1.0", "status": "OK", "mode": "CPU", "build_commit_id": "stand-in"}
        info = json.loads(client.cmd("get_system_info").require().value)
        assert info.keys() == {"implementation", "memory_total", "memory_used"}
        assert info["implementation"] == "stand-in"
        assert int(info["memory_total"]) > int(info["memory_used"]) > 1 << 20
        assert client.cmd("get_config gpu.enable").code == 1, "a CPU build does not read that key"
        assert client.cmd("get_config storage.auto_flush_interval").require().value == "1"
        assert client.cmd("nonsense").require().value == "Unknown command"
        assert client.cmd("get_config nonsense.key").code == 1
        assert client.cmd("set_config cache.cpu_cache_threshold 7").code == 5


def test_what_is_about_the_cache_can_be_set_while_it_runs(nodes: Nodes, name: str) -> None:
    assert nodes.write.cmd("set_config cache.cache_insert_data true").ok
    try:
        _insert_and_lose_the_file(nodes, name)
    finally:
        assert nodes.write.cmd("set_config cache.cache_insert_data false").ok
    assert nearest(nodes.write, name, vectors(1, 1), 1) == [[0]], "it was kept as it was written"
    other = f"{name}_not"
    nodes.write.create_collection(other, DIMENSION).require()
    _insert_and_lose_the_file(nodes, other)
    assert nodes.write.search(other, vectors(1, 1), 1).code == 1, "only its file had it"
    nodes.write.drop_collection(other)


def _insert_and_lose_the_file(nodes: Nodes, collection: str) -> None:
    nodes.write.insert(collection, vectors(1, 10), np.arange(10)).require()
    nodes.write.flush(collection).require()
    ((segment,),) = nodes.mysql.query("SELECT segment_id FROM TableFiles WHERE table_id = %s", (collection,))
    (nodes.shared / "tables" / collection / segment / f"{segment}.rv").unlink()
