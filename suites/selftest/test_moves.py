"""A node that moves to another address, and who is told where it is now."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import topology
from fixtures.errors import InfrastructureError
from fixtures.runtimes.base import Command
from fixtures.services import READER, WRITER, MilvusNode, Mishards, MySQL, Site
from fixtures.standin.config import load
from suites.selftest import embedded

pytestmark = pytest.mark.selftest

RESOLVE = "import socket; print(socket.gethostbyname('reader-1'))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with embedded.runtime(tmp_path_factory.mktemp("moves")) as opened:
        yield embedded.site(opened)


class _Nodes:
    """Nodes and a proxy that are only described."""

    def __init__(self, site: Site, *, by_name: bool) -> None:
        mysql = MySQL(site, topology.MySQL())
        self.writer, self.reader = (
            MilvusNode(site, name, role, topology.Milvus(), mysql.milvus_uri)
            for name, role in (("writer", WRITER), ("reader-1", READER))
        )
        self.proxy = Mishards(site, topology.Mishards(by_name=by_name), mysql, self.writer, [self.reader])

    @property
    def listed(self) -> str:
        return self.proxy.process.command.env["DISCOVERY_STATIC_HOSTS"]


def test_a_node_that_settled_elsewhere_is_configured_for_it(site: Site) -> None:
    node = _Nodes(site, by_name=False).reader
    port = node.endpoint[1]
    address = site.block.host("elsewhere")
    node.settle(address)
    assert node.endpoint == (address, port)
    assert node.process.command.host == address
    config = load(node.config_path)
    assert (config.network.address, config.network.port) == (address, port)


def test_a_node_that_runs_does_not_settle_elsewhere(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    node = _Nodes(site, by_name=False).reader
    monkeypatch.setattr(node, "is_alive", lambda: True)
    with pytest.raises(InfrastructureError, match=r"reader-1: it cannot move to .* while it runs"):
        node.settle(site.block.host("elsewhere"))


def test_mishards_starts_with_the_list_of_today(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = _Nodes(site, by_name=False)
    home = nodes.reader.endpoint
    assert nodes.listed == f"{home[0]}:{home[1]}"
    nodes.reader.settle(site.block.host("elsewhere"))
    assert nodes.listed == f"{home[0]}:{home[1]}", "what runs keeps its list"
    monkeypatch.setattr("fixtures.services.base.Service.launch", lambda _self: None)
    nodes.proxy.launch()
    assert nodes.listed == f"{nodes.reader.endpoint[0]}:{home[1]}"


def test_names_lead_to_where_the_readers_are(site: Site) -> None:
    nodes = _Nodes(site, by_name=True)
    if not nodes.proxy.by_name:
        pytest.skip(str(site.runtime.why_no_partitions()))
    assert nodes.listed == f"reader-1:{nodes.reader.endpoint[1]}"
    before = Path("/etc/hosts").read_bytes()
    words = nodes.proxy.process.command.argv
    prefix = words[: words.index(str(nodes.proxy.process.command.folder / "hosts")) + 1]
    for _ in range(2):
        assert _resolved(site, prefix) == nodes.reader.endpoint[0]
        nodes.reader.settle(site.block.host("elsewhere"))
        nodes.proxy.name_readers()
    assert Path("/etc/hosts").read_bytes() == before, "nobody else's names change"


def test_without_a_view_of_its_own_mishards_gets_addresses(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path, namespaces=False) as opened:
        nodes = _Nodes(embedded.site(opened), by_name=True)
        assert not nodes.proxy.by_name
        assert nodes.listed == f"{nodes.reader.endpoint[0]}:{nodes.reader.endpoint[1]}"


def _resolved(site: Site, prefix: tuple[str, ...]) -> str:
    command = Command(
        name="resolve",
        argv=(*prefix, sys.executable, "-c", RESOLVE),
        folder=site.folder("resolve"),
        log=site.log("resolve"),
    )
    return site.runtime.run(command, timeout_s=20.0).strip()
