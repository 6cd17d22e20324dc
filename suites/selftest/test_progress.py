"""Signs of life, in a CI log and on a terminal."""

from __future__ import annotations

import re

import pytest

from fixtures.plugin import progress
from suites.selftest import inner

pytestmark = pytest.mark.selftest

TESTS = """
@promise("V-1", "a flushed insert is found by the writer, every reader and Mishards")
def test_holds(cluster, trial):
    trial.measure("visible", 0.5, "s", 2.0)

@promise("V-2")
@pytest.mark.parametrize("reader", ["reader-1", "reader-2"])
def test_rows_on(cluster, trial, reader):
    trial.check(reader == "reader-1", "row lost", node=reader)
"""


def test_a_line_per_claim_and_no_dots(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, TESTS)
    result.stdout.re_match_lines(
        [
            r"^shared cluster up in \d+\.\d s: mysql 0\.2, milvus 0\.2$",
            r"^V-1  a flushed insert is found by the .*  holds +\S+ s  \(worst: visible 0\.5 s of 2 s\)$",
            r"^V-2  rows on\[reader-1\] +holds +\d+\.\d s  \(1 checks\)$",
            r"^V-2  rows on\[reader-2\] +violated +\d+\.\d s  \(reader-2: row lost\)$",
            r"^stopping the shared cluster$",
        ],
        consecutive=True,
    )
    text = result.stdout.str()
    assert "test_inner.py ." not in text
    assert "100%" not in text


def test_other_tests_keep_their_dots(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, TESTS + "\ndef test_plain(): pass\n")
    result.stdout.re_match_lines([r"^test_inner\.py \.$"])


def test_what_a_cluster_that_does_not_start_costs_is_no_line_each(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, TESTS, refuses="all")
    assert not re.search(r"^V-\d  .*infrastructure", result.stdout.str(), re.M)


def test_a_long_test_shows_life(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_PERIOD_S", 0.2)
    result = inner.run(
        pytester,
        """
@promise("V-1")
def test_long(cluster, trial):

    print("captured, not shown")
    trial.progress("round 1 of 2")
    pause(0.5, "a long round")
    trial.progress("round 2 of 2")
    pause(0.5, "another")
    print("captured too")
    trial.check(True, "fine")
""",
    )
    text = result.stdout.str()
    assert re.search(r"^  V-1 running \d+ s: round 1 of 2$", text, re.M)
    assert re.search(r"^  V-1 running \d+ s: round 2 of 2$", text, re.M)
    assert 2 <= len(re.findall(r"^  V-1 running", text, re.M)) <= 6, "no more than one line a period"
    assert "captured" not in text


def test_on_a_terminal_the_line_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        """As much of pytest's terminal as the live line uses."""

        def __init__(self) -> None:
            self.written: list[str] = []

        def isatty(self) -> bool:
            return True

        def rewrite(self, line: str, **_markup: bool) -> None:
            self.written.append(f"\r{line}")

        def write_line(self, line: str, **_markup: bool) -> None:
            self.written.append(f"{line}\n")

        def ensure_newline(self) -> None:
            self.written.append("[ensured]")

        def flush(self) -> None: ...

    monkeypatch.setattr(progress, "TERMINAL_PERIOD_S", 0.02)
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    live = progress.Live(terminal, None)  # type: ignore[arg-type]
    with live.showing("V-1 running"):
        live.say("x" * 200)
        progress_seen = inner.wait_for(lambda: any("xxx" in text for text in terminal.written))
    assert progress_seen
    assert all(text.startswith("\r") and len(text) <= 80 for text in terminal.written)
    live.line("V-1 holds")
    assert terminal.written[-3:] == ["\r", "\r", "V-1 holds\n"], "the live line is wiped first"
