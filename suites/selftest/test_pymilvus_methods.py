"""Every public method of pymilvus 1.1.2, good and bad, at each door of a stand-in cluster: any client of 1.x works."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import grpc
import pytest

from fixtures.wire import MetricType, Milvus, NotConnectError, ParamError
from suites.selftest import test_pymilvus_rows
from suites.selftest.pymilvus_doors import (
    IN_PARTITION,
    MISHARDS,
    READER,
    ROWS,
    TAG,
    WRITER,
    Doors,
    ids_of,
    ok,
    refused,
)
from suites.selftest.standin_nodes import DIMENSION

pytestmark = pytest.mark.selftest

DEPRECATED = ("connect", "connected", "disconnect", "set_hook")
NO_COLLECTION = "Use milvus.has_collection to verify whether the collection exists."


def test_every_public_method_has_a_case() -> None:
    public = {name for name, _ in inspect.getmembers(Milvus) if not name.startswith("_")}
    tests = [*vars(sys.modules[__name__]), *vars(test_pymilvus_rows)]
    cases = {name.removeprefix("test_") for name in tests if name.startswith("test_")}
    assert public - cases - set(DEPRECATED) == set()
    assert public >= set(DEPRECATED)


# --- the client itself


@pytest.mark.parametrize("method", DEPRECATED)
def test_a_deprecated_method_says_so(doors: Doors, method: str) -> None:
    with pytest.raises(AttributeError, match=f"Function {method} has been deprecated"):
        getattr(doors.clients[WRITER], method)()


def test_name(doors: Doors) -> None:
    host, port = doors.addresses[WRITER]
    assert Milvus(host=host, port=port, name="mine").name == "mine"
    assert doors.clients[WRITER].name is None


def test_handler(milvus: Milvus) -> None:
    assert milvus.handler == "GRPC"


@pytest.mark.parametrize("pool", ["SingletonThread", "Singleton", "QueuePool"])
def test_each_pool_and_way_to_say_the_address(doors: Doors, door: str, pool: str) -> None:
    host, port = doors.addresses[door]
    assert ok(Milvus(uri=f"tcp://{host}:{port}", pool=pool).server_status()) == "OK"
    with Milvus(host=host, port=str(port), pool=pool) as opened:
        assert ok(opened.server_status()) == "OK"


def test_nobody_at_the_address() -> None:
    with pytest.raises(NotConnectError):
        Milvus(host="127.0.0.9", port="9", wait_timeout=0.3, max_retry=1)


def test_close(doors: Doors) -> None:
    host, port = doors.addresses[WRITER]
    other = Milvus(host=host, port=port)
    other.close()
    with pytest.raises(AttributeError):
        other.server_status()
    assert ok(doors.clients[WRITER].server_status()) == "OK"


def test_client_version(milvus: Milvus) -> None:
    assert milvus.client_version() == "1.1.2"


# --- the server


def test_server_status(milvus: Milvus) -> None:
    assert ok(milvus.server_status()) == "OK"


def test_server_version(milvus: Milvus) -> None:
    assert ok(milvus.server_version()) == "1.1.0"


def test_cmd(milvus: Milvus) -> None:
    assert ok(milvus._cmd("mode")) == "CPU"
    assert ok(milvus._cmd("nonsense")) == "Unknown command"
    with pytest.raises(ParamError):
        milvus._cmd("")


def test_get_config(door: str, milvus: Milvus) -> None:
    assert ok(milvus.get_config("cluster", "role")) == ("ro" if door == READER else "rw")
    assert ok(milvus.get_config("network", "bind.port")).isdigit()
    assert refused(milvus.get_config("cluster", "nonsense")) == (1, "Config node invalid: cluster.nonsense")


def test_set_config(milvus: Milvus) -> None:
    was = ok(milvus.get_config("engine_config", "use_blas_threshold"))
    ok(milvus.set_config("engine_config", "use_blas_threshold", 900))
    try:
        assert ok(milvus.get_config("engine_config", "use_blas_threshold")) == "900"
        assert refused(milvus.set_config("engine_config", "use_blas_threshold", "many"))[0] == 5
        assert refused(milvus.set_config("storage", "file_cleanup_timeout", "1"))[0] == 1
    finally:
        ok(milvus.set_config("engine_config", "use_blas_threshold", was))


# --- collections


@pytest.mark.parametrize("metric", list(MetricType)[1:], ids=lambda metric: metric.name)
def test_create_collection(door: str, milvus: Milvus, metric: MetricType) -> None:
    made = f"made_{door}_{metric.name}"
    param = {"collection_name": made, "dimension": 64, "index_file_size": 10, "metric_type": metric}
    try:
        ok(milvus.create_collection(param))
        assert refused(milvus.create_collection(param)) == (9, "Collection already exists")
        schema = ok(milvus.get_collection_info(made))
        assert (schema.dimension, schema.index_file_size, schema.metric_type) == (64, 10, metric)
    finally:
        ok(milvus.drop_collection(made))


def test_create_collection_with_bad_arguments(milvus: Milvus) -> None:
    good = {"collection_name": "never_made", "dimension": 8}
    bad: list[tuple[dict[str, object], int]] = [
        ({"collection_name": "9lives"}, 9),
        ({"collection_name": "x" * 256}, 9),
        ({"dimension": 0}, 7),
        ({"dimension": 32769}, 7),
        ({"dimension": 12, "metric_type": MetricType.HAMMING}, 7),
        ({"index_file_size": 4097}, 5),
        ({"index_file_size": 0}, 5),
    ]
    for change, code in bad:
        assert refused(milvus.create_collection({**good, **change}))[0] == code, change
    wrong: Any
    for wrong in ([], {}, {"collection_name": "x"}, {**good, "dimension": "8"}, {**good, "metric_type": 99}):
        with pytest.raises(ParamError):
            milvus.create_collection(wrong)


def test_has_collection(milvus: Milvus, filled: str) -> None:
    assert ok(milvus.has_collection(filled)) is True
    assert ok(milvus.has_collection("absent")) is False
    assert refused(milvus.has_collection("bad-name"))[0] == 9


def test_get_collection_info(milvus: Milvus, filled: str) -> None:
    schema = ok(milvus.get_collection_info(filled))
    assert (schema.collection_name, schema.dimension, schema.index_file_size) == (filled, DIMENSION, 1024)
    assert schema.metric_type == MetricType.L2
    code, message = refused(milvus.get_collection_info("absent"))
    assert code == 4
    assert NO_COLLECTION in message


def test_count_entities(milvus: Milvus, filled: str) -> None:
    assert ok(milvus.count_entities(filled)) == ROWS
    assert refused(milvus.count_entities("absent"))[0] == 4


def test_list_collections(milvus: Milvus, filled: str) -> None:
    listed = ok(milvus.list_collections())
    assert filled in listed
    assert len(listed) == len(set(listed))


def test_get_collection_stats(milvus: Milvus, filled: str) -> None:
    stats = ok(milvus.get_collection_stats(filled))
    assert stats["row_count"] == ROWS
    assert [(part["tag"], part["row_count"]) for part in stats["partitions"]] == [("_default", 20), (TAG, 10)]
    (segment,) = stats["partitions"][1]["segments"]
    assert segment["index_name"] == "IDMAP"
    assert segment["row_count"] == IN_PARTITION
    assert segment["data_size"] == IN_PARTITION * (DIMENSION * 4 + 8)
    assert refused(milvus.get_collection_stats("absent"))[0] == 4


def test_load_collection(milvus: Milvus, filled: str) -> None:
    ok(milvus.load_collection(filled))
    ok(milvus.load_collection(filled, partition_tags=[TAG]))
    assert refused(milvus.load_collection("absent"))[0] == 4
    assert refused(milvus.load_collection(filled, partition_tags=["absent"]))[0] == 1


def test_release_collection(door: str, milvus: Milvus, filled: str) -> None:
    if door == MISHARDS:
        assert refused(milvus.release_collection(filled))[0] == grpc.StatusCode.UNIMPLEMENTED
        return
    ok(milvus.load_collection(filled))
    ok(milvus.release_collection(filled))
    ok(milvus.release_collection(filled, partition_tags=[TAG]))
    assert refused(milvus.release_collection("absent"))[0] == 4


def test_reload_segments(doors: Doors, door: str, milvus: Milvus, filled: str) -> None:
    files = [str(row[0]) for row in doors.nodes.files(filled)]
    if door == MISHARDS:
        code, message = refused(milvus.reload_segments(filled, files))
        assert code == grpc.StatusCode.UNKNOWN
        assert "Not implemented in mishards" in message
        return
    ok(milvus.search(filled, 1, doors.written[:1].tolist()))
    ok(doors.clients[WRITER].delete_entity_by_id(filled, [0]))
    ok(doors.clients[WRITER].flush([filled]))
    ok(milvus.reload_segments(filled, files))
    assert ids_of(milvus.search(filled, 1, doors.written[:1].tolist())) != [[0]]
    if door == READER:
        assert refused(milvus.reload_segments(filled, ["abc"])) == (1, "stoul")


def test_drop_collection(doors: Doors, door: str, milvus: Milvus) -> None:
    made = f"dropped_{door}"
    ok(doors.clients[WRITER].create_collection({"collection_name": made, "dimension": 8}))
    ok(milvus.drop_collection(made))
    assert ok(milvus.has_collection(made)) is False
    assert refused(milvus.drop_collection(made))[0] == 4


# --- partitions


def test_create_partition(milvus: Milvus, filled: str) -> None:
    ok(milvus.create_partition(filled, "p2"))
    assert refused(milvus.create_partition(filled, "p2")) == (1, "Duplicate partition is not allowed")
    assert refused(milvus.create_partition(filled, "_default"))[0] == 1
    assert refused(milvus.create_partition(filled, " "))[0] == 1
    assert refused(milvus.create_partition("absent", "p"))[0] == 4
    with pytest.raises(ParamError):
        milvus.create_partition(filled, None)


def test_has_partition(milvus: Milvus, filled: str) -> None:
    assert ok(milvus.has_partition(filled, TAG)) is True
    assert ok(milvus.has_partition(filled, "_default")) is True
    assert ok(milvus.has_partition(filled, "absent")) is False
    assert refused(milvus.has_partition("absent", TAG))[0] == 4


def test_list_partitions(milvus: Milvus, filled: str) -> None:
    assert [partition.tag for partition in ok(milvus.list_partitions(filled))] == ["_default", TAG]
    assert refused(milvus.list_partitions("absent"))[0] == 4


def test_drop_partition(milvus: Milvus, filled: str) -> None:
    ok(milvus.drop_partition(filled, TAG))
    assert ok(milvus.count_entities(filled)) == ROWS - IN_PARTITION
    assert refused(milvus.drop_partition(filled, TAG)) == (1, f"Partition {TAG} of collection {filled} not found")
    assert refused(milvus.drop_partition(filled, "_default"))[0] == 9
