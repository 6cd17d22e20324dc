"""P-1: its verdicts by hand, its report from made values, its drawings, and one tiny run of all of it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from suites.performance import plots
from suites.performance.article import first_query
from suites.performance.article.judging import ARTICLE_S, Evidence, judge
from suites.performance.article.states import STATES, Fetch
from suites.performance.article.steps import Steps
from suites.performance.article.workload import ARTICLE, Pass, Query, Size
from suites.performance.clusters import Place
from suites.performance.verdicts import Judged, Profile, Verdict

pytestmark = pytest.mark.selftest

STAND_IN = "stand-in (not Milvus)"
FAST, SLOW = [0.01] * 10, [0.5] * 10


def judged(
    fetch_s: list[float], floor_s: list[float], rows: int = ARTICLE.rows, implementation: str = "Milvus"
) -> Judged:
    return judge(
        Evidence(state="cold", fetch_s=fetch_s, floor_s=floor_s), rows=rows, implementation=implementation, seed=1
    )


def test_a_real_milvus_is_judged_by_its_own_figure() -> None:
    assert judged(FAST, FAST).verdict is Verdict.REPRODUCED
    slow = judged(SLOW, FAST)
    assert (slow.verdict, slow.why) == (Verdict.NOT_REPRODUCED, "at least 15.6 times the article's figure")
    assert slow.measured == "0.5 [0.5, 0.5] s, mean of 10"
    assert judged([0.001, 0.063] * 5, FAST).verdict is Verdict.NOT_COMPARABLE, "its interval contains the figure"


def test_a_stand_in_proves_nothing_unless_the_steps_below_milvus_are_too_slow_alone() -> None:
    for fetch_s in (FAST, SLOW):
        stand_in = judged(fetch_s, FAST, implementation=STAND_IN)
        assert (stand_in.verdict, "stand-in (not Milvus)" in stand_in.why) == (Verdict.NOT_COMPARABLE, True)
    below = judged(SLOW, SLOW, implementation=STAND_IN)
    assert (below.verdict, "without any Milvus" in below.why) == (Verdict.NOT_REPRODUCED, True)


def test_smaller_batches_or_no_proof_are_not_comparable() -> None:
    assert judged(FAST, FAST, rows=1000).why == "batches of 1 000 rows, not of 100 000"
    assert judged([], FAST).why == "no query was proven to be of this state"


@pytest.mark.parametrize(
    ("state", "gets", "read_bytes", "proven"),
    [
        ("cold", 13, 52, True),
        ("cold", 0, 52, False),
        ("warm", 0, 52, True),
        ("warm", 1, 52, False),
        ("warm", 0, 0, False),
        ("hot", 0, 0, True),
        ("hot", 0, 52, False),
    ],
)
def test_a_state_is_proven_by_what_the_mount_counted(state: str, gets: int, read_bytes: int, proven: bool) -> None:
    fetch = Fetch(reader="reader-1", state=state, first_s=2.0, second_s=0.5, gets=gets, read_bytes=read_bytes)
    assert (fetch.proven, fetch.fetch_s) == (proven, 1.5)


def made_pass(name: str, batches: int) -> Pass:
    queries = tuple(
        Query(door="reader-1", batch=batch, first_s=1.0, second_s=0.25, searches=1 + batch % 2)
        for batch in range(batches)
    )
    return Pass(collection=name, queries=queries, insert_s=(0.1,) * batches, flush_s=(0.1,) * batches, batches=batches)


def test_the_report_has_verdicts_shares_and_what_is_missing() -> None:
    got = first_query._Got(implementation=STAND_IN, rows=ARTICLE.rows)
    got.passes = {"kept": made_pass("kept", 10), "merged": made_pass("merged", 4)}
    for state, gets, read_bytes in (("cold", 13, 52), ("warm", 0, 52), ("hot", 0, 52)):
        got.fetches.append(
            Fetch(reader="reader-1", state=state, first_s=1.0, second_s=0.1, gets=gets, read_bytes=read_bytes)
        )
    got.steps = [
        Steps(mysql_s=0.1, metadata_s=0.1, read_s=0.5, gets_s=0.9, copy_s=0.05, bytes=52_000_000, redis_commands=38)
    ]
    measured = first_query.report(got, ARTICLE, seed=1)
    assert [each.claim for each in measured.judged] == [
        "P-1 right after its flush",
        "P-1 cold",
        "P-1 warm",
        "P-1 hot",
    ]
    assert measured.judged[-1].measured == "nothing", "a hot query that was read through the mount is no hot query"
    queries, states, steps = measured.tables
    assert queries.body[1][:4] == ("reader-1", "batches are merged", "4", "0.75 [0.75, 0.75]")
    assert queries.body[1][-1] == "2", "batches that were asked for again"
    assert [line[0] for line in states.body] == ["cold", "warm"]
    assert [line[-1] for line in steps.body] == ["10%", "10%", "50%", "10%", "20%"]
    assert measured.unfinished == "its time was over: kept 10 of 10 batches, merged 4 of 10 batches"
    ElementTree.fromstring(measured.plots[0].svg)


def test_drawings_are_whole_and_place_values_in_their_order() -> None:
    strips = ElementTree.fromstring(plots.strips({"a & b": [0.01, 0.1, 1.0], "c": [-1.0, 0.5]}, "s", ARTICLE_S, "bar"))
    places = [float(dot.attrib["cx"]) for dot in strips.iter() if dot.tag == "circle"]
    assert places[:3] == sorted(places[:3])
    assert places[3] == min(places), "what is not above zero lies at the edge"
    curves = ElementTree.fromstring(plots.curves({"x": [(10, 1.0), (100, 10.0)], "y": [(10, 0.0)]}, "rows", "s"))
    assert sum(dot.tag == "circle" for dot in curves.iter()) == 2
    with pytest.raises(ValueError, match="value above zero"):
        plots.curves({"x": []}, "rows", "s")


def test_a_tiny_run_measures_every_door_state_and_step(tmp_path: Path) -> None:
    place = Place(report=tmp_path, work_parent=Path("/var/tmp"), seed=1, say=lambda _: None)
    profile = Profile(name="quick", limit_s=120.0)
    measured = first_query.measure(place, profile, lambda _: None, Size(2, 3_000, 0.1, 0.2))
    assert [lifetime.left for lifetime in measured.lifetimes] == [()]
    if "no JuiceFS mount" in measured.judged[0].why:
        pytest.skip(measured.judged[0].why)
    # A busy machine may drop pages by itself: then no query was hot, and it says so.
    assert all(each.verdict is Verdict.NOT_COMPARABLE for each in measured.judged)
    assert "3 000 rows" in measured.judged[0].why
    queries, states, _ = measured.tables
    assert [line[0] for line in queries.body] == [
        "reader-1",
        "reader-2",
        "reader-1",
        "reader-2",
        "mishards",
        "mishards",
    ]
    assert [line[0] for line in states.body][:2] == list(STATES)[:2]
    assert not measured.unfinished
