"""A writer that keeps what it could not flush (`lost-flush` fixed), against a flusher that fails on demand."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fixtures.standin.deviations import AS_1_1_0, Deviation, Fixed
from fixtures.standin.failures import MetaError, NodeError, NotFound
from fixtures.standin.memory import Memory, MemTable
from fixtures.standin.wal import RecordType, WalRecord
from fixtures.standin.writer import Writer

pytestmark = pytest.mark.selftest

FIXED: Fixed = frozenset({Deviation.LOST_FLUSH})


class Flusher:
    """Remembers the ids that were flushed, by table; fails for the tables in `failing`."""

    def __init__(self) -> None:
        self.failing: dict[str, NodeError] = {}
        self.flushed: dict[str, list[int]] = {}

    def flush(self, table: MemTable, _lsn: int) -> None:
        if table.table_id in self.failing:
            raise self.failing[table.table_id]
        for segment in table.segments:
            ids, _ = segment.rows() or (np.empty(0, dtype=np.int64), None)
            self.flushed.setdefault(table.table_id, []).extend(ids.tolist())


def writer(flusher: Flusher, fixed: Fixed) -> Writer:
    """Without a log: what is inserted is in memory at once."""
    memory = Memory(lambda table_id: SimpleNamespace(table_id=table_id))  # type: ignore[arg-type, return-value]
    nothing: Any = SimpleNamespace(start=lambda *_: None, raise_global_lsn=lambda _: None, partitions=lambda _: [])
    return Writer(nothing, memory, flusher, nothing, threading.Lock(), None, 0.0, 1 << 30, fixed)  # type: ignore[arg-type]


def insert(into: Writer, collection: str, *uids: int) -> None:
    rows = np.zeros((len(uids), 4), dtype=np.float32)
    into.apply_at_once(WalRecord(0, RecordType.INSERT_VECTOR, collection, "", np.array(uids), rows))


def delete(into: Writer, collection: str, *uids: int) -> None:
    into.apply_at_once(WalRecord(0, RecordType.DELETE, collection, "", np.array(uids), None))


@pytest.mark.parametrize("collection", ["", "a"], ids=["all", "one"])
def test_what_could_not_be_flushed_comes_with_the_next_flush(collection: str) -> None:
    flusher = Flusher()
    kept = writer(flusher, FIXED)
    insert(kept, "a", 1, 2, 3)
    insert(kept, "b", 7)
    flusher.failing = {"a": MetaError("x", "y")}
    with pytest.raises(MetaError):
        kept.flush(collection)
    delete(kept, "a", 2, 9)
    insert(kept, "a", 2, 4)
    flusher.failing = {}
    kept.flush("")
    assert flusher.flushed == {"a": [1, 3, 2, 4], "b": [7]}, "in their order; the delete hit what was there before it"


def test_1_1_0_loses_it_and_says_nothing() -> None:
    flusher = Flusher()
    loses = writer(flusher, AS_1_1_0)
    insert(loses, "a", 1)
    insert(loses, "b", 7)
    flusher.failing = {"a": MetaError("x", "y")}
    loses.flush("")
    flusher.failing = {}
    loses.flush("")
    assert flusher.flushed == {}


def test_what_was_dropped_meanwhile_holds_nothing_up() -> None:
    flusher = Flusher()
    kept = writer(flusher, FIXED)
    insert(kept, "a", 1)
    insert(kept, "b", 7)
    flusher.failing = {"a": NotFound("Collection a not found")}
    kept.flush("")
    assert flusher.flushed == {"b": [7]}
