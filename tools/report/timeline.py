"""What a history looks like over time: a lane for each node, a tick for each operation, faults as shaded stretches.

Drawn in columns, so that a hundred thousand operations take no more room than a thousand: a tick stands for all
operations that were called within its column, and is the taller the more these are. Outcomes differ by their place in
the lane, not by colour alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.clients.reply import REFUSALS
from fixtures.history import Operation, Outcome, Stored, Window
from fixtures.plugin.figures import number, shorten

AUDIT = ", "
"""What a history puts between the name of a node and what the operations were for, as in `writer, in the end`."""
COLUMNS = 600
MAX_LISTED = 20
_LEVELS = 6
_ERROR_LENGTH = 160
_BADGE_APART = 0.03
"""Numbers of faults that begin closer together than this share of the width are written as one."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Stripe:
    """Where in a lane the ticks of an outcome stand: on `base`, up to `height` above it. Units of the drawing."""

    base: int
    height: int


STRIPES: Mapping[Outcome, Stripe] = {
    Outcome.OK: Stripe(20, 18),
    Outcome.FAILED: Stripe(36, 12),
    Outcome.UNKNOWN: Stripe(52, 12),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The operations of one outcome: how many, their ticks, and lines for those that took longer than a column."""

    outcome: str
    count: int
    ticks: str
    waits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The operations of one node. `hit` numbers the faults that were aimed at it; `errors` are kinds, with counts."""

    node: str
    height: int
    marks: Sequence[Marks]
    refused: int
    hit: frozenset[int]
    errors: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """One fault: from `left` for `width` columns."""

    number: int
    text: str
    left: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All that is drawn. `badges` and `axis` are texts and where they stand, in per cent of the width."""

    operations: int
    duration_s: float
    column_s: float
    lanes: Sequence[Lane]
    shades: Sequence[Shade]
    badges: Sequence[tuple[float, str]]
    axis: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class _Scale:
    began_s: float
    duration_s: float

    def column(self, times_s: NDArray[np.float64]) -> NDArray[np.intp]:
        share = (times_s - self.began_s) / self.duration_s
        return np.clip(share * COLUMNS, 0, COLUMNS - 1).astype(np.intp)

    def place(self, time_s: float) -> float:
        return min(max((time_s - self.began_s) / self.duration_s, 0.0), 1.0) * COLUMNS


def timeline(stored: Stored) -> Timeline | None:
    """The drawing of a history; None where nothing was ever called."""
    operations = stored.operations
    if not operations:
        return None
    times_s = [each.invoked_s for each in operations] + [each.completed_s or each.invoked_s for each in operations]
    for window in stored.windows:
        times_s += [window.began_s, window.began_s if window.ended_s is None else window.ended_s]
    scale = _Scale(min(times_s), max(max(times_s) - min(times_s), 1e-3))
    windows = sorted(stored.windows, key=lambda window: window.began_s)
    shades = [_shade(place, window, scale) for place, window in enumerate(windows, start=1)]
    by_node: dict[str, list[Operation]] = {}
    for each in operations:
        by_node.setdefault(each.node.partition(AUDIT)[0], []).append(each)
    return Timeline(
        operations=len(operations),
        duration_s=scale.duration_s,
        column_s=scale.duration_s / COLUMNS,
        lanes=[_lane(node, its, windows, scale) for node, its in by_node.items()],
        shades=shades,
        badges=_badges(shades),
        axis=_axis(scale.duration_s),
    )


def _axis(longest_s: float) -> list[tuple[float, str]]:
    """Round values from 0 to `longest_s`, at most six, and where they stand in per cent."""
    rough = longest_s / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
    return [(100 * place * step / longest_s, f"{number(place * step)} s") for place in range(int(longest_s / step) + 1)]


def _shade(place: int, window: Window, scale: _Scale) -> Shade:
    began_s = window.began_s - scale.began_s
    left = scale.place(window.began_s)
    if window.ended_s is None:
        right, until = float(COLUMNS), "never healed"
    else:
        right, until = scale.place(window.ended_s), f"{number(window.ended_s - window.began_s)} s"
    text = f"{window.name} of {window.target}, at {number(began_s)} s: {until}"
    return Shade(number=place, text=text, left=round(left, 1), width=round(max(right - left, 1.0), 1))


def _badges(shades: Sequence[Shade]) -> list[tuple[float, str]]:
    groups: list[list[Shade]] = []
    for shade in shades:
        if groups and shade.left - groups[-1][0].left < _BADGE_APART * COLUMNS:
            groups[-1].append(shade)
        else:
            groups.append([shade])
    return [
        (
            100 * group[0].left / COLUMNS,
            str(group[0].number) if len(group) == 1 else f"{group[0].number}\N{EN DASH}{group[-1].number}",
        )
        for group in groups
    ]


def _lane(node: str, operations: Sequence[Operation], windows: Sequence[Window], scale: _Scale) -> Lane:
    marks = [
        _marks(outcome, [each for each in operations if each.outcome is outcome], scale)
        for outcome in Outcome
        if any(each.outcome is outcome for each in operations)
    ]
    kinds = Counter(_kind(each) for each in operations if each.outcome is not Outcome.OK)
    lowest = max(STRIPES[Outcome(each.outcome)].base for each in marks)
    return Lane(
        node=node,
        height=lowest + 2,
        marks=marks,
        refused=sum(each.outcome is not Outcome.OK and each.reply.get("code") in REFUSALS for each in operations),
        hit=frozenset(place for place, window in enumerate(windows, start=1) if _aimed_at(window.target, node)),
        errors=kinds.most_common(MAX_LISTED),
    )


def _aimed_at(target: str, node: str) -> bool:
    """Whether the fault was one of this node, or of its mount."""
    return bool({node, f"juicefs-{node}"} & set(target.split(", ")))


def _kind(operation: Operation) -> str:
    """What operations that ended alike have in common: numbers, such as addresses, differ."""
    text = _DIGITS.sub("N", " ".join(operation.error.split())) or f"code {operation.reply.get('code', 'none')}"
    return f"{operation.kind} {operation.outcome.value}: {shorten(text, _ERROR_LENGTH)}"


def _marks(outcome: Outcome, operations: Sequence[Operation], scale: _Scale) -> Marks:
    stripe = STRIPES[outcome]
    begins = scale.column(np.array([each.invoked_s for each in operations]))
    # What never ended lasts to the end of the history.
    ends = scale.column(np.array([np.inf if each.completed_s is None else each.completed_s for each in operations]))
    counts = np.bincount(begins, minlength=COLUMNS)
    levels = np.ceil(_LEVELS * counts / counts.max())
    heights = np.where(counts > 0, np.round(stripe.height * (0.4 + 0.6 * levels / _LEVELS)), 0).astype(int)
    long = ends - begins >= 2
    return Marks(
        outcome=outcome.value,
        count=len(operations),
        ticks=_outline(heights.tolist(), stripe.base),
        waits=_lines(sorted(zip(begins[long].tolist(), ends[long].tolist(), strict=True)), stripe.base),
    )


def _outline(heights: Sequence[int], base: int) -> str:
    """The path of columns that stand on `base`, neighbours of one height as one."""
    path, before = [], 0
    for column, height in enumerate([*heights, 0]):
        if height == before:
            continue
        path.append(f"H{column}" if before else f"M{column} {base}")
        path.append(f"V{base - height}" if height else f"V{base}z")
        before = height
    return "".join(path)


def _lines(stretches: Sequence[tuple[int, int]], y: int) -> str:
    """The path of these stretches, in the order of their begins, those that overlap as one."""
    merged: list[list[int]] = []
    for begin, end in stretches:
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return "".join(f"M{begin} {y}H{end}" for begin, end in merged)
