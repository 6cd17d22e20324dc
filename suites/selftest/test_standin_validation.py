"""What the stand-in refuses, held against what a real node answered: code and text, word for word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fixtures.standin import validation
from fixtures.standin.search import Metric
from fixtures.standin.validation import Engine, JsonError, Refused
from fixtures.wire import status_pb2
from suites.selftest.golden import Call, calls

pytestmark = pytest.mark.selftest

VALIDATION, INDEXES = calls("validation"), calls("indexes")
Request = Mapping[str, Any]


def verdict(check: Callable[[], object]) -> tuple[str, str]:
    """Name of the status code and reason of a check."""
    try:
        check()
    except Refused as refused:
        return str(status_pb2.ErrorCode.Name(refused.code)), refused.reason
    return "SUCCESS", "OK"


def recorded(prefix: str, rpc: str, transcript: list[Call] = VALIDATION) -> list[Call]:
    found = [call for call in transcript if call.rpc == rpc and call.id.startswith(prefix)]
    assert found, f"no {rpc} call named {prefix}* in the transcript"
    return found


def params(request: Request) -> validation.Params:
    texts = [pair["value"] for pair in request.get("extra_params", []) if pair["key"] == "params"]
    return validation.parse_params(texts[-1]) if texts else {}


def size(records: Any) -> tuple[int, int, int]:
    """Rows, floats and bytes of packed bits of a recorded row_record_array."""
    macro = records["$rows"] if records else {"n": 0, "dim": 0}
    return macro["n"], macro["n"] * macro.get("dim", 0), macro["n"] * macro.get("bits", 0) // 8


# --- against a real node

STATEFUL = {"create:dup", "create:dup-other-dim", "create:dim32768"}  # need a catalogue, and a column's range


@pytest.mark.parametrize("call", recorded("create:", "CreateCollection"), ids=lambda call: call.id)
def test_create_collection(call: Call) -> None:
    asked = call.request
    answer = verdict(
        lambda: validation.collection_schema(
            asked["collection_name"], asked["dimension"], asked["index_file_size"], asked["metric_type"]
        )
    )
    assert answer == (("SUCCESS", "OK") if call.id in STATEFUL else (call.code, call.reason))


@pytest.mark.parametrize("call", recorded("create:", "DropCollection"), ids=lambda call: call.id)
def test_names_when_dropping(call: Call) -> None:
    code, reason = verdict(lambda: validation.collection_name(call.request["collection_name"]))
    if call.code == "COLLECTION_NOT_EXISTS":
        missing = validation.missing_collection(call.request["collection_name"])
        assert (status_pb2.ErrorCode.Name(missing.code), missing.reason) == (call.code, call.reason)
        assert code == "SUCCESS"
    else:
        assert (code, reason) == (call.code, call.reason)


@pytest.mark.parametrize("call", recorded("insert:", "Insert"), ids=lambda call: call.id)
def test_insert(call: Call) -> None:
    """Collection `val`: dimension 8, L2. From the insert of explicit ids on, its flag says that ids are given."""
    asked = call.request
    ids = asked.get("row_id_array", [])
    id_count = ids["$range"][1] - ids["$range"][0] if isinstance(ids, dict) else len(ids)
    rows, floats, binary = size(asked.get("row_record_array"))
    flag = 2 if call.id == "insert:auto-after-explicit" else 0

    def check() -> None:
        validation.collection_name(asked["collection_name"])
        validation.insert_ids(rows, id_count)
        validation.insert_id_mode(bool(id_count), flag)
        validation.vectors(rows, floats, binary, 8, Metric.L2)
        validation.insert_size(floats * 4)

    # A missing partition is found later, in the catalogue.
    expected = ("SUCCESS", "OK") if call.id == "insert:missing-partition" else (call.code, call.reason)
    assert verdict(check) == expected


@pytest.mark.parametrize(
    "call",
    [
        call
        for call in recorded("search:", "Search")
        if "partition" not in call.id and "$grpc_error" not in call.response
    ],
    ids=lambda call: call.id,
)
def test_search(call: Call) -> None:
    asked = call.request
    rows, floats, binary = size(asked.get("query_record_array"))

    def check() -> None:
        validation.collection_name(asked["collection_name"])
        validation.topk(asked["topk"])
        validation.partition_tags(asked.get("partition_tag_array", []))
        validation.search_params(params(asked), Engine.FLAT, asked["topk"])
        validation.vectors(rows, floats, binary, 8, Metric.L2)

    assert verdict(check) == (call.code, call.reason)


def test_params_that_are_no_json_are_not_a_status() -> None:
    call = next(call for call in VALIDATION if call.id == "search:params-not-json")
    assert call.response["$grpc_error"] == "UNKNOWN"
    with pytest.raises(JsonError):
        params(call.request)


@pytest.mark.parametrize("call", recorded("get:", "GetVectorsByID"), ids=lambda call: call.id)
def test_get_by_id(call: Call) -> None:
    assert verdict(lambda: validation.get_ids(len(call.request["id_array"]))) == (call.code, call.reason)


@pytest.mark.parametrize(
    "call",
    [
        call
        for call in recorded("partition:", "CreatePartition")
        if call.id not in ("partition:dup", "partition:default")
    ],
    ids=lambda call: call.id,
)
def test_partition_tags(call: Call) -> None:
    assert verdict(lambda: validation.partition_tags([call.request["tag"]])) == (call.code, call.reason)


@pytest.mark.parametrize("call", recorded("", "CreateIndex", INDEXES), ids=lambda call: call.id)
def test_create_index(call: Call) -> None:
    """Collection `ix`: dimension 16, L2."""

    def check() -> None:
        engine = validation.index_type(call.request["index_type"])
        validation.index_params(params(call.request), engine, 16)
        validation.engine_for(engine, Metric.L2)

    assert verdict(check) == (call.code, call.reason)


def searches_by_engine() -> list[tuple[Call, Engine]]:
    """Each recorded search of the index transcript, with the engine that the collection had at that time."""
    found, engine = [], Engine.FLAT
    for call in INDEXES:
        if call.rpc == "CreateIndex" and call.code == "SUCCESS":
            engine = Engine(call.request["index_type"])
        elif call.rpc == "DropIndex":
            engine = Engine.FLAT
        elif call.rpc == "Search":
            found.append((call, engine))
    return found


@pytest.mark.parametrize(("call", "engine"), searches_by_engine(), ids=lambda value: getattr(value, "id", ""))
def test_search_params_of_each_index(call: Call, engine: Engine) -> None:
    answer = verdict(lambda: validation.search_params(params(call.request), engine, call.request["topk"]))
    assert answer == (call.code, call.reason)


@pytest.mark.parametrize("call", recorded("", "DescribeIndex", INDEXES), ids=lambda call: call.id)
def test_index_params_are_told_as_recorded(call: Call) -> None:
    text = call.response["extra_params"][0]["value"]
    parsed = validation.parse_params(text)
    assert validation.dump_params(dict(reversed(list(parsed.items())))) == text


# --- what the recordings do not reach (facts 5.3 to 5.9)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("é", "The first character of a collection name must be an underscore or letter."),
        ("aé", "Collection name can only contain numbers, letters, and underscores."),
        ("a²", "Collection name can only contain numbers, letters, and underscores."),
        ("a" * 256, "The length of a collection name must be less than 255 characters."),
    ],
)
def test_names_are_ascii_and_counted_in_bytes(name: str, text: str) -> None:
    assert verdict(lambda: validation.collection_name(name)) == (
        "ILLEGAL_COLLECTION_NAME",
        f"Invalid collection name: {name}. {text}",
    )


def test_the_last_allowed_values_pass() -> None:
    validation.collection_name("_" + "Z9_" * 84 + "aa")
    validation.dimension(32768, Metric.JACCARD)
    validation.index_file_size(4096)
    validation.topk(16384)
    validation.insert_size(256 << 20)
    validation.get_ids(1000)
    validation.partition_tags([" " + "x" * 255 + "\t", "_default"])


@pytest.mark.parametrize(
    ("check", "code", "text"),
    [
        (
            lambda: validation.insert_size((256 << 20) + 1),
            "ILLEGAL_ROWRECORD",
            "The amount of data inserted each time cannot exceed 256 MB",
        ),
        (lambda: validation.get_ids(1001), "ILLEGAL_ARGUMENT", "Input id array size cannot exceed: 1000"),
        (
            lambda: validation.insert_id_mode(True, 1),
            "ILLEGAL_VECTOR_ID",
            "Entities IDs are auto-generated. All vectors of this collection must use auto-generated IDs.",
        ),
        (
            lambda: validation.partition_tags(["ok", " \t"]),
            "UNEXPECTED_ERROR",
            "Invalid partition tag: . Partition tag should not be empty.",
        ),
        (
            lambda: validation.engine_for(Engine.HNSW, Metric.HAMMING),
            "ILLEGAL_INDEX_TYPE",
            "Invalid index type for collection metric type",
        ),
        (
            lambda: validation.search_params({"ef": 9}, Engine.HNSW, 10),
            "ILLEGAL_ARGUMENT",
            "Invalid ef value: 9. Valid range is [10, 32768]",
        ),
        (
            lambda: validation.index_params({"nlist": 1, "m": 2, "nbits": 17}, Engine.IVF_PQ, 8),
            "ILLEGAL_ARGUMENT",
            "Invalid nbits value: 17. Valid range is [1, 16]",
        ),
        (
            lambda: validation.index_params({"nlist": 1}, Engine.IVF_PQ, 8),
            "ILLEGAL_ARGUMENT",
            "Parameter list must contain: m",
        ),
        (
            lambda: validation.index_params({"nlist": 1, "m": 0}, Engine.IVF_PQ, 8),
            "ILLEGAL_DIMENSION",
            "Invalid collection dimension, dimension can not be divided by m",
        ),
        (
            lambda: validation.index_params({"nlist": 1, "m": -4}, Engine.IVF_PQ, 8),
            "ILLEGAL_ARGUMENT",
            "Invalid m value: -4",
        ),
        (
            lambda: validation.vectors(2, 15, 0, 8, Metric.L2),
            "ILLEGAL_ROWRECORD",
            "The vector dimension must be equal to the collection dimension.",
        ),
        (
            lambda: validation.vectors(2, 16, 0, 8, Metric.HAMMING),
            "ILLEGAL_DIMENSION",
            "The vector dimension must be equal to the collection dimension.",
        ),
    ],
)
def test_refusals_beyond_the_recordings(check: Callable[[], object], code: str, text: str) -> None:
    assert verdict(check) == (code, text)


@pytest.mark.parametrize(
    ("text", "shown"), [("true", "boolean"), ("null", "null"), ("[1]", "array"), ("{}", "object"), ('"1"', "string")]
)
def test_a_parameter_of_another_type_is_named(text: str, shown: str) -> None:
    given = validation.parse_params(f'{{"nlist": {text}}}')
    assert verdict(lambda: validation.index_params(given, Engine.IVF_FLAT, 8)) == (
        "ILLEGAL_ARGUMENT",
        f"Invalid nlist: [json.exception.type_error.302] type must be number, but is {shown}",
    )


def test_a_fraction_is_cut_off() -> None:
    validation.index_params({"nlist": 1.9}, Engine.IVF_FLAT, 8)
    assert verdict(lambda: validation.index_params({"nlist": 0.9}, Engine.IVF_FLAT, 8))[0] == "ILLEGAL_ARGUMENT"


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "NaN", '{"a": Infinity}', '{"nlist": 1e400}'])
def test_what_is_no_json_fails_the_call_itself(text: str) -> None:
    with pytest.raises(JsonError, match="params"):
        validation.parse_params(text)


@pytest.mark.parametrize("text", ["null", "5", "[1]", '"nlist"'])
def test_json_without_keys_counts_as_no_parameters(text: str) -> None:
    assert validation.parse_params(text) == {}


def test_binary_collections_get_the_binary_engines() -> None:
    assert validation.engine_for(Engine.FLAT, Metric.JACCARD) is Engine.BIN_FLAT
    assert validation.engine_for(Engine.IVF_FLAT, Metric.HAMMING) is Engine.BIN_IVF_FLAT
    assert validation.engine_for(Engine.IVF_FLAT, Metric.IP) is Engine.IVF_FLAT


def test_blanks_around_a_tag_do_not_count() -> None:
    assert validation.trimmed(" \n\ta b\r ") == "a b"


def test_an_internal_name_of_a_partition_is_a_bad_name() -> None:
    assert validation.missing_collection("17", internal=True).code == validation.BAD_NAME
