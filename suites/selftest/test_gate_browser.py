"""The page of a gate in a real browser: what it fetches, how wide it is on a phone, and that its bands are seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suites.selftest import browser, stored_run
from suites.selftest.gate_runs import FakeGate, figure
from tools.gate import page

pytestmark = pytest.mark.selftest

PHONE, DESK = 390, 1280
NO_BREAKS = "x" * 400
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, window.innerWidth]"
BOXES = "[...document.querySelectorAll('{}')].map(each => {{ const box = each.getBoundingClientRect();{}}})"


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[browser.Tab]:
    program = browser.program()
    if program is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(browser.PROGRAMS)} is on PATH")
    with browser.tab(program, tmp_path / "profile") as opened:
        yield opened


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


def test_the_page_asks_for_nothing_but_itself(tab: browser.Tab, shown: Path) -> None:
    tab.open(shown, width=DESK)
    tab.value(OPEN_ALL)
    assert tab.requested == [shown.resolve().as_uri()]


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_is_as_wide_as_the_window(tab: browser.Tab, shown: Path, width: int) -> None:
    tab.open(shown, width=width)
    for _ in ("closed", "open"):
        content, window_inside, window = tab.value(WIDTHS)
        assert window == width
        assert content == window_inside, "nothing sticks out"
        tab.value(OPEN_ALL)


def test_the_bands_are_where_they_belong(tab: browser.Tab, shown: Path) -> None:
    tab.open(shown, width=PHONE)
    (worse, same) = tab.value(BOXES.format("rect.bar", "return [box.left, box.right]"))
    margins = tab.value(BOXES.format("rect.inside", "return [box.left, box.right]"))
    assert worse[0] > margins[0][1], "beyond the margin"
    assert margins[1][0] < same[0] < same[1] < margins[1][1], "within it"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_reader_likes_it(tab: browser.Tab, shown: Path, tmp_path: Path, scheme: str) -> None:
    tab.open(shown, width=DESK, scheme=scheme)
    ground, text = (
        sum(map(float, tab.value(f"getComputedStyle(document.body).{what}")[4:-1].split(",")))
        for what in ("backgroundColor", "color")
    )
    assert (ground > text) == (scheme == "light")
    assert len(tab.screenshot(tmp_path / f"{scheme}.png").read_bytes()) > 10_000, "not an empty page"
