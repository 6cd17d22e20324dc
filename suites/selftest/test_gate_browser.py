"""The page of a gate in a real browser: what it fetches, how wide it is on a phone, and that its bands are seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.selftest import browser, stored_run
from suites.selftest.gate_runs import FakeGate, figure
from suites.selftest.page_tests import NO_BREAKS, PHONE, PageTests
from tools.gate import page

pytestmark = pytest.mark.selftest

BOXES = "[...document.querySelectorAll('{}')].map(each => {{ const box = each.getBoundingClientRect();{}}})"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a page can have, and texts that no line can be broken in."""
    gate = FakeGate(tmp_path_factory.mktemp("gate"))
    verdicts = {
        "baseline": {"V-1": "deviates!stale"},
        "candidate": {"F-4": f"violated!{NO_BREAKS}", "V-4": "unknown!no witness"},
        "upgrade": {"U-1": "holds"},
    }
    figures = [figure(NO_BREAKS, "worse", 1.6, 1.3, 1.9), figure("warm query", "same", 1.0, 0.9, 1.1)]
    assert gate.run("--profile=full", verdicts=verdicts, figures=figures) == 1
    upgrade = gate.report / "upgrade"
    document = stored_run.load(upgrade)
    document["claims"][0]["tests"][0]["history"] = "history-u.jsonl"
    stored_run.save(upgrade, document)
    stored_run.history().save(upgrade / "history-u.jsonl", [("reader-1", 4.0, 6.0)])
    known = gate.known()
    known["settings"].append({"key": NO_BREAKS, "baseline": NO_BREAKS, "candidate": NO_BREAKS})
    known["troubles"] = [NO_BREAKS]
    return page.write(known, gate.report)


class TestPage(PageTests):
    """Of a gate."""


def test_the_bands_are_where_they_belong(tab: browser.Tab, shown: Path) -> None:
    tab.open(shown, width=PHONE)
    (worse, same) = tab.value(BOXES.format("rect.bar", "return [box.left, box.right]"))
    margins = tab.value(BOXES.format("rect.inside", "return [box.left, box.right]"))
    assert worse[0] > margins[0][1], "beyond the margin"
    assert margins[1][0] < same[0] < same[1] < margins[1][1], "within it"
