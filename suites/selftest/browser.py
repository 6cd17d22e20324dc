"""A real browser for the tests of pages: Chromium, headless, told what to do over a pipe (its DevTools protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ANSWER_TIMEOUT_S = 60.0
END_TIMEOUT_S = 20.0
# The browser's own file descriptors for commands and for answers.
_COMMANDS, _ANSWERS = 3, 4
# As root it refuses to run in its sandbox; what it opens here is our own page.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--remote-debugging-pipe"),
)


def program() -> str | None:
    """The browser of this machine, if it has one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass
class Tab:
    """One tab. `requested` are the addresses of everything that it asked for."""

    commands: int
    answers: int
    session: str = ""
    requested: list[str] = field(default_factory=list)
    _last: int = 0
    _unread: bytes = b""

    def open(self, page: Path, *, width: int, height: int = 844, scheme: str = "light") -> None:
        """Show a page in a window of `width` CSS pixels, to a user who likes this colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._until("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to in the page. A page without scripts can be asked all the same."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, to: Path, *, whole: bool = True) -> Path:
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        to.write_bytes(base64.b64decode(answer["data"]))
        return to

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _until(self, event: str) -> None:
        while self._next().get("method") != event:
            pass

    def _next(self) -> dict[str, Any]:
        """The next word of the browser. Raises TimeoutError where it says none, EOFError once it is gone."""
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser said nothing for {ANSWER_TIMEOUT_S:g} s")
            part = os.read(self.answers, 1 << 20)
            if not part:
                raise EOFError("the browser is gone")
            self._unread += part
        word, _, self._unread = self._unread.partition(b"\0")
        said: dict[str, Any] = json.loads(word)
        if said.get("method") == "Network.requestWillBeSent":
            self.requested.append(said["params"]["request"]["url"])
        return said


@contextmanager
def tab(browser: str, profile: Path) -> Iterator[Tab]:
    """A fresh browser with one tab; it is gone afterwards."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    def descriptors() -> None:
        # Copies first: either pipe may sit where the other must go.
        commands, answers = os.dup(command_read), os.dup(answer_write)
        os.dup2(commands, _COMMANDS)
        os.dup2(answers, _ANSWERS)

    process = subprocess.Popen(
        [browser, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=descriptors,
        close_fds=False,
    )
    os.close(command_read)
    os.close(answer_write)
    here = Tab(command_write, answer_read)
    try:
        (page,) = [each for each in here.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        here.session = here.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            here.call(f"{domain}.enable")
        yield here
    finally:
        with suppress(OSError, EOFError, RuntimeError):
            # By its own hand: its helpers go with it, and write nothing more to the profile.
            here.session = ""
            here.call("Browser.close")
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(command_write)
        os.close(answer_read)
