"""`python -m tools.summary`: what a run came to, as Markdown, whatever state its report is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from suites.selftest import inner
from tools import summary

pytestmark = pytest.mark.selftest

MIXED = """
@promise("V-1")
def test_holds(cluster, trial):
    trial.measure("visible", 0.5, "s", 2.0)
    trial.measure("calm", 0.1, "s", 2.0)

@promise("V-2", expected={"1.0.0": deviates("it is known")})
def test_deviates(cluster, trial):
    trial.deviate(False, "rows stale on a|b <b>@all</b> *x*")

@promise("V-3")
def test_violated(cluster, trial):
    trial.measure("lost", float("inf"), "rows", 0.0)

@promise("V-4", needs=["fuse"])
def test_allowed(cluster, trial):
    trial.check(True, "fine")
"""


def _main(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert summary.main(arguments) == 0
    return capsys.readouterr().out


@pytest.fixture
def document(pytester: pytest.Pytester) -> dict[str, Any]:
    inner.run(pytester, MIXED, capabilities={"fuse": "no device"})
    return inner.report(pytester)


def test_the_verdict_comes_first(
    pytester: pytest.Pytester, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _main(capsys, str(pytester.path / "report")).splitlines()
    assert lines[:6] == [
        "## VIOLATED",
        "",
        f"exit code 1: {document['exit_meaning']}  ",
        "4 claims: 1 holds, 1 deviates, 1 unknown (1 allowed), 1 violated  ",
        "judged on: Milvus 1.1.0: stand-in (not Milvus), runtime embedded  ",
        "evidence: the artifact of this job (`conformance.json`, `report.txt`, histories, logs)",
    ]
    assert "| mysql | MariaDB | 11.8.3 | - |" in lines


def test_it_never_calls_a_stand_in_milvus(document: dict[str, Any]) -> None:
    """Once a cluster is up the report lists its nodes by their own names; what they are is said all the same."""
    assert "milvus" in [part["name"] for part in document["components"]]
    for part in document["components"]:
        part["name"] = f"node {part['name']}"
    assert "judged on: Milvus 1.1.0: stand-in (not Milvus), runtime embedded" in summary.markdown(document)


def test_the_table_says_all_of_a_claim_and_the_worst_first(document: dict[str, Any]) -> None:
    for claim in document["claims"]:
        claim["duration_s"] = 1.25
    rows = [line for line in summary.markdown(document).splitlines() if line.startswith("| V-")]
    assert rows == [
        "| V-3 | **violated** | holds | lost inf rows of 0 rows | 1.2 | lost: inf rows, budget 0.000 rows |",
        "| V-4 | **unknown** (allowed) | holds | - | 1.2 | missing fuse: no device |",
        "| V-2 | deviates | deviates | - | 1.2 | rows stale on a\\|b &lt;b>@all&lt;/b> \\*x\\* |",
        "| V-1 | holds | holds | visible 0.5 s of 2 s | 1.2 | 2 checks |",
    ]


def test_infrastructure_is_told_apart_from_a_violated_claim(pytester: pytest.Pytester) -> None:
    inner.run(pytester, MIXED, refuses="all")
    page = summary.markdown(inner.report(pytester))
    assert page.startswith("## Infrastructure: nothing was judged")
    assert "exit code 7: " in page
    assert "\n    mysql: did not answer (exit code 1); last lines of mysql.log:\n    no space left\n" in page
    assert "violated" not in page


def test_what_the_harness_has_to_say_is_there(document: dict[str, Any]) -> None:
    document |= {"problems": ["left behind: process 42"], "required": ["fuse"], "harness_tests_failed": 2}
    lines = summary.markdown(document).splitlines()
    assert "- harness: left behind: process 42" in lines
    assert "- required and missing: fuse: no device" in lines
    assert "- tests of the harness that failed: 2" in lines


def test_images_are_named_where_there_are_any(document: dict[str, Any]) -> None:
    document["components"][0] |= {"image": "mysql:5.7", "digest": "sha256:ab"}
    assert "| mysql | MariaDB | 11.8.3 | mysql:5.7 sha256:ab |" in summary.markdown(document)


def test_a_run_that_was_killed_is_not_finished(document: dict[str, Any]) -> None:
    document |= {"exit_code": None, "exit_meaning": "the run has not ended, or was killed"}
    assert summary.markdown(document).startswith("## Not finished\n\nthe run has not ended, or was killed")


def test_it_is_cut_at_a_line_and_says_so(
    pytester: pytest.Pytester, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    document["claims"] *= 100
    (pytester.path / "report" / "conformance.json").write_text(json.dumps(document), encoding="utf-8")
    whole = _main(capsys, str(pytester.path / "report"))
    page = _main(capsys, str(pytester.path / "report"), "--limit-kib=2")
    assert 1900 <= len(page.encode()) <= 2048 < len(whole.encode())
    kept, _, note = page.rpartition("\n*")
    assert whole.startswith(kept)
    missing = len(whole.splitlines()) - len(kept.splitlines())
    assert note == f"{missing} more lines are cut here; all of it is in `conformance.json` of the artifact.*\n"


@pytest.mark.parametrize("limit", [150, 151, 152, 153, 154, 200])
def test_the_limit_is_of_bytes(limit: int) -> None:
    assert len(summary.cut("é\n" * 1000, limit).encode()) <= limit


def test_what_fits_is_not_cut() -> None:
    assert summary.cut("ab\n", 3) == "ab\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no `.*conformance.json`"),
        ("", "is no whole report"),
        ('{"schema_version": 1, "cla', "is no whole report"),
        ("[]", "is no whole report"),
        ('{"claims": null, "exit_code": 0}', "is no whole report"),
        ('{"claims": [], "exit_code": 99}', "is no whole report"),
        ("\udcff", "is no whole report"),
    ],
    ids=["missing", "empty", "half", "list", "no claims", "unknown code", "no text"],
)
def test_a_report_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, says: str
) -> None:
    if text is not None:
        (tmp_path / "conformance.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    (line,) = _main(capsys, str(tmp_path)).splitlines()
    assert line.startswith("**No verdict:** ")
    assert says.replace(".*", f"{tmp_path}/") in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: REPORT_DIR"),
        (["report", "--limit-kib=0"], "must be a whole number from 1 to 1024, not '0'"),
        (["report", "--limit-kib=many"], "must be a whole number from 1 to 1024, not 'many'"),
        (["report", "--limit-kib=1025"], "must be a whole number from 1 to 1024, not '1025'"),
        (["report", "--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_argument_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as raised:
        summary.main(arguments)
    assert raised.value.code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m tools.summary: ")
    assert message in line
