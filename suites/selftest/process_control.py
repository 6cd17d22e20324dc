"""The hooks of a cluster of processes: `process_control.py VERB STATE.json`, as an operator's script would do it.

The state file has argv, env, cwd, log and pid of one process, and the words before the command that enter its host.
VERB is kill, stop, pause, resume, start, identity, or nothing, which succeeds without doing anything.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_SIGNALS = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGINT,
    "pause": signal.SIGSTOP,
    "resume": signal.SIGCONT,
}
_END_S = 10.0


def describe(pid: int, log: Path, holder: int) -> dict[str, Any]:
    """The state of a running process; `holder` is the process that has its network namespace open."""
    proc = Path("/proc") / str(pid)
    network = (proc / "ns/net").readlink()
    entry: list[str] = []
    if network != Path("/proc/self/ns/net").readlink():
        handles = (Path("/proc") / str(holder) / "fd").iterdir()
        path = next(handle for handle in handles if handle.is_symlink() and _target(handle) == str(network))
        entry = ["nsenter", f"--net={path}", "--"]
    pairs = (item.split("=", 1) for item in (proc / "environ").read_text().split("\0") if "=" in item)
    argv = (proc / "cmdline").read_text().rstrip("\0").split("\0")
    cwd = str((proc / "cwd").readlink())
    return {"pid": pid, "argv": argv, "env": dict(pairs), "cwd": cwd, "log": str(log), "entry": entry}


def main(verb: str, path: Path) -> None:
    state = json.loads(path.read_text())
    pid: int = state["pid"]
    if verb in _SIGNALS:
        handle = os.pidfd_open(pid)
        os.kill(pid, _SIGNALS[verb])
        if verb in ("kill", "stop"):
            _await_end(handle)
    elif verb == "start":
        with Path(state["log"]).open("ab") as log:
            child = subprocess.Popen(
                [*state["entry"], *state["argv"]],
                env=state["env"],
                cwd=state["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        path.write_text(json.dumps({**state, "pid": child.pid}))
    elif verb == "identity":
        print(pid, _born(pid))


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Its start time in ticks; empty once it is gone."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _await_end(handle: int) -> None:
    """Wait for the process that a pidfd stands for, whether or not its parent has seen its end."""
    ended, _, _ = select.select([handle], [], [], _END_S)
    os.close(handle)
    if not ended:
        raise SystemExit("the process does not end")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
