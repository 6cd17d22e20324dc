"""The benchmark's pure parts: statistics, tables, the chain of steps timed alone, the machine; and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.cluster import FIRST_SEARCH, Cluster
from fixtures.errors import InfrastructureError
from fixtures.steps import Phase, Step, run_steps
from suites.performance import bench, bring_up, machine
from suites.performance.bench_checks import growth, timed
from suites.performance.bring_up import BringUp, chain_alone, durations, split
from suites.performance.clusters import Lifetime, OneByOne, Place, one_by_one
from suites.performance.figures import Figure, beside, footnotes, in_order, markdown_table, rows, spread, text_table
from suites.performance.machine import Machine, Usage, cpu_model, foreign_cores, noise
from suites.performance.measures import MEASURES, SOURCES
from suites.performance.output import Results, as_json, as_text
from suites.performance.stand_in import last_requests_s

pytestmark = pytest.mark.selftest

GOAL = FIRST_SEARCH
HOST = Machine(cores=2, cpu="Z80", memory_bytes=8 << 30, kernel="6.1", python="3.11.7", wheels=("numpy 2.4.6",))
IDLE = Usage(load=0.1, at_s=0.0, all_cpu_s=0.0, own_cpu_s=0.0)
QUIET = Usage(load=0.9, at_s=10.0, all_cpu_s=8.0, own_cpu_s=7.9)
BUSY = Usage(load=3.0, at_s=10.0, all_cpu_s=18.0, own_cpu_s=3.0)


def test_a_figure_has_minimum_median_and_maximum_of_n() -> None:
    figure = Figure.of("bring_up", [4.0, 3.5, 9.0, 3.75])
    assert figure.median == 3.875
    assert figure.measured == "3.5 / 3.88 / 9 s of 4"
    assert Figure.of("bring_up", [4.0]).measured == "4 s"
    assert (spread([2.0]), spread([3.0, 1.0, 2.0])) == ("2", "1 / 2 / 3")
    with pytest.raises(ValueError, match="needs at least one value"):
        Figure.of("bring_up", [])


@pytest.mark.parametrize(
    ("values", "ok"), [([4.0, 5.0], "yes"), ([4.0, 4.5, 5.1], "median"), ([4.0, 5.1, 5.2], "no"), ([5.01], "no")]
)
def test_ok_says_whether_all_values_or_only_the_median_are_within_the_bar(values: list[float], ok: str) -> None:
    figure = Figure.of("bring_up", values)
    assert (figure.bar, figure.ok) == ("<= 5 s", ok)


def test_beside_another_program_there_is_a_ratio_and_no_bar() -> None:
    figure = Figure.of("flat_10", [238.0])
    assert (figure.bar, figure.ok) == ("Milvus 1.1.0: 119 ms", "2 x")
    assert (Figure.of("chain", [3.0]).bar, Figure.of("chain", [3.0]).ok) == ("", "")


def test_every_measure_has_a_bar_or_stands_beside_something_whose_source_is_told_or_neither() -> None:
    assert all(key == measure.key for key, measure in MEASURES.items())
    for measure in MEASURES.values():
        assert measure.limit is None or measure.beside is None
        assert measure.beside is None or measure.beside.source in SOURCES


def test_figures_come_in_the_order_of_the_measures() -> None:
    figures = [Figure.of("oracle_l2", [1.0]), Figure.of("bring_up", [4.0, 4.5, 5.1])]
    assert [figure.measure.key for figure in in_order(figures)] == ["bring_up", "oracle_l2"]
    assert [row[-1] for row in rows(figures)] == ["median", "0.53 x"]
    notes = footnotes(figures)
    assert len(notes) == 2, "one source, one word about the median"
    assert notes[0].startswith("faiss-cpu 1.15.1 IndexFlatL2: ")
    assert footnotes([Figure.of("bring_up", [4.0])]) == []


def test_a_chain_slower_than_the_whole_shows_as_noise() -> None:
    assert footnotes([Figure.of("bring_up_ratio", [1.1, 1.0])]) == []
    assert "WARNING" in footnotes([Figure.of("bring_up_ratio", [1.1, 0.9])])[0]


def test_the_usual_runs_and_those_one_by_one_take_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def run_cluster(_place: Place, name: str, *, kind: type[Cluster]) -> Lifetime:
        asked.append(name)
        return in_a_row(**ALONE) if kind is OneByOne else lifetime(SIDE_BY_SIDE)

    monkeypatch.setattr(bring_up, "run_cluster", run_cluster)
    said: list[str] = []
    place = Place(report=tmp_path, work_parent=tmp_path, seed=1, say=said.append)
    measured = bring_up.measure_bring_up(place, 3, 1)
    assert asked == ["bring-up-1", "one-by-one-1", "bring-up-2", "bring-up-3"]
    assert len(said) == len(measured.lifetimes) == 4
    values = {figure.measure.key: figure.values for figure in measured.figures}
    assert values == {
        "bring_up": (6.5, 6.5, 6.5),
        "chain": (2.5,),
        "bring_up_ratio": (2.6, 2.6, 2.6),
        "shutdown": (1.0, 1.0, 1.0),
    }


def test_tables() -> None:
    head, body = ("what", "n"), [("a|b", "1"), ("c", "22")]
    assert text_table(head, body).splitlines() == ["what | n", "-----+---", "a|b  | 1", "c    | 22"]
    assert markdown_table(head, body).splitlines() == ["| what | n |", "|---|---|", "| a\\|b | 1 |", "| c | 22 |"]


def phase(name: str, took_s: float, *after: str, began_s: float = 0.0) -> Phase:
    return Phase(name=name, started_s=began_s, ready_s=began_s + took_s, after=after)


SIDE_BY_SIDE = (
    phase("store", 2.0),
    phase("database", 1.0),
    phase("mount", 2.0, "store", began_s=2.0),
    phase("node", 1.0, "mount", "database", began_s=4.0),
    phase(GOAL, 1.0, "node", began_s=5.0),
    phase("versions", 9.0, GOAL, began_s=6.0),
)


def lifetime(phases: tuple[Phase, ...], prepared_s: float = 0.5) -> Lifetime:
    reached_s = prepared_s + next(each.ready_s for each in phases if each.name == GOAL)
    return Lifetime(
        first_search_s=reached_s,
        prepared_s=prepared_s,
        phases=phases,
        shutdown_s=1.0,
        left=(),
        storage="juicefs",
        parts=("Redis: Redis 6.2.5",),
    )


def in_a_row(**took_s: float) -> Lifetime:
    phases: list[Phase] = []
    for name, seconds in took_s.items():
        began_s = phases[-1].ready_s if phases else 0.0
        phases.append(phase(name.replace("_", " "), seconds, began_s=began_s))
    return lifetime(tuple(phases))


ALONE = {"store": 0.5, "database": 2.0, "mount": 1.0, "node": 0.25, "first_search": 0.25, "versions": 9.0}


def test_the_chain_takes_its_needs_from_the_usual_run_and_its_times_from_the_steps_alone() -> None:
    alone_s = durations([in_a_row(**ALONE)])
    assert chain_alone(SIDE_BY_SIDE, alone_s, GOAL) == (2.5, ["database", "node", GOAL]), "not what waits for the goal"
    assert chain_alone(SIDE_BY_SIDE, {**alone_s, "store": 1.5}, GOAL) == (3.0, ["store", "mount", "node", GOAL])


def test_durations_are_medians_of_the_runs() -> None:
    runs = [in_a_row(**{**ALONE, "mount": seconds}) for seconds in (1.0, 7.0, 2.0)]
    assert durations(runs)["mount"] == pytest.approx(2.0)


def test_steps_that_ran_side_by_side_do_not_count_as_alone() -> None:
    with pytest.raises(InfrastructureError, match="not timed alone"):
        durations([lifetime(SIDE_BY_SIDE)])


def test_one_by_one_keeps_steps_and_order_and_lets_none_run_beside_another() -> None:
    done: list[str] = []
    steps = [
        Step("a", lambda: done.append("a")),
        Step("b", lambda: done.append("b")),
        Step("c", lambda: done.append("c"), ("a",)),
    ]
    phases = run_steps(list(one_by_one(iter(steps))))
    assert done == ["a", "b", "c"]
    assert [each.after for each in phases] == [(), ("a",), ("b",)]


def test_the_split_counts_from_nothing_and_leaves_out_what_comes_after_the_goal() -> None:
    parts = split([lifetime(SIDE_BY_SIDE)], [in_a_row(**ALONE)], ["database", "node", GOAL])
    assert [part.name for part in parts] == [bring_up.PREPARE, "database", "store", "mount", "node", GOAL]
    assert parts[-1].cells() == (GOAL, "5.50", "6.50", "1", "0.25", "yes")
    assert parts[0].cells() == (bring_up.PREPARE, "0.00", "0.50", "0.5", "0.5", "")
    assert [part.on_chain for part in parts] == [False, True, False, False, True, True]


LOG = """2026-01-01 10:00:00.000 DEBUG Request [3] Insert end: code 0, 2.5 ms
2026-01-01 10:00:01.000 INFO Request [4] Insert begin.
2026-01-01 10:00:01.300 DEBUG Request [4] Insert end: code 0, 300.0 ms
2026-01-01 10:00:01.400 DEBUG Request [5] Flush end: code 0, 90.0 ms
2026-01-01 10:00:02.000 DEBUG Request [6] Insert end: code 0, 412.5 ms
"""


def test_the_server_time_is_that_of_the_last_requests_in_the_log() -> None:
    assert last_requests_s(LOG, "Insert", 2) == [0.3, 0.4125]
    with pytest.raises(InfrastructureError, match="has 3 ends of Insert requests, 4 were expected"):
        last_requests_s(LOG, "Insert", 4)


def test_growth_of_one_is_linear() -> None:
    assert growth([1.0, 1.0, 9.0], [4.0], 4) == 1.0
    assert growth([1.0], [16.0], 4) == 4.0


def test_timed_does_the_work_as_often_as_asked() -> None:
    done: list[int] = []
    assert len(timed(3, lambda: done.append(1))) == len(done) == 3


def test_the_cpu_model_is_read_from_proc() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: AMD EPYC: big\nprocessor\t: 1\n") == "AMD EPYC: big"
    assert cpu_model("processor\t: 0\n"), "the architecture, where no model is named"


def test_the_machine_on_one_line() -> None:
    assert str(HOST) == "2 cores (Z80), 8 GiB memory, Linux 6.1, Python 3.11.7, numpy 2.4.6"
    assert machine.describe(("Redis: Redis 6.2.5",)).parts == ("Redis: Redis 6.2.5",)


def test_noise_is_what_others_did_not_what_the_benchmark_did() -> None:
    assert foreign_cores(IDLE, BUSY) == pytest.approx(1.5)
    assert foreign_cores(IDLE, QUIET) == pytest.approx(0.01)
    assert [line for line in noise(IDLE, QUIET, 2) if line.startswith("WARNING")] == []
    warnings = [line for line in noise(IDLE, BUSY, 2) if line.startswith("WARNING")]
    assert len(warnings) == 2
    assert "after is 3.00, above half of the 2 cores" in warnings[0]
    assert "1.50 cores" in warnings[1]


def results(failed: str = "") -> Results:
    return Results(
        figures=(Figure.of("bring_up", [4.0, 6.0]),),
        split=tuple(split([lifetime(SIDE_BY_SIDE)], [in_a_row(**ALONE)], [])),
        machine=HOST,
        storage=("juicefs",),
        before=IDLE,
        after=BUSY,
        took_s=12.0,
        failed=failed,
    )


def test_the_text_has_figures_split_machine_and_warnings() -> None:
    text = as_text(results())
    order = ["figure ", "embedded cluster, from nothing", "step ", "database", "machine: 2 cores (Z80)", "load average"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert "WARNING" in text
    assert "FAILED" not in text
    assert "THE BENCHMARK FAILED: it broke" in as_text(results("it broke"))
    assert "| bring-up / slowest chain" not in text, "only what was measured"
    assert "|---|---|---|---|" in as_text(results(), markdown=True)


def test_the_json_has_every_value() -> None:
    document = json.loads(as_json(results("it broke")))
    (figure,) = document["figures"]
    assert (figure["key"], figure["values"], figure["bar"], figure["ok"]) == ("bring_up", [4.0, 6.0], 5.0, "median")
    assert document["load_average"] == {"before": 0.1, "after": 3.0}
    assert document["failed"] == "it broke"
    assert document["bring_up"][-1]["ready_s"] == [6.5]
    assert len(document["warnings"]) == 2


def test_the_long_search_runs_only_when_asked_for() -> None:
    assert bench.parts_to_run(None, full=False) == ["bring-up", "insert", "checkers"]
    assert bench.parts_to_run(None, full=True) == ["bring-up", "insert", "first-search", "search", "checkers"]
    assert bench.parts_to_run(["search", "bring-up"], full=False) == ["bring-up", "search"]


def test_a_native_server_stands_beside_the_stand_in_in_place_of_another_machines_figures() -> None:
    ours = (Figure.of("flat_1", [30.0, 10.0, 20.0]), Figure.of("insert_server", [0.5]), Figure.of("chain", [1.0]))
    theirs = (Figure.of("flat_1", [40.0, 50.0, 10.0]), Figure.of("insert_server", [0.25]))
    flat, inserted, chain = beside(ours, theirs, "native Milvus")
    assert (flat.bar, flat.ok, flat.values) == ("native Milvus: 40 ms", "0.5 x", (30.0, 10.0, 20.0))
    assert (inserted.bar, inserted.ok) == ("native Milvus: 0.25 s", "2 x")
    assert chain == ours[2]


def test_a_program_that_is_no_milvus_ends_it_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure_bring_up", lambda *_: pytest.fail("it started"))
    assert bench.main(["--milvus=/bin/true", f"--report={tmp_path}"]) == 4
    assert "/bin/true --help: no version in" in capsys.readouterr().err


def test_a_wrong_option_ends_it_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure_bring_up", lambda *_: pytest.fail("it started"))
    assert bench.main([f"--json={tmp_path}/none/out.json", f"--report={tmp_path}"]) == 4
    assert "its folder is not there" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench.main(["--runs=0"])
    assert "must be at least 1" in capsys.readouterr().err


def brought_up(left: tuple[str, ...] = ()) -> BringUp:
    usual = lifetime(SIDE_BY_SIDE)
    leaky = Lifetime(
        first_search_s=usual.first_search_s,
        prepared_s=usual.prepared_s,
        phases=usual.phases,
        shutdown_s=usual.shutdown_s,
        left=left,
        storage=usual.storage,
        parts=usual.parts,
    )
    return BringUp(figures=(Figure.of("bring_up", [99.0]),), split=(), lifetimes=(leaky,))


def test_a_figure_beyond_its_bar_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure_bring_up", lambda *_: brought_up())
    out = tmp_path / "out.json"
    assert bench.main(["--only=bring-up", f"--json={out}", f"--report={tmp_path}"]) == 0
    assert "| no" in capsys.readouterr().out
    assert json.loads(out.read_text())["machine"]["parts"] == ["Redis: Redis 6.2.5"]


def test_what_was_measured_before_a_failure_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise InfrastructureError("no node")

    monkeypatch.setattr(bench, "measure_bring_up", lambda *_: brought_up())
    monkeypatch.setattr(bench, "measure_insert", fail)
    assert bench.main(["--only=bring-up", "--only=insert", f"--report={tmp_path}"]) == 7
    printed = capsys.readouterr()
    assert "99 s" in printed.out
    assert "THE BENCHMARK FAILED: no node" in printed.out
    assert "bench: no node" in printed.err


def test_a_cluster_that_left_something_behind_is_a_failure_once_all_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure_bring_up", lambda *_: brought_up(left=("mount /x",)))
    monkeypatch.setattr(bench, "measure_checkers", lambda *_: [Figure.of("monotonic", [77.0])])
    assert bench.main(["--only=bring-up", "--only=checkers", f"--report={tmp_path}"]) == 7
    printed = capsys.readouterr()
    assert "77 s" in printed.out
    assert "a cluster did not end cleanly: mount /x" in printed.err
