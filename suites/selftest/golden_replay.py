"""Sends the recorded calls again and says what is answered otherwise: data/golden/README.md says what is compared."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from fixtures.wire import milvus_pb2, milvus_pb2_grpc
from suites.selftest.golden import Call, vectors

DISTANCE_TOLERANCE = 1e-4
_SEGMENT_NAME = re.compile(r'"name":"\d{19}"')
# Of IVF indexes the size is comparable: they are faiss' bytes in both.
_INDEX_SIZE = re.compile(r'"data_size":\d+(?=,"index_name":"(?:NSG|HNSW|ANNOY)")')
_ANSWERED_FREELY = {"tasktable", "build_commit_id"}


def send(stub: milvus_pb2_grpc.MilvusServiceStub, call: Call, timeout_s: float) -> Mapping[str, Any]:
    """The answer to a recorded call, in the form of its record."""
    method = milvus_pb2.SearchParam.DESCRIPTOR.file.services_by_name["MilvusService"].methods_by_name[call.rpc]
    request = getattr(milvus_pb2, method.input_type.name)()
    json_format.ParseDict(_expanded(call.request), request)
    try:
        reply = getattr(stub, call.rpc)(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return {"$grpc_error": error.code().name, "details": error.details()}
    answer: Mapping[str, Any] = json_format.MessageToDict(
        reply, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return answer


def difference(call: Call, got: Mapping[str, Any], exact: NDArray[np.int64] | None = None) -> str:
    """What differs between an answer and the record, "" if nothing does that is comparable.

    `exact`, the true ids (queries, k), is given for the answer of an approximate index: its ids and distances are then
    held against the record only by how many of the true ids are among them.
    """
    wanted = dict(call.response)
    seen = dict(got)
    if call.rpc == "Cmd" and call.request["cmd"] in _ANSWERED_FREELY:
        wanted.pop("string_reply")
        seen.pop("string_reply", None)
    if "json_info" in wanted and "json_info" in seen:
        wanted["json_info"], seen["json_info"] = map(_comparable_info, (wanted["json_info"], seen["json_info"]))
    if "row_num" in wanted and "row_num" in seen:
        found = _answer(wanted), _answer(seen)
        if exact is not None:
            return _lower_recall(*found, exact) or _other_fields(wanted, seen)
        return _other_fields(wanted, seen) or _other_rows(*found, last_is_free=_cuts_ties(call))
    return _other_fields(wanted, seen)


def _expanded(value: Any) -> Any:
    """The value with its macros written out, as proto-JSON."""
    if isinstance(value, list):
        return [_expanded(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$range" in value:
        return list(range(*value["$range"]))
    if "$rows" in value:
        rows = vectors(value)
        if rows.dtype == np.uint8:
            return [{"binary_data": base64.b64encode(row.tobytes()).decode()} for row in rows]
        return [{"float_data": row} for row in rows.tolist()]
    return {key: _expanded(each) for key, each in value.items()}


def _answer(response: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Takes ids and distances (queries, width) out of the response of a search."""
    rows = int(response["row_num"])
    shape = (rows, -1) if rows else (0, 0)
    ids, distances = response.pop("ids"), response.pop("distances")
    return np.array(ids, dtype=np.int64).reshape(shape), np.array(distances, dtype=np.float64).reshape(shape)


def _comparable_info(text: str) -> str:
    return _INDEX_SIZE.sub('"data_size":0', _SEGMENT_NAME.sub('"name":""', text))


def _other_fields(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    return "" if wanted == seen else f"{_short(seen)}, recorded: {_short(wanted)}"


_Found = tuple[NDArray[np.int64], NDArray[np.float64]]


def _cuts_ties(call: Call) -> bool:
    """Whether an answer may end within rows of equal distance: distances of bits are few, and `topk` of them came."""
    asked = call.request.get("search_param", call.request)
    width = len(call.response["ids"]) // max(1, int(call.response["row_num"]))
    return width == asked["topk"] and "bits" in asked.get("query_record_array", {}).get("$rows", {})


def _other_rows(wanted: _Found, seen: _Found, last_is_free: bool) -> str:
    (ids, distances), (other_ids, other_distances) = wanted, seen
    if ids.shape != other_ids.shape:
        return f"answer of shape {other_ids.shape}, recorded: {ids.shape}"
    if not np.allclose(distances, other_distances, rtol=0, atol=DISTANCE_TOLERANCE):
        return f"distances {_short(other_distances.tolist())}, recorded: {_short(distances.tolist())}"
    for query, (of_query, at) in enumerate(zip(ids, distances, strict=True)):
        for distance in np.unique(at):
            equal = at == distance
            # Which rows of equal distance are cut off at the end is as free as their order.
            if equal[-1] and last_is_free:
                continue
            if sorted(of_query[equal]) != sorted(other_ids[query][equal]):
                return (
                    f"ids {_short(other_ids[query].tolist())} for query {query}, recorded: {_short(of_query.tolist())}"
                )
    return ""


def _lower_recall(wanted: _Found, seen: _Found, exact: NDArray[np.int64]) -> str:
    if wanted[0].shape != seen[0].shape:
        return f"answer of shape {seen[0].shape}, recorded: {wanted[0].shape}"
    hits, recorded_hits = (
        np.array([np.isin(row, true).sum() for row, true in zip(ids, exact, strict=True)])
        for ids in (seen[0], wanted[0])
    )
    # Two indexes of one kind need not be the same index: training and graphs begin at random. One id may be another.
    if (hits >= recorded_hits - 1).all():
        return ""
    return f"{hits.tolist()} true ids for each query, recorded: {recorded_hits.tolist()}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 400 else f"{text[:400]}..."
