"""Network faults take effect, prove it, and heal however the block is left; on each runtime that can make them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures import network, packets
from fixtures.errors import FaultNotEffective, UsageError
from fixtures.faults import Fault
from fixtures.runtimes import Command, Runtime
from fixtures.services import Service, Site
from suites.selftest import docker_daemon, embedded

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(300)]

PORT = 7000
ECHO = """
import socket, sys, threading
def serve(link):
    while data := link.recv(65536): link.sendall(data)
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


class Echo(Service):
    """Sends back what it is sent."""

    implementation = "echo"

    def __init__(self, site: Site, name: str) -> None:
        self.name = name
        self.block, self.runtime = site.block, site.runtime
        address = site.block.host(name)
        self.endpoint = (address, site.block.port(address, PORT))
        python = site.runtime.find("host", ("python3",), "")
        self.process = site.runtime.process(
            Command(
                name=name,
                argv=(python, "-c", ECHO, address, str(self.endpoint[1])),
                folder=site.folder(name),
                log=site.log(name),
                image="host",
                host=address,
            )
        )

    def ready(self, timeout_s: float = 5.0) -> None:
        with self.connected(timeout_s) as link:
            assert said(link) == b"x"

    def connected(self, timeout_s: float = 5.0) -> socket.socket:
        return socket.create_connection(self.endpoint, timeout=timeout_s)


def said(link: socket.socket) -> bytes:
    link.sendall(b"x")
    return link.recv(1)


@pytest.fixture(scope="module", params=["embedded", "docker"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    opened: contextlib.AbstractContextManager[Runtime]
    opened = docker_daemon.runtime(folder) if request.param == "docker" else embedded.runtime(folder)
    with opened as runtime:
        if (reason := runtime.why_no_partitions()) is not None:
            pytest.skip(reason)
        made = embedded.site(runtime)
        yield made
        for process in STARTED:
            process.kill()
        STARTED.clear()
        runtime.release(made.work)
        made.block.close()


STARTED: list[Service] = []


@pytest.fixture(scope="module")
def pair(site: Site) -> tuple[Echo, Echo]:
    one, other = Echo(site, "one"), Echo(site, "other")
    for service in (one, other):
        service.start()
        STARTED.append(service)
    return one, other


def _reaches(ours: Echo, theirs: Echo) -> str:
    (seen,) = packets.attempts([ours], [theirs]).values()
    return str(seen["said"])


@pytest.mark.parametrize(("how", "says"), [("drop", "timeout"), ("reject", "refused")])
def test_a_partition_parts_two_hosts_and_nobody_else(pair: tuple[Echo, Echo], how: str, says: str) -> None:
    one, other = pair
    assert _reaches(one, other) == "connected"
    with network.partition(one, other, how) as parted:
        assert _reaches(one, other) == _reaches(other, one) == says
        one.ready()
        other.ready()
    assert _reaches(one, other) == _reaches(other, one) == "connected"
    proof = parted.witness.proof
    assert (proof["target"], proof["how"]) == ("one, other", how)
    assert proof["packets_stopped"], "those of our own second look"


def test_it_heals_when_the_block_fails(pair: tuple[Echo, Echo]) -> None:
    one, other = pair
    with pytest.raises(ZeroDivisionError), network.partition(one, other):
        raise ZeroDivisionError
    assert _reaches(one, other) == "connected"


def test_what_cannot_be_parted_is_refused(pair: tuple[Echo, Echo]) -> None:
    one, other = pair
    with pytest.raises(UsageError, match=r"both sides are on \d"):
        network.partition(one, one)
    with pytest.raises(UsageError, match="'burn' must be one of drop, reject"):
        network.partition(one, other, "burn")
    with pytest.raises(UsageError, match="at least one service"):
        network.partition(one, [])


def test_no_way_in_the_first_place_is_no_partition(pair: tuple[Echo, Echo]) -> None:
    one, other = pair
    with (
        network.partition(one, other),
        pytest.raises(FaultNotEffective, match=r"there was no way in the first place: .*timeout"),
        network.partition(one, other),
    ):
        pass
    assert _reaches(one, other) == "connected"


def test_an_unplugged_host_is_out_of_reach_for_all(pair: tuple[Echo, Echo]) -> None:
    one, other = pair
    with network.unplug(one) as unplugged:
        assert _reaches(other, one) != "connected"
        with pytest.raises(OSError, match=r"timed out|No route"):
            one.connected(1.0)
        other.ready()
    one.ready()
    assert _reaches(one, other) == _reaches(other, one) == "connected"
    assert unplugged.witness.kind == "unplug"


def test_a_slow_host_keeps_its_connections(pair: tuple[Echo, Echo]) -> None:
    one, other = pair
    with one.connected() as link:
        assert said(link) == b"x"
        with network.slow(one, 0.1) as slowed:
            began_s = time.monotonic()
            assert said(link) == b"x"
            assert time.monotonic() - began_s >= 0.18
            other.ready(0.15)
        began_s = time.monotonic()
        assert said(link) == b"x", "the connection has lived on"
        assert time.monotonic() - began_s < 0.18
    assert slowed.witness.proof["held"]


def test_a_lossy_host_loses_some(pair: tuple[Echo, Echo]) -> None:
    one, _ = pair
    with network.lossy(one, 30) as losing:
        pass
    lost, passed = (int(str(losing.witness.proof[key])) for key in ("lost", "passed"))
    assert lost > 0
    assert passed > 0
    with pytest.raises(UsageError, match=r"must be from 0.1 to 99"):
        network.lossy(one, 100)


def test_a_narrow_host_sends_no_faster(pair: tuple[Echo, Echo]) -> None:
    one, _ = pair
    with network.narrow(one, 4_000_000) as narrowed:
        pass
    proof = narrowed.witness.proof
    assert float(str(proof["arrived_during"])) < 20_000_000 < float(str(proof["arrived_before"]))
    with pytest.raises(UsageError, match="must be at least 100000"):
        network.narrow(one, 1000)


@pytest.mark.parametrize("make", [lambda one: network.slow(one, 0.05), lambda one: network.narrow(one, 4_000_000)])
def test_nothing_of_a_fault_stays(pair: tuple[Echo, Echo], make: Callable[[Echo], Fault]) -> None:
    one, _ = pair
    before = _settings(one)
    with make(one):
        assert _settings(one) != before
    assert _settings(one) == before


def _settings(service: Echo) -> str:
    look = service.runtime.in_network_of
    rules = [line for line in look(service.endpoint[0], ["iptables-save"]).splitlines() if line.startswith("-A")]
    return "\n".join(rules) + look(service.endpoint[0], ["tc", "qdisc", "show", "dev", "eth0"])


def test_without_namespaces_the_reason_is_given(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path, namespaces=False) as opened:
        assert opened.why_no_partitions() == "they were switched off for this run"
