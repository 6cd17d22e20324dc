"""The proxy before the object store: it changes nothing by itself, and each fault does what it says, and no more."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures import store_faults
from fixtures.errors import FaultNotEffective, InfrastructureError, UsageError
from fixtures.history import History
from fixtures.services import StoreProxy
from fixtures.services.object_store import S3Store
from fixtures.waits import wait_until
from suites.selftest import embedded

pytestmark = pytest.mark.selftest

MIB = 1024 * 1024
TIMEOUT_S = 20.0
BROKEN = (OSError, http.client.HTTPException)


class _Store(BaseHTTPRequestHandler):
    """Keeps what is PUT in chunks or whole, and gives it back; notes all that it was asked."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes] = {}  # noqa: RUF012 - one store
    asked: list[tuple[str, str, str]] = []  # noqa: RUF012 - as above

    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_PUT(self) -> None:
        self._note()
        if self.path == "/forbidden":
            # As a server does that does not want the body.
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = True
            return
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            content = b"".join(parts)
        else:
            content = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[self.path] = content
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        content = self.objects[self.path.partition("?")[0]]
        self.send_response(200)
        if self.path.endswith("?chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(content), 1000):
                part = content[at : at + 1000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path.endswith("?close"):
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        self._note()
        del self.objects[self.path]
        self.send_response(204)
        self.end_headers()

    def _note(self) -> None:
        self.asked.append((self.command, self.path, self.headers["Host"]))

    def log_message(self, *_: object) -> None:
        """Nothing: the test says what went wrong."""


class Rig:
    """A store and the proxy before it, as a cluster would have them."""

    def __init__(self, proxy: StoreProxy) -> None:
        self.store_proxy: StoreProxy | None = proxy
        self.proxy = proxy
        self.asked = _Store.asked
        self.objects = _Store.objects

    def connect(self, timeout_s: float = TIMEOUT_S) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.proxy.endpoint, timeout=timeout_s)

    def ask(self, method: str, path: str, content: bytes | None = None) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        with contextlib.closing(self.connect()) as link:
            link.request(method, path, content)
            reply = link.getresponse()
            return reply.status, reply.read()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Store)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    # Without namespaces, so that it can reach a server of this process.
    with embedded.runtime(tmp_path_factory.mktemp("proxy"), namespaces=False) as opened:
        store = SimpleNamespace(endpoint=server.server_address)
        proxy = StoreProxy(embedded.site(opened), cast("S3Store", store))
        proxy.start()
        yield Rig(proxy)
        ended = proxy.stop()
        assert ended is not None
        assert (ended.code, ended.forced) == (0, False)
    server.shutdown()
    server.server_close()


@pytest.fixture
def rig(started: Rig) -> Rig:
    started.asked.clear()
    started.objects.clear()
    started.objects["/object"] = bytes(range(256)) * 40
    return started


def test_what_passes_is_not_changed(rig: Rig) -> None:
    content = rig.objects["/object"]
    link = rig.connect()
    sock = None
    for method, path, body, expected in (
        ("GET", "/object", None, content),
        ("GET", "/object?chunked", None, content),
        ("HEAD", "/object", None, b""),
        ("PUT", "/new", b"n" * 100_000, b""),
        ("PUT", "/pieces", [b"a" * 70_000, b"b", b"c" * 5], b""),
        ("PUT", "/empty", b"", b""),
        ("DELETE", "/empty", None, b""),
        ("GET", "/object", None, content),
    ):
        link.request(method, path, cast("Any", body), encode_chunked=isinstance(body, list))
        reply = link.getresponse()
        assert (reply.read(), reply.status) == (expected, 204 if method == "DELETE" else 200), path
        assert sock in (None, link.sock), "the client's connection is kept"
        sock = link.sock
    link.close()
    assert rig.objects["/new"] == b"n" * 100_000
    assert rig.objects["/pieces"] == b"a" * 70_000 + b"b" + b"c" * 5
    host = "{}:{}".format(*rig.proxy.endpoint)
    assert {said for _, _, said in rig.asked} == {host}, "what is signed stays as it was"
    assert rig.ask("GET", "/object?close") == (200, content)


def test_a_client_may_ask_before_it_sends_a_body(rig: Rig) -> None:
    head = b"PUT /asked HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    with socket.create_connection(rig.proxy.endpoint, timeout=TIMEOUT_S) as link:
        link.sendall(head)
        assert link.recv(1000).startswith(b"HTTP/1.1 100")
        link.sendall(b"body")
        assert link.recv(1000).startswith(b"HTTP/1.1 200")
    with (
        store_faults.errors(rig),
        socket.create_connection(rig.proxy.endpoint, timeout=TIMEOUT_S) as link,
    ):
        link.sendall(head)
        assert link.recv(1000).startswith(b"HTTP/1.1 503")
    assert rig.objects["/asked"] == b"body"
    # A store that refuses what it has not read says so to the client, though the body goes nowhere.
    with socket.create_connection(rig.proxy.endpoint, timeout=TIMEOUT_S) as link:
        link.sendall(b"PUT /forbidden HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
        assert link.recv(1000).startswith(b"HTTP/1.1 403")


def test_bodies_stream_in_constant_memory(rig: Rig) -> None:
    rig.objects["/big"] = bytes(96 * MIB)
    before = _peak_bytes(rig.proxy)
    assert rig.ask("PUT", "/copy", rig.objects["/big"])[0] == 200
    assert rig.ask("GET", "/big") == (200, rig.objects["/copy"])
    assert _peak_bytes(rig.proxy) - before < 8 * MIB


def _peak_bytes(proxy: StoreProxy) -> int:
    status = Path(f"/proc/{proxy.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_errors_strike_as_told_and_never_reach_the_store(rig: Rig, tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    link = rig.connect()
    with store_faults.errors(rig, store_faults.Some(methods=store_faults.WRITE, every=3), history=history) as fault:
        said = []
        for number in range(9):
            link.request("PUT", f"/{number}", b"x" * 1000)
            reply = link.getresponse()
            said.append(reply.status)
            assert reply.status == 200 or b"<Code>SlowDown</Code>" in reply.read()
            reply.read()
        assert rig.ask("GET", "/object")[0] == 200, "reading is not meant"
    link.close()
    assert said == [200, 200, 503] * 3
    assert [path for method, path, _ in rig.asked if method == "PUT"] == [f"/{n}" for n in range(9) if n % 3 != 2]
    assert rig.ask("PUT", "/after", b"")[0] == 200
    proof = fault.witness.proof
    assert fault.witness.kind == "store errors"
    assert (proof["seen"], proof["hit"], proof["by_method"]) == (9, 3, {"PUT": 3})
    (window,) = history.windows()
    assert (window.name, window.target) == ("store errors", "store-proxy")
    history.close()


def test_a_share_is_drawn_and_the_seed_draws_it_again(rig: Rig) -> None:
    def drawn(seed: int) -> list[int]:
        with store_faults.errors(rig, store_faults.Some(share=0.4, seed=seed)):
            return [rig.ask("HEAD", "/object")[0] for _ in range(40)]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert 5 <= first.count(503) <= 28


def test_a_slow_store_is_slow_and_nothing_else(rig: Rig) -> None:
    with store_faults.slow(rig, store_faults.Some(methods=["GET"]), delay_s=1.0) as fault:
        assert _timed(lambda: rig.ask("GET", "/object")) >= 1.0
        assert _timed(lambda: rig.ask("HEAD", "/object")) < 1.0
    assert fault.witness.proof["hit"] == 1
    rig.objects["/big"] = bytes(300_000)
    with store_faults.slow(rig, bytes_per_s=300_000):
        assert 1.0 <= _timed(lambda: rig.ask("GET", "/big")) < 10
        assert 1.0 <= _timed(lambda: rig.ask("PUT", "/big", bytes(300_000))) < 10
    assert _timed(lambda: rig.ask("GET", "/big")) < 1.0


def _timed(action: Callable[[], object]) -> float:
    began_s = time.monotonic()
    action()
    return time.monotonic() - began_s


def test_a_cut_off_reply_lacks_its_half_and_the_store_did_it_all_the_same(rig: Rig) -> None:
    content = rig.objects["/object"]
    with store_faults.cut_off(rig) as fault:
        with pytest.raises(http.client.IncompleteRead) as broken, _asked(rig.proxy) as link:
            link.getresponse().read()
        assert broken.value.partial == content[: len(content) // 2]
        with pytest.raises(http.client.IncompleteRead), _asked(rig.proxy, "GET", "/object?chunked") as link:
            link.getresponse().read()
        with pytest.raises(BROKEN):
            rig.ask("PUT", "/done", b"done")
    assert rig.objects["/done"] == b"done", "its outcome is unknown to the client, and known here"
    assert fault.witness.proof["by_method"] == {"GET": 2, "PUT": 1}


def test_refusing_is_loud_and_silence_is_silent(rig: Rig) -> None:
    with contextlib.closing(rig.connect()) as link:
        link.request("HEAD", "/object")
        link.getresponse().read()
        with store_faults.refuse(rig):
            link.request("GET", "/object")
            with pytest.raises(BROKEN):
                link.getresponse()
            with pytest.raises(BROKEN):
                rig.ask("GET", "/object")
    silent = store_faults.silent(rig)
    with silent, _asked(rig.proxy, timeout_s=0.3) as impatient, pytest.raises(TimeoutError):
        impatient.getresponse()
    with store_faults.silent(rig) as silent, _asked(rig.proxy) as waiting:
        wait_until(lambda: _seen(rig) == 1, timeout_s=TIMEOUT_S, reason="the request to be struck")
        silent.heal()
        with pytest.raises(BROKEN):
            waiting.getresponse()
    assert rig.ask("GET", "/object")[0] == 200
    assert [method for method, _, _ in rig.asked] == ["HEAD", "GET"]


def _seen(rig: Rig) -> int:
    """How many requests the one fault in force was asked about."""
    (fault,) = cast("dict[str, dict[str, int]]", rig.proxy.tell({"do": "look"})["faults"]).values()
    return fault["seen"]


@contextlib.contextmanager
def _asked(
    proxy: StoreProxy, method: str = "GET", path: str = "/object", timeout_s: float = TIMEOUT_S
) -> Iterator[http.client.HTTPConnection]:
    """A connection on which a request was just sent."""
    with contextlib.closing(http.client.HTTPConnection(*proxy.endpoint, timeout=timeout_s)) as link:
        link.request(method, path)
        yield link


def test_several_at_once_add_up(rig: Rig) -> None:
    with store_faults.errors(rig), store_faults.slow(rig, delay_s=0.2), store_faults.slow(rig, delay_s=0.1):
        assert _timed(lambda: rig.ask("GET", "/object")) >= 0.3
    assert not rig.asked
    assert rig.proxy.tell({"do": "look"})["faults"] == {}


def test_a_fault_that_struck_nothing_is_none(rig: Rig) -> None:
    missed = pytest.raises(FaultNotEffective, match="none of 1 requests to the object store was struck")
    with missed, store_faults.errors(rig, store_faults.Some(methods=["PUT"], every=2)):
        rig.ask("PUT", "/one", b"")
    with store_faults.errors(rig, may_miss=True) as fault:
        pass
    assert fault.witness.proof["hit"] == 0
    with pytest.raises(RuntimeError, match="crash"), store_faults.errors(rig, may_miss=True):
        raise RuntimeError("crash")
    assert rig.proxy.tell({"do": "look"})["faults"] == {}, "healed, whatever happened"


def test_bad_orders_are_refused_in_words(rig: Rig) -> None:
    with pytest.raises(UsageError, match="neither delay_s nor bytes_per_s"):
        store_faults.slow(rig)
    with pytest.raises(UsageError, match=r"every=0, share=1\.0"):
        store_faults.errors(rig, store_faults.Some(every=0))
    rig_without = SimpleNamespace(store_proxy=None)
    with pytest.raises(UsageError, match="start it with store_proxy = true"):
        store_faults.errors(rig_without)
    with pytest.raises(InfrastructureError, match="kind 'melt' is none of error, slow"):
        rig.proxy.tell({"do": "add", "fault": {"kind": "melt"}})


def test_a_store_that_is_away_is_a_reset_and_then_well_again(tmp_path: Path) -> None:
    with embedded.runtime(tmp_path, namespaces=False) as opened, socket.socket() as store:
        store.bind(("127.0.0.1", 0))
        proxy = StoreProxy(embedded.site(opened), cast("S3Store", SimpleNamespace(endpoint=store.getsockname())))
        proxy.start()
        with pytest.raises(BROKEN), _asked(proxy) as link:
            link.getresponse()
        store.listen()
        with _asked(proxy) as link:
            met, _ = store.accept()
            with met:
                assert met.recv(1000).startswith(b"GET /object HTTP/1.1")
                met.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert link.getresponse().read() == b"ok"
        assert proxy.tell({"do": "look"})["totals"] == {"requests": 2, "unreachable": 1, "replies": 1}
