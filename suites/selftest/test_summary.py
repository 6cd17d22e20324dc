"""What a person reads: a failing claim on one screen, and the table."""

from __future__ import annotations

import re

import pytest

from fixtures.claims import Figure
from fixtures.plugin.catalogue import order
from fixtures.plugin.figures import beside_budget, number, shorten, worst_figure
from suites.selftest import inner

pytestmark = pytest.mark.selftest

VIOLATED = """
@promise("V-4", "under concurrent inserts no acknowledged row is lost", expected={"1.0.0": holds("flush is final")})
@pytest.mark.parametrize("reader", ["reader-1"])
def test_set_full(cluster, trial, history, reader):
    operation = history.invoke(client="c1", node=reader, kind="search", collection="c", request={"topk": 2})
    history.complete(operation, Outcome.OK, {"found": 0, "detail": "TEXT"})
    history.fault("kill", reader, history.now_s(), None)
    for number in range(FINDINGS):
        trial.check(False, f"row {number} was acknowledged and never found TEXT".rstrip(), node=reader,
                    ids=list(range(1000)), age_s=4.25, budget_s=1.5, detail="TEXT",
                    operations=[operation.index] * 3)
    for number in range(FINDINGS):
        trial.measure(f"stale reads {number}", 4.1, "%", 3.0, node=reader)
        trial.note("a note that is " + "long " * 100)
"""


def _screen(pytester: pytest.Pytester, findings: int, *args: str, text: str = "") -> list[str]:
    tests = VIOLATED.replace("TEXT", text).replace("FINDINGS", str(findings))
    result = inner.run(pytester, tests, *args)
    assert result.ret == 1
    lines = result.outlines
    start = next(place for place, line in enumerate(lines) if line.startswith("V-4 violated"))
    return lines[start : lines.index("", start)]


def test_a_violated_claim_shows_what_is_needed(pytester: pytest.Pytester) -> None:
    screen = "\n".join(_screen(pytester, 1, "--readers=3"))
    for pattern in (
        r"^V-4 violated: under concurrent inserts no acknowledged row is lost$",
        r"^  expected +holds \(flush is final\)$",
        r"^  test +test_inner\.py::test_set_full\[reader-1\]$",
        r"^  cluster +shared: Milvus 1\.1\.0: stand-in \(not Milvus\), storage juicefs$",
        r"^  findings +2 in 2 checks$",
        r"^ +1\. reader-1: row 0 was acknowledged and never found$",
        r"^ +ids=\[0, 1, 2, 3, 4, \.\.\. 995 more\] age_s=4\.25 budget_s=1\.5 detail=$",
        r"^ +#0 search on reader-1: ok, at \+0\.\d+ s, took 0\.\d+ s; topk=2 -> found=0 detail=$",
        r"^  faults +kill reader-1, \+0\.\d+ s to the end$",
        r"^  figures +stale reads 0: 4\.1 %, budget 3 % EXCEEDED$",
        r"^  history +report/history-inner-set_full-reader-1-[0-9a-f]+\.jsonl \(1 operations\)$",
        r"^  logs +report/shared/logs$",
        r"^  again +pytest -m cluster 'test_inner\.py::test_set_full\[reader-1\]' --seed=7 --readers=3$",
    ):
        assert re.search(pattern, screen, re.MULTILINE), f"{pattern} not in\n{screen}"
    assert "Traceback" not in screen


def test_it_fits_one_screen_whatever_was_found(pytester: pytest.Pytester) -> None:
    screen = _screen(pytester, 5000, text="long " * 100)
    assert len(screen) == 40, "there is more to say than fits"
    assert any("more lines; all of it is in conformance.json" in line for line in screen)
    assert any(line.startswith("  history") for line in screen), "where to look is never left out"
    assert max(map(len, screen)) <= 120
    assert screen[-1].startswith("  again")


def test_the_command_on_it_runs_that_test_alone(pytester: pytest.Pytester) -> None:
    again = _screen(pytester, 1)[-1].split("pytest ", 1)[1].replace("'", "").split()
    result = pytester.runpytest_inprocess(*again, "--report=report")
    assert result.parseoutcomes() == {"violated": 1}


def test_no_traceback_is_printed_but_one_of_the_harness_is_kept(pytester: pytest.Pytester) -> None:
    result = inner.run(
        pytester,
        """
@promise("V-1")
def test_breaks(cluster, trial):
    {}["absent"]
""",
    )
    text = result.stdout.str()
    assert "Traceback" not in text
    assert '{}["absent"]' not in text
    assert "KeyError: 'absent'" in text
    source = (pytester.path / "test_inner.py").read_text().splitlines()
    line = source.index('    {}["absent"]') + 1
    result.stdout.fnmatch_lines(
        ["  blame *none on the cluster*", f"  test *test_inner.py:{line}", "  traceback  report/error-*.txt"]
    )
    (kept,) = (pytester.path / "report").glob("error-*.txt")
    assert '{}["absent"]' in kept.read_text()


def test_the_table_is_readable_at_100_columns(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    result = inner.run(
        pytester,
        """
@promise("F-1", expected={"1.0.0": deviates("it is " + "slow " * 60)})
def test_slow(cluster, trial):
    trial.measure("recovery", 6.5, "s", 7.0)
    trial.measure("errors seen", 12, "")
    trial.deviate(False, "the answer came " + "very " * 80 + "late")

@promise("V-10")
def test_ten(cluster, trial):
    trial.check(True, "fine")

@promise("V-2")
@pytest.mark.parametrize("which", [1, 2])
def test_two(cluster, trial, which):
    trial.measure("visible", which, "s", 10.0)
""",
    )
    lines = result.outlines
    table = lines[lines.index("-" * 100) - 1 :]
    assert [line.split()[0] for line in table if re.match(r"[VRF]-\d+ ", line)] == ["V-2", "V-10", "F-1"]
    assert max(len(line) for line in table[:-1]) <= 100
    assert re.search(r"^V-2 +holds +holds +visible 2 s of 10 s +\d+\.\d all tests: 1 checks$", "\n".join(table), re.M)
    assert re.search(r"^F-1 +deviates +deviates +recovery 6\.5 s of 7 s ", "\n".join(table), re.M)
    assert "3 claims: 2 holds, 1 deviates" in table
    assert (pytester.path / "report" / "report.txt").read_text().count("F-1") == 1


def test_colour_only_where_asked_for(pytester: pytest.Pytester) -> None:
    tests = '@promise("V-1")\ndef test_holds(cluster, trial):\n    trial.check(True, "fine")\n'
    assert "\x1b[32mV-1" in inner.run(pytester, tests, "--color=yes").stdout.str()
    assert "\x1b" not in inner.run(pytester, tests, "--color=no").stdout.str()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (3.0, "3"), (0.03214, "0.0321"), (12.345, "12.3"), (56980.4, "56 980"), (0.00001, "1.0e-05")],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_the_worst_figure_is_the_one_nearest_its_budget() -> None:
    figures = [
        Figure(name="plain", value=1e9, unit="B"),
        Figure(name="calm", value=1.0, unit="s", budget=10.0),
        Figure(name="tight", value=0.9, unit="s", budget=1.0),
    ]
    worst = worst_figure(figures)
    assert worst is not None
    assert beside_budget(worst) == "tight 0.9 s of 1 s"
    assert worst_figure([]) is None


def test_texts_are_cut_with_an_ellipsis() -> None:
    assert shorten("one  two\nthree", 20) == "one two three"
    assert shorten("one two three", 8) == "one two…"


def test_claims_are_ordered_as_the_catalogue() -> None:
    ids = ["F-1", "X-1", "R-4", "V-10", "V-2", "J-1", "odd"]
    assert sorted(ids, key=order) == ["V-2", "V-10", "R-4", "F-1", "J-1", "X-1", "odd"]
