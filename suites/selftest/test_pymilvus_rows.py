"""The methods of pymilvus 1.1.2 that deal with rows and indexes; the others are in test_pymilvus_methods.py."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from fixtures.wire import IndexType, MetricType, Milvus, ParamError
from suites.selftest.pymilvus_doors import MISHARDS, READER, ROWS, TAG, WRITER, Doors, ids_of, ok, refused
from suites.selftest.standin_nodes import DIMENSION, vectors

pytestmark = pytest.mark.selftest


# --- rows


def test_insert(doors: Doors, door: str, milvus: Milvus, filled: str) -> None:
    more = vectors(2, 5)
    assert ok(milvus.insert(filled, more[:2].tolist(), ids=[100, 101])) == [100, 101]
    assert ok(milvus.insert(filled, more[2:4], ids=[102, 103], partition_tag=TAG)) == [102, 103]
    sent = milvus.insert(filled, more[4:].tolist(), ids=[104], _async=True)
    assert ok(sent.result()) == [104]
    if door != READER:  # whose inserts nobody ever applies
        ok(milvus.flush([filled]))
        assert ok(milvus.count_entities(filled)) == ROWS + 5
        assert ids_of(doors.clients[WRITER].search(filled, 1, more[:2].tolist())) == [[100], [101]]


def test_insert_with_bad_arguments(milvus: Milvus, filled: str) -> None:
    rows = vectors(2, 2).tolist()
    assert refused(milvus.insert(filled, rows))[0] == 12, "ids were given before"
    assert refused(milvus.insert(filled, [[0.5] * 3], ids=[1]))[0] == 7
    assert refused(milvus.insert(filled, [b"\x01\x02"], ids=[1]))[0] == 7
    assert refused(milvus.insert(filled, rows, ids=[1, 2], partition_tag="absent"))[0] == 1
    assert refused(milvus.insert("absent", rows, ids=[1, 2]))[0] == 4
    for wrong, ids in ((rows, [1]), (rows, [-1, 2]), ([], None), ([[1.0], [1.0, 2.0]], None)):
        with pytest.raises(ParamError):
            milvus.insert(filled, wrong, ids=ids)


def test_insert_makes_ids(doors: Doors, door: str, milvus: Milvus) -> None:
    made = f"auto_{door}"
    ok(doors.clients[WRITER].create_collection({"collection_name": made, "dimension": DIMENSION}))
    ids = ok(milvus.insert(made, vectors(3, 4).tolist()))
    assert len(set(ids)) == 4
    assert ids == sorted(ids)
    ok(doors.clients[WRITER].drop_collection(made))


def test_get_entity_by_id(doors: Doors, door: str, milvus: Milvus, filled: str) -> None:
    found = ok(milvus.get_entity_by_id(filled, [3, 25, 999]))
    assert np.allclose(found[:2], doors.written[[3, 25]])
    assert len(found[2]) == 0
    found = ok(milvus.get_entity_by_id(filled, [3, 25], partition_tag=TAG))
    assert [len(vector) for vector in found] == ([DIMENSION] * 2 if door == MISHARDS else [0, DIMENSION])
    assert refused(milvus.get_entity_by_id("absent", [1]))[0] == 4
    assert refused(milvus.get_entity_by_id(filled, list(range(1001))))[0] == 5
    with pytest.raises(ParamError):
        milvus.get_entity_by_id(filled, [])


def test_list_id_in_segment(milvus: Milvus, filled: str) -> None:
    stats = ok(milvus.get_collection_stats(filled))
    (segment,) = stats["partitions"][1]["segments"]
    assert sorted(ok(milvus.list_id_in_segment(filled, segment["name"]))) == list(range(20, 30))
    assert refused(milvus.list_id_in_segment(filled, "17")) == (1, "Segment does not exist")
    assert refused(milvus.list_id_in_segment("absent", segment["name"]))[0] == 4


def test_delete_entity_by_id(doors: Doors, door: str, milvus: Milvus, filled: str) -> None:
    ok(milvus.delete_entity_by_id(filled, [1, 999]))
    ok(milvus.delete_entity_by_id(filled, [2, 25], partition_tag=TAG))
    assert refused(milvus.delete_entity_by_id("absent", [1]))[0] == 4
    with pytest.raises(ParamError):
        milvus.delete_entity_by_id(filled, [])
    ok(doors.clients[WRITER].flush([filled]))
    left = {WRITER: ROWS - 2, MISHARDS: ROWS - 3, READER: ROWS}[door]
    assert ok(milvus.count_entities(filled)) == left, "Mishards drops the tag, a reader keeps it all to itself"


def test_flush(door: str, milvus: Milvus, doors: Doors, filled: str) -> None:
    ok(doors.clients[WRITER].flush())
    if door == READER:  # it may hang there: facts 1.3
        assert refused(milvus.flush(["absent"]))[0] == 4
        return
    ok(milvus.insert(filled, vectors(2, 3).tolist(), ids=[100, 101, 102]))
    assert ok(milvus.flush([filled], _async=True).result()) is None
    assert ok(milvus.count_entities(filled)) == ROWS + 3
    ok(milvus.flush([]))
    assert refused(milvus.flush(["absent"]))[0] == 4
    with pytest.raises(ParamError):
        milvus.flush(filled)


def test_compact(doors: Doors, milvus: Milvus, filled: str) -> None:
    before = doors.nodes.files(filled)
    ok(doors.clients[WRITER].delete_entity_by_id(filled, list(range(10))))
    ok(doors.clients[WRITER].flush([filled]))
    ok(milvus.compact(filled))
    live = [file for file in doors.nodes.files(filled) if file[1] == 1]
    assert [rows for _, _, rows in live] == [10]
    assert not {file for file, _, _ in live} & {file for file, _, _ in before}
    assert refused(milvus.compact("absent"))[0] == 4


# --- indexes


def test_create_index(milvus: Milvus, filled: str) -> None:
    ok(milvus.create_index(filled, IndexType.IVF_FLAT, {"nlist": 16}))
    assert refused(milvus.create_index(filled, IndexType.IVF_FLAT, {}))[0] == 5
    assert refused(milvus.create_index(filled, IndexType.IVF_FLAT, {"nlist": 0}))[0] == 5
    assert refused(milvus.create_index(filled, IndexType.IVF_SQ8H, {"nlist": 16}))[0] == 8
    assert refused(milvus.create_index("absent", IndexType.FLAT))[0] == 4
    with pytest.raises(ParamError):
        milvus.create_index(filled, 999)
    assert ok(milvus.create_index(filled, IndexType.FLAT, _async=True).result()) is None


def test_get_index_info(milvus: Milvus, doors: Doors, filled: str) -> None:
    info = ok(milvus.get_index_info(filled))
    assert (info.collection_name, info.index_type, info.params) == (filled, IndexType.FLAT, {})
    ok(doors.clients[WRITER].create_index(filled, IndexType.IVF_SQ8, {"nlist": 8}))
    info = ok(milvus.get_index_info(filled))
    assert (info.index_type, info.params) == (IndexType.IVF_SQ8, {"nlist": 8})
    assert refused(milvus.get_index_info("absent"))[0] == 4


def test_drop_index(milvus: Milvus, doors: Doors, filled: str) -> None:
    ok(doors.clients[WRITER].create_index(filled, IndexType.IVF_FLAT, {"nlist": 8}))
    ok(milvus.drop_index(filled))
    assert ok(milvus.get_index_info(filled)).index_type == IndexType.FLAT
    ok(milvus.drop_index(filled))
    assert refused(milvus.drop_index("absent"))[0] == 4


# --- searching


def test_search(doors: Doors, milvus: Milvus, filled: str) -> None:
    result = ok(milvus.search(filled, 3, doors.written[[4, 22]].tolist()))
    assert len(result) == 2
    exact = ((doors.written[[4, 22]][:, None] - doors.written) ** 2).sum(axis=2)
    assert result.id_array == np.argsort(exact, axis=1)[:, :3].tolist()
    assert np.allclose(result.distance_array, np.sort(exact, axis=1)[:, :3], atol=1e-5)
    assert ids_of(milvus.search(filled, 1, doors.written[:1], partition_tags=["p.*"]))[0][0] >= 20
    assert ids_of(milvus.search(filled, 1, doors.written[20:21], partition_tags=["_default"]))[0][0] < 20
    assert ids_of(milvus.search(filled, 1, doors.written[5:6].tolist(), _async=True).result()) == [[5]]


def test_search_with_bad_arguments(milvus: Milvus, doors: Doors, filled: str) -> None:
    queries = doors.written[:1].tolist()
    assert refused(milvus.search("absent", 1, queries))[0] == 4
    assert refused(milvus.search(filled, 0, queries))[0] == 10
    assert refused(milvus.search(filled, 16385, queries))[0] == 10
    assert refused(milvus.search(filled, 1, [[0.5] * 3]))[0] == 7
    code, message = refused(milvus.search(filled, 1, queries, partition_tags=["absent"]))
    assert (code, message) == (1, "The specified partition does not exist")
    wrong: dict[str, Any]
    for wrong in ({"top_k": "1"}, {"query_records": []}, {"partition_tags": "p1"}, {"params": []}):
        with pytest.raises(ParamError):
            milvus.search(filled, **{"top_k": 1, "query_records": queries, **wrong})


@pytest.mark.parametrize("metric", list(MetricType)[3:], ids=lambda metric: metric.name)
def test_search_of_bits(doors: Doors, door: str, milvus: Milvus, metric: MetricType) -> None:
    made = f"bits_{door}_{metric.name}"
    writer = doors.clients[WRITER]
    rows = [bytes(row) for row in np.random.default_rng(1).integers(0, 256, (10, 8), dtype=np.uint8)]
    ok(writer.create_collection({"collection_name": made, "dimension": 64, "metric_type": metric}))
    ok(writer.insert(made, rows, ids=list(range(10))))
    ok(writer.flush([made]))
    assert ids_of(milvus.search(made, 1, rows[3:5])) == [[3], [4]]
    assert ok(milvus.get_entity_by_id(made, [3])) == [rows[3]]
    ok(writer.drop_collection(made))


def test_search_in_segment(doors: Doors, door: str, milvus: Milvus, filled: str) -> None:
    files = [str(row[0]) for row in doors.nodes.files(filled)]
    queries = doors.written[[4, 22]].tolist()
    if door == MISHARDS:
        assert refused(milvus.search_in_segment(filled, files, queries, 1))[0] == grpc.StatusCode.UNKNOWN
        return
    found = ids_of(milvus.search_in_segment(filled, files, queries, 1))
    assert found[0] == [4]
    assert found[1][0] < 20, "the partition has files of its own"
    assert refused(milvus.search_in_segment(filled, [999999], queries, 1)) == (1, "Invalid file id")
    assert refused(milvus.search_in_segment("absent", files, queries, 1))[0] == 4
    with pytest.raises(ParamError):
        milvus.search_in_segment(filled, [], queries, 1)


def test_what_is_made_through_mishards_is_seen_at_each_door(doors: Doors, door: str, milvus: Milvus) -> None:
    made, proxy = f"everywhere_{door}", doors.clients[MISHARDS]
    ok(proxy.create_collection({"collection_name": made, "dimension": DIMENSION}))
    ok(proxy.insert(made, doors.written.tolist(), ids=list(range(ROWS))))
    ok(proxy.flush([made]))
    assert ids_of(milvus.search(made, 1, doors.written[:1].tolist())) == [[0]]
    ok(proxy.drop_collection(made))
