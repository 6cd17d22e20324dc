"""Vectors out of a request's bytes: as protobuf would read them, however a client encodes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.standin.decode import DecodeError, insert_request, search_in_files_request, search_request, split_rows
from fixtures.wire import milvus_pb2

pytestmark = pytest.mark.selftest


def insert_of(rows: list[list[float]] | list[bytes], **fields: object) -> bytes:
    message = milvus_pb2.InsertParam(collection_name="c", **fields)
    for row in rows:
        record = message.row_record_array.add()
        if isinstance(row, bytes):
            record.binary_data = row
        else:
            record.float_data.extend(row)
    content: bytes = message.SerializeToString()
    return content


def test_rows_of_one_length_and_the_fields_around_them() -> None:
    values = np.random.default_rng(1).random((50, 33), dtype=np.float32)
    read = insert_request(insert_of(values.tolist(), row_id_array=range(50), partition_tag="p"))
    assert np.array_equal(read.rows.matrix(), values)
    assert (read.message.collection_name, read.message.partition_tag) == ("c", "p")
    assert list(read.message.row_id_array) == list(range(50))
    assert not read.message.row_record_array, "the rows are taken out"


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=40), max_size=30))
def test_float_rows_of_any_lengths_are_run_together(rows: list[list[float]]) -> None:
    read = insert_request(insert_of(rows)).rows
    assert read.count == len(rows)
    assert read.floats.tolist() == [value for row in rows for value in row]
    assert not read.bits.size


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=30))
def test_binary_rows_of_any_lengths_are_run_together(rows: list[bytes]) -> None:
    read = insert_request(insert_of(rows)).rows
    assert read.count == len(rows)
    assert read.bits.tobytes() == b"".join(rows)
    assert not read.floats.size


def test_where_a_row_has_floats_the_bits_of_others_do_not_count() -> None:
    message = milvus_pb2.InsertParam()
    message.row_record_array.add(float_data=[1.0, 2.0], binary_data=b"xy")
    message.row_record_array.add(binary_data=b"z")
    read = insert_request(message.SerializeToString()).rows
    assert (read.count, read.floats.tolist(), read.bits.size) == (2, [1.0, 2.0], 0)


def test_floats_written_one_by_one_are_read_as_well() -> None:
    unpacked = b"\x0d" + np.float32(1.5).tobytes() + b"\x0d" + np.float32(2.5).tobytes()
    read = insert_request(b"\x12" + bytes([len(unpacked)]) + unpacked).rows
    assert (read.count, read.floats.tolist()) == (1, [1.5, 2.5])


def test_a_search_in_files_has_its_rows_inside_its_parameter() -> None:
    search = milvus_pb2.SearchParam(collection_name="c", topk=3)
    search.query_record_array.add(float_data=[1.0, 2.0])
    alone = search_request(search.SerializeToString())
    message = milvus_pb2.SearchInFilesParam(file_id_array=["7", "8"], search_param=search)
    within = search_in_files_request(message.SerializeToString())
    assert alone.message.topk == within.message.search_param.topk == 3
    assert list(within.message.file_id_array) == ["7", "8"]
    assert alone.rows.matrix().tolist() == within.rows.matrix().tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_message_cut_off_is_an_error(cut: int) -> None:
    content = insert_of([[1.0] * 16])
    with pytest.raises(DecodeError, match="cut off"):
        split_rows(content[:-cut], 2)
