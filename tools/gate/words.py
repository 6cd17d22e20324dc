"""What a gate found out, in few words: the same on the screen, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.plugin.figures import number
from tools.gate.compare import Change
from tools.gate.runs import Json


def tally(known: Json) -> str:
    """`31 claims: 1 worse, 2 unknown (2 allowed), 3 better, 25 same`."""
    allowed = sum(claim["allowed"] for claim in known["claims"])
    counts = known["counts"]
    parts = [f"{counts[change.value]} {change.value}" for change in Change if change.value in counts]
    if allowed:
        parts = [f"{part} ({allowed} allowed)" if part.endswith("unknown") else part for part in parts]
    claims = len(known["claims"])
    return f"{claims} claim{'s' if claims != 1 else ''}: {', '.join(parts) or 'none judged'}"


def verdicts(runs: Sequence[Json]) -> str:
    """The verdict of one run, or how often each came of several: `holds`, `2/5 holds`; `-` where it did not run."""
    found = [run["verdict"] for run in runs]
    if not found:
        return "-"
    same = found.count(found[0])
    if same == len(found):
        return f"{found[0]}" if len(found) == 1 else f"{same}x {found[0]}"
    return f"{sum(each == 'holds' for each in found)}/{len(found)} hold"


def ratio(each: Json) -> str:
    """`1.02 (0.95 to 1.10)`: the ratio of medians and its band."""
    if each["ratio"] is None:
        return "-"
    band = f" ({number(each['low'])} to {number(each['high'])})" if each["low"] is not None else ""
    return f"{number(each['ratio'])}{band}, margin {number(each['margin'])}"


def version(part: Json | None) -> str:
    """`SeaweedFS 4.48`; an image by its name and digest."""
    if part is None:
        return "-"
    return " ".join(str(part[key]) for key in ("implementation", "version", "image", "digest") if part.get(key)) or "-"
