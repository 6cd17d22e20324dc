"""gate.html: the gate as one page that needs neither a network nor scripts, to be shown to whoever has to decide."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.plugin.figures import number
from tools.gate.compare import Change
from tools.gate.runs import Json
from tools.gate.words import ratio, tally, verdicts, version
from tools.report import evidence, page
from tools.report.evidence import Unusable
from tools.report.view import PAGE_NAME as RUN_PAGE
from tools.report.view import TestView, View

PAGE_NAME = "gate.html"
TEMPLATES = Path(__file__).parent / "templates"
MARKS = {
    "worse": "\N{DOWNWARDS ARROW}",
    "unknown": "?",
    "better": "\N{UPWARDS ARROW}",
    "same": "=",
    **{name: mark for name, mark in page.MARKS.items() if name != "unknown"},
}
"""So that no verdict is told by its colour alone; the word is always beside it."""
_TONES = {"worse": "violated", "unknown": "unknown", "better": "holds", "same": "holds"}
_WIDEST = 2.0
"""Ratios are drawn from one over this to this, or further where one lies there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One figure, drawn on a logarithmic scale of ratios; places in per cent of the width."""

    raw: Json
    told: str
    before: str
    after: str
    left: float
    width: float
    middle: float
    margin_left: float
    margin_width: float


def write(known: Json, report: Path) -> Path:
    """The page about a gate, beside its gate.json."""
    text = page.fill("gate.html", TEMPLATES, view=GateView(known, report), marks=MARKS)
    file = report / PAGE_NAME
    fresh = report / f".{PAGE_NAME}.tmp"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
    return file


class GateView:
    """Everything the page shows; the template decides nothing but where things stand."""

    def __init__(self, known: Json, report: Path) -> None:
        self.raw = known
        self.tone = _TONES[known["verdict"]]
        self.tally = tally(known)
        order = [change.value for change in Change]
        self.chips = [(change, known["counts"][change]) for change in order if change in known["counts"]]
        claims = sorted(known["claims"], key=lambda claim: order.index(claim["change"]))
        self.claims = [(claim, verdicts(claim["baseline"]), verdicts(claim["candidate"])) for claim in claims]
        self.told = [
            (title, [claim for claim in claims if claim["change"] == change and not claim["allowed"]])
            for change, title in (("worse", "Got worse"), ("unknown", "Unknown"), ("better", "Got better"))
        ]
        self.allowed = [claim for claim in claims if claim["allowed"]]
        self.left_out = [step for step in known["steps"] if step["left_out"]]
        self.steps = [step for step in known["steps"] if not step["left_out"]]
        self.bands, self.axis = bands(known["performance"])
        self.versions = list(_versions(known))
        self.differing = _differing(self.versions)
        self.stand_in = any("stand-in" in str(known[side]["judged_on"]) for side in ("baseline", "candidate"))
        self.upgrade = _upgrade(report)
        self.pages = {
            step["folder"]: f"{step['folder']}/{RUN_PAGE}"
            for step in self.steps
            if step["folder"] and (report / step["folder"] / RUN_PAGE).is_file()
        }
        self.took = _minutes(sum(step["duration_s"] for step in self.steps))

    def href(self, folder: str, claim: str) -> str:
        """Where the page of a run tells of a claim; empty where there is none."""
        return f"{self.pages[folder]}#claim-{claim}" if folder in self.pages else ""


def _upgrade(report: Path) -> list[tuple[str, TestView]]:
    """The tests of the upgrade whose histories can be drawn: claim, test."""
    folder = report / "upgrade"
    try:
        view = View(evidence.load(folder), folder, report / PAGE_NAME)
    except (Unusable, KeyError, TypeError, ValueError, AttributeError):
        # Its own page says what is the matter with it.
        return []
    return [(claim.raw["id"], test) for claim in view.claims for test in claim.tests if test.drawn.timeline]


def _versions(known: Json) -> list[tuple[str, str, str, bool]]:
    """Components, then settings that differ: name, both sides, whether they differ."""
    before, after = ({part["name"]: part for part in known[side]["components"]} for side in ("baseline", "candidate"))
    rows = []
    for name in {**before, **after}:
        old, new = version(before.get(name)), version(after.get(name))
        rows.append((name, old, new, old != new))
    # Their names differ, of course.
    settings = [each for each in known["settings"] if each["key"] != "name"]
    return rows + [(each["key"], each["baseline"], each["candidate"], True) for each in settings]


def _differing(versions: Sequence[tuple[str, str, str, bool]]) -> list[str]:
    """What differs in few words; what three mounts have in common is said once."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, old, new, differs in versions:
        if differs:
            names.setdefault((old, new), []).append(name)
    more = {pair: f" (and {len(each) - 1} more)" if len(each) > 1 else "" for pair, each in names.items()}
    arrow = "\N{RIGHTWARDS ARROW}"
    return [
        f"{each[0]}{more[old, new]} {old or 'default'} {arrow} {new or 'default'}" for (old, new), each in names.items()
    ]


def bands(figures: Sequence[Json]) -> tuple[list[Band], list[tuple[float, str]]]:
    """The figures as bands, and the axis below them."""
    ends = [
        abs(math.log(value))
        for each in figures
        for value in (each["low"], each["high"], each["ratio"])
        if value is not None and value > 0
    ]
    reach = max([math.log(_WIDEST), *ends])

    def place(value: float) -> float:
        return round(50 + 50 * math.log(value) / reach, 2)

    drawn = []
    for each in figures:
        low, high, middle = (each[key] or 1.0 for key in ("low", "high", "ratio"))
        margin = each["margin"]
        inside, outside = max(place(1 / margin), 0.0), min(place(margin), 100.0)
        drawn.append(
            Band(
                raw=each,
                told=ratio(each),
                before=_median([pair[0] for pair in each["pairs"]], each["unit"]),
                after=_median([pair[1] for pair in each["pairs"]], each["unit"]),
                left=place(low),
                width=max(place(high) - place(low), 0.3),
                middle=place(middle),
                margin_left=inside,
                margin_width=outside - inside,
            )
        )
    ticks = [value for value in (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0) if abs(math.log(value)) <= reach + 1e-9]
    return drawn, [(place(value), f"{value:g}x") for value in ticks]


def _median(values: Sequence[float], unit: str) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    half = len(ordered) // 2
    middle = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return f"{number(middle)} {unit}".rstrip()


def _minutes(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def load(report: Path) -> dict[str, Any]:
    """gate.json of a folder."""
    known: dict[str, Any] = json.loads((report / "gate.json").read_text(encoding="utf-8"))
    return known
