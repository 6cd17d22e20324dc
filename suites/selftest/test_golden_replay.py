"""A fresh cluster of stand-ins answers what a real one was asked as that one did: all 384 recorded calls.

With FUSE each node has a JuiceFS mount of its own, as when the calls were recorded; without, they share a plain folder.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.cluster import Cluster
from fixtures.topology import Topology
from fixtures.waits import pause
from fixtures.wire import milvus_pb2_grpc
from suites.selftest import embedded
from suites.selftest.golden import Call, calls, vectors
from suites.selftest.golden_replay import difference, send

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(180)]

RECORDED = {"validation": 186, "indexes": 81, "metrics": 42, "cluster": 75}
CALL_TIMEOUT_S = 60.0

# What the stand-in answers otherwise on purpose, and why. A call that is answered as recorded must not stand here.
DELIBERATE: Mapping[tuple[str, str], str] = {}

# Answers of RNSG, HNSW and ANNOY, whose graphs and trees are another program's: they find most of the nearest rows. The
# IVF types are faiss' own, so that these answers must be as recorded: quantised distances and one cell of sixteen too.
APPROXIMATE = {f"type{engine}:search" for engine in (4, 11, 12)}

# Answered so by one reader of the two: the proxy has made the other one reload the deletes (which one, its hash ring
# says, from the readers' addresses). Any other search that was sent to a reader must be answered alike by both.
BY_ONE_READER = {"reader:search-after-proxy"}


@pytest.mark.parametrize("transcript", RECORDED)
def test_golden_calls_have_the_recorded_answers(transcript: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    recorded = calls(transcript)
    assert len(recorded) == RECORDED[transcript]
    with (
        embedded.runtime(tmp_path_factory.mktemp("golden")) as opened,
        Cluster.start(Topology(), opened, opened.folders, transcript, seed=1) as cluster,
        contextlib.ExitStack() as channels,
    ):
        stubs = {
            name: channels.enter_context(_stub(cluster, name))
            for name in ("writer", "reader-1", "reader-2", "mishards")
        }
        found = {}
        for call in recorded:
            if call.wait_s:
                pause(call.wait_s, "as when the calls were recorded")
            exact = _exact(call, recorded)
            said = [difference(call, send(stubs[name], call, CALL_TIMEOUT_S), exact) for name in _asked(call)]
            if said.count("") < (1 if call.id in BY_ONE_READER else len(said)):
                found[transcript, call.id] = "; ".join(filter(None, said))
            elif call.id in BY_ONE_READER:
                assert said.count("") == 1, f"{call.id}: answered as recorded by {said.count('')} readers, not by one"
    unexpected = [f"{call}: {said}" for (_, call), said in found.items() if (transcript, call) not in DELIBERATE]
    assert not unexpected, "\n".join(
        [f"{len(unexpected)} of {len(recorded)} calls are answered otherwise", *unexpected]
    )
    not_needed = [entry for entry in DELIBERATE if entry[0] == transcript and entry not in found]
    assert not not_needed, f"these are answered as recorded: {not_needed}"


@contextlib.contextmanager
def _stub(cluster: Cluster, name: str) -> Iterator[milvus_pb2_grpc.MilvusServiceStub]:
    host, port = cluster.service(name).endpoint
    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield milvus_pb2_grpc.MilvusServiceStub(channel)


def _asked(call: Call) -> tuple[str, ...]:
    if call.on == "reader" and call.rpc == "Search":
        return ("reader-1", "reader-2")
    return ({"writer": "writer", "reader": "reader-1", "proxy": "mishards"}[call.on],)


def _exact(call: Call, recorded: list[Call]) -> NDArray[np.int64] | None:
    """The true ids for a search of an approximate index; None where the answer must be exact."""
    if call.id not in APPROXIMATE:
        return None
    (inserted,) = (each for each in recorded if each.rpc == "Insert")
    rows = vectors(inserted.request["row_record_array"]).astype(np.float64)
    queries = vectors(call.request["query_record_array"]).astype(np.float64)
    distances = ((rows[None] - queries[:, None]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, : call.request["topk"]]


def _recorded(transcript: str, call_id: str) -> tuple[Call, dict[str, Any]]:
    """A recorded call and a copy of its answer, to be changed."""
    (call,) = (each for each in calls(transcript) if each.id == call_id)
    return call, copy.deepcopy(dict(call.response))


def test_another_code_reason_width_or_grpc_error_is_a_difference() -> None:
    call, answer = _recorded("validation", "search:topk0")
    assert difference(call, answer) == ""
    for changed in (
        {**answer, "status": {**answer["status"], "error_code": "SUCCESS"}},
        {**answer, "status": {**answer["status"], "reason": "OK"}},
        {**answer, "row_num": "1", "ids": ["1"], "distances": [0.0]},
        {"$grpc_error": "UNKNOWN", "details": ""},
    ):
        assert difference(call, changed)


def test_another_id_or_distance_is_a_difference_and_the_order_of_equals_is_none() -> None:
    call, answer = _recorded("metrics", "hamming:search-topk-over")
    assert [float(each) for each in answer["distances"][1:3]] == [24.0, 24.0]
    ids = answer["ids"]
    ids[1], ids[2] = ids[2], ids[1]
    assert difference(call, answer) == ""
    ids[0], ids[1] = ids[1], ids[0]
    assert "ids" in difference(call, answer)
    call, answer = _recorded("validation", "search:ok")
    answer["distances"][1] += 5e-5
    assert difference(call, answer) == ""
    answer["distances"][1] += 1e-4
    assert "distances" in difference(call, answer)


def test_names_and_sizes_of_foreign_indexes_are_not_compared_but_all_else_of_the_json_is() -> None:
    call, answer = _recorded("indexes", "type11:info")
    text = answer["json_info"]
    answer["json_info"] = text.replace('"data_size":1062924', '"data_size":1').replace("1795377932176514000", "1" * 19)
    assert difference(call, answer) == ""
    for old, new in (("5000", "4999"), ("HNSW", "IVFFLAT"), ("1795377932176514000", "17"), (',"tag"', ', "tag"')):
        assert difference(call, {**answer, "json_info": text.replace(old, new)})


def test_an_approximate_answer_may_miss_one_id_of_a_query_more_than_the_record() -> None:
    call, answer = _recorded("indexes", "type12:search")
    exact = _exact(call, calls("indexes"))
    answer["ids"][2] = "4999"
    assert difference(call, answer, exact) == ""
    answer["ids"][1] = "4998"
    assert "true ids" in difference(call, answer, exact)
