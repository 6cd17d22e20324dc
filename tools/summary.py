"""`python -m tools.summary REPORT_DIR`: what a run came to, as Markdown for the summary of a CI job.

Made from conformance.json of the report folder. The verdict comes first and what can grow long last, so that what is
cut at the limit (GitHub takes 1024 KiB a step, and nothing of a longer one) is what matters least.

Exit codes: 0 also where a report is missing or half-written, which is then said in one line (the verdict on the job is
pytest's, not this command's); 4 a wrong argument.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fixtures.claims import Figure, Verdict
from fixtures.plugin.conformance import FILE_NAME
from fixtures.plugin.exit_codes import ExitCode
from fixtures.plugin.figures import beside_budget, worst_figure
from fixtures.plugin.launcher import missing
from fixtures.plugin.summary import tally

DEFAULT_LIMIT_KIB = 1000
MAX_LIMIT_KIB = 1024

_HEADLINES = {
    ExitCode.OK: "No claim is violated",
    ExitCode.VIOLATED: "VIOLATED",
    ExitCode.UNKNOWN: "Unknown: not every claim was judged",
    ExitCode.INFRASTRUCTURE: "Infrastructure: nothing was judged, the cluster is neither blamed nor cleared",
}
_CUT = "\n*{} more lines are cut here; all of it is in `{}` of the artifact.*\n"

Json = Mapping[str, Any]


def markdown(document: Json) -> str:
    """The page for a whole report. Raises KeyError, TypeError or ValueError where it is none."""
    parts = (_verdict(document), _troubles(document), _claims(document["claims"]), _ran(document))
    return "\n".join(line for part in parts for line in part) + "\n"


def cut(page: str, limit: int) -> str:
    """At most `limit` bytes of the page, whole lines, with a note of how many are missing."""
    lines = page.splitlines(keepends=True)
    if len(page.encode()) <= limit:
        return page
    room = limit - len(_CUT.format(len(lines), FILE_NAME).encode())
    kept = 0
    while kept < len(lines) and (room := room - len(lines[kept].encode())) >= 0:
        kept += 1
    return "".join(lines[:kept]) + _CUT.format(len(lines) - kept, FILE_NAME)


def headline(document: Json) -> str:
    """What the run came to, in a few words."""
    code = document["exit_code"]
    return "Not finished" if code is None else _HEADLINES.get(ExitCode(code), "Not judged")


def counted(document: Json) -> str:
    """`21 claims: 13 holds, 8 unknown (2 allowed)`."""
    claims = document["claims"]
    return tally([Verdict(claim["verdict"]) for claim in claims], sum(claim["allowed"] for claim in claims))


def worst_first(claims: Sequence[Json]) -> list[Json]:
    """The claims, the worst verdicts first, else in their order."""
    return sorted(claims, key=lambda claim: -Verdict(claim["verdict"]).severity)


def figures(claim: Json) -> list[Figure]:
    """What was measured for a claim."""
    return [
        Figure(
            name=figure["name"],
            # The report writes infinity as a string.
            value=float(figure["value"]),
            unit=figure["unit"],
            budget=None if figure["budget"] is None else float(figure["budget"]),
        )
        for figure in claim["evidence"]["figures"]
    ]


def required_but_missing(document: Json) -> dict[str, str]:
    """What --require names and the host lacks, with the reason."""
    reasons = {name: missing(document["capabilities"], name) for name in document["required"]}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _verdict(document: Json) -> Iterator[str]:
    code = document["exit_code"]
    yield f"## {headline(document)}"
    yield ""
    yield f"{f'exit code {code}: ' if code is not None else ''}{text(document['exit_meaning'])}  "
    yield f"{counted(document)}  "
    yield f"judged on: {text(document['judged_on'])}  "
    yield f"evidence: the artifact of this job (`{FILE_NAME}`, `report.txt`, histories, logs)"
    yield ""


def _troubles(document: Json) -> Iterator[str]:
    error, problems = document["infrastructure_error"], document["problems"]
    if error is not None:
        yield "**A cluster could not be started:**"
        yield ""
        # Indented code needs no end, so that it may be cut anywhere.
        yield from (f"    {line}" for line in error.splitlines())
        yield ""
    for problem in problems:
        yield f"- harness: {text(problem)}"
    for name, reason in required_but_missing(document).items():
        yield f"- required and missing: {text(name)}: {text(reason)}"
    if document["harness_tests_failed"]:
        yield f"- tests of the harness that failed: {document['harness_tests_failed']}"
    yield ""


def _claims(claims: Sequence[Json]) -> Iterator[str]:
    """The table, the worst verdicts first: cutting takes what holds."""
    heads = ("claim", "verdict", "expected", "worst figure of its budget", "seconds", "reason")
    yield from table(heads, map(_row, worst_first(claims)))


def _row(claim: Json) -> tuple[str, ...]:
    worst = worst_figure(figures(claim))
    verdict = claim["verdict"] if claim["verdict"] in (Verdict.HOLDS, claim["expected"]) else f"**{claim['verdict']}**"
    allowed = " (allowed)" if claim["allowed"] else ""
    return (
        text(claim["id"]),
        verdict + allowed,
        text(claim["expected"]),
        text(beside_budget(worst)) if worst is not None else "-",
        f"{claim['duration_s']:.1f}",
        text(claim["reason"]),
    )


def _ran(document: Json) -> Iterator[str]:
    yield f"runtime: {text(document['runtime'])} ({text(document['runtime_reason'])}), seed {document['seed']}"
    yield ""
    yield from table(("part", "implementation", "version", "image"), map(_part, document["components"]))


def _part(component: Json) -> tuple[str, ...]:
    known = ("name", "implementation", "version")
    # A runtime with images adds what identifies them.
    image = " ".join(str(value) for key, value in component.items() if key not in known and value)
    return *(text(component[key]) for key in known), text(image) or "-"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def text(value: object) -> str:
    """The value on one line, as text: nothing in it is read as Markdown or HTML."""
    line = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\|`*_[]~#" else letter for letter in line)


def page(report: Path) -> str:
    """The page for what lies in the folder, whatever that is."""
    file = report / FILE_NAME
    try:
        return markdown(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return f"**No verdict:** there is no `{file}`; the run ended before it had chosen its tests.\n"
    except OSError as error:
        return f"**No verdict:** `{file}` cannot be read: {text(error.strerror)}.\n"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"**No verdict:** `{file}` is no whole report ({type(error).__name__}: {text(error)}).\n"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT_KIB:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MAX_LIMIT_KIB}, not {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _Parser(prog="python -m tools.summary", description="A run's report as Markdown for a CI job's summary.")
    parser.add_argument("report", type=Path, metavar="REPORT_DIR", help="the folder given with --report")
    parser.add_argument("--limit-kib", type=_limit, default=DEFAULT_LIMIT_KIB, help="size to cut at (default 1000)")
    options = parser.parse_args(arguments)
    sys.stdout.write(cut(page(options.report), options.limit_kib * 1024))
    return 0


if __name__ == "__main__":
    sys.exit(main())
