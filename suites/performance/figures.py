"""Figures as measured: their statistics, and the table of them beside their bars, as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fixtures.plugin.figures import number
from suites.performance.measures import MEASURES, SOURCES, Beside, Measure

HEAD = ("figure", "measured (min / median / max of n)", "bar", "ok?")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure's values, in its unit and in the order measured; at least one."""

    measure: Measure
    values: tuple[float, ...]

    @staticmethod
    def of(key: str, values: Sequence[float]) -> Figure:
        """The figure of a measure by its key. ValueError for no values, KeyError for a measure that is not listed."""
        if not values:
            raise ValueError(f"{key}: a figure needs at least one value")
        return Figure(MEASURES[key], tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def measured(self) -> str:
        unit = self.measure.unit
        if len(self.values) == 1:
            return f"{number(self.values[0])} {unit}"
        return f"{spread(self.values)} {unit} of {len(self.values)}"

    @property
    def bar(self) -> str:
        """The bar, or whose figure this one stands beside; empty if neither."""
        unit, beside = self.measure.unit, self.measure.beside
        if self.measure.limit is not None:
            return f"<= {number(self.measure.limit)} {unit}"
        return f"{beside.source}: {number(beside.value)} {unit}" if beside else ""

    @property
    def ok(self) -> str:
        """`yes` if every value is within the bar, `median` if the median is, else `no`; `0.8 x` of another's figure."""
        limit, beside = self.measure.limit, self.measure.beside
        if limit is None:
            return f"{number(self.median / beside.value)} x" if beside else ""
        if max(self.values) <= limit:
            return "yes"
        return "median" if self.median <= limit else "no"

    def to_json(self) -> dict[str, object]:
        measure, beside = self.measure, self.measure.beside
        return {
            "key": measure.key,
            "label": measure.label,
            "unit": measure.unit,
            "values": list(self.values),
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "bar": measure.limit,
            "beside": {"source": beside.source, "value": beside.value} if beside else None,
            "ok": self.ok,
        }


def beside(figures: Sequence[Figure], others: Sequence[Figure], source: str) -> tuple[Figure, ...]:
    """The figures, each beside the median of `others` of the same measure, which are of this very run."""
    medians = {figure.measure.key: figure.median for figure in others}
    return tuple(
        dataclasses.replace(
            figure,
            measure=dataclasses.replace(figure.measure, limit=None, beside=Beside(source, medians[figure.measure.key])),
        )
        if figure.measure.key in medians
        else figure
        for figure in figures
    )


def in_order(figures: Sequence[Figure]) -> list[Figure]:
    """The figures in the order of MEASURES."""
    return sorted(figures, key=lambda figure: list(MEASURES).index(figure.measure.key))


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """The cells of the table, without its head."""
    return [(figure.measure.label, figure.measured, figure.bar, figure.ok) for figure in in_order(figures)]


def footnotes(figures: Sequence[Figure]) -> list[str]:
    """What a reader of the table must know: what `median` means, and where others' figures come from."""
    used = {figure.measure.beside.source for figure in figures if figure.measure.beside}
    notes = [f"{source}: {where}." for source, where in SOURCES.items() if source in used]
    if any(figure.ok == "median" for figure in figures):
        notes.append("ok? median: the median is within the bar, the maximum is not.")
    if any(figure.measure.key == "bring_up_ratio" and min(figure.values) < 1 for figure in figures):
        notes.append("WARNING: a bring-up faster than its slowest chain: the chain was timed on a busier machine.")
    return notes


def spread(values: Sequence[float]) -> str:
    """`min / median / max`; the value itself if there is but one."""
    if len(values) == 1:
        return number(values[0])
    return " / ".join(number(value) for value in (min(values), statistics.median(values), max(values)))


def text_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, for a terminal."""
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    return "\n".join([line(head), "-+-".join("-" * width for width in widths), *map(line, body)])


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """The same as Markdown. A `|` within a cell is escaped."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([line(head), f"|{'---|' * len(head)}", *map(line, body)])
