"""R-6 on a real cluster whose GPU nodes are none: what it concludes when the GPU did not search, agreed, or did not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.claims import Claim, Ruling, Trial, holds, judge
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.errors import MissingCapability, UsageError
from fixtures.gpu import Decision
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.services import READER, MilvusNode
from fixtures.services.milvus import render
from fixtures.standin.config import load
from fixtures.topology import Milvus, Topology, check
from fixtures.wire import IndexType, MetricType
from suites.replicas import test_devices
from suites.replicas.test_devices import Case
from suites.selftest import embedded

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(180)]

GPU = Decision(device="gpu", reason="pretended by a test")
THRESHOLD = 100


def without_gpu(start: Callable[..., float]) -> Callable[..., float]:
    """Starts a GPU node as the stand-in can: with `gpu.enable: false` in the file that it reads."""

    def started(node: MilvusNode, *arguments: Any, **named: Any) -> float:
        text = node.config_path.read_text()
        node.config_path.write_text(text.replace("gpu:\n  enable: true", "gpu:\n  enable: false"))
        return start(node, *arguments, **named)

    return started


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    topology = Topology(readers=1, milvus=Milvus(gpu_search_threshold=THRESHOLD))
    with (
        embedded.runtime(tmp_path_factory.mktemp("gpu"), fuse=False) as opened,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(MilvusNode, "start", without_gpu(MilvusNode.start))
        with Cluster.start(topology, opened, opened.folders, "devices", seed=1, device=GPU) as started:
            yield started


def judged(cluster: Cluster, test: str) -> Ruling:
    """The verdict of R-6's own test, called as pytest would."""
    mark = next(mark for mark in test_devices.test_gpu_and_cpu_nodes_agree.pytestmark if mark.name == "claim")  # type: ignore[attr-defined]
    described: Claim = mark.args[0]
    trial = Trial(claim=described)
    case = Case(IndexType.FLAT, MetricType.L2)
    test_devices.test_gpu_and_cpu_nodes_agree(cluster, trial, Names("1", test), History(), 5, case)
    return judge(trial, holds())


@pytest.fixture
def pretended_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPU nodes whose logs show more copies each time they are asked."""
    asked = iter(range(0, 10_000, test_devices.SEGMENTS))
    monkeypatch.setattr(MilvusNode, "gpu_copies", lambda node: next(asked) if node.gpu else 0)


def test_the_device_reaches_the_nodes_that_the_topology_names(cluster: Cluster) -> None:
    assert [node.gpu for node in cluster.nodes] == [False, True]
    assert cluster.capabilities["gpu"] is None
    for node in cluster.nodes:
        # What was rendered for it: the file itself was changed for the stand-in.
        rendered = (node.log.parent.parent / "config" / f"{node.name}.yaml").read_text()
        assert f"enable: {str(node.gpu).lower()}\n  cache.enable: false" in rendered
        assert f"gpu_search_threshold: {THRESHOLD}" in rendered


def test_nothing_is_concluded_where_a_gpu_node_searched_on_its_cpu(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_devices, "LOG_DELAY_S", 0.2)
    ruling = judged(cluster, "not_searched")
    assert (ruling.verdict.value, ruling.reason) == ("unknown", "no witness of: the GPU searched")


@pytest.mark.usefixtures("pretended_copies")
def test_the_claim_holds_where_the_gpu_node_agrees(cluster: Cluster) -> None:
    assert judged(cluster, "agrees").verdict.value == "holds"


@pytest.mark.usefixtures("pretended_copies")
def test_the_claim_is_violated_where_the_gpu_node_does_not(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Client.search

    def wrong(self: Client, name: str, queries: Any, topk: int, params: Any = None) -> Reply:
        reply = search(self, name, queries, topk, params)
        if self.node.startswith("reader"):
            reply.ids[7, 0] += 1
        return reply

    monkeypatch.setattr(Client, "search", wrong)
    ruling = judged(cluster, "disagrees")
    assert ruling.verdict.value == "violated"
    assert ruling.reason.startswith("reader-1: FLAT L2: query 7: ")


def test_without_both_kinds_of_nodes_there_is_nothing_to_compare(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node in cluster.nodes:
        monkeypatch.setattr(node, "gpu", True)
    with pytest.raises(MissingCapability, match="every node is a GPU node"):
        judged(cluster, "all")


def test_a_cpu_build_is_never_told_to_use_a_gpu(tmp_path: Path) -> None:
    path = tmp_path / "server_config.yaml"
    path.write_text(
        render(Milvus(), role=READER, meta_uri="sqlite://:@:/", endpoint=("127.0.0.1", 5000), folder=Path("/var/tmp/n"))
    )
    assert "gpu:\n  enable: false" in path.read_text()
    assert load(path).cluster.role == READER


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Milvus(gpu_search_threshold=0), "milvus.gpu_search_threshold = 0: must be 1 to 10000"),
        (Milvus(gpu_search_threshold=10_001), "milvus.gpu_search_threshold = 10001: must be 1 to 10000"),
        (Milvus(gpu_nodes="reader"), r"milvus.gpu_nodes = 'reader': must be one of readers, all \(did you mean"),
    ],
)
def test_a_topology_with_a_wrong_gpu_setting_is_refused(settings: Milvus, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(Topology(milvus=settings), "here")
