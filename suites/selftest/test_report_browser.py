"""The page of a run in a real browser: what it fetches, how wide it is on a phone, and what it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suites.selftest import browser, stored_run
from suites.selftest.hand_made import HandMade
from tools.report.__main__ import main

pytestmark = pytest.mark.selftest

PHONE, DESK = 390, 1280
PNG = b"\x89PNG\r\n\x1a\n"
NO_BREAKS = "x" * 400
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, window.innerWidth]"


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[browser.Tab]:
    program = browser.program()
    if program is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(browser.PROGRAMS)} is on PATH")
    with browser.tab(program, tmp_path / "profile") as opened:
        yield opened


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


def test_the_page_asks_for_nothing_but_itself(tab: browser.Tab, shown: Path) -> None:
    tab.open(shown, width=DESK)
    tab.value(OPEN_ALL)
    assert tab.requested == [shown.resolve().as_uri()]


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_is_as_wide_as_the_window(tab: browser.Tab, shown: Path, width: int) -> None:
    tab.open(shown, width=width)
    for _ in ("closed", "open"):
        content, page, window = tab.value(WIDTHS)
        assert window == width
        assert content == page, "nothing sticks out"
        tab.value(OPEN_ALL)


def test_it_is_light_or_dark_as_the_reader_likes_it(tab: browser.Tab, shown: Path, tmp_path: Path) -> None:
    pictures = {}
    for scheme in ("light", "dark"):
        tab.open(shown, width=PHONE, scheme=scheme)
        ground = tab.value("getComputedStyle(document.body).backgroundColor")
        text = tab.value("getComputedStyle(document.body).color")
        pictures[scheme] = (brightness(ground), brightness(text))
        picture = tab.screenshot(tmp_path / f"{scheme}.png").read_bytes()
        assert picture.startswith(PNG)
        assert len(picture) > 10_000, "not an empty page"
    assert pictures["light"][0] > pictures["light"][1]
    assert pictures["dark"][0] < pictures["dark"][1]


def brightness(colour: str) -> float:
    """Of `rgb(20, 23, 27)`."""
    return sum(map(float, colour.partition("(")[2].rstrip(")").split(",")))


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
