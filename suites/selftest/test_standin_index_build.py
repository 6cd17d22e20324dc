"""What happens in the middle of an index build of a stand-in: its client, its node or MySQL ends, rows are deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fixtures.clients import Client
from fixtures.waits import wait_until
from fixtures.wire import IndexType
from suites.selftest.index_nodes import (
    BACKUP,
    INDEX,
    NEW_INDEX,
    RAW,
    SLOW,
    SLOW_ROWS,
    TO_INDEX,
    await_states,
    counts,
    fill,
    own_collection,
    own_ids,
    states,
)
from suites.selftest.standin_nodes import DIMENSION, Nodes, running

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("indexes")) as cluster:
        yield cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, nodes: Nodes) -> Iterator[str]:
    with own_collection(nodes, request.node.name) as collection:
        yield collection


def test_a_client_that_gives_up_ends_the_waiting_not_the_build(nodes: Nodes, name: str) -> None:
    fill(nodes, name, SLOW_ROWS)
    with Client("impatient", nodes.writer.endpoint, timeout_s=1) as client:
        assert not client.create_index(name, IndexType.HNSW, SLOW).ok
    nodes.write.create_partition(name, "p").require()
    assert states(nodes, name) == [TO_INDEX, NEW_INDEX], "the partition was made after the build"
    await_states(nodes, name, [INDEX, BACKUP])


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_an_end_in_the_middle_of_a_build_loses_nothing(nodes: Nodes, name: str, end: str) -> None:
    rows = fill(nodes, name, SLOW_ROWS)
    with ThreadPoolExecutor(1) as pool, Client("writer", nodes.writer.endpoint) as client:
        creating = pool.submit(client.create_index, name, IndexType.HNSW, SLOW)
        await_states(nodes, name, [TO_INDEX, NEW_INDEX])
        assert nodes.read.search(name, rows[:3], 1, {"ef": 10}).require().ids[:, 0].tolist() == [0, 1, 2]
        ended = nodes.writer.kill() if end == "kill" else nodes.writer.stop()
        assert end == "kill" or (ended is not None and not ended.forced), "it did not wait for the build"
        assert not creating.result().ok
    nodes.writer.start()
    await_states(nodes, name, [INDEX, BACKUP])
    assert own_ids(nodes.read, name, rows[:5], {"ef": 200}) == [0, 1, 2, 3, 4]
    assert nodes.read.count(name).require().value == SLOW_ROWS


def test_a_build_whose_end_mysql_does_not_take_is_done_again(nodes: Nodes, name: str) -> None:
    rows = fill(nodes, name, SLOW_ROWS)
    with ThreadPoolExecutor(1) as pool, Client("patient", nodes.writer.endpoint, timeout_s=60) as client:
        creating = pool.submit(client.create_index, name, IndexType.HNSW, SLOW)
        await_states(nodes, name, [TO_INDEX, NEW_INDEX])
        nodes.mysql.query("RENAME TABLE TableFiles TO HiddenFiles")
        try:
            log = nodes.writer.log
            wait_until(
                lambda: re.search(r"built HNSW(?s:.*)Failed to get files by id", log.read_text()),
                timeout_s=60,
                reason="the end of the build failed",
            )
        finally:
            nodes.mysql.query("RENAME TABLE HiddenFiles TO TableFiles")
        assert not creating.result().ok, "it could not ask MySQL whether files are left"
    await_states(nodes, name, [INDEX, BACKUP])
    assert own_ids(nodes.read, name, rows[:5], {"ef": 200}) == [0, 1, 2, 3, 4]


def test_a_drop_during_a_build_stays_dropped(nodes: Nodes, name: str) -> None:
    nodes.write.create_index(name, IndexType.HNSW, SLOW).require()
    fill(nodes, name, SLOW_ROWS)
    await_states(nodes, name, [TO_INDEX, NEW_INDEX])
    nodes.write.drop_collection(name).require()
    wait_until(
        lambda: nodes.write.create_collection(name, DIMENSION).ok,
        timeout_s=20,
        reason="the name is free again (facts 5.4)",
    )
    fill(nodes, name, 10)
    wait_until(
        lambda: re.search(rf"built HNSW of {name}/(?s:.*)not wanted any more", nodes.writer.log.read_text()),
        timeout_s=60,
        reason="the build has ended",
    )
    assert states(nodes, name) == [RAW]
    assert nodes.read.count(name).require().value == 10


def test_a_delete_during_a_build_is_masked_but_counted_until_compaction(nodes: Nodes, name: str) -> None:
    nodes.write.create_index(name, IndexType.HNSW, SLOW).require()
    rows = fill(nodes, name, SLOW_ROWS)
    await_states(nodes, name, [TO_INDEX, NEW_INDEX])
    gone = np.arange(SLOW_ROWS // 5)
    left = SLOW_ROWS - gone.size
    nodes.write.delete(name, gone).require()
    nodes.write.flush(name).require()
    assert counts(nodes, name, TO_INDEX) == [left], "the build was over before the delete"
    await_states(nodes, name, [INDEX, BACKUP])
    assert (counts(nodes, name, INDEX), counts(nodes, name, BACKUP)) == ([SLOW_ROWS], [left]), "as Milvus (facts 2.6)"
    found = nodes.read.search(name, rows[:20], 10, {"ef": 100}).require().ids
    assert not np.isin(gone, found).any()
    assert (found >= 0).all()
    nodes.write.compact(name).require()
    assert nodes.read.count(name).require().value == left
