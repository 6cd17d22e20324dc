"""Every role under every fault, with load on all doors: the fault grid.

`pytest -m "cluster and grid"` runs all of it, `-k mysql` a part, and the main job a sample (scenarios.py). A cell has a
cluster of its own, so that any of them can be run again alone, by its name.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.claims import Trial, claim, deviates, holds
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from suites.grid import cell
from suites.grid.scenarios import SAMPLE, Scenario, of_group

pytestmark = pytest.mark.grid

WITNESSES = ("fault", "searched meanwhile", "spread over readers", "wrote before and after")
KEPT = "nothing flushed is lost, no answer is wrong or partial, all is well again within the budget"
SOURCE = "the promise of each fault claim (F-1 to F-12), for every fault that this role can meet"
NO_MYSQL = (
    "a batch in flight is lost though Flush succeeded, or doubled by a replay; a reset can wedge Mishards' workers"
)

RunCell = Callable[[Scenario], None]


@pytest.fixture
def run_cell(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> RunCell:
    return lambda scenario: cell.run(scenario, fresh_cluster, trial, names, history, seed)


def cells(group: str) -> pytest.MarkDecorator:
    """A test for each cell of a group, named after its scenario."""
    sample = pytest.mark.sample
    return pytest.mark.parametrize(
        "scenario",
        [pytest.param(it, id=it.name, marks=[sample] if it.name in SAMPLE else []) for it in of_group(group)],
    )


@claim(
    "G-1",
    f"whatever befalls the writer: {KEPT}",
    source=SOURCE,
    expected={
        "1.1.0": deviates(f"killed in the swap of a merge it loses that segment; without MySQL {NO_MYSQL}", "facts 2.6")
    },
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("writer")
def test_writer(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-2",
    f"whatever befalls a reader: {KEPT}",
    source=SOURCE,
    expected={"1.1.0": holds("Mishards hangs or fails meanwhile")},
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("reader")
def test_reader(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-3",
    f"whatever befalls Mishards: {KEPT}",
    source=SOURCE,
    expected={"1.1.0": deviates("a reset from MySQL can wedge its workers until it restarts", "measured-2 1.4")},
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("mishards")
def test_mishards(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-4",
    f"whatever befalls MySQL: {KEPT}",
    source=SOURCE,
    expected={"1.1.0": deviates(NO_MYSQL, "measured S3; measured-2 1.4")},
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("mysql")
def test_mysql(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-5",
    f"whatever befalls Redis: {KEPT}",
    source=SOURCE,
    expected={"1.1.0": holds("writes wait, warm searches do not")},
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("redis")
def test_redis(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-6",
    f"whatever befalls the object store: {KEPT}",
    source=SOURCE,
    expected={"1.1.0": holds("writes wait, warm searches do not")},
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("object-store")
def test_object_store(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-7",
    f"whatever befalls a JuiceFS mount: {KEPT}",
    source=SOURCE,
    expected={
        "1.1.0": deviates(
            "without its mount the writer ends itself, or reports flushes that it could not write", "facts 1.8, 4.1"
        )
    },
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("mount")
def test_mount(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)


@claim(
    "G-8",
    f"whatever befalls several at once: {KEPT}",
    source=SOURCE,
    expected={"1.1.0": deviates("as each of them alone", "G-1, G-4")},
    needs=("fuse",),
    witnesses=WITNESSES,
)
@cells("several")
def test_several(run_cell: RunCell, scenario: Scenario) -> None:
    run_cell(scenario)
