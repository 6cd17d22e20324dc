"""Drawings of measured values as inline SVG, in the colours of the page around them."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence

from fixtures.plugin.figures import number

_COLOURS = ("#2f7ed8", "#d8672f", "#2f9d5b", "#a04fc4", "#b08a1e", "#c43f5b")
_WIDTH, _LEFT, _ROW, _RIGHT = 760, 190, 34, 20


def strips(groups: Mapping[str, Sequence[float]], unit: str, bar: float | None = None, bar_name: str = "") -> str:
    """One line of dots for each group on a logarithmic axis, its median as a stroke; a bar across all of them.

    Values that are not above zero lie at the left edge. ValueError for no values at all.
    """
    values = [value for group in groups.values() for value in group] + ([bar] if bar else [])
    axis = _Axis([value for value in values if value > 0], _LEFT, _WIDTH - _RIGHT)
    height = _ROW * len(groups) + 40
    parts = [*_ticks(axis, height - 30, unit)]
    for line, (name, group) in enumerate(groups.items()):
        y = _ROW * (line + 0.5) + 8
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 4:.0f}" text-anchor="end">{html.escape(name)}</text>')
        colour = _COLOURS[line % len(_COLOURS)]
        parts += [
            f'<circle cx="{axis.at(value):.1f}" cy="{y:.0f}" r="4" fill="{colour}" fill-opacity=".55"/>'
            for value in group
        ]
        middle = axis.at(sorted(group)[len(group) // 2])
        parts.append(
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 11:.0f}" y2="{y + 11:.0f}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
    if bar:
        x = axis.at(bar)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 30}" stroke="currentColor" stroke-dasharray="4 3"/>'
            f'<text x="{x + 4:.1f}" y="10">{html.escape(bar_name)}</text>'
        )
    return _drawing(height, parts)


def curves(series: Mapping[str, Sequence[tuple[float, float]]], x_name: str, unit: str) -> str:
    """One line of (size, value) for each series, both axes logarithmic. ValueError for no values above zero."""
    points = [point for line in series.values() for point in line if min(point) > 0]
    height, bottom = 380, 330
    across, up = _Axis([x for x, _ in points], 90, 560), _Axis([y for _, y in points], bottom, 20)
    parts = list(_ticks(across, bottom, ""))
    parts.append(f'<text x="325" y="{height - 6}" text-anchor="middle">{html.escape(x_name)}</text>')
    for value in up.ticks():
        y = up.at(value)
        parts.append(
            f'<line x1="90" x2="560" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" stroke-opacity=".15"/>'
            f'<text x="82" y="{y + 4:.1f}" text-anchor="end">{number(value)} {html.escape(unit)}</text>'
        )
    for place, (name, line) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        drawn = [(across.at(x), up.at(y)) for x, y in sorted(line) if min(x, y) > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in drawn]
        parts.append(f'<text x="575" y="{30 + 20 * place}" fill="{colour}">{html.escape(name)}</text>')
    return _drawing(height, parts)


class _Axis:
    """A logarithmic axis over these values, from pixel `begin` to pixel `end`."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        if not values:
            raise ValueError("a drawing needs a value above zero")
        self._low = math.log10(min(values)) - 0.1
        self._high = max(math.log10(max(values)) + 0.1, self._low + 0.5)
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        place = (math.log10(value) - self._low) / (self._high - self._low) if value > 0 else 0.0
        return self._begin + min(1.0, max(0.0, place)) * (self._end - self._begin)

    def ticks(self) -> Iterator[float]:
        for decade in range(math.floor(self._low), math.ceil(self._high) + 1):
            for step in (1, 3):
                if self._low <= math.log10(step * 10.0**decade) <= self._high:
                    yield step * 10.0**decade


def _ticks(axis: _Axis, bottom: float, unit: str) -> Iterator[str]:
    for value in axis.ticks():
        x = axis.at(value)
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}" stroke="currentColor" stroke-opacity=".15"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{number(value)} {html.escape(unit)}</text>'
        )


def _drawing(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="currentColor">{"".join(parts)}</svg>'
    )
