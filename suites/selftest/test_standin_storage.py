"""The stand-in node on what a real Milvus 1.1.0 left behind: rows, files, and the tables' definitions."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from fixtures.services.milvus import MilvusNode
from fixtures.wire import milvus_pb2, milvus_pb2_grpc
from suites.selftest.golden import STORAGE
from suites.selftest.standin_nodes import Nodes, running, vectors

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster into whose MySQL and storage the recorded collection `seg` was put."""
    with running(tmp_path_factory.mktemp("storage")) as cluster:
        for table, file in (("Tables", "tables.tsv"), ("TableFiles", "table_files.tsv")):
            with (STORAGE / file).open(newline="") as lines:
                for row in csv.DictReader(lines, delimiter="\t"):
                    marks = ", ".join(["%s"] * len(row))
                    cluster.mysql.query(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        shutil.copytree(STORAGE / "db" / "tables", cluster.shared / "tables", dirs_exist_ok=True)
        yield cluster


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_the_recorded_searches_have_the_recorded_answers(nodes: Nodes, role: str) -> None:
    node: MilvusNode = getattr(nodes, role)
    searches = json.loads((STORAGE / "searches.json").read_text())
    assert searches
    with grpc.insecure_channel(":".join(map(str, node.endpoint))) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        for each in searches:
            reply = stub.Search(_search(each["request"]))
            wanted = each["response"]
            assert (reply.status.reason, str(reply.row_num)) == ("OK", wanted["row_num"])
            assert [str(uid) for uid in reply.ids] == wanted["ids"]
            assert np.allclose(reply.distances, wanted["distances"], atol=1e-4)


def test_the_recorded_statistics_are_told_again(nodes: Nodes) -> None:
    wanted = json.loads((STORAGE / "info.json").read_text())
    assert nodes.read.stats("seg").require().value == wanted


def test_recorded_deletes_hold_and_further_ones_add_to_them(nodes: Nodes) -> None:
    assert nodes.write.get("seg", [101, 105, 159]).require().value == [None] * 3
    # The writer learned of `seg` behind its back; only a restart tells its log of the collection (facts 1.3).
    nodes.writer.restart()
    nodes.write.delete("seg", [100, 105, 500]).require()
    nodes.write.flush("seg").require()
    segments = nodes.write.stats("seg").require().value["partitions"]
    assert [each["row_count"] for each in segments] == [56, 19]
    left = nodes.read.list_ids("seg", segments[0]["segments"][0]["name"]).require().ids
    assert set(range(100, 160)) - set(left.tolist()) == {100, 101, 105, 159}


def test_the_tables_have_the_recorded_columns(nodes: Nodes) -> None:
    recorded = (STORAGE / "schema.txt").read_text()
    for table in ("Tables", "TableFiles", "Environment", "Fields"):
        ours = nodes.mysql.query(f"SHOW CREATE TABLE {table}")[0][1]
        theirs = recorded[recorded.index(f"CREATE TABLE `{table}`") :]
        assert _columns(ours) == _columns(theirs[: theirs.index("ENGINE=")])


def _columns(statement: str) -> list[str]:
    """Column and key lines, without the widths and character sets that differ from server to server."""
    lines = re.findall(r"^  (.*?),?$", statement, flags=re.MULTILINE)
    return [re.sub(r"\b(bigint|int|smallint)\(\d+\)", r"\1", line) for line in lines]


def _search(request: dict[str, object]) -> milvus_pb2.SearchParam:
    rows = request["query_record_array"]
    assert isinstance(rows, dict)
    seed, count, width = (rows["$rows"][key] for key in ("seed", "n", "dim"))
    message = milvus_pb2.SearchParam(
        collection_name=request["collection_name"],
        topk=request["topk"],
        partition_tag_array=request["partition_tag_array"],
    )
    message.extra_params.add(key="params", value="{}")
    for row in np.random.default_rng(seed).random((count, width), dtype=np.float32):
        message.query_record_array.add().float_data.extend(row.tolist())
    return message


def test_the_recorded_operations_leave_the_recorded_bytes(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("written")) as fresh:
        fresh.write.create_collection("seg", 16).require()
        fresh.write.create_partition("seg", "p1").require()
        fresh.write.insert("seg", vectors(40, 60), list(range(100, 160))).require()
        fresh.write.insert("seg", vectors(41, 20), list(range(500, 520)), "p1").require()
        fresh.write.flush("seg").require()
        fresh.write.delete("seg", [101, 105, 159]).require()
        fresh.write.flush("seg").require()
        written = sorted(_segments(fresh.shared / "tables"))
        rows = fresh.mysql.query(
            "SELECT engine_type, file_type, file_size, row_count, segment_id = file_id FROM TableFiles ORDER BY id"
        )
    assert written == sorted(_segments(STORAGE / "db" / "tables"))
    with (STORAGE / "table_files.tsv").open(newline="") as lines:
        recorded = [
            (*(int(row[key]) for key in ("engine_type", "file_type", "file_size", "row_count")), 1)
            for row in csv.DictReader(lines, delimiter="\t")
        ]
    assert rows == recorded


def _segments(tables: Path) -> Iterator[list[tuple[str, bytes]]]:
    """The files of each segment below a storage path, by name; a segment's own name, a time, stands as `*`."""
    for folder in tables.glob("*/*"):
        yield sorted((file.name.replace(folder.name, "*"), file.read_bytes()) for file in folder.iterdir())
