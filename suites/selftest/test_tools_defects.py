"""`python -m tools.defects`: what is a kill, what is not, and what its exit code says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fixtures.claims import Claim
from fixtures.plugin.catalogue import Entry
from fixtures.standin.defects import CATALOGUE
from tools import defects
from tools.defects import Job, Runner
from tools.kill_matrix import CLEAN, Matrix, Row

pytestmark = pytest.mark.selftest

Verdicts = Mapping[tuple[str, str], str]
Main = Callable[..., int]


def described(claim_id: str) -> Entry:
    claim = Claim(id=claim_id, promise="a promise", source="a test", expected={})
    return Entry(claim, (f"suites/{claim_id}.py::test",))


@pytest.fixture
def jobs() -> list[Job]:
    """What was run."""
    return []


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, jobs: list[Job]) -> Main:
    """The command on a suite in which every defect is killed, but for the verdicts given."""
    ids = {claim for defect in CATALOGUE.values() for claim in defect.claims}
    monkeypatch.setattr("tools.claims.read", lambda: tuple(map(described, sorted(ids))))

    def run(*arguments: str, verdicts: Verdicts | None = None) -> int:
        def fake(_runner: Runner, job: Job) -> list[Row]:
            jobs.append(job)
            usual = "holds" if job.defect == CLEAN else "violated"
            told = {claim: (verdicts or {}).get((job.defect, claim), usual) for claim in job.claims}
            return [
                Row(defect=job.defect, claim=claim, verdict=verdict, reason="why", seconds=1.0)
                for claim, verdict in told.items()
            ]

        monkeypatch.setattr(Runner, "run", fake)
        return defects.main(arguments)

    return run


def test_a_full_matrix_is_success(main: Main, jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert list(dict.fromkeys(job.defect for job in jobs)) == [CLEAN, *CATALOGUE]
    told = capsys.readouterr()
    assert f"{len(CATALOGUE)} of {len(CATALOGUE)} defects are killed" in told.err
    assert "lost-delete" in told.out
    assert f"[{len(jobs)}/{len(jobs)}]" in told.err
    assert "min left" in told.err


@pytest.mark.parametrize("verdict", ["holds", "deviates", "unknown"])
def test_a_defect_that_passes_one_of_its_claims_is_named(
    main: Main, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--only=lost-delete", verdicts={("lost-delete", "V-6"): verdict}) == 1
    said = capsys.readouterr().err
    assert f"LACKING: lost-delete: V-6 did not notice it: {verdict}, why" in said
    assert "0 of 1 defects are killed" in said


def test_a_claim_that_catches_nothing_is_named(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    passing = {(defect.name, "F-7"): "holds" for defect in CATALOGUE.values()}
    assert main(verdicts=passing) == 1
    assert "LACKING: F-7: catches no defect" in capsys.readouterr().err


def test_a_claim_that_is_violated_anyway_proves_nothing(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"--only={CLEAN},ids-sorted", verdicts={(CLEAN, "R-1"): "violated"}) == 1
    assert "LACKING: R-1 is violated without any defect: why" in capsys.readouterr().err


def test_a_second_call_goes_on(main: Main, jobs: list[Job], tmp_path: Path) -> None:
    kept = f"--json={tmp_path / 'matrix.json'}"
    assert main(kept, "--only=ids-sorted") == 0
    assert main(kept, "--only=ids-sorted,lost-delete") == 0
    assert jobs == [Job("ids-sorted", ("R-1",)), Job("lost-delete", ("V-6",)), Job("lost-delete", ("V-8",))]
    assert main(kept, "--only=ids-sorted", "--again") == 0
    assert len(jobs) == 4
    assert len(Matrix(tmp_path / "matrix.json").rows()) == 3


def test_what_is_kept_can_be_shown_without_a_run(
    main: Main, jobs: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = f"--json={tmp_path / 'matrix.json'}"
    assert main(kept, "--only=ids-sorted") == 0
    capsys.readouterr()
    assert main(kept, "--show", "--only=ids-sorted,lost-delete") == 1
    told = capsys.readouterr()
    assert len(jobs) == 1
    assert "ids-sorted   node     R-1   violated" in told.out
    assert "LACKING: lost-delete: V-6 has not judged it" in told.err


def test_all_claims_may_judge_each_defect(main: Main, jobs: list[Job]) -> None:
    main("--only=ids-sorted", "--claims=all")
    assert set(jobs[0].claims) == {claim for defect in CATALOGUE.values() for claim in defect.claims}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only=ids-sort",), "'ids-sort' is no seeded defect; did you mean ids-sorted?"),
        (("--claims=some",), "argument --claims: invalid choice: 'some'"),
        (("--jobs=0",), "argument --jobs: '0': expected a number from 1"),
        (("--json=setup.cfg.json",), "setup.cfg.json: no kill matrix of an earlier call"),
    ],
)
def test_a_wrong_argument_is_one_line(
    main: Main,
    arguments: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.cfg.json").write_text("[]")
    try:
        code = main(*arguments)
    except SystemExit as ended:
        code = int(str(ended.code))
    told = capsys.readouterr().err
    assert code == 4
    assert said in told
    assert len(told.splitlines()) == 1


def test_a_page_has_every_defect_and_every_claim(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--markdown") == 0
    page = capsys.readouterr().out
    assert "| `lost-delete` | node | deletes are acknowledged and forgotten | V-8 | violated | 1 | why |" in page
    assert "| F-5 | holds | 1: new-host-clears-the-store |" in page
    assert "| R-6 | - | none: needs a GPU" in page


PROGRAM = """
import json, pathlib, sys
(report,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--report=")]
if "--defect=silent" not in sys.argv:
    pathlib.Path(report).mkdir()
    told = {"id": "V-1", "verdict": "violated", "reason": " ".join(sys.argv[1:]), "duration_s": 1.25}
    pathlib.Path(report, "conformance.json").write_text(json.dumps({"claims": [told]}))
print("the last line")
sys.exit(7)
"""


def test_a_run_is_a_process_whose_report_is_read() -> None:
    runner = Runner({"V-1": ["a.py::b", "a.py::c"]}, ["--readers=3"], (sys.executable, "-c", PROGRAM))
    (row,) = runner.run(Job("lost-delete", ("V-1",)))
    assert (row.verdict, row.seconds, row.caught) == ("violated", 1.2, True)
    assert row.reason.endswith("--defect=lost-delete -x --readers=3 a.py::b a.py::c")
    assert row.commit
    assert row.when
    (clean,) = runner.run(Job(CLEAN, ("V-1",)))
    assert "--defect" not in clean.reason


def test_a_run_for_several_claims_goes_on_after_the_first() -> None:
    runner = Runner({"V-1": ["a.py::b[1]", "a.py::b[2]"], "V-2": ["a.py::c"]}, (), (sys.executable, "-c", PROGRAM))
    rows = {row.claim: row for row in runner.run(Job("lost-delete", ("V-1", "V-2")))}
    assert " -x " not in rows["V-1"].reason
    assert rows["V-1"].reason.endswith(" a.py::b a.py::c")
    assert (rows["V-2"].verdict, rows["V-2"].reason) == ("unknown", "no report: exit code 7: the last line")


def test_a_run_without_a_report_is_unknown() -> None:
    runner = Runner({"V-1": ["a.py::b"]}, (), (sys.executable, "-c", PROGRAM))
    (row,) = runner.run(Job("silent", ("V-1",)))
    assert (row.verdict, row.reason) == ("unknown", "no report: exit code 7: the last line")


def test_a_run_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defects, "_START_LIMIT_S", 0.2)
    monkeypatch.setattr(defects, "_TEST_LIMIT_S", 0)
    runner = Runner({"V-1": ["a.py::b"]}, (), (sys.executable, "-c", "import threading; threading.Event().wait(60)"))
    (row,) = runner.run(Job("silent", ("V-1",)))
    assert row.verdict == "unknown"
    assert row.reason.startswith("no report: stopped after 0 s")
