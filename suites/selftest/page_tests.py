"""What every page of ours must do in a real browser: a test module gives a fixture `shown`, and a class of its own.

class TestPage(PageTests): ...
"""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.selftest import browser

PHONE, DESK = 390, 1280
NO_BREAKS = "x" * 400
"""A text that no line can be broken in: `shown` has it wherever a page has texts that are not ours."""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
_WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, window.innerWidth]"


class PageTests:
    """`shown` is the path of the page."""

    def test_it_asks_for_nothing_but_itself(self, tab: browser.Tab, shown: Path) -> None:
        tab.open(shown, width=DESK)
        tab.value(OPEN_ALL)
        assert tab.requested == [shown.resolve().as_uri()]

    @pytest.mark.parametrize("width", [PHONE, DESK])
    def test_it_is_as_wide_as_the_window(self, tab: browser.Tab, shown: Path, width: int) -> None:
        tab.open(shown, width=width)
        for _ in ("closed", "open"):
            content, window_inside, window = tab.value(_WIDTHS)
            assert window == width
            assert content == window_inside, "nothing sticks out"
            tab.value(OPEN_ALL)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_is_light_or_dark_as_the_reader_likes_it(
        self, tab: browser.Tab, shown: Path, tmp_path: Path, scheme: str
    ) -> None:
        tab.open(shown, width=PHONE, scheme=scheme)
        ground, text = (
            _brightness(tab.value(f"getComputedStyle(document.body).{what}")) for what in ("backgroundColor", "color")
        )
        assert (ground > text) == (scheme == "light")
        picture = tab.screenshot(tmp_path / f"{scheme}.png").read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(picture) > 10_000, "not an empty page"


def _brightness(colour: str) -> float:
    """Of `rgb(20, 23, 27)`."""
    return sum(map(float, colour.partition("(")[2].rstrip(")").split(",")))
