"""Hosts with networks of their own: reached by their clients and each other, and gone with their run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from fixtures import topology
from fixtures.errors import InfrastructureError
from fixtures.runtimes import Runtime, namespaces, open_embedded
from fixtures.runtimes.namespaces import choose_network, networks_in_use
from fixtures.services import Redis, Site
from fixtures.waits import wait_until
from suites.selftest import embedded
from suites.selftest.embedded import GONE_TIMEOUT_S, folders, index

pytestmark = pytest.mark.selftest


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Runtime]:
    with embedded.runtime(tmp_path) as runtime:
        if (reason := runtime.why_no_partitions()) is not None:
            pytest.skip(reason)
        yield runtime


@pytest.fixture
def site(opened: Runtime) -> Site:
    return embedded.site(opened)


def _cables() -> set[str]:
    """The interfaces of this machine that lead to hosts of some run."""
    return {path.name for path in Path("/sys/class/net").glob("mjc-*")}


def _connect(address: str, port: int) -> str:
    return f"import socket; socket.create_connection(({address!r}, {port}), timeout=5); print('connected')"


def test_a_service_has_its_usual_port_and_is_reached_from_here_and_from_its_neighbours(site: Site) -> None:
    server, other = Redis(site, topology.Redis()), site.block.host("other")
    server.start()
    host, port = server.endpoint
    assert port == 6379
    server.ready()
    said = site.runtime.in_network_of(other, [sys.executable, "-"], _connect(host, port))
    assert said == "connected\n"
    with pytest.raises(InfrastructureError, match=r"exit code 1: .*ConnectionRefusedError"):
        site.runtime.in_network_of(other, [sys.executable, "-"], _connect("127.0.0.1", port))


def test_a_program_lives_on_its_host_and_sees_the_files_of_all(site: Site, tmp_path: Path) -> None:
    runtime, address = site.runtime, site.block.host("one")
    (tmp_path / "file").write_text("seen")
    script = f"import os; print(sorted(os.listdir('/sys/class/net')), open({str(tmp_path / 'file')!r}).read())"
    words = "import socket; print([name for _, name in socket.if_nameindex()])"
    said = runtime.run(replace(embedded.command(runtime, words), host=address), timeout_s=10)
    assert said == "['lo', 'eth0']\n"
    assert "seen" in runtime.run(replace(embedded.command(runtime, script), host=address), timeout_s=10)


def test_two_clusters_do_not_meet(opened: Runtime) -> None:
    first, second = opened.new_block(), opened.new_block()
    one, two = first.host("one"), second.host("two")
    assert first.port(one, 80) == second.port(two, 80) == 80
    assert first.port(one, 80) == 81, "a host has each port once"
    # Named after in /tmp, which is everybody's.
    assert len({block.shared_port(80) for block in (first, second) for _ in range(50)}) == 100
    second.prepare(two)
    with pytest.raises(InfrastructureError, match="Network is unreachable"):
        opened.in_network_of(one, [sys.executable, "-"], _connect(two, 80))


def test_a_block_that_is_closed_is_gone(opened: Runtime) -> None:
    before = _cables()
    block = opened.new_block()
    address = block.host("one")
    block.prepare(address)
    assert len(_cables() - before) == 1
    block.close()
    block.close()
    assert _cables() <= before
    with pytest.raises(InfrastructureError, match="its cluster has ended"):
        block.prepare(address)


def test_networks_do_not_outlive_a_killed_run(opened: Runtime, tmp_path: Path) -> None:
    before = _cables()
    script = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from suites.selftest import embedded as e\n"
        "from fixtures.runtimes import open_embedded\n"
        "folder = Path(sys.argv[1]); opened = open_embedded(e.folders(folder), index=e.index(folder))\n"
        "address = opened.new_block().host('one')\n"
        "opened.process(replace(e.command(opened, 'import time; time.sleep(1000)'), host=address)).start()\n"
        "print(address, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        cable = f"mjc-{run.stdout.readline().strip().rpartition('.')[0].replace('.', '-')}"
        assert cable in _cables() - before
        run.kill()
        wait_until(lambda: cable not in _cables(), timeout_s=GONE_TIMEOUT_S, reason="the kernel to remove the network")
    assert opened.why_no_partitions() is None


def test_networks_are_nobody_elses() -> None:
    assert any(IPv4Network((f"{choose_network([], [])}.0", 24)).is_private for _ in range(5))
    vpn = [IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12")]
    assert choose_network([], vpn).startswith("192.168.")
    with pytest.raises(InfrastructureError, match="no free private network"):
        choose_network([f"192.168.{number}" for number in range(256)], vpn)
    assert IPv4Network("0.0.0.0/0") not in networks_in_use()


def test_where_it_cannot_be_had_hosts_are_addresses_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_embedded(folders(tmp_path), namespaces=False, index=index(tmp_path)) as opened:
        assert opened.why_no_partitions() == "they were switched off for this run"
        address = opened.new_block().host("one")
        assert address.startswith("127.")
        with pytest.raises(InfrastructureError, match=r"127\..* has no network of its own: they were switched off"):
            opened.in_network_of(address, ["true"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert namespaces.why_no_namespaces.__wrapped__() == "running as user 1000, not as root"
    monkeypatch.undo()

    def absent(names: tuple[str, ...], install: str) -> Path:
        raise InfrastructureError(f"no {names[0]} on PATH: {install}")

    monkeypatch.setattr(namespaces, "lacks_capabilities", lambda *_: None)
    monkeypatch.setattr(namespaces, "find_program", absent)
    assert namespaces.why_no_namespaces.__wrapped__() == (
        "no iptables on PATH: install the Debian packages iproute2, iptables and util-linux"
    )
