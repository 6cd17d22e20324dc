"""`python -m tools.gate` on runs that never were: what it starts, in which order, and what its exit code says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from suites.selftest.gate_runs import FakeGate, document, figure
from tools.gate.profiles import CHANCE, PROFILES

pytestmark = pytest.mark.selftest

NO_UPGRADE = "--without=upgrade,performance"
UPGRADE = {"U-1": "holds", "U-2": "holds"}


@pytest.fixture
def gate(tmp_path: Path) -> FakeGate:
    return FakeGate(tmp_path)


def test_nothing_worse(gate: FakeGate, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [figure("first query", "same", 1.02, 0.95, 1.1)]
    assert gate.run("--profile=full", verdicts={"upgrade": UPGRADE}, figures=figures) == 0
    known = gate.known()
    assert (known["exit_code"], known["verdict"], known["headline"]) == (0, "same", "Nothing is worse")
    assert set(gate.changes()) == {"V-1", "V-4", "F-4", "R-6", "U-1", "U-2"}
    said = capsys.readouterr()
    assert "exit code 0: nothing got worse of what was asked" in said.out
    assert "first query" in said.out
    assert "[1/5] claims on the baseline (juicefs-1.3.0): V-1, V-4, R-6, F-4; seed 7" in said.err
    assert "V-1   rows stay  holds" in said.err, "a run is not silent for minutes"


def test_each_run_gets_what_it_needs(gate: FakeGate) -> None:
    gate.run(
        "--profile=full",
        "--runtime=embedded",
        "--defect=lost-delete",
        "--",
        "--readers=3",
        verdicts={"upgrade": UPGRADE},
    )
    baseline, candidate, upgrade = gate.calls()
    assert [call[0] for call in (baseline, candidate, upgrade)] == ["baseline", "candidate", "upgrade"]
    both = {"--seed=7", "--runtime=embedded", "--readers=3", "suites/a.py::V-1", "suites/a.py::F-4"}
    assert {*both, "--topology=juicefs-1.3.0"} <= set(baseline)
    assert {*both, "--topology=juicefs-1.4.2", "--defect=lost-delete"} <= set(candidate)
    assert not [word for word in (*baseline, *upgrade) if "defect" in word], "it is the candidate's alone"
    assert {"--topology=juicefs-1.3.0", "--candidate=juicefs-1.4.2", "--seed=7", "--readers=3"} <= set(upgrade)
    assert upgrade[upgrade.index("-m") + 1] == "upgrade"
    assert gate.known()["candidate"]["defect"] == "lost-delete"


@pytest.mark.parametrize("verdict", ["deviates!known", "violated!20 rows lost"])
def test_worse_is_named(gate: FakeGate, verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.run(NO_UPGRADE, "--claims=V-1,F-4", verdicts={"candidate": {"F-4": verdict}}) == 1
    assert (gate.known()["verdict"], gate.known()["headline"]) == ("worse", "Worse: F-4")
    assert gate.changes() == {"V-1": "same", "F-4": "worse"}
    assert "Worse: F-4" in capsys.readouterr().out


def test_better_is_named(gate: FakeGate) -> None:
    assert gate.run(NO_UPGRADE, "--claims=V-1,F-4", verdicts={"baseline": {"F-4": "deviates!known"}}) == 0
    assert (gate.known()["verdict"], gate.known()["headline"]) == ("better", "Nothing is worse, better: F-4")


def test_an_upgrade_that_breaks_a_promise_is_worse(gate: FakeGate) -> None:
    verdicts = {"upgrade": {"U-1": "holds", "U-2": "violated!3 rows lost"}}
    assert gate.run("--claims=V-1", "--without=performance", verdicts=verdicts) == 1
    assert gate.known()["headline"] == "Worse: U-2"


def test_what_a_version_is_documented_to_do_it_does_without_an_upgrade_too(gate: FakeGate) -> None:
    assert gate.run("--claims=V-1", "--without=performance", verdicts={"upgrade": {"U-2": "deviates!stale"}}) == 0
    (row,) = [claim for claim in gate.known()["claims"] if claim["id"] == "U-2"]
    assert row["reason"] == "as documented for this version, upgraded or not: stale"


@pytest.mark.parametrize("verdict", ["violated!refused", "unknown!no witness"])
def test_the_way_back_is_told_and_decides_nothing(gate: FakeGate, verdict: str) -> None:
    assert gate.run("--claims=V-1", "--without=performance", verdicts={"upgrade": {**UPGRADE, "U-4": verdict}}) == 0
    (row,) = [claim for claim in gate.known()["claims"] if claim["id"] == "U-4"]
    assert (row["change"], row["allowed"]) == ("unknown", True)
    assert row["reason"].startswith("for information, the way back: ")


@pytest.mark.parametrize(("change", "code"), [("worse", 1), ("unknown", 0), ("better", 0)])
def test_a_figure_is_worse_or_says_nothing(gate: FakeGate, change: str, code: int) -> None:
    figures = [figure("first query", change, 1.5, 1.3, 1.8)]
    assert gate.run("--claims=V-1", "--without=upgrade", figures=figures) == code


def test_unknown_for_a_capability_that_both_lack_is_allowed(gate: FakeGate) -> None:
    lacking = {"R-6": "unknown?!no GPU"}
    assert gate.run(NO_UPGRADE, "--claims=V-1,R-6", verdicts={"baseline": lacking, "candidate": lacking}) == 0
    assert gate.run(NO_UPGRADE, "--claims=V-1,R-6", verdicts={"candidate": lacking}) == 2
    assert gate.run(NO_UPGRADE, "--claims=R-6", verdicts={"baseline": lacking, "candidate": lacking}) == 2, "no claim"


def test_what_is_unknown_runs_again_on_both_sides_in_turns(gate: FakeGate) -> None:
    missed = {"candidate": {"F-4": "unknown!no witness"}, "again-1-candidate": {"F-4": "unknown!no witness"}}
    assert gate.run(NO_UPGRADE, "--claims=V-1,F-4", verdicts=missed) == 0
    ran = [(call[0], [word[-3:] for word in call if "::" in word]) for call in gate.calls()]
    assert ran == [
        ("baseline", ["V-1", "F-4"]),
        ("candidate", ["V-1", "F-4"]),
        ("again-1-candidate", ["F-4"]),
        ("again-1-baseline", ["F-4"]),
        ("again-2-baseline", ["F-4"]),
        ("again-2-candidate", ["F-4"]),
    ]
    seeds = [word for call in gate.calls() for word in call if word.startswith("--seed=")]
    assert seeds == ["--seed=7"] * 2 + ["--seed=8"] * 2 + ["--seed=9"] * 2
    (row,) = [claim for claim in gate.known()["claims"] if claim["id"] == "F-4"]
    assert [seen["verdict"] for seen in row["candidate"]] == ["unknown", "unknown", "holds"], "all runs are told"


def test_what_stays_unknown_is_exit_code_2(gate: FakeGate) -> None:
    runs = ("candidate", *(f"again-{number}-candidate" for number in range(1, 9)))
    assert gate.run(NO_UPGRADE, "--claims=F-4", verdicts={run: {"F-4": "unknown!no witness"} for run in runs}) == 2
    assert len(gate.calls()) == 6


def test_a_claim_that_varies_by_chance_is_no_false_alarm(gate: FakeGate) -> None:
    verdicts = {"candidate": {"V-4": "deviates!a swap"}}
    assert gate.run(NO_UPGRADE, "--claims=V-4", verdicts=verdicts) == 0
    (row,) = gate.known()["claims"]
    assert row["change"] == "same"
    assert row["by_chance"]
    assert row["reason"].startswith(
        "it broke in 0 of 3 runs on the baseline, in 1 of 3 on the candidate: within chance"
    )


def test_a_claim_that_breaks_each_time_is_worse_though_it_varies_by_chance(gate: FakeGate) -> None:
    runs = ("candidate", *(f"again-{number}-candidate" for number in range(1, 5)))
    assert gate.run(NO_UPGRADE, "--claims=V-4", verdicts={run: {"V-4": "deviates!a swap"} for run in runs}) == 1
    assert len(gate.calls()) == 10


def test_no_claim_runs_again_once_the_time_is_over(gate: FakeGate, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = {"standard": dataclasses.replace(PROFILES["standard"], repeat_until_s=-1.0)}
    monkeypatch.setattr("tools.gate.__main__.PROFILES", spent)
    verdicts = {"candidate": {"V-4": "deviates!a swap"}}
    assert gate.run(NO_UPGRADE, "--claims=V-4", verdicts=verdicts) == 2
    assert any("V-4: no time left to run again" in step["trouble"] for step in gate.known()["steps"])


@pytest.mark.parametrize(
    ("codes", "code", "trouble"),
    [
        ({"baseline": 7}, 3, "baseline: exit code 7: mysql: no space left"),
        ({"candidate": 7}, 3, "candidate: exit code 7: mysql: no space left"),
        ({"baseline": "silent"}, 3, "baseline: exit code 3: ERROR: --readers=99"),
        ({"candidate": "silent"}, 3, "candidate: exit code 3: ERROR: --readers=99"),
        ({"upgrade": 7}, 3, "upgrade: exit code 7: mysql: no space left"),
    ],
)
def test_a_run_that_breaks_is_nobody_s_verdict(
    gate: FakeGate, codes: dict[str, int | str], code: int, trouble: str
) -> None:
    assert gate.run("--claims=V-1", "--without=performance", codes=codes, verdicts={"upgrade": UPGRADE}) == code
    assert any(trouble in each for each in gate.known()["troubles"])


def test_a_run_without_a_report_ends_the_gate(gate: FakeGate) -> None:
    assert gate.run("--claims=V-1", codes={"baseline": "silent"}) == 3
    assert [call[0] for call in gate.calls()] == ["baseline"]


def test_what_is_wrong_with_the_harness_leaves_it_in_doubt(gate: FakeGate) -> None:
    more = {"candidate": {"problems": ["cluster shared left behind: process 17 (weed)"]}}
    assert gate.run(NO_UPGRADE, "--claims=V-1", more=more) == 2
    assert gate.known()["doubts"] == ["candidate: cluster shared left behind: process 17 (weed)"]


def test_a_laxer_bound_is_told(gate: FakeGate) -> None:
    def visible(budget_s: float) -> dict[str, object]:
        known = document({"V-1": "holds"})
        figures = [{"name": "visible", "value": 0.5, "unit": "s", "budget": budget_s, "test": "t"}]
        known["claims"][0]["evidence"]["figures"] = figures
        return {"claims": known["claims"]}

    gate.run(NO_UPGRADE, "--claims=V-1", more={"baseline": visible(2.0), "candidate": visible(11.0)})
    (row,) = gate.known()["claims"]
    assert row["notes"] == ["visible: held to 11 s, the baseline to 2 s"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--baseline=articl",), "topology articl: must be "),
        (("--candidate=missing.toml",), "topology missing.toml: cannot be read"),
        (("--profile=quik",), "argument --profile: invalid choice: 'quik'"),
        (("--claims=V-99",), "--claims=V-99: no claim V-99; see CLAIMS.md"),
        (("--without=speed",), "--without=speed: must be of upgrade, performance"),
        (("--seed=x",), "argument --seed: 'x': must be a whole number from 0 to "),
        (("--defect=lost-delet",), "'lost-delet' is no seeded defect; did you mean lost-delete?"),
        (("--report=/proc/1/x",), "--report=/proc/1/x: cannot write there"),
        (("--no-such",), "unrecognized arguments: --no-such"),
    ],
)
def test_a_wrong_argument_is_one_line(
    gate: FakeGate, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.run(*words) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tools.gate: ")
    assert said in line
    assert gate.calls() == []


def test_what_pytest_refuses_is_one_line(gate: FakeGate, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.run("--claims=V-1", codes={"baseline": 4}) == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "tools.gate: the baseline's run was refused: ERROR: --readers=99: must be a whole number from 1 to 8"
    )


def test_a_pair_that_cannot_work_is_refused_before_anything_starts(
    gate: FakeGate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.toml"
    old.write_text('name = "old"\n[milvus]\nversion = "1.0.0"\n', "utf-8")
    assert gate.run(f"--baseline={old}") == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "major.minor" in line
    assert gate.calls() == []


def test_every_claim_that_a_profile_names_exists() -> None:
    page = (Path(__file__).resolve().parents[2] / "CLAIMS.md").read_text("utf-8")
    catalogue = {line.split(" | ")[0].strip("| ") for line in page.splitlines() if line.startswith("| ")}
    for profile in PROFILES.values():
        assert set(profile.claims) <= catalogue
    assert set(CHANCE) <= catalogue
    assert set(PROFILES["quick"].claims) < set(PROFILES["standard"].claims)
    assert not set(PROFILES["quick"].claims) & set(CHANCE), "a few minutes leave no time to run again"


def test_what_is_kept_is_whole_json_at_any_time(gate: FakeGate) -> None:
    gate.run(NO_UPGRADE, "--claims=V-1")
    text = (gate.report / "gate.json").read_text("utf-8")
    assert json.loads(text)["ended"] is not None
    assert not list(gate.report.glob("*.tmp"))


def test_an_upgrade_that_cannot_be_tried_is_not_judged_unless_left_out(gate: FakeGate) -> None:
    newer = ("--baseline=article", "--candidate=milvus-1.1.1", "--claims=V-1", "--without=performance")
    assert gate.run(*newer) == 2
    (step,) = [step for step in gate.known()["steps"] if step["name"] == "upgrade"]
    assert step["trouble"] == "not tried: milvus.version cannot be changed on a running cluster by this version"
    assert gate.run(*newer, "--without=upgrade,performance") == 0
