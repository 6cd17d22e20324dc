"""The parts of the stand-in Mishards that need no server: hash ring, merge, settings, what is due for a reload."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.standin.mishards.errors import SettingsError
from fixtures.standin.mishards.merge import Merged, merge
from fixtures.standin.mishards.metadata import SegmentFile
from fixtures.standin.mishards.ring import Ring
from fixtures.standin.mishards.search import Reloads
from fixtures.standin.mishards.settings import Settings, from_environment
from fixtures.wire import milvus_pb2, status_pb2

pytestmark = pytest.mark.selftest

FLT_MAX = 3.4028235e38
RINGS = json.loads((Path(__file__).parent / "data" / "mishards_ring.json").read_text())["rings"]


# --- hash ring


@pytest.mark.parametrize("recorded", RINGS, ids=lambda recorded: f"{len(recorded['readers'])} readers")
def test_ring_places_every_file_where_mishards_does(recorded: dict[str, Any]) -> None:
    ring = Ring(recorded["readers"])
    placed = [ring.node_of(str(id_)) for id_ in range(1, 1001)]
    assert placed == [recorded["readers"][int(index)] for index in recorded["placements"]]


def test_ring_without_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        Ring([])


# --- merge

Row = Sequence[tuple[int, float]]


def reply(*rows: Row) -> Any:
    hits = [hit for row in rows for hit in row]
    return milvus_pb2.TopKQueryResult(
        row_num=len(rows), ids=[id_ for id_, _ in hits], distances=[distance for _, distance in hits]
    )


def merged_ids(*replies: Any, descending: bool = False) -> list[int]:
    answer = merge(replies, descending=descending)
    assert answer.code == 0
    assert len(answer.ids) == len(answer.distances)
    return answer.ids


def test_merge_takes_the_nearest_of_all_replies_for_each_query() -> None:
    one = reply([(1, 0.1), (3, 0.3)], [(5, 0.0), (6, 0.9)])
    other = reply([(2, 0.2), (4, 0.4)], [(7, 0.5), (8, 0.6)])
    assert merged_ids(one, other) == [1, 2, 5, 7]


def test_merge_of_inner_products_takes_the_largest() -> None:
    assert merged_ids(reply([(1, 9.0), (3, 7.0)]), reply([(2, 8.0), (4, 1.0)]), descending=True) == [1, 2]


def test_merge_keeps_the_earlier_reply_first_among_equal_distances() -> None:
    assert merged_ids(reply([(9, 0.5), (2, 0.7)]), reply([(3, 0.5), (4, 0.6)])) == [9, 3]
    descending = merged_ids(reply([(9, 0.5), (2, 0.2)]), reply([(3, 0.5), (4, 0.3)]), descending=True)
    assert descending == [9, 3]


def test_merge_sorts_pads_by_their_distance() -> None:
    padded = reply([(1, 0.1), (-1, FLT_MAX)])
    assert merged_ids(padded, reply([(2, 0.2), (3, 0.3)])) == [1, 2]
    assert merged_ids(padded, reply([(2, FLT_MAX), (-1, FLT_MAX)])) == [1, -1]


def test_merge_answers_with_the_first_error_alone() -> None:
    broken = milvus_pb2.TopKQueryResult(status=status_pb2.Status(error_code=15, reason="no MySQL"), row_num=1, ids=[9])
    assert merge([reply([(1, 0.1)]), broken], descending=False) == Merged(15, "no MySQL", [], [])


def test_merge_passes_over_replies_without_rows() -> None:
    assert merged_ids(reply(), reply([(1, 0.1)]), reply()) == [1]
    assert merge([reply()], descending=False) == Merged(0, "Success", [], [])


def test_narrow_reply_before_a_wide_one_breaks_the_merge() -> None:
    # Measured: [3, 20] rows, topk 10, on two readers.
    with pytest.raises(IndexError, match=r"^list index out of range$"):
        merge([reply([(1, 0.1)]), reply([(2, 0.2), (3, 0.3)])], descending=False)


def test_wide_reply_before_a_narrow_one_loses_rows() -> None:
    # Measured: [20, 3] rows, topk 10: the answer is cut to the width of the narrow reply, 3 rows and a pad.
    wide = reply([(10 + n, 0.1 * n) for n in range(10)])
    assert merged_ids(wide, reply([(1, 0.05), (2, 0.15), (-1, FLT_MAX)])) == [10, 1, 11]


def test_rows_of_unequal_length_slide_into_the_next_query() -> None:
    wide = reply([(1, 0.1), (2, 0.2), (3, 0.3)], [(4, 0.7), (5, 0.8), (6, 0.9)])
    narrow = reply([(7, 0.9), (8, 0.95)], [(9, 0.75), (10, 0.95)])
    # The first row ends before the narrow one begins, so it stays at three entries; the second is cut to two.
    assert merged_ids(wide, narrow) == [1, 2, 3, 4, 9]


def test_equally_narrow_replies_never_widen() -> None:
    # Measured: [5] x 6 rows, topk 100: 16 entries where 31 exist.
    answers = [reply([(10 * n + i, 0.1 * i + 0.01 * n) for i in range(3)]) for n in range(3)]
    assert merged_ids(*answers) == [0, 10, 20]


# --- reloads


def test_each_reader_is_told_of_a_change_once() -> None:
    reloads = Reloads()
    first = [SegmentFile(1, updated_time=10), SegmentFile(2, updated_time=10)]
    assert reloads.due("a", first) == [1, 2]
    assert reloads.due("a", first) == []
    assert reloads.due("b", first) == [1, 2]
    assert reloads.due("a", [SegmentFile(1, updated_time=10), SegmentFile(2, updated_time=11)]) == [2]


# --- settings

GOOD = {
    "WOSERVER": "tcp://rw:19530",
    "SQLALCHEMY_DATABASE_URI": "mysql+pymysql://root@127.0.0.1:3306/milvus",
    "DISCOVERY_STATIC_HOSTS": "ro1, ro2:29530",
}
NAMES = {"rw": "10.0.0.1", "ro1": "10.0.0.2", "ro2": "10.0.0.3"}


def resolve(host: str) -> str:
    if host not in NAMES:
        raise OSError("Name or service not known")
    return NAMES[host]


def settings(**changes: str) -> Settings:
    return from_environment({**GOOD, **changes}, resolve)


def test_defaults_are_those_of_mishards() -> None:
    found = settings()
    assert (found.port, found.max_workers, found.max_retry, found.log_level) == (19530, 50, 3, "INFO")
    pool = found.database
    assert (pool.pool_size, pool.pool_recycle_s, pool.pool_timeout_s, pool.max_overflow) == (100, 5, 30, 0)
    assert pool.pool_pre_ping
    assert not pool.echo


def test_addresses_are_resolved_and_given_their_default_ports() -> None:
    assert settings().writer == "10.0.0.1:19530"
    assert settings(WOSERVER="tcp://rw").writer == "10.0.0.1:80"
    assert settings().readers == ("10.0.0.2:19530", "10.0.0.3:29530")
    assert settings(DISCOVERY_STATIC_PORT="20000").readers == ("10.0.0.2:20000", "10.0.0.3:29530")
    assert settings(DISCOVERY_STATIC_HOSTS="ro1,ro1:19530").readers == ("10.0.0.2:19530",)


def test_values_are_taken_as_mishards_takes_them() -> None:
    found = settings(SERVER_PORT="19531", MAX_RETRY="1", DEBUG="true", pool_pre_ping="False", POOL_SIZE="7")
    assert (found.port, found.max_retry, found.log_level) == (19531, 1, "DEBUG")
    assert not found.database.pool_pre_ping
    assert found.database.pool_size == 100, "only the lower-case name counts"


@pytest.mark.parametrize("key", list(GOOD))
def test_a_required_key_that_is_missing_is_named(key: str) -> None:
    environment = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(SettingsError, match=key):
        from_environment(environment, resolve)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("WOSERVER", "rw:19530"),
        ("WOSERVER", "tcp://rw:port"),
        ("WOSERVER", "tcp://elsewhere:19530"),
        ("DISCOVERY_STATIC_HOSTS", "ro1,"),
        ("DISCOVERY_STATIC_HOSTS", "ro1:"),
        ("DISCOVERY_STATIC_HOSTS", "ro1:19530:1"),
        ("DISCOVERY_STATIC_HOSTS", "elsewhere"),
        ("SERVER_PORT", "0"),
        ("SERVER_PORT", "65536"),
        ("SERVER_PORT", "http"),
        ("MAX_WORKERS", "0"),
        ("MAX_WORKERS", "many"),
        ("MAX_RETRY", "-1"),
        ("pool_size", "x"),
        ("pool_pre_ping", "yes"),
        ("LOG_LEVEL", "LOUD"),
        ("DISCOVERY_CLASS_NAME", "kubernetes"),
        ("ROUTER_CLASS_NAME", "Other"),
        ("FROM_EXAMPLE", "true"),
        ("STANDIN_AS_FIXED", "prefix-tag"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_in_one_line(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key) as refused:
        settings(**{key: value})
    assert "\n" not in str(refused.value)
