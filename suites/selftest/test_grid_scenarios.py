"""The fault grid as data, and which of its cells a run has."""

from __future__ import annotations

import pytest

from fixtures.plugin.cluster_fixtures import change
from fixtures.topology import Topology, check
from suites.grid import scenarios
from suites.grid.injections import topology_for
from suites.grid.scenarios import GRID, HOSTS, MOUNTS, PEERS, SAMPLE, Break, Scenario
from suites.selftest import inner

pytestmark = pytest.mark.selftest

GROUPS = ("writer", "reader", "mishards", "mysql", "redis", "object-store", "mount", "several")
NAMES = [each.name for each in GRID]


def test_every_role_meets_every_kind_of_fault() -> None:
    for role in HOSTS:
        for fault in ("kill", "stop", "pause", "pause-long", "late-100ms", "late-1000ms", "lossy-10"):
            assert f"{role}-{fault}" in NAMES
    for role in MOUNTS:
        for fault in ("kill", "pause", "pause-long", "full"):
            assert f"{role}-{fault}" in NAMES
    for host, peers in PEERS.items():
        for peer in peers:
            assert {f"{host}-cut-{peer}-drop", f"{host}-cut-{peer}-reject"} <= set(NAMES)
    assert {"object-store-503", "object-store-slow", "object-store-cut-off", "writer-full"} <= set(NAMES)


def test_names_tell_scenarios_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(SAMPLE) <= set(NAMES)


def test_each_cell_belongs_to_one_claim() -> None:
    grouped = [each.name for group in GROUPS for each in scenarios.of_group(group)]
    assert sorted(grouped) == sorted(NAMES)


@pytest.mark.parametrize("scenario", GRID, ids=NAMES)
def test_each_cell_can_have_its_cluster(scenario: Scenario) -> None:
    assert check(change(Topology(), topology_for(scenario)), scenario.name)


def test_a_composed_scenario_needs_what_its_parts_need() -> None:
    both = Scenario((Break(role="mysql", how="cut:drop", peer="writer"), Break(role="writer", how="full")))
    assert both.name == "mysql-cut-writer-drop+writer-full"
    assert both.needs == {"fuse", "partition", "disks"}
    assert both.concerns("writer")
    assert not both.concerns("redis")


CELLS = """
pytestmark = pytest.mark.grid

@promise("G-1")
@pytest.mark.parametrize("cell", [pytest.param(1, id="one", marks=pytest.mark.sample), pytest.param(2, id="two")])
def test_cell(cell, trial):
    trial.check(True, "")
"""


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["-m", "cluster"], {"one"}),
        (["-m", "cluster and grid"], {"one", "two"}),
        (["-m", "cluster", "test_inner.py::test_cell[two]"], {"two"}),
    ],
    ids=["the main job", "the whole grid", "by name"],
)
def test_the_main_job_runs_the_sample(pytester: pytest.Pytester, words: list[str], run: set[str]) -> None:
    inner.write(pytester, CELLS)
    result = pytester.runpytest_inprocess(*words, "--collect-only", "-q")
    assert {line.split("[")[1].rstrip("]") for line in result.outlines if "::test_cell[" in line} == run
