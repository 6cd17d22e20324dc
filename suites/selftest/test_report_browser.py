"""The page of a run in a real browser: what it fetches, how wide it is on a phone, and what it looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.selftest import browser, stored_run
from suites.selftest.hand_made import HandMade
from suites.selftest.page_tests import NO_BREAKS, OPEN_ALL, PHONE, PageTests
from tools.report.__main__ import main

pytestmark = pytest.mark.selftest


@pytest.fixture
def shown(pytester: pytest.Pytester) -> Path:
    """A page with all that a page can have, and texts that no line can be broken in."""
    folder = stored_run.make(pytester)
    document = stored_run.load(folder)
    worst = document["claims"][-1]
    worst |= {"reason": NO_BREAKS, "promise": NO_BREAKS, "source": NO_BREAKS}
    worst["evidence"]["notes"] = [NO_BREAKS]
    worst["evidence"]["figures"] = [{"name": NO_BREAKS, "value": 1e9, "unit": "rows", "budget": 2e9, "test": NO_BREAKS}]
    worst["witnesses"] = [{"kind": NO_BREAKS, "proof": {"fault": NO_BREAKS}, "test": NO_BREAKS}]
    document |= {"problems": [NO_BREAKS], "command": [NO_BREAKS]}
    stored_run.save(folder, document)
    history = HandMade()
    history.add("search", 0, {}, node=NO_BREAKS, outcome="failed", error=NO_BREAKS)
    history.save(folder / stored_run.histories(document)[0], [(NO_BREAKS, 0.1, 0.2)])
    assert main([str(folder)]) == 0
    return folder / "report.html"


class TestPage(PageTests):
    """Of a run."""


def test_the_drawings_are_seen(tab: browser.Tab, shown: Path) -> None:
    tab.open(shown, width=PHONE)
    tab.value(OPEN_ALL)
    sizes = tab.value(
        "[...document.querySelectorAll('.lane svg, .curves svg')].map(each => {"
        " const box = each.getBoundingClientRect(); return [box.width, box.height]})"
    )
    assert len(sizes) > 4
    assert all(width > 250 and height > 20 for width, height in sizes)
    assert tab.value("getComputedStyle(document.querySelector('.ticks.ok')).fill") != "none"
    assert tab.value("document.querySelector('.ticks.failed').getBBox().height") > 0
