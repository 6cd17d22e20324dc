"""A docker runtime for a test, on the local images that it needs; and what the daemon has of a run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import images
from fixtures.errors import HarnessError
from fixtures.runtimes.base import Command, Folders, new_run_id
from fixtures.runtimes.containers import Docker, daemon
from fixtures.topology import Images, Topology

LOCAL = Topology(images=Images(source="local"))


@functools.cache
def why_not(*names: str) -> str | None:
    """Why these local images cannot be used here; built first if need be. None if they are there."""
    try:
        client = daemon.connect().client
        with contextlib.closing(client):
            images.ensure(client, names, lambda _line: None)
    except HarnessError as error:
        return str(error).splitlines()[0]
    return None


def require(*names: str) -> None:
    """Skip the test where these local images are not to be had."""
    if (reason := why_not(*names)) is not None:
        pytest.skip(f"no docker runtime: {reason}")


@contextlib.contextmanager
def runtime(folder: Path) -> Iterator[Docker]:
    """An open docker runtime that needs no other image than `host`; closed at the end, whatever the test did."""
    require("host")
    folders = Folders.create(folder / "report", folder, new_run_id())
    opened = Docker(folders, images.choose(LOCAL), reason="a selftest", index=folder / "ledgers")
    with opened:
        yield opened


def command(opened: Docker, script: str, name: str = "part", host: str = "") -> Command:
    """A Python script as a part of a cluster."""
    return Command(
        name=name,
        argv=("python3", "-c", script),
        folder=opened.new_folder(opened.folders.work / name),
        log=opened.folders.report / f"{name}.log",
        image="host",
        host=host,
    )


def of_run(run_id: str) -> list[str]:
    """What the daemon has of a run."""
    client = daemon.connect().client
    with contextlib.closing(client):
        return daemon.of_run(client, run_id)
