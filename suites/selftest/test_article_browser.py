"""The page of the article's benchmark in a real browser, with all that it can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.performance import claims_output, machine, plots
from suites.performance.verdicts import Judged, Measured, Plot, Table, Verdict
from suites.selftest.page_tests import NO_BREAKS, PageTests

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawings = {
        "strips": plots.strips({NO_BREAKS: [0.1, 0.2], "cold": [0.3]}, "s", 0.032, "the article"),
        "curves": plots.curves({NO_BREAKS: [(10, 0.1), (100, 0.4)], "warm": [(10, 0.2)]}, "rows", "s"),
    }
    measured = Measured(
        judged=(
            Judged(claim="P-1", said=NO_BREAKS, measured=NO_BREAKS, verdict=Verdict.NOT_REPRODUCED, why=NO_BREAKS),
        ),
        tables=(Table(title=NO_BREAKS, head=("a", NO_BREAKS), body=((NO_BREAKS, "1"),), note=NO_BREAKS),),
        plots=tuple(Plot(title=title, svg=svg) for title, svg in drawings.items()),
        unfinished=NO_BREAKS,
    )
    usage = machine.usage()
    results = claims_output.Results(
        measured={"P-1": measured}, profile="full", seed=1, before=usage, after=usage, took_s=1.0, failed=(NO_BREAKS,)
    )
    page = tmp_path_factory.mktemp("article") / "article.html"
    page.write_text(claims_output.as_page(results), encoding="utf-8")
    return page


class TestPage(PageTests):
    """Of the article's figures."""
