"""The benchmark's results as text, as Markdown for the README, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from suites.performance.bring_up import SPLIT_HEAD, Part
from suites.performance.figures import HEAD, Figure, footnotes, in_order, markdown_table, rows, text_table
from suites.performance.machine import Machine, Usage, foreign_cores, noise

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one benchmark measured. `storage` says what the clusters stood on, `failed` why it failed, or is empty."""

    figures: tuple[Figure, ...]
    split: tuple[Part, ...]
    machine: Machine
    storage: tuple[str, ...]
    before: Usage
    after: Usage
    took_s: float
    failed: str


def as_text(results: Results, *, markdown: bool = False) -> str:
    """The table of figures, the split of the bring-up, the machine, and how busy that was."""
    table = markdown_table if markdown else text_table
    blocks = [table(HEAD, rows(results.figures))]
    if results.split:
        blocks.append(
            "The bring-up by step (medians where one number stands; `alone`: one step after the other; a step that "
            "waits for others begins when they are ready):"
        )
        blocks.append(table(SPLIT_HEAD, [part.cells() for part in results.split]))
    lines = footnotes(results.figures)
    if results.storage:
        lines.append(f"storage: {'; '.join(results.storage)}")
    lines.append(f"machine: {results.machine}")
    lines += noise(results.before, results.after, results.machine.cores)
    lines.append(f"measured in {results.took_s:.0f} s")
    if results.failed:
        lines.append(f"THE BENCHMARK FAILED: {results.failed}")
    blocks.append("\n\n".join(lines) if markdown else "\n".join(lines))
    return "\n\n".join(blocks)


def as_json(results: Results) -> str:
    """Every value; seconds, bytes and cores by the units at the end of the names."""
    document = {
        "format": FORMAT,
        "failed": results.failed or None,
        "figures": [figure.to_json() for figure in in_order(results.figures)],
        "bring_up": [part.to_json() for part in results.split],
        "storage": list(results.storage),
        "machine": dataclasses.asdict(results.machine),
        "load_average": {"before": results.before.load, "after": results.after.load},
        "foreign_cores": foreign_cores(results.before, results.after),
        "warnings": [
            line for line in noise(results.before, results.after, results.machine.cores) if line.startswith("WARNING")
        ],
        "took_s": results.took_s,
    }
    return json.dumps(document, indent=2) + "\n"
