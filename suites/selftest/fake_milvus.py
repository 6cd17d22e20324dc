"""A Milvus node without Milvus, and metadata tables without MySQL: what a proxy needs around it to be tested.

The node answers every RPC of the service, from a script where the test gives one, and remembers what it was asked. The
hits of each file are written down by the test, so that nothing is searched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from fixtures.wire import milvus_pb2, status_pb2

FLT_MAX = 3.4028235e38
PARAMETERS = [{"key": "params", "value": "{}"}]


class FakeNode:
    """One node at `address` (`ip:port`, the port chosen by the kernel), for as long as a `with` lasts.

    `calls` holds the name and the message of each RPC. `files` maps a file id to its (id, distance) pairs, best first,
    the same for each query. `metrics` maps a collection to its metric. `scripted` maps an RPC to what answers it.
    """

    def __init__(self, ip: str = "127.0.0.1", version: str = "1.1.0", port: int = 0) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.files: dict[int, list[tuple[int, float]]] = {}
        self.metrics: dict[str, int] = {}
        self.scripted: dict[str, Callable[[Any], Any]] = {"Cmd": partial(_command, version)}
        service = descriptor_pool.Default().FindServiceByName("milvus.grpc.MilvusService")
        methods = {method.name: self._handler(method) for method in service.methods}
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.full_name, methods)])
        self.address = f"{ip}:{self._server.add_insecure_port(f'{ip}:{port}')}"

    def __enter__(self) -> FakeNode:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def asked(self, rpc: str) -> list[Any]:
        """The messages of all calls of `rpc`, in order."""
        return [message for name, message in self.calls if name == rpc]

    def _handler(self, method: Any) -> Any:
        reply = GetMessageClass(method.output_type)
        return grpc.unary_unary_rpc_method_handler(
            partial(self._answer, method.name, reply),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=reply.SerializeToString,
        )

    def _answer(self, rpc: str, reply: Any, request: Any, _context: Any) -> Any:
        self.calls.append((rpc, request))
        if rpc in self.scripted:
            return self.scripted[rpc](request)
        if rpc == "DescribeCollection":
            return self._described(request.collection_name)
        if rpc == "SearchInFiles":
            return self._hits(request)
        return reply()

    def _described(self, collection: str) -> Any:
        if collection not in self.metrics:
            status = status_pb2.Status(error_code=4, reason=f"Collection {collection} does not exist.")
            return milvus_pb2.CollectionSchema(status=status)
        return milvus_pb2.CollectionSchema(
            collection_name=collection, dimension=2, index_file_size=1024, metric_type=self.metrics[collection]
        )

    def _hits(self, request: Any) -> Any:
        """As Milvus does: min(topk, rows + 1) entries a query, the last one a pad where there are too few rows."""
        search = request.search_param
        descending = self.metrics.get(search.collection_name) == 2
        pad = (-1, -FLT_MAX if descending else FLT_MAX)
        found = [hit for file in request.file_id_array for hit in self.files[int(file)]]
        row = [*sorted(found, key=lambda hit: hit[1], reverse=descending), pad][: search.topk]
        queries = len(search.query_record_array)
        return milvus_pb2.TopKQueryResult(
            row_num=queries,
            ids=[id_ for id_, _ in row] * queries,
            distances=[distance for _, distance in row] * queries,
        )


def _command(version: str, request: Any) -> Any:
    return milvus_pb2.StringReply(string_reply=version if request.cmd == "version" else f"reply to {request.cmd}")


def search_request(collection: str, *, topk: int = 3, queries: int = 1, tags: Sequence[str] = ()) -> Any:
    """A search for `queries` float vectors of dimension 2."""
    return milvus_pb2.SearchParam(
        collection_name=collection,
        topk=topk,
        partition_tag_array=tags,
        query_record_array=[{"float_data": [0.0, 1.0]}] * queries,
        extra_params=PARAMETERS,
    )


class MetadataTables:
    """The two tables that a proxy reads, in an SQLite file; their columns are those of Milvus 1.1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.uri = f"sqlite:///{path}?check_same_thread=false"
        with closing(sqlite3.connect(path)) as database:
            database.executescript(
                "CREATE TABLE Tables (id INTEGER PRIMARY KEY, table_id, state, dimension, created_on, flag,"
                " index_file_size, engine_type, index_params, metric_type, owner_table, partition_tag, version,"
                " flush_lsn);"
                "CREATE TABLE TableFiles (id INTEGER PRIMARY KEY, table_id, segment_id, engine_type, file_id,"
                " file_type, file_size, row_count, updated_time, created_on, date, flush_lsn);"
            )

    def execute(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute(statement, values)

    def add_collection(self, name: str, metric: int = 1) -> None:
        self.execute(
            "INSERT INTO Tables (table_id, state, owner_table, partition_tag, metric_type) VALUES (?, 0, '', '', ?)",
            name,
            metric,
        )

    def add_partition(self, collection: str, tag: str, name: str) -> None:
        self.execute(
            "INSERT INTO Tables (table_id, state, owner_table, partition_tag) VALUES (?, 0, ?, ?)",
            name,
            collection,
            tag,
        )

    def add_file(self, table: str, file: int, *, file_type: int = 1, updated_time: int = 1) -> None:
        self.execute(
            "INSERT INTO TableFiles (id, table_id, file_type, updated_time) VALUES (?, ?, ?, ?)",
            file,
            table,
            file_type,
            updated_time,
        )

    def drop(self, collection: str) -> None:
        self.execute("UPDATE Tables SET state = 1 WHERE table_id = ? OR owner_table = ?", collection, collection)
