"""Network faults: each takes effect, says truly what it did, heals whatever happens, and is no fault without effect."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fixtures import latency, network, topology
from fixtures.errors import FaultNotEffective, InfrastructureError, MissingCapability, UsageError
from fixtures.history import History
from fixtures.packets import Rules, attempts, on_host_of
from fixtures.services import Redis, Site
from fixtures.waits import wait_until
from suites.selftest import embedded

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Redis, Redis]]:
    """Two services on two hosts."""
    with embedded.runtime(tmp_path_factory.mktemp("network")) as opened:
        if (reason := opened.why_no_partitions()) is not None:
            pytest.skip(reason)
        site = embedded.site(opened)
        one = Redis(site, topology.Redis())
        one.start()
        other_site = Site(
            runtime=opened, block=site.block, work=opened.new_folder(site.work / "other"), report=site.report
        )
        other = Redis(other_site, topology.Redis())
        other.name = "other"
        other.start()
        yield one, other


def _said(a: Redis, b: Redis) -> object:
    (result,) = attempts([a], [b]).values()
    return result["said"]


def _client(server: Redis, timeout_s: float) -> redis.Redis:
    once = Retry(NoBackoff(), 0)
    return redis.Redis(*server.endpoint, password=server.password, socket_timeout=timeout_s, retry=once)


def _ping_s(client: redis.Redis) -> float:
    began_s = time.monotonic()
    assert client.ping()
    return time.monotonic() - began_s


def _rules(server: Redis) -> str:
    return on_host_of(server, ["iptables-save", "-t", "filter"])


@pytest.mark.parametrize(("how", "said"), network.HOW.items())
def test_a_partition_cuts_both_ways_and_leaves_clients_alone(pair: tuple[Redis, Redis], how: str, said: str) -> None:
    one, other = pair
    with network.partition(one, other, how) as fault:
        assert (_said(one, other), _said(other, one)) == (said, said)
        one.ready()
        other.ready()
    assert (_said(one, other), _said(other, one)) == ("connected", "connected")
    proof = fault.witness.proof
    assert fault.witness.kind == "partition"
    assert proof["target"] == "redis, other"
    assert proof["attempts"]["redis to other"]["said"] == said  # type: ignore[index]
    # What was stopped besides the proof's own packets: those of the attempts above.
    assert int(str(proof["packets_stopped"])) >= 2
    assert "mjc_" not in _rules(one) + _rules(other)


def test_a_rejecting_partition_resets_what_is_connected(pair: tuple[Redis, Redis]) -> None:
    one, other = pair
    # As replica and master they have a connection of their own.
    with _client(one, 2.0) as client:
        client.execute_command("CONFIG", "SET", "masterauth", other.password)
        client.execute_command("REPLICAOF", *other.endpoint)
        _await_link(client, "up")
        with network.partition(one, other, "reject"):
            _await_link(client, "down")
        _await_link(client, "up")
        client.execute_command("REPLICAOF", "NO", "ONE")


def _await_link(client: redis.Redis, state: str) -> None:
    wait_until(
        lambda: client.info("replication")["master_link_status"] == state,
        timeout_s=15,
        reason=f"the link to be {state}",
    )


def test_a_fault_heals_when_the_body_fails_and_is_in_the_journal(pair: tuple[Redis, Redis], tmp_path: Path) -> None:
    one, other = pair
    history = History(tmp_path / "history.jsonl")
    with pytest.raises(RuntimeError, match="crash"), network.partition(one, other, "drop", history):
        raise RuntimeError("crash")
    (window,) = history.windows()
    history.close()
    assert (window.name, window.target) == ("partition", "redis, other")
    assert window.ended_s is not None
    assert _said(one, other) == "connected"


def test_a_partition_without_effect_is_not_taken_for_one(
    pair: tuple[Redis, Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    with pytest.raises(UsageError, match="no network between them"):
        network.partition(one, one)
    with pytest.raises(UsageError, match="'unplug' must be one of drop, reject"):
        network.partition(one, other, "unplug")
    with monkeypatch.context() as patch:
        patch.setattr(Rules, "put", lambda _: None)
        with pytest.raises(FaultNotEffective, match="without effect: redis to other: connected"):
            network.partition(one, other).__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(other, "endpoint", (other.endpoint[0], 1))
        with pytest.raises(FaultNotEffective, match="no way in the first place: redis to other: refused"):
            network.partition(one, other).__enter__()
    assert "mjc_" not in _rules(one)


def test_an_unplugged_host_is_out_of_everybodys_reach(pair: tuple[Redis, Redis]) -> None:
    one, other = pair
    on_host_of(one, ["ip", "route", "add", "203.0.113.0/24", "via", other.endpoint[0]])
    routes = on_host_of(one, ["ip", "route"])
    with network.unplug(one) as fault:
        assert _said(other, one) != "connected"
        with pytest.raises(OSError, match=r"timed out|No route to host"):
            socket.create_connection(one.endpoint, timeout=0.5)
    assert _said(other, one) == "connected"
    assert on_host_of(one, ["ip", "route"]) == routes
    assert fault.witness.proof["attempts"]


def test_slow_makes_round_trips_longer_and_keeps_connections(pair: tuple[Redis, Redis]) -> None:
    one, _ = pair
    with _client(one, 20.0) as client:
        # The same connection all the time: a new one would first have to log in.
        number = client.client_id()
        assert _ping_s(client) < 0.1
        with network.slow(one, 0.1) as fault:
            assert 0.1 <= _ping_s(client) < 0.2
            client.set("much", b"x" * 5_000_000)
        assert _ping_s(client) < 0.1
        assert client.client_id() == number
    proof = fault.witness.proof
    assert float(str(proof["connect_during_s"])) >= 0.1 > float(str(proof["connect_before_s"]))
    assert proof["means"] in ("netem", "packet queue")
    assert proof.get("lost", 0) == 0
    assert "mjc_" not in _rules(one)


def test_slow_towards_a_peer_is_slow_for_nobody_else(pair: tuple[Redis, Redis]) -> None:
    one, other = pair
    with _client(one, 5.0) as client, network.slow(one, 0.1, [other]):
        client.ping()
        assert _ping_s(client) < 0.1
        (result,) = attempts([other], [one]).values()
        assert float(str(result["took_s"])) >= 0.1


def test_slow_needs_means_and_says_when_they_fail(pair: tuple[Redis, Redis], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = pair

    def refuse(*_: object) -> latency.Means:
        raise InfrastructureError("not in this kernel")

    with monkeypatch.context() as patch:
        patch.setattr(latency, "Netem", refuse)
        patch.setattr(latency, "Queue", refuse)
        with pytest.raises(MissingCapability, match="latency: not in this kernel; not in this kernel"):
            network.slow(one, 0.1).__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(latency, "Netem", refuse)

        def dies() -> None:
            fault = network.slow(one, 0.05)
            with fault:
                queue = next(c for c in one.runtime._children if "delay" in c.name and c.is_alive())  # type: ignore[attr-defined]
                queue.kill()
                one.ready()

        with pytest.raises(FaultNotEffective, match="it ended early"):
            dies()
    one.ready()


def test_lossy_loses_some_and_counts_them(pair: tuple[Redis, Redis]) -> None:
    one, _ = pair
    with network.lossy(one, 20) as fault, _client(one, 20.0) as client:
        assert client.ping(), "what is lost is sent again"
    lost, passed = (int(str(fault.witness.proof[key])) for key in ("lost", "passed"))
    assert lost > 0
    assert 0.05 < lost / (lost + passed) < 0.5
    with pytest.raises(UsageError, match=r"must be from 0\.1 to 99"):
        network.lossy(one, 100)


def test_narrow_holds_a_transfer_to_its_rate(pair: tuple[Redis, Redis]) -> None:
    one, _ = pair
    with network.narrow(one, 10_000_000) as fault:
        one.ready()
    proof = fault.witness.proof
    assert 5_000_000 < float(str(proof["rate_during"])) <= 11_000_000 < float(str(proof["rate_before"]))
    assert int(str(proof["waited"])) > 0
    assert "tbf" not in on_host_of(one, ["tc", "qdisc"])
