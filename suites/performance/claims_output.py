"""The article's claims with their verdicts as text, as Markdown for the README, as JSON, and as a page with plots."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from suites.performance import machine
from suites.performance.figures import markdown_table, text_table
from suites.performance.machine import Usage, noise
from suites.performance.verdicts import Measured

FORMAT = 1
_THOUSANDS = re.compile(r"(?<=\d) (?=\d{3}\b)")
HEAD = ("claim", "the article", "measured here", "verdict", "why")
_STYLE = """:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere;
background:Canvas;color:CanvasText}
table{border-collapse:collapse;display:block;overflow-x:auto;margin:1rem 0}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8886;vertical-align:top;overflow-wrap:normal}
svg{max-width:100%;height:auto}.note{opacity:.75;font-size:.9em}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All parts that were measured, by name, and how busy the machine was meanwhile."""

    measured: Mapping[str, Measured]
    profile: str
    seed: int
    before: Usage
    after: Usage
    took_s: float
    runtime: str = "embedded"
    failed: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether the clusters' processes are this one's children, so that who else was busy can be told."""
        return self.runtime == "embedded"


def as_text(results: Results, *, markdown: bool = False) -> str:
    """The verdicts first, then the tables behind them, then the machine and how busy it was."""
    table = markdown_table if markdown else text_table
    blocks = [table(HEAD, _verdicts(results))] if _verdicts(results) else []
    for part in results.measured.values():
        for each in part.tables:
            title = f"**{each.title}**" if markdown else each.title
            blocks += [title, table(each.head, each.body), *([each.note] if each.note else [])]
    blocks.append(("\n\n" if markdown else "\n").join(_notes(results)))
    return "\n\n".join(blocks)


def as_json(results: Results) -> str:
    """Every value; seconds and bytes by the units at the end of the names."""
    document = {
        "format": FORMAT,
        "runtime": results.runtime,
        "profile": results.profile,
        "seed": results.seed,
        "failed": list(results.failed),
        "parts": {
            name: {
                "judged": [dataclasses.asdict(judged) for judged in part.judged],
                "values": part.values,
                "unfinished": part.unfinished or None,
            }
            for name, part in results.measured.items()
        },
        "storage": _storage(results),
        "machine": dataclasses.asdict(machine.describe(_versions(results))),
        "load_average": {"before": results.before.load, "after": results.after.load},
        "foreign_cores": machine.foreign_cores(results.before, results.after) if results.ours else None,
        "took_s": results.took_s,
    }
    return json.dumps(document, indent=2) + "\n"


def as_page(results: Results) -> str:
    """One HTML file without any other: verdicts, plots, tables."""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>The article's figures, judged</title><style>{_STYLE}</style>",
            "<h1>The article's figures, judged</h1>",
            _html_table(HEAD, _verdicts(results)),
            *_html_parts(results),
            *(f'<p class="note">{html.escape(line)}</p>' for line in _notes(results)),
            "</html>\n",
        ]
    )


def _html_parts(results: Results) -> Iterator[str]:
    for part in results.measured.values():
        for plot in part.plots:
            yield f"<h2>{html.escape(plot.title)}</h2>{plot.svg}"
        for table in part.tables:
            yield f"<h2>{html.escape(table.title)}</h2>{_html_table(table.head, table.body)}"
            if table.note:
                yield f'<p class="note">{html.escape(table.note)}</p>'


def _html_table(head: tuple[str, ...], body: tuple[tuple[str, ...], ...]) -> str:
    def row(cells: tuple[str, ...], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{_html_words(cell)}</{kind}>" for cell in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(cells, "td") for cells in body) + "</table>"


def _html_words(text: str) -> str:
    """The text with its numbers in one piece: `1 000 000` is not parted at the end of a line."""
    return _THOUSANDS.sub("\N{NO-BREAK SPACE}", html.escape(text))


def _verdicts(results: Results) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (judged.claim, judged.said, judged.measured, judged.verdict.value, judged.why)
        for part in results.measured.values()
        for judged in part.judged
    )


def _storage(results: Results) -> list[str]:
    return sorted({each.storage for part in results.measured.values() for each in part.lifetimes})


def _versions(results: Results) -> tuple[str, ...]:
    found = [version for part in results.measured.values() for each in part.lifetimes for version in each.parts]
    return tuple(dict.fromkeys(found))


def _notes(results: Results) -> list[str]:
    host = machine.describe(_versions(results))
    lines = [f"{name}: not finished: {part.unfinished}" for name, part in results.measured.items() if part.unfinished]
    if storage := _storage(results):
        lines.append(f"storage: {'; '.join(storage)}")
    lines.append(f"machine: {host}")
    lines += noise(results.before, results.after, host.cores, ours=results.ours)
    lines.append(
        f"runtime {results.runtime}, profile {results.profile}, seed {results.seed}, measured in {results.took_s:.0f} s"
    )
    lines += [f"FAILED: {reason}" for reason in results.failed]
    return lines
