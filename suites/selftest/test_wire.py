"""pymilvus 1.1.2 on today's protobuf: the right one, the fast one, and the same bytes as its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time

import numpy as np
import pytest

from fixtures import data, wire
from fixtures.clients.messages import insert_message
from fixtures.rowids import Ids
from fixtures.wire import IndexType, MetricType, milvus_pb2, status_pb2

pytestmark = pytest.mark.selftest


def test_pymilvus_is_exactly_the_release_that_the_suite_speaks() -> None:
    assert importlib.metadata.version("pymilvus") == wire.PYMILVUS_VERSION == "1.1.2"


def test_the_fast_protobuf_implementation_is_in_use() -> None:
    assert wire.protobuf_implementation() == "upb"
    assert type(milvus_pb2.InsertParam()).__mro__[1].__module__ == "google._upb._message"


def test_a_large_insert_is_parsed_in_well_under_a_second() -> None:
    """Pure Python takes half a minute for it; the bound leaves room for a busy machine."""
    rows = data.vectors(1, 100_000, 128)
    serialized = insert_message("c", rows, np.arange(len(rows)), None).SerializeToString()
    assert len(serialized) > 51_200_000
    began_s = time.process_time()
    parsed = milvus_pb2.InsertParam.FromString(serialized)
    assert time.process_time() - began_s < 0.5
    assert len(parsed.row_record_array) == 100_000
    assert np.array_equal(parsed.row_record_array[99_999].float_data, rows[99_999])


@pytest.mark.parametrize("rows", [data.vectors(1, 7, 3), data.vectors(1, 3, 200), data.binary_vectors(1, 5, 4096)])
@pytest.mark.parametrize("ids", [None, np.array([3, 1, 4, 1, 5, 9, 2])])
@pytest.mark.parametrize("tag", [None, "p"])
def test_an_insert_laid_out_by_numpy_is_the_message_that_pymilvus_builds(
    rows: data.Floats | data.Bits, ids: Ids | None, tag: str | None
) -> None:
    from milvus.client.prepare import Prepare

    names = None if ids is None else ids[: len(rows)]
    records = [row.tobytes() if row.dtype == np.uint8 else row.tolist() for row in rows]
    theirs = Prepare.insert_param("c", records, tag, None if names is None else names.tolist())
    ours = insert_message("c", rows, names, tag)
    assert ours == theirs
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


def test_rows_that_are_not_contiguous_are_laid_out_as_they_read() -> None:
    rows = data.vectors(1, 10, 8)
    message = insert_message("c", rows[::2, 1:5], None, None)
    assert np.array_equal([record.float_data for record in message.row_record_array], rows[::2, 1:5])


def test_messages_keep_the_field_numbers_of_the_protocol() -> None:
    reply = milvus_pb2.TopKQueryResult(
        status=status_pb2.Status(error_code=status_pb2.SUCCESS), row_num=1, ids=[-1], distances=[0.5]
    )
    assert reply.SerializeToString() == bytes.fromhex("0a0010011a0affffffffffffffffff01220400 00003f")
    assert (MetricType.TANIMOTO, IndexType.HNSW) == (5, 11)


def test_importing_leaves_no_false_pkg_resources_behind_and_warns_of_nothing() -> None:
    program = "import sys, fixtures.wire; print('pkg_resources' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "False", "")


def test_another_pymilvus_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "2.4.0")
    with pytest.raises(ImportError, match=r"speaks pymilvus 1\.1\.2, but 2\.4\.0 is installed"):
        wire._package_folder()
