"""Network faults in containers: the same as in namespaces of our own (test_network.py), made in the hosts' holders."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from fixtures import network, packets
from fixtures.errors import FaultNotEffective
from fixtures.faults import Fault
from fixtures.runtimes import Command
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


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Echo, Echo]]:
    """Two services on two hosts."""
    with docker_daemon.runtime(tmp_path_factory.mktemp("network")) as opened:
        site = embedded.site(opened)
        one, other = Echo(site, "one"), Echo(site, "other")
        for service in (one, other):
            service.start()
        yield one, other


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
        with network.slow(one, 0.2) as slowed:
            began_s = time.monotonic()
            assert said(link) == b"x"
            assert time.monotonic() - began_s >= 0.18
            other.ready(0.15)
        began_s = time.monotonic()
        assert said(link) == b"x", "the connection has lived on"
        assert time.monotonic() - began_s < 0.18
    assert slowed.witness.proof["connect_during_s"]


def test_a_lossy_host_loses_some(pair: tuple[Echo, Echo]) -> None:
    one, _ = pair
    with network.lossy(one, 30) as losing:
        pass
    lost, passed = (int(str(losing.witness.proof[key])) for key in ("lost", "passed"))
    assert lost > 0
    assert passed > 0


def test_a_narrow_host_sends_no_faster(pair: tuple[Echo, Echo]) -> None:
    one, _ = pair
    with network.narrow(one, 4_000_000) as narrowed:
        pass
    proof = narrowed.witness.proof
    assert float(str(proof["rate_during"])) < 20_000_000 < float(str(proof["rate_before"]))


@pytest.mark.parametrize("make", [lambda one: network.slow(one, 0.1), lambda one: network.narrow(one, 4_000_000)])
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
