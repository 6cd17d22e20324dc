"""What a gate leaves: gate.json as its schema says, the page, the Markdown, the JUnit file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from suites.selftest import stored_run
from suites.selftest.gate_runs import FakeGate, figure
from suites.selftest.inner import PROJECT
from tools.gate import page, verdict

pytestmark = pytest.mark.selftest

SCHEMA = json.loads((PROJECT / "docs" / "gate.schema.json").read_text("utf-8"))
NASTY = "<b>&\N{SNOWMAN}|`*\n\x00 \udc80"
EVERYTHING = {
    "baseline": {"V-1": "deviates!stale", "F-4": "holds", "R-6": "unknown?!no GPU"},
    "candidate": {"V-1": "holds", "F-4": f"violated!20 rows lost {NASTY}", "R-6": "unknown?!no GPU"},
    "upgrade": {"U-1": "holds", "U-2": "holds"},
}
FIGURES = [
    figure("first query", "worse", 1.6, 1.3, 1.9),
    figure("warm query", "same", 1.02, 0.9, 1.1),
    figure("insert", "unknown", 1.1, 0.4, 3.5),
    {**figure("flush", "unknown", 1.0, 1.0, 1.0), "ratio": None, "low": None, "high": None, "pairs": []},
]


@pytest.fixture
def gate(tmp_path: Path) -> FakeGate:
    return FakeGate(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FakeGate:
    """A gate that has found something of each kind; the upgrade's history can be drawn."""
    gate = FakeGate(tmp_path_factory.mktemp("gate"))
    assert gate.run("--profile=full", "--defect=lost-delete", verdicts=EVERYTHING, figures=FIGURES) == 1
    upgrade = gate.report / "upgrade"
    document = stored_run.load(upgrade)
    document["claims"][0]["tests"][0]["history"] = "history-u.jsonl"
    stored_run.save(upgrade, document)
    stored_run.history().save(upgrade / "history-u.jsonl", [("reader-1", 4.0, 6.0)])
    page.write(gate.known(), gate.report)
    return gate


def test_gate_json_is_as_its_schema_says(whole: FakeGate) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(whole.known(), SCHEMA)


@pytest.mark.parametrize(
    "told",
    [
        {"codes": {"baseline": "silent"}},
        {"codes": {"candidate": 7}},
        {"verdicts": {"candidate": {"V-4": "deviates!a swap"}}},
    ],
)
def test_so_it_is_where_something_broke(gate: FakeGate, told: dict[str, Any]) -> None:
    gate.run("--claims=V-4", **told)
    jsonschema.validate(gate.known(), SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda known: known.pop("seed"),
        lambda known: known.update(verdict="fine"),
        lambda known: known.update(schema_version=2),
        lambda known: known["claims"][0].pop("reason"),
        lambda known: known["claims"][0]["baseline"][0].update(verdict="passed"),
        lambda known: known["performance"][0].update(pairs=[[1.0]]),
        lambda known: known["counts"].update(worse=0),
    ],
)
def test_the_schema_notices(whole: FakeGate, spoil: Any) -> None:
    known = whole.known()
    spoil(known)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(known, SCHEMA)


def test_the_page_has_the_verdict_first_then_what_changed(whole: FakeGate) -> None:
    html = (whole.report / "gate.html").read_text("utf-8")
    places = [
        html.index(text)
        for text in (
            "<h1>Worse: F-4, first query</h1>",
            "Got worse",
            "Got better",
            'id="claims"',
            'id="upgrade"',
            "Operations of reader-1 over time",
            'id="performance"',
            'id="versions"',
            'id="steps"',
        )
    ]
    assert places == sorted(places)
    assert "<script" not in html
    assert "http" not in html.replace("Content-Security-Policy", "").replace("http-equiv", "")
    assert "Seeded defect in the candidate: lost-delete" in html
    assert "A stand-in ran" in html


def test_nothing_that_a_cluster_says_becomes_markup(whole: FakeGate) -> None:
    html = (whole.report / "gate.html").read_text("utf-8")
    assert "<b>" not in html
    assert "20 rows lost &lt;b&gt;&amp;\N{SNOWMAN}" in html


def test_the_page_leads_to_the_pages_of_the_runs(whole: FakeGate) -> None:
    html = (whole.report / "gate.html").read_text("utf-8")
    for run in ("baseline", "candidate", "upgrade"):
        assert f'href="{run}/report.html"' in html
        assert (whole.report / run / "report.html").is_file()
        assert (whole.report / run / "output.txt").is_file()
    assert 'href="candidate/report.html#claim-F-4"' in html
    assert 'id="claim-F-4"' in (whole.report / "candidate" / "report.html").read_text("utf-8")


def test_bands_are_drawn_where_they_lie() -> None:
    drawn, axis = page.bands([figure("a", "worse", 2.0, 1.0, 2.0), figure("b", "same", 1.0, 0.5, 1.0)])
    assert [(band.left, band.width, band.middle) for band in drawn] == [(50, 50, 100), (0, 50, 50)]
    assert (50.0, "1x") in axis
    wide, axis = page.bands([figure("a", "unknown", 1.0, 0.25, 4.0)])
    assert (wide[0].left, wide[0].width) == (0, 100)
    assert [text for _, text in axis] == ["0.25x", "0.5x", "0.8x", "1x", "1.25x", "2x", "4x"]


def test_the_markdown_has_what_matters_first(whole: FakeGate) -> None:
    text = (whole.report / "gate.md").read_text("utf-8")
    assert text.startswith("## Worse: F-4, first query\n")
    assert text.index("### Worse") < text.index("### Better") < text.index("### All claims") < text.index("### Perf")
    assert "- SEEDED DEFECT in the candidate: lost-delete" in text
    assert "<b>" not in text
    assert "| F-4 | holds | violated | - | **worse** |" in text
    assert "| R-6 | unknown | unknown | - | **unknown** (allowed) | no GPU |" in text
    assert "| juicefs | JuiceFS 1.8 | JuiceFS 1.9 |" in text
    assert "| juicefs.version | 1.3.0 | 1.4.2 |" in text


def test_junit_says_what_the_changes_say(whole: FakeGate) -> None:
    suite = ET.parse(whole.report / "gate.xml").getroot().find("testsuite")
    assert suite is not None
    told = {
        case.get("name"): next((child.tag for child in case if child.tag != "properties"), "passed")
        for case in suite.findall("testcase")
    }
    assert told == {
        "gate": "passed",
        "V-1": "passed",
        "V-4": "passed",
        "F-4": "failure",
        "R-6": "skipped",
        "U-1": "passed",
        "U-2": "passed",
        "first query": "failure",
        "warm query": "passed",
        "insert": "skipped",
        "flush": "skipped",
    }
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["11", "2", "0", "3"]


def test_junit_is_not_green_where_nothing_was_judged(gate: FakeGate) -> None:
    gate.run("--claims=V-1", codes={"baseline": "silent"})
    suite = ET.parse(gate.report / "gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("errors") == "1"
    error = suite.find("testcase/error")
    assert error is not None
    assert "exit code 3" in str(error.get("message"))


def test_a_stored_gate_in_one_word(whole: FakeGate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict.main([str(whole.report)]) == 0
    assert capsys.readouterr().out == "worse\n"
    assert verdict.main(["--markdown", str(whole.report)]) == 0
    assert capsys.readouterr().out == (whole.report / "gate.md").read_text("utf-8")
    for text in (None, "{", '{"schema_version": 2, "verdict": "better"}'):
        if text is not None:
            (tmp_path / "gate.json").write_text(text, "utf-8")
        assert verdict.main([str(tmp_path)]) == 0
        assert capsys.readouterr().out == "unknown\n", "what was refused or killed was not judged"
    assert verdict.main(["--markdown", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"**No verdict:** no gate in `{tmp_path}`.\n"
    with pytest.raises(SystemExit) as ended:
        verdict.main([])
    assert ended.value.code == 4
