"""What a gate leaves: gate.json, and the page, the Markdown, the JUnit file and the last screen made from it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from fixtures.plugin.figures import screen_width
from tools.gate import document, junit, markdown, page
from tools.gate.results import Results
from tools.gate.runs import Json
from tools.gate.words import ratio, tally, verdicts
from tools.report.__main__ import write_page
from tools.report.evidence import Unusable

_MIN_WIDTH = 100
_MAX_REASON_LINES = 3


def write(results: Results, report: Path, say: Callable[[str], None]) -> None:
    """Everything, from what is known now."""
    for run in results.all_runs():
        if run.document is not None:
            try:
                write_page(report / run.folder)
            except Unusable as error:
                say(f"    no page: {error}")
    known = json.loads(document.save(results, report).read_text(encoding="utf-8"))
    (report / "gate.md").write_text(markdown.render(known), encoding="utf-8")
    junit.write(known, report / "gate.xml")
    page.write(known, report)


def screen(results: Results, report: Path) -> Iterator[str]:
    """The last screen: claim by claim, what was measured, then what it comes to."""
    known = document.document(results)
    width = max(_MIN_WIDTH, screen_width())
    yield ""
    yield from _claims(known, width)
    yield from _measured(known)
    yield ""
    for side in ("baseline", "candidate"):
        yield f"{side}: {known[side]['word']}: {known[side]['judged_on'] or 'not started'}"
    for trouble in (*known["troubles"], *known["doubts"]):
        yield f"trouble: {trouble}"
    for step in known["steps"]:
        if step["left_out"]:
            yield f"left out: {step['title']}: {step['trouble']}"
    yield tally(known)
    yield known["headline"]
    yield f"exit code {known['exit_code']}: {known['exit_meaning']}"
    yield f"report: {report / page.PAGE_NAME}; seed {known['seed']}"


def _claims(known: Json, width: int) -> Iterator[str]:
    yield f"{'claim':<6}{'baseline':<11}{'candidate':<11}{'upgrade':<10}{'change':<9}reason"
    yield "-" * width
    for claim in known["claims"]:
        cells = f"{claim['id']:<6}{verdicts(claim['baseline']):<11}{verdicts(claim['candidate']):<11}"
        upgrade = claim["upgrade"]["verdict"] if claim["upgrade"] is not None else "-"
        head = f"{cells}{upgrade:<10}{claim['change']:<9}"
        lines = textwrap.wrap(claim["reason"], width - len(head)) or [""]
        if len(lines) > _MAX_REASON_LINES:
            lines = [*lines[: _MAX_REASON_LINES - 1], f"{lines[_MAX_REASON_LINES - 1][: width - len(head) - 1]}…"]
        for place, line in enumerate(lines):
            yield f"{head if place == 0 else ' ' * len(head)}{line}".rstrip()


def _measured(known: Json) -> Iterator[str]:
    if known["performance"]:
        yield ""
        yield f"{'measured in turns':<44}{'candidate / baseline':<40}change"
    for each in known["performance"]:
        yield f"{each['name']:<44}{ratio(each):<40}{each['change']}"
