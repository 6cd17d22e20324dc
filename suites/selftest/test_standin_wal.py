"""The stand-in's write-ahead log: nothing acknowledged is lost to kill -9, and Milvus' rules of what may start."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.standin.wal import META, RecordType, Wal, WalError, WalInitError, WalRecord, WalRecoveryError

pytestmark = pytest.mark.selftest

BUFFER_BYTES = 1 << 16
COLLECTION = {("c", ""): 0}
ROOT = Path(__file__).parents[2]


def opened(
    path: Path,
    flushed: Mapping[tuple[str, str], int] = COLLECTION,
    global_lsn: int = 0,
    ignore: bool = False,
    buffer_bytes: int = BUFFER_BYTES,
) -> Wal:
    wal = Wal(path, buffer_bytes, ignore)
    wal.open(global_lsn, flushed)
    return wal


def rows(count: int, columns: int = 4) -> NDArray[np.float32]:
    return np.arange(count * columns, dtype=np.float32).reshape(count, columns)


def insert(wal: Wal, *uids: int, tag: str = "", collection: str = "c") -> int:
    return wal.append_insert(collection, tag, np.array(uids, dtype=np.int64), rows(len(uids)))


def uids_of(records: Iterator[WalRecord]) -> list[int]:
    return [uid for record in records for uid in record.uids.tolist()]


# --- bytes


def test_an_insert_has_the_bytes_of_milvus(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    lsn = wal.append_insert("col", "p1", np.array([7, -1]), rows(2))
    size = 21 + 3 + 2 + 2 * 8 + 2 * 16
    header = struct.pack("<QBHHII", size, 2, 3, 2, 2, 32)
    body = b"colp1" + struct.pack("<qq", 7, -1) + rows(2).tobytes()
    assert lsn == size == wal.last_lsn
    assert (tmp_path / "0.wal").read_bytes() == header + body
    assert (tmp_path / META).read_bytes() == struct.pack("<QQQ", 0, size, size)


def test_a_delete_and_a_binary_insert_come_back(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): 0, ("c", "tag"): 0})
    bits = np.array([[1, 2], [3, 255]], dtype=np.uint8)
    first = wal.append_insert("c", "tag", np.array([1, 2]), bits)
    second = wal.append_delete("c", "", np.array([2, 9]))
    one, two = wal.records(0)
    assert (one.lsn, one.type, one.collection, one.tag) == (first, RecordType.INSERT_BINARY, "c", "tag")
    np.testing.assert_array_equal(one.vectors, bits)
    assert (two.lsn, two.type, two.tag, two.vectors) == (second, RecordType.DELETE, "", None)
    assert two.uids.tolist() == [2, 9]
    assert [record.lsn for record in wal.records(first)] == [second]
    assert list(wal.records(second)) == []


def test_names_beyond_ascii_come_back(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    insert(wal, 1, tag="分区")
    assert [record.tag for record in wal.records(0)] == ["分区"]


def test_nothing_to_log_is_refused(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    with pytest.raises(ValueError, match="an insert needs rows"):
        wal.append_insert("c", "", np.empty(0, np.int64), rows(0))
    with pytest.raises(ValueError, match="1 ids, 2 vectors"):
        wal.append_insert("c", "", np.array([1]), rows(2))
    with pytest.raises(ValueError, match="a delete needs ids"):
        wal.append_delete("c", "", np.empty(0, np.int64))


# --- files


def test_files_roll_at_half_the_buffer_and_no_row_is_lost(tmp_path: Path) -> None:
    wal = opened(tmp_path, buffer_bytes=2048)
    for start in range(0, 400, 40):
        insert(wal, *range(start, start + 40))
    sizes = [path.stat().st_size for path in tmp_path.glob("*.wal")]
    assert len(sizes) > 5
    assert max(sizes) <= 1024
    lsns = [record.lsn for record in wal.records(0)]
    assert lsns == sorted(set(lsns))
    assert uids_of(wal.records(0)) == list(range(400))
    assert uids_of(opened(tmp_path, buffer_bytes=2048).recovery()) == list(range(400))


def test_a_row_larger_than_a_file_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    wal = opened(tmp_path, buffer_bytes=200)
    before = insert(wal, 1)
    with pytest.raises(WalError, match="Wal buffer size is too small"):
        wal.append_insert("c", "", np.array([2]), rows(1, columns=40))
    assert insert(wal, 3) > before
    assert uids_of(wal.records(0)) == [1, 3]


def test_only_files_below_the_lsn_are_removed(tmp_path: Path) -> None:
    wal = opened(tmp_path, buffer_bytes=2048)
    lsns = [insert(wal, *range(20)) for _ in range(10)]
    wal.remove_before(lsns[5])
    left = sorted(int(path.stem) for path in tmp_path.glob("*.wal"))
    assert left[0] == lsns[5] >> 32
    assert left[-1] == lsns[-1] >> 32
    assert [record.lsn for record in wal.records(lsns[5])] == lsns[6:]
    wal.remove_before(1 << 60)
    assert [int(path.stem) for path in tmp_path.glob("*.wal")] == [lsns[-1] >> 32]
    insert(wal, 77)
    assert uids_of(wal.records(lsns[-1])) == [77]


# --- restart


def test_unflushed_records_are_replayed_and_flushed_ones_are_not(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): 0, ("c", "p"): 0})
    done = insert(wal, 1)
    insert(wal, 2, tag="p")
    insert(wal, 3)
    again = opened(tmp_path, {("c", ""): done, ("c", "p"): 0})
    assert uids_of(again.recovery()) == [2, 3]
    # Replay does not make anything durable: a second crash changes nothing.
    assert uids_of(opened(tmp_path, {("c", ""): done, ("c", "p"): 0}).recovery()) == [2, 3]


def test_records_of_unknown_collections_and_partitions_are_skipped(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): 0, ("gone", ""): 0, ("c", "gone"): 0})
    insert(wal, 1, collection="gone")
    insert(wal, 2, tag="gone")
    insert(wal, 3)
    assert uids_of(opened(tmp_path).recovery()) == [3]


def test_a_clean_restart_begins_a_new_file_and_removes_the_old(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    done = insert(wal, 1)
    again = opened(tmp_path, {("c", ""): done}, global_lsn=done)
    assert uids_of(again.recovery()) == []
    assert not (tmp_path / "0.wal").exists()
    assert again.last_lsn == done
    assert insert(again, 2) >> 32 == 1
    assert uids_of(again.records(done)) == [2]


def test_appends_after_a_recovery_go_on_where_the_log_ended(tmp_path: Path) -> None:
    insert(opened(tmp_path), 1)
    again = opened(tmp_path)
    assert uids_of(again.recovery()) == [1]
    insert(again, 2)
    assert uids_of(opened(tmp_path).recovery()) == [1, 2]


@pytest.mark.parametrize("tail", [b"x", bytes(21), b"\xff" * 500])
def test_a_torn_tail_is_ignored_and_overwritten(tmp_path: Path, tail: bytes) -> None:
    insert(opened(tmp_path), 1)
    with (tmp_path / "0.wal").open("ab") as file:
        file.write(tail)
    again = opened(tmp_path)
    assert uids_of(again.recovery()) == [1]
    insert(again, 2)
    assert uids_of(opened(tmp_path).recovery()) == [1, 2]


def test_a_record_that_the_meta_file_does_not_reach_was_never_acknowledged(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    insert(wal, 1)
    meta = (tmp_path / META).read_bytes()
    insert(wal, 2)
    (tmp_path / META).write_bytes(meta)
    assert uids_of(opened(tmp_path).recovery()) == [1]


def test_a_half_written_meta_file_means_the_record_before(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    first = insert(wal, 1)
    second = insert(wal, 2)
    (tmp_path / META).write_bytes(struct.pack("<QQQ", first, second, first))
    assert uids_of(opened(tmp_path).recovery()) == [1]


CHILD = """
import sys
from pathlib import Path
import numpy as np
from fixtures.standin.wal import Wal
wal = Wal(Path(sys.argv[1]), 1 << 14)
wal.open(0, {("c", ""): 0})
for uid in range(10**9):
    wal.append_insert("c", "", np.arange(uid * 3, uid * 3 + 3), np.full((3, 8), uid, dtype=np.float32))
    print(uid, flush=True)
"""


def test_kill_9_loses_no_acknowledged_row(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for _ in range(200):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().splitlines()
    acknowledged = int(rest[-1]) if rest and rest[-1].isdigit() else 199
    found = list(opened(tmp_path, buffer_bytes=1 << 14).recovery())
    uids = [uid for record in found for uid in record.uids.tolist()]
    assert uids == list(range(len(uids)))
    assert len(uids) >= 3 * (acknowledged + 1) > 3 * 199
    for record in found:
        assert record.vectors is not None
        np.testing.assert_array_equal(record.vectors[:, 0], record.uids // 3)


# --- what may start (measured on a real cluster)


def lsn(file_no: int, offset: int) -> int:
    return file_no << 32 | offset


@pytest.mark.parametrize(
    ("global_lsn", "flushed", "detail"),
    [
        (lsn(20, 50), lsn(21, 9), "bad wal file 20"),
        (lsn(21, 5), lsn(21, 9), "wal file not exist 21"),
        (0, lsn(0, 9), "wal file not exist 0"),
    ],
)
def test_an_empty_log_is_refused_while_the_global_lsn_is_behind(
    tmp_path: Path, global_lsn: int, flushed: int, detail: str
) -> None:
    tables = {("c", ""): flushed, ("d", ""): 0}
    with pytest.raises(WalInitError, match=r"^Wal init error!$") as refused:
        opened(tmp_path, tables, global_lsn)
    assert refused.value.detail == detail
    ignoring = opened(tmp_path, tables, global_lsn, ignore=True)
    assert list(ignoring.recovery()) == []
    assert insert(ignoring, 1) > flushed


def test_an_empty_log_starts_when_the_global_lsn_is_the_highest(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): lsn(21, 9), ("d", ""): lsn(3, 4)}, lsn(21, 9))
    assert list(wal.recovery()) == []
    assert insert(wal, 1) >> 32 == 22


def test_the_own_log_starts_with_the_global_lsn_behind(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    done = insert(wal, 1)
    insert(wal, 2)
    assert uids_of(opened(tmp_path, {("c", ""): done}, global_lsn=0).recovery()) == [2]


def test_rows_are_lost_when_another_writer_moved_the_global_lsn_on(tmp_path: Path) -> None:
    insert(opened(tmp_path), 1)
    assert uids_of(opened(tmp_path, COLLECTION, lsn(5, 100)).recovery()) == []


def test_a_log_shorter_than_acknowledged_is_refused(tmp_path: Path) -> None:
    insert(opened(tmp_path), 1, 2, 3)
    os.truncate(tmp_path / "0.wal", 30)
    with pytest.raises(WalInitError) as refused:
        opened(tmp_path)
    assert "30 bytes" in refused.value.detail
    assert list(opened(tmp_path, ignore=True).recovery()) == []


def test_a_corrupt_record_is_an_error_unless_ignored(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    first = insert(wal, 1)
    insert(wal, 2)
    content = bytearray((tmp_path / "0.wal").read_bytes())
    content[first + 8] = 99
    (tmp_path / "0.wal").write_bytes(content)
    with pytest.raises(WalRecoveryError, match=r"^Wal recovery error!$") as refused:
        list(opened(tmp_path).recovery())
    assert f"offset {first}" in refused.value.detail
    ignoring = opened(tmp_path, ignore=True)
    assert uids_of(ignoring.recovery()) == [1]
    last = ignoring.last_lsn
    insert(ignoring, 3)
    assert uids_of(ignoring.records(last)) == [3]


# --- what is pending


def test_a_flush_waits_for_what_was_written_and_is_no_record(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): 0, ("d", ""): 0})
    assert wal.append_flush("c") == 0
    written = insert(wal, 1)
    assert (wal.append_flush("c"), wal.append_flush("d"), wal.append_flush("")) == (written, 0, written)
    assert len(list(wal.records(0))) == 1
    wal.flushed("c", "", written)
    assert (wal.append_flush("c"), wal.append_flush("")) == (0, 0)


def test_a_delete_makes_every_partition_pending(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): 0, ("c", "p"): 0})
    written = wal.append_delete("c", "", np.array([1]))
    wal.flushed("c", "", written)
    assert wal.append_flush("c") == written
    wal.flushed("c", None, written)
    assert wal.append_flush("c") == 0


def test_collections_behind_the_log_are_pending_from_the_start(tmp_path: Path) -> None:
    wal = opened(tmp_path, {("c", ""): lsn(2, 7), ("d", ""): lsn(2, 3)}, lsn(2, 7))
    assert wal.append_flush("c") == 0
    assert wal.append_flush("d") == lsn(2, 7)


def test_collections_come_and_go(tmp_path: Path) -> None:
    wal = opened(tmp_path, {})
    insert(wal, 1, collection="new")
    since = wal.add_partition("new", "")
    insert(wal, 2, collection="new")
    assert wal.add_partition("new", "p") == wal.last_lsn > since
    insert(wal, 3, collection="new", tag="p")
    assert [wal.wants(record) for record in wal.records(0)] == [False, True, True]
    wal.drop_partition("new", "p")
    assert [wal.wants(record) for record in wal.records(0)] == [False, True, False]
    wal.drop_collection("new")
    assert not any(wal.wants(record) for record in wal.records(0))
    assert wal.append_flush("new") == 0


# --- trouble while writing


def test_a_failed_append_is_not_in_the_log_and_the_next_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = opened(tmp_path, buffer_bytes=2048)
    insert(wal, 1)
    before = wal.last_lsn
    write = os.pwrite
    calls = 0

    def failing(descriptor: int, data: bytes, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(WalError, match="No space left"):
        insert(wal, *range(100, 200))
    monkeypatch.undo()
    assert wal.last_lsn == before
    insert(wal, 2)
    assert uids_of(wal.records(0)) == [1, 2]
    assert uids_of(opened(tmp_path, buffer_bytes=2048).recovery()) == [1, 2]


def test_threads_append_side_by_side(tmp_path: Path) -> None:
    wal = opened(tmp_path)

    def work(start: int) -> None:
        for uid in range(start, start + 100):
            insert(wal, uid)

    threads = [threading.Thread(target=work, args=(1000 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = uids_of(opened(tmp_path).recovery())
    assert sorted(found) == sorted(1000 * each + uid for each in range(4) for uid in range(100))


def test_a_closed_log_can_be_opened_again(tmp_path: Path) -> None:
    wal = opened(tmp_path)
    insert(wal, 1)
    wal.close()
    wal.open(0, COLLECTION)
    assert uids_of(wal.recovery()) == [1]
