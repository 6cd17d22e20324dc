"""Tuning and scaling: their tables from made values, and that nothing is concluded from too little."""

from __future__ import annotations

import contextlib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fixtures.cluster import Cluster
from fixtures.errors import UsageError
from fixtures.waits import Deadline
from suites.performance.article import path, scaling, tuning
from suites.performance.article.options import STORE_LATE_S, SideBySide
from suites.performance.article.scaling import FIRST, STEADY, Point, Sizes, report
from suites.performance.clusters import Place, run_cluster
from suites.performance.paired import judge
from suites.performance.verdicts import Profile

pytestmark = pytest.mark.selftest


def test_a_setting_stands_with_before_after_ratio_verdict_and_cost() -> None:
    pairs = [(1.0, 0.25)] * 8
    table = tuning._table(
        "x", [judge("warm", "s", pairs, seed=1), judge("few", "s", pairs[:2], seed=1)], {"warm": [2.0]}
    )
    assert table.body == (
        ("warm", "8", "1", "0.25", "0.25 [0.25, 0.25]", "better", "2"),
        ("few", "2", "1", "0.25", "", "unknown", ""),
    )


def test_growth_is_fitted_for_each_figure_and_told_between_the_largest() -> None:
    points = [Point("rows", FIRST, size, size / 1000) for size in (10, 100, 1000) for _ in range(3)]
    points += [Point("rows", STEADY, size, 0.5 + (size == 1000) * 4.5) for size in (10, 100, 1000)]
    measured = report(points, 1, [])
    first, steady = measured.tables[0].body
    assert first == (
        "rows",
        FIRST,
        "10: 0.01, 100: 0.1, 1 000: 1",
        "1 [1, 1]",
        "1 [1, 1]",
    )
    assert (steady[3], steady[4]) == ("0.5 [0.5, 0.5]", "1 [1, 1]"), "a fixed part hides it at small sizes"
    assert len(measured.plots) == 1
    ElementTree.fromstring(measured.plots[0].svg)


def test_one_size_has_no_exponent_and_what_was_left_out_is_told() -> None:
    measured = report([Point("readers", FIRST, 1, 0.1)], 1, ["readers 2"])
    assert measured.tables[0].body == (("readers", FIRST, "1: 0.1", "", ""),)
    assert measured.unfinished == "its time was over: without readers 2"


def test_a_tiny_run_of_scaling(tmp_path: Path) -> None:
    place = Place(report=tmp_path, work_parent=Path("/var/tmp"), seed=1, say=lambda _: None)
    sizes = Sizes(rows=(500,), segments=(), segment_rows=500, readers=(), repeats=2)
    profile = Profile(name="quick", limit_s=120.0)
    try:
        measured = scaling.measure(place, profile, lambda _: None, sizes)
    except UsageError as error:
        pytest.skip(str(error))
    assert [lifetime.left for lifetime in measured.lifetimes] == [()]
    assert len(measured.tables[0].body) == 3


def test_each_mount_reads_once_a_round_so_that_none_is_more_idle_than_another() -> None:
    reads: list[tuple[str, str]] = []

    class Counted:
        def __init__(self, name: str) -> None:
            self.name = name

        def cold_s(self, folder: str) -> float:
            reads.append((self.name, folder))
            return {"own": 1.0, "a": 2.0, "b": 3.0}[self.name]

    mounts = SideBySide(Counted("own"), {"a": Counted("a"), "b": Counted("b")}, ["x", "y"])  # type: ignore[arg-type,dict-item]
    pairs = list(mounts.rounds(2, Deadline(60.0), lambda _: None))
    assert pairs == [("a", 1.0, 2.0), ("b", 1.0, 3.0)] * 2
    assert sorted(reads) == sorted((name, folder) for name in ("own", "a", "b") for folder in ("x", "y"))


def test_first_queries_with_one_thing_different_on_a_cluster(tmp_path: Path) -> None:
    """Preload leaves nothing to fetch, and a mount that keeps what it wrote needs no store to read it."""
    place = Place(report=tmp_path, work_parent=Path("/var/tmp"), seed=1, say=lambda _: None)
    got: dict[str, list[tuple[float, float, float | None]]] = {}
    fetched: dict[str, list[int]] = {}
    lines: list[str] = []

    def add(name: str, before_s: float, after_s: float, cost_s: float | None) -> None:
        got.setdefault(name, []).append((before_s, after_s, cost_s))

    def use(cluster: Cluster) -> None:
        if cluster.storage_reason:
            pytest.skip(cluster.storage_reason)
        with contextlib.ExitStack() as stack:
            doors = {each.name: stack.enter_context(cluster.connect(each.name)) for each in cluster.nodes}
            queries = path.FirstQueries(cluster, doors, 20_000)
            queries.rounds(1, add, Deadline(0.0), lines.append)
            fetched.update(queries.same_host_rounds(1, add, Deadline(0.0), lines.append))

    assert run_cluster(place, "tiny", use).left == ()
    assert all(before_s > 0 and after_s > 0 for pairs in got.values() for before_s, after_s, _ in pairs)
    assert got[path.PRELOADED][0][2], "what it costs ahead is told"
    if path.FAR_STORE in got:
        ((before_s, after_s, cost_s),) = got[path.FAR_STORE]
        assert after_s > before_s + STORE_LATE_S
        assert cost_s is None
    else:
        assert any("left out" in line for line in lines), lines
    assert fetched[path.OWN_CACHE][0] > 0
    assert fetched[path.KEPT_WRITES] == [0]
