"""Programs that the gate starts, one at a time: what they say is relayed, and none outlives an interruption.

Each runs in a session of its own, so that Ctrl-C at the terminal reaches the gate alone, which then asks its child to
stop, once, and waits until that has removed what it started. A second Ctrl-C cannot cut this short.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.plugin.figures import MAX_WIDTH
from fixtures.plugin.interrupts import Interrupts

ROOT = Path(__file__).resolve().parents[2]
END_LIMIT_S = 180.0
"""What a run may take to shut its clusters down; each takes some seconds."""
_LAST_LINES = 20
# Of a run: the line of a claim, what is going on, a cluster that is up. Its last screens have lines like these, too.
_SHOWN = re.compile(r"\s*[A-Z]-\d+ (?!(holds|deviates|violated|unknown):)|\S+ cluster up in |paired")
_LAST_SCREEN = re.compile(r"claim +verdict")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended. `code` is None where it was stopped for taking too long; `said` are its last lines."""

    code: int | None
    said: tuple[str, ...]
    duration_s: float

    @property
    def last(self) -> str:
        return self.said[-1] if self.said else "it said nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """Runs programs. `interrupts` are installed by whoever may be interrupted."""

    say: Say
    interrupts: Interrupts = field(default_factory=Interrupts)

    def run(self, argv: Sequence[str], *, output: Path, limit_s: float) -> Ended:
        """Run to the end, all that it says going to `output`. Raises KeyboardInterrupt once it has stopped.

        After `limit_s` it is asked to stop, as by Ctrl-C, and killed if it does not.
        """
        began_s = time.monotonic()
        process: subprocess.Popen[str] | None = None
        relay = _Relay(output, self.say)
        try:
            # A signal in the middle of this would leave a child that nobody knows.
            with self.interrupts.held():
                process = _start(argv)
                relay.follow(process)
            code = _wait(process, limit_s)
        except KeyboardInterrupt:
            if process is not None and not _end(process):
                self.say("it did not stop and was killed; `make clean` removes what it left")
            raise
        finally:
            relay.join()
        said = relay.last if code is not None else (*relay.last, f"stopped after {limit_s:.0f} s")
        return Ended(code=code, said=said, duration_s=time.monotonic() - began_s)


def _start(argv: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "COLUMNS": str(MAX_WIDTH), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[str], limit_s: float) -> int | None:
    """Its exit code; None where it had to be stopped."""
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        _end(process)
        return None


def _end(process: subprocess.Popen[str]) -> bool:
    """Ask it to stop, as Ctrl-C does, and wait until it has; False where it had to be killed."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_LIMIT_S)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


class _Relay:
    """Keeps all that a program says, and shows what of it are signs of life."""

    def __init__(self, output: Path, say: Say) -> None:
        self._output, self._say = output, say
        self._thread: threading.Thread | None = None
        self.last: tuple[str, ...] = ()

    def follow(self, process: subprocess.Popen[str]) -> None:
        self._thread = threading.Thread(target=self._read, args=(process,), name="relay", daemon=True)
        self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            # What it started may keep the pipe open; what that says is not ours.
            self._thread.join(5.0)

    def _read(self, process: subprocess.Popen[str]) -> None:
        showing = True
        assert process.stdout is not None
        with process.stdout, self._output.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                file.write(line)
                file.flush()
                text = line.rstrip()
                if text.strip():
                    self.last = (*self.last[1 - _LAST_LINES :], text.strip())
                showing = showing and _LAST_SCREEN.match(text) is None
                if showing and _SHOWN.match(text):
                    self._say(f"      {text}")
