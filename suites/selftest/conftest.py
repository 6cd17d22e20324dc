"""What several modules of selftests are given. Started only where it is asked for, and once a module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suites.selftest import browser

if TYPE_CHECKING:
    from fixtures.wire import Milvus
    from suites.selftest.pymilvus_doors import Doors


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A small stand-in cluster behind plain pymilvus clients."""
    # Imported here, since it loads pymilvus and grpc, which most selftests do not need.
    from suites.selftest.pymilvus_doors import open_doors

    with open_doors(tmp_path_factory.mktemp("doors")) as opened:
        yield opened


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[browser.Tab]:
    """A tab of a real browser, where this machine has one."""
    program = browser.program()
    if program is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(browser.PROGRAMS)} is on PATH")
    with browser.tab(program, tmp_path / "profile") as opened:
        yield opened


@pytest.fixture(params=["writer", "reader", "mishards"])
def door(request: pytest.FixtureRequest) -> str:
    """Through which of them a test goes: each in turn."""
    name: str = request.param
    return name


@pytest.fixture
def milvus(doors: Doors, door: str) -> Milvus:
    """The client of that door."""
    return doors.clients[door]


@pytest.fixture
def filled(request: pytest.FixtureRequest, doors: Doors) -> Iterator[str]:
    """A collection of the test's own, filled and flushed."""
    collection = re.sub(r"\W", "_", request.node.name.removeprefix("test_"))
    doors.fill(collection)
    yield collection
    doors.clients["writer"].drop_collection(collection)
