"""The catalogue of claims as Markdown, made from the tests themselves: `python -m tools.claims > CLAIMS.md`."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from fixtures.claims import Claim
from fixtures.plugin.catalogue import Entry, collect

HEAD = """# Claims

What this suite verifies, made by `python -m tools.claims` from the tests themselves; edit those. Expectations are by
version of Milvus: one between two entries behaves as the older one. A claim whose need is missing on a host is
`unknown` there.

| id | claim | expected | source | needs | witnesses | tests |
|---|---|---|---|---|---|---|
"""


@dataclass(slots=True, eq=False)  # pytest keeps plugins in sets
class Collector:
    """A pytest plugin that keeps the claims of what was collected."""

    entries: tuple[Entry, ...] = ()
    errors: list[str] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.entries = collect(session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.errors.append(report.longreprtext)


def read(folder: str = "suites") -> tuple[Entry, ...]:
    """The claims of all tests below `folder`. Raises ValueError where a test cannot be collected."""
    collector = Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        # Nothing is asserted here, and the plugin is imported already, too late for its asserts to be rewritten.
        options = [
            "--collect-only",
            "-q",
            "-m",
            "cluster or grid or upgrade",
            "-p",
            "no:cacheprovider",
            "--assert=plain",
        ]
        status = pytest.main([*options, folder], [collector])
    if collector.errors or status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise ValueError("\n".join(collector.errors) or output.getvalue())
    return collector.entries


def markdown(entries: Iterable[Entry]) -> str:
    """The page: one row a claim."""
    return HEAD + "".join(_row(entry) for entry in entries)


def _row(entry: Entry) -> str:
    claim = entry.claim
    tests = sorted({test.partition("[")[0] for test in entry.tests})
    cells = (
        claim.id,
        claim.promise,
        _expected(claim),
        claim.source,
        ", ".join(sorted(claim.needs)) or "-",
        ", ".join(sorted(claim.witnesses)) or "-",
        "<br>".join(f"`{test}`" for test in tests),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _expected(claim: Claim) -> str:
    parts = []
    for version, expectation in claim.expected.items():
        because = f": {expectation.because}" if expectation.because else ""
        issue = f" [{expectation.issue}]" if expectation.issue else ""
        parts.append(f"{version}: **{expectation.verdict.value}**{because}{issue}")
    return "<br>".join(parts)


def main() -> int:
    try:
        page = markdown(read())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
