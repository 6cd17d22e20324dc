"""Tuning and scaling: their tables from made values, and that nothing is concluded from too little."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from fixtures.errors import UsageError
from suites.performance.article import scaling, tuning
from suites.performance.article.scaling import FIRST, STEADY, Point, Sizes, report
from suites.performance.clusters import Place
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
