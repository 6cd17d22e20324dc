"""The catalogue page is made from the tests, and the committed one is up to date."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.claims import Claim, deviates, holds
from fixtures.plugin.catalogue import Entry
from suites.selftest import inner
from tools.claims import markdown

pytestmark = pytest.mark.selftest


def test_a_row_says_all_of_a_claim() -> None:
    described = Claim(
        id="V-1",
        promise="rows stay | or go",
        source="a test",
        expected={"1.0.0": holds(), "1.1.0": deviates("stale", "milvus #2368")},
        needs=frozenset({"root", "fuse"}),
        witnesses=frozenset({"kill"}),
    )
    page = markdown([Entry(described, ("suites/test_a.py::test_b[1]", "suites/test_a.py::test_b[2]"))])
    assert page.splitlines()[-1] == (
        r"| V-1 | rows stay \| or go | 1.0.0: **holds**<br>1.1.0: **deviates**: stale [milvus #2368] | a test"
        " | fuse, root | kill | `suites/test_a.py::test_b` |"
    )


def test_the_committed_page_is_up_to_date() -> None:
    # A process of its own: pytest inside pytest would collect modules that are loaded already.
    made = subprocess.run(
        [sys.executable, "-m", "tools.claims"],
        cwd=inner.PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    committed = inner.PROJECT / "CLAIMS.md"
    assert committed.is_file(), "no CLAIMS.md: run `python -m tools.claims > CLAIMS.md`"
    assert committed.read_text(encoding="utf-8") == made.stdout, "run `python -m tools.claims > CLAIMS.md`"
