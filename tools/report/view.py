"""From a report to what the page shows, in plain values: the template decides nothing but where things stand."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fixtures.claims import Figure, Verdict
from fixtures.history import Stored
from fixtures.plugin.figures import beside_budget, number, worst_figure
from tools import summary
from tools.report import evidence
from tools.report.evidence import Json
from tools.report.lag import Curves, curves
from tools.report.recovery import Recovery, recoveries, slowest
from tools.report.timeline import Timeline, timeline

PAGE_NAME = "report.html"
MAX_LISTED = 100
_MAX_VALUE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureLine:
    """A figure beside its budget. `strain` is the share of the budget that it used, None without one."""

    name: str
    test: str
    value: str
    budget: str
    strain: float | None
    exceeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """What a history shows; `trouble` says why it shows nothing."""

    trouble: str
    timeline: Timeline | None = None
    curves: Curves | None = None
    recoveries: Sequence[Recovery] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TestView:
    """One test of a claim; `history` is the address of its history, `logs` the folder of the logs of its cluster."""

    id: str
    verdict: str
    reason: str
    cluster: str
    ran_on: str
    duration_s: float
    history: str | None
    logs: str
    drawn: _Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One claim: what the table says of it, and its evidence. Each piece names its test where there are several."""

    raw: Json
    worst: str
    figures: Sequence[FigureLine]
    figures_left: int
    findings: Sequence[tuple[str, str, str, str, str]]
    findings_left: int
    witnesses: Sequence[tuple[str, Sequence[tuple[str, str]], str]]
    witnesses_left: int
    tests: Sequence[TestView]
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a service started, for a bar: `left` and `width` in per cent of the whole bring-up."""

    name: str
    started_s: float
    ready_s: float
    left: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A file of the report, from where the page lies."""

    text: str
    href: str
    size: str


class View:
    """Everything the page shows of one report. Raises KeyError, TypeError or ValueError where it is no whole one."""

    def __init__(self, document: Json, folder: Path, page: Path) -> None:
        self.document = document
        self._folder, self._page = folder, page
        began = datetime.datetime.fromisoformat(document["started"])
        self.started = f"{began:%Y-%m-%d %H:%M:%S} {began.tzname() or ''}".rstrip()
        ended = document["ended"]
        self.took = "" if ended is None else _minutes(datetime.datetime.fromisoformat(ended) - began)
        self.headline = summary.headline(document)
        self.counted = summary.counted(document)
        verdicts = [Verdict(claim["verdict"]) for claim in document["claims"]]
        self.tally = [(each.value, verdicts.count(each)) for each in Verdict if each in verdicts]
        self.tone = _tone(document["exit_code"])
        self.stand_in = "stand-in" in document["judged_on"]
        self.missing = summary.required_but_missing(document)
        self.claims = [self._claim(claim) for claim in summary.worst_first(document["claims"])]
        self.recoveries = [
            (claim.raw["id"], each)
            for claim in self.claims
            for test in claim.tests
            for each in slowest(test.drawn.recoveries)
        ]
        self.bring_ups = [
            (each["cluster"], each["duration_s"], _starts(each["services"])) for each in document["bring_up"]
        ]
        self.phases = [(each["name"], each["duration_s"]) for each in document["phases"]]
        self.components = [_component(part) for part in document["components"]]
        self.topology = list(_flat(document["topology"]))
        self.files = self._files()

    def _files(self) -> list[tuple[str, list[Link]]]:
        """Links to all evidence, folder by folder, the run's own first."""
        folders: dict[str, list[Link]] = {}
        for path in evidence.files(self._folder):
            # The page is no evidence, and what it says must not depend on one before it.
            if path in (self._page, self._folder / PAGE_NAME):
                continue
            inside = path.relative_to(self._folder)
            link = Link(text=inside.name, href=self._href(path), size=_size(path.stat().st_size))
            folders.setdefault(inside.parent.as_posix(), []).append(link)
        return sorted(folders.items())

    def _href(self, path: Path) -> str:
        return quote(Path(os.path.relpath(path, self._page.parent)).as_posix())

    def _claim(self, claim: Json) -> ClaimView:
        measured, seen, witnesses = summary.figures(claim), claim["evidence"], claim["witnesses"]
        worst = worst_figure(measured)
        several = len(claim["tests"]) > 1
        figures = [
            _figure_line(figure, _short(raw["test"]) if several else "")
            for figure, raw in zip(measured[:MAX_LISTED], seen["figures"], strict=False)
        ]
        return ClaimView(
            raw=claim,
            worst=beside_budget(worst) if worst is not None else "-",
            figures=figures,
            figures_left=len(measured) - len(figures),
            findings=[_finding(each, several) for each in seen["findings"]],
            findings_left=seen["findings_total"] - len(seen["findings"]),
            witnesses=[
                (each["kind"], list(_values(each["proof"])), _short(each["test"]) if several else "")
                for each in witnesses[:MAX_LISTED]
            ],
            witnesses_left=max(0, len(witnesses) - MAX_LISTED),
            tests=[self._test(test) for test in claim["tests"]],
            open=claim["verdict"] == Verdict.VIOLATED.value,
        )

    def _test(self, test: Json) -> TestView:
        name = test["history"]
        read = evidence.history(self._folder, name) if name is not None else ""
        drawn = _Drawn(trouble=read) if isinstance(read, str) else _draw(read)
        logs = f"{test['cluster']}/logs"
        return TestView(
            **{key: test[key] for key in ("id", "verdict", "reason", "cluster", "ran_on", "duration_s")},
            history=None if isinstance(read, str) else self._href(self._folder / name),
            logs=logs if test["cluster"] and (self._folder / logs).is_dir() else "",
            drawn=drawn,
        )


def _figure_line(figure: Figure, test: str) -> FigureLine:
    return FigureLine(
        name=figure.name,
        test=test,
        value=f"{number(figure.value)} {figure.unit}".rstrip(),
        budget="" if figure.budget is None else f"{number(figure.budget)} {figure.unit}".rstrip(),
        strain=None if figure.budget is None else min(figure.strain, 1.0),
        exceeded=figure.exceeded,
    )


def _finding(finding: Json, several: bool) -> tuple[str, str, str, str, str]:
    facts = "; ".join(f"{name}: {value}" for name, value in _values(finding["facts"]))
    test = _short(finding["test"]) if several else ""
    return finding["kind"], finding["node"], finding["message"], facts, test


def _short(test: str) -> str:
    """A test without its file."""
    return test.rpartition("::")[2]


def _draw(stored: Stored) -> _Drawn:
    """A history that makes no sense is said, and takes no other claim with it."""
    try:
        drawn = timeline(stored)
        return _Drawn(
            trouble="" if drawn else "its history has no operations",
            timeline=drawn,
            curves=curves(stored),
            recoveries=tuple(recoveries(stored)),
        )
    except (ValueError, TypeError, KeyError) as error:
        return _Drawn(trouble=f"its history makes no sense ({type(error).__name__}: {error})")


def _tone(exit_code: int | None) -> str:
    """The verdict whose colour the headline takes."""
    return {0: Verdict.HOLDS, 1: Verdict.VIOLATED}.get(-1 if exit_code is None else exit_code, Verdict.UNKNOWN).value


def _starts(services: Sequence[Mapping[str, Any]]) -> list[Start]:
    whole_s = max((float(each["ready_s"]) for each in services), default=0.0) or 1.0
    starts = [
        Start(
            name=each["name"],
            started_s=each["started_s"],
            ready_s=each["ready_s"],
            left=round(100 * each["started_s"] / whole_s, 2),
            width=round(100 * (each["ready_s"] - each["started_s"]) / whole_s, 2),
        )
        for each in services
    ]
    return sorted(starts, key=lambda each: (each.started_s, each.ready_s))


def _component(part: Json) -> tuple[str, str, str, str]:
    return part["name"], part["implementation"], part["version"], f"{part['image']} {part['digest']}".strip()


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """The topology as `juicefs.heartbeat_s`, `12`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", json.dumps(value, ensure_ascii=False)


def _values(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield name, text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}\N{HORIZONTAL ELLIPSIS}"


def _minutes(duration: datetime.timedelta) -> str:
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _size(size_bytes: int) -> str:
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{number(float(f'{size_bytes / factor:.3g}'))} {unit}"
    return f"{size_bytes} B"
