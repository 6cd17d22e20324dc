"""The stand-in's segment files: bytes of a real cluster, deletes by rename, and every kind of damage said aloud."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.standin.segments import IdGenerator, SegmentError, SegmentFolder
from suites.selftest.golden import STORAGE, vectors

pytestmark = pytest.mark.selftest

REAL = {
    "collection": next((STORAGE / "db/tables/seg").iterdir()),
    "partition": next((STORAGE / "db/tables/1795378389252373000").iterdir()),
}
Read = Callable[[SegmentFolder], object]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def segment(tmp_path: Path) -> SegmentFolder:
    """Ten rows of four floats: row n holds n in every place, with id 100 + n."""
    made = SegmentFolder(tmp_path / "s", 4, binary=False)
    rows = np.repeat(np.arange(10, dtype=np.float32), 4).reshape(10, 4)
    made.write("1", rows, np.arange(100, 110))
    return made


def test_a_real_segment_is_read() -> None:
    segment = SegmentFolder(REAL["collection"], 16, binary=False)
    np.testing.assert_array_equal(segment.vectors(), vectors({"$rows": {"seed": 40, "n": 60, "dim": 16}}))
    np.testing.assert_array_equal(segment.uids(), np.arange(100, 160))
    np.testing.assert_array_equal(segment.deleted(), [1, 5, 59])
    assert segment.bloom().might_contain(np.arange(106, 159)).all()


@pytest.mark.parametrize("name", REAL)
def test_a_segment_written_from_what_was_read_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    real = SegmentFolder(REAL[name], 16, binary=False)
    made = SegmentFolder(tmp_path / REAL[name].name, 16, binary=False)
    made.write(REAL[name].name, real.vectors(), real.uids())
    deleted = real.deleted()
    if deleted.size:
        made.append_deleted(deleted[:1])
        made.append_deleted(deleted[1:])
        bloom = made.bloom()
        bloom.remove(real.uids()[deleted])
        made.write_bloom(bloom)
    assert contents(made.folder) == contents(real.folder)


def test_a_binary_segment_comes_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(0, 256, (7, 3), dtype=np.uint8)
    segment = SegmentFolder(tmp_path / "s", 24, binary=True)
    segment.write("5", rows, np.arange(7))
    np.testing.assert_array_equal(segment.vectors(), rows)
    np.testing.assert_array_equal(segment.vector_at(np.array([6, 0])), rows[[6, 0]])
    assert (segment.folder / "5.rv").read_bytes() == (21).to_bytes(8, "little") + rows.tobytes()


def test_an_empty_segment_comes_back(tmp_path: Path) -> None:
    segment = SegmentFolder(tmp_path / "s", 4, binary=False)
    segment.write("5", np.empty((0, 4), dtype=np.float32), np.empty(0, dtype=np.int64))
    assert segment.vectors().shape == (0, 4)
    assert segment.uids().size == 0
    assert segment.deleted().size == 0


def test_rows_of_another_shape_or_type_are_not_written(tmp_path: Path) -> None:
    segment = SegmentFolder(tmp_path / "s", 4, binary=False)
    for rows in (np.zeros((2, 5), np.float32), np.zeros((3, 4), np.float32), np.zeros((2, 4), np.uint8)):
        with pytest.raises(ValueError, match="segment 9"):
            segment.write("9", rows, np.arange(2))
    assert not segment.folder.exists()


def test_parts_are_one_file_and_must_be_as_many_as_said(tmp_path: Path) -> None:
    whole, parted = (SegmentFolder(tmp_path / name, 4, binary=False) for name in ("whole", "parted"))
    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    whole.write("1", rows, np.arange(10))
    parted.write_parts("1", [rows[:3], rows[3:3], rows[3:]], np.arange(10))
    assert contents(parted.folder) == contents(whole.folder)
    with pytest.raises(ValueError, match="144 bytes were written, 160 were meant"):
        parted.write_parts("2", [rows[:9]], np.arange(10))


def test_only_the_asked_rows_are_read(segment: SegmentFolder) -> None:
    np.testing.assert_array_equal(segment.vector_at(np.array([9, 0, 3, 3]))[:, 0], [9, 0, 3, 3])
    assert segment.vector_at(np.array([], dtype=np.int64)).shape == (0, 4)
    # The rows behind row 2 are cut away: rows before it can still be read alone, all of them cannot.
    path = segment.folder / "1.rv"
    path.write_bytes(path.read_bytes()[: 8 + 3 * 16])
    assert segment.vector_at(np.array([2]))[0, 0] == 2
    with pytest.raises(SegmentError, match="cut off inside row 3"):
        segment.vector_at(np.array([3]))


@pytest.mark.parametrize("offset", [-1, 10])
def test_a_row_that_is_not_there_is_an_error(segment: SegmentFolder, offset: int) -> None:
    with pytest.raises(SegmentError, match=f"has 10 rows, row {offset}"):
        segment.vector_at(np.array([offset]))


def test_deletes_add_up_and_replace_the_file(segment: SegmentFolder) -> None:
    path = segment.folder / "deleted_docs"
    before = path.stat().st_ino
    segment.append_deleted(np.array([3, 1]))
    assert path.stat().st_ino != before
    segment.append_deleted(np.array([3, 7]))
    np.testing.assert_array_equal(segment.deleted(), [3, 1, 3, 7])
    assert not (segment.folder / "temp_del").exists()


def test_a_reader_with_the_old_file_open_keeps_the_old_content(segment: SegmentFolder) -> None:
    with (segment.folder / "deleted_docs").open("rb") as old:
        segment.append_deleted(np.array([3]))
        assert old.read() == bytes(8)


def test_a_left_over_temp_del_blocks_deletes_as_in_milvus(segment: SegmentFolder) -> None:
    (segment.folder / "temp_del").write_bytes(b"")
    with pytest.raises(SegmentError, match="File exists"):
        segment.append_deleted(np.array([3]))
    assert segment.deleted().size == 0
    (segment.folder / "temp_del").unlink()
    segment.append_deleted(np.array([3]))
    assert segment.deleted().tolist() == [3]


def test_deletes_of_a_segment_that_is_gone_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match="temp_del, error: No such file or directory"):
        SegmentFolder(tmp_path / "gone", 4, binary=False).append_deleted(np.array([1]))


READS: dict[str, tuple[str, str, Read]] = {
    "vectors": ("1.rv", "Failed to load raw vectors", SegmentFolder.vectors),
    "uids": ("1.uid", "Failed to load uids", SegmentFolder.uids),
    "vector_at": ("1.rv", "Failed to load raw vectors", lambda segment: segment.vector_at(np.array([9]))),
    "deleted": ("deleted_docs", "Failed to load deleted docs", SegmentFolder.deleted),
    "bloom": ("bloom_filter", "Failed to load bloom filter", SegmentFolder.bloom),
}


@pytest.mark.parametrize("name", READS)
def test_a_missing_file_is_named(segment: SegmentFolder, name: str) -> None:
    file, text, read = READS[name]
    read(segment)
    (segment.folder / file).unlink()
    with pytest.raises(SegmentError, match=text):
        read(segment)


@pytest.mark.parametrize("name", READS)
def test_a_missing_folder_is_named(tmp_path: Path, name: str) -> None:
    _, text, read = READS[name]
    with pytest.raises(SegmentError, match=f"{text}.*{tmp_path}"):
        read(SegmentFolder(tmp_path / "gone", 4, binary=False))


@pytest.mark.parametrize("cut", [1, 2, 5])
@pytest.mark.parametrize("name", READS)
def test_a_torn_file_is_an_error_never_other_data(segment: SegmentFolder, name: str, cut: int) -> None:
    file, text, read = READS[name]
    segment.append_deleted(np.array([3, 1]))
    path = segment.folder / file
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SegmentError, match=text):
        read(segment)


@pytest.mark.parametrize("name", READS)
def test_a_file_without_a_whole_length_is_an_error(segment: SegmentFolder, name: str) -> None:
    file, text, read = READS[name]
    (segment.folder / file).write_bytes(b"\1\2\3")
    with pytest.raises(SegmentError, match=text):
        read(segment)


def test_a_payload_that_is_no_whole_number_of_rows_is_an_error(segment: SegmentFolder) -> None:
    (segment.folder / "1.rv").write_bytes((17).to_bytes(8, "little") + bytes(17))
    with pytest.raises(SegmentError, match="17 bytes, not a multiple of 16"):
        segment.vectors()


def test_files_are_found_by_extension_not_by_name(segment: SegmentFolder) -> None:
    (segment.folder / "1.rv").rename(segment.folder / "other.rv")
    assert segment.vectors().shape == (10, 4)


def test_nothing_is_remembered_between_calls(segment: SegmentFolder) -> None:
    assert segment.vectors()[0, 0] == 0
    path = segment.folder / "1.rv"
    path.write_bytes(path.read_bytes()[:8] + np.full(40, 5, dtype=np.float32).tobytes())
    assert segment.vectors()[0, 0] == 5


def test_single_ids_end_in_three_zeros_and_only_grow() -> None:
    generator = IdGenerator()
    made = [generator.new() for _ in range(1000)]
    assert all(each % 1000 == 0 for each in made)
    assert made == sorted(set(made))
    assert len(str(made[0])) == 19


def test_batches_are_consecutive_and_never_overlap() -> None:
    generator = IdGenerator()
    batches = [generator.batch(count) for count in (1, 1000, 1001, 2500, 1)]
    whole = np.concatenate(batches)
    assert [batch.size for batch in batches] == [1, 1000, 1001, 2500, 1]
    assert (np.diff(whole) > 0).all()
    assert all((np.diff(batch) == 1).all() for batch in batches)
    assert generator.new() > whole[-1]
    assert generator.batch(0).size == 0
    with pytest.raises(ValueError, match="-1"):
        generator.batch(-1)


def test_threads_never_get_the_same_id() -> None:
    generator = IdGenerator()
    made: list[int] = []

    def work() -> None:
        mine = [generator.new() for _ in range(500)]
        made.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4000
