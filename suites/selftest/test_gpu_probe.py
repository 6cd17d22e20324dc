"""The trial search on a GPU node: a node that died, one that searched on its CPU and a wrong answer are all told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fixtures.clients import Client
from fixtures.gpu import ProbeResult, copies_to_gpu
from fixtures.gpu.probe import probe
from fixtures.wire import milvus_pb2, status_pb2
from suites.selftest.fake_milvus import FakeNode

pytestmark = pytest.mark.selftest

THRESHOLD = 50
# As Milvus 1.x prints them (milvus #5246; ExecutionEngineImpl::CopyToGpu, FaissFlatPass).
STARTED = "Nvidia driver version: 460.73.01\nMilvus server started successfully!\n"
CHOSEN = "[DEBUG][SERVER] [search][0] FaissFlatPass: nq >= gpu_search_threshold, specify gpu 0 to search!\n"
COPIED = "[DEBUG][ENGINE] CPU to GPU0 start\n[DEBUG][ENGINE] CPU to GPU0 finished\n"
NOT_COPIED = "[DEBUG][ENGINE] CPU to GPU0 start\n[DEBUG][ENGINE] copy to GPU failed, search on CPU\n"
DIED = (
    "Faiss assertion 'err__ == cudaSuccess' failed in void faiss::gpu::runL2Norm(...); "
    "details: CUDA error 209 no kernel image is available for execution on the device\n"
)


@dataclass
class GpuNode:
    """A node that answers each query with the row whose vector it is, and logs what a test gives it."""

    node: FakeNode
    logs: str
    mode: str = "GPU"
    offset: int = 0
    dies: bool = False
    status: Any = None
    log: str = STARTED
    ids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.node.scripted |= {"Cmd": self._cmd, "Insert": self._insert, "Search": self._search}

    def _cmd(self, request: Any) -> Any:
        return milvus_pb2.StringReply(string_reply=self.mode if request.cmd == "mode" else "1.1.0")

    def _insert(self, request: Any) -> Any:
        self.ids = list(request.row_id_array)
        return milvus_pb2.VectorIds(vector_id_array=self.ids)

    def _search(self, request: Any) -> Any:
        self.log += self.logs
        if self.dies:
            self.node.__exit__()
        if self.status is not None:
            return milvus_pb2.TopKQueryResult(status=self.status)
        queries = len(request.query_record_array)
        near = [id_ for row in range(queries) for id_ in (self.ids[row] + self.offset, 1_000_000)]
        return milvus_pb2.TopKQueryResult(row_num=queries, ids=near, distances=[0.0, 1.0] * queries)


Judge = Callable[..., ProbeResult]


@pytest.fixture
def judge() -> Judge:
    """The probe's result on a node that behaves as the arguments of GpuNode say."""

    def judged(logs: str, **behaviour: Any) -> ProbeResult:
        with FakeNode() as fake:
            node = GpuNode(fake, logs, **behaviour)
            host, port = fake.address.split(":")
            with Client("gpu", (host, int(port)), timeout_s=5.0) as client:
                result = probe(client, lambda: node.log, threshold=THRESHOLD, log_delay_s=0.2)
            searched = fake.asked("Search")
            assert all(len(message.query_record_array) == THRESHOLD for message in searched)
            assert all(message.topk <= 2048 for message in searched)
            if not node.dies:
                assert [message.collection_name for message in fake.asked("DropCollection")] == ["gpu_probe"]
            return result

    return judged


def test_a_gpu_that_searched_is_believed(judge: Judge) -> None:
    result = judge(CHOSEN + COPIED)
    assert result == ProbeResult(worked=True, evidence="50 queries answered, 1 segments copied to the GPU")


def test_a_node_that_dies_at_the_first_search_is_told_with_its_last_words(judge: Judge) -> None:
    result = judge(CHOSEN + COPIED + DIED, dies=True)
    assert not result.worked
    assert result.evidence.startswith("CUDA error 209 no kernel image is available for execution on the device; ")
    assert "the node died at its first search" in result.evidence


def test_a_node_that_dies_without_a_word_is_told(judge: Judge) -> None:
    result = judge("", dies=True)
    assert not result.worked
    assert result.evidence.startswith("the node died at its first search")


@pytest.mark.parametrize(
    ("logs", "cause"),
    [
        ("", "its log shows no copy to the GPU"),
        (CHOSEN, "its log shows no copy to the GPU"),
        (CHOSEN + NOT_COPIED, "copy to GPU failed, search on CPU"),
    ],
    ids=["nothing logged", "chosen, never copied", "copy failed"],
)
def test_a_right_answer_that_the_gpu_did_not_give_is_not_believed(judge: Judge, logs: str, cause: str) -> None:
    assert judge(logs) == ProbeResult(worked=False, evidence=f"50 queries were answered, but not by the GPU: {cause}")


def test_a_copy_from_before_the_search_proves_nothing(judge: Judge) -> None:
    assert not judge(CHOSEN, log=STARTED + COPIED).worked


def test_a_wrong_answer_of_the_gpu_is_not_believed(judge: Judge) -> None:
    result = judge(CHOSEN + COPIED, offset=1)
    assert result == ProbeResult(worked=False, evidence="only 0 of 50 rows were found by their vectors")


def test_a_refused_search_is_told_with_its_reason(judge: Judge) -> None:
    full = status_pb2.Status(error_code=1, reason="out of memory: CPU2GPU0 : no room")
    result = judge("", status=full)
    assert not result.worked
    assert "out of memory: CPU2GPU0 : no room" in result.evidence
    assert "died" not in result.evidence


def test_a_cpu_build_is_told_apart_before_anything_is_stored(judge: Judge) -> None:
    assert judge("", mode="CPU") == ProbeResult(worked=False, evidence="this Milvus is a CPU build (Cmd mode)")


def test_only_a_finished_copy_counts() -> None:
    assert copies_to_gpu(STARTED + CHOSEN + NOT_COPIED + DIED) == 0
    assert copies_to_gpu(COPIED + COPIED.replace("GPU0", "GPU12")) == 2
