"""An embedded runtime for a test, with its ledgers, work folder and report below the test's own folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from fixtures.runtimes import Command, Folders, Runtime, new_run_id, open_embedded
from fixtures.runtimes.kernel import is_running
from fixtures.services import Site

GONE_TIMEOUT_S = 10.0


@contextlib.contextmanager
def runtime(folder: Path, *, fuse: bool = True, namespaces: bool = True) -> Iterator[Runtime]:
    """An open runtime; closed at the end, whatever the test did."""
    with open_embedded(folders(folder), fuse=fuse, namespaces=namespaces, index=index(folder)) as opened:
        yield opened


def index(folder: Path) -> Path:
    """Where the ledgers of the test's runs are: not the user's own, which a sweep under test must not touch."""
    return folder / "ledgers"


def folders(folder: Path) -> Folders:
    return Folders.create(folder / "report", folder, new_run_id())


def site(opened: Runtime) -> Site:
    """A place for services, as a cluster would make it."""
    work = opened.new_folder(opened.folders.work / "site")
    return Site(runtime=opened, block=opened.new_block(), work=work, report=opened.folders.report / "site")


def command(opened: Runtime, script: str, name: str = "part") -> Command:
    """A Python script as a part of a cluster."""
    return Command(
        name=name,
        argv=(sys.executable, "-c", script),
        folder=opened.new_folder(opened.folders.work / name),
        log=opened.folders.report / f"{name}.log",
    )


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if is_running(pid)]
