"""gate.md: the gate for the summary of a CI job. What matters comes first, since summaries are cut at their end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tools.gate.compare import Change
from tools.gate.runs import Json
from tools.gate.words import ratio, tally, verdicts, version
from tools.summary import table, text


def render(known: Json) -> str:
    """The page."""
    parts = (_verdict(known), _told(known), _claims(known["claims"]), _measured(known), _sides(known))
    return "\n".join(line for part in parts for line in part) + "\n"


def _verdict(known: Json) -> Iterator[str]:
    yield f"## {text(known['headline'])}"
    yield ""
    yield f"from **{text(known['baseline']['word'])}** to **{text(known['candidate']['word'])}**  "
    yield f"exit code {known['exit_code']}: {text(known['exit_meaning'])}  "
    yield f"{tally(known)}  "
    yield f"evidence: `gate.html` in the artifact; profile {known['profile']['name']}, seed {known['seed']}"
    yield ""
    for trouble in (*known["troubles"], *known["doubts"]):
        yield f"- trouble: {text(trouble)}"
    for step in known["steps"]:
        if step["left_out"]:
            yield f"- left out: {text(step['title'])}: {text(step['trouble'])}"
    if known["candidate"]["defect"] is not None:
        yield f"- SEEDED DEFECT in the candidate: {text(known['candidate']['defect'])}"
    yield ""


def _told(known: Json) -> Iterator[str]:
    for change, title in ((Change.WORSE, "Worse"), (Change.UNKNOWN, "Unknown"), (Change.BETTER, "Better")):
        claims = [claim for claim in known["claims"] if claim["change"] == change]
        if claims:
            yield f"### {title}"
            yield ""
            for claim in claims:
                yield f"- **{claim['id']}** {text(claim['promise'])}: {text(claim['reason'])}"
            yield ""


def _claims(claims: Iterable[Json]) -> Iterator[str]:
    order = [change.value for change in Change]
    yield "### All claims"
    yield ""
    rows = sorted(claims, key=lambda claim: order.index(claim["change"]))
    yield from table(("claim", "baseline", "candidate", "upgrade", "change", "reason"), map(_row, rows))


def _row(claim: Json) -> tuple[str, ...]:
    upgrade = claim["upgrade"]["verdict"] if claim["upgrade"] is not None else "-"
    change = claim["change"] if claim["change"] == Change.SAME else f"**{claim['change']}**"
    allowed = " (allowed)" if claim["allowed"] else ""
    sides = (verdicts(claim[side]) for side in ("baseline", "candidate"))
    return (text(claim["id"]), *sides, upgrade, change + allowed, text(claim["reason"]))


def _measured(known: Json) -> Iterator[str]:
    if not known["performance"]:
        return
    yield "### Performance, measured in turns"
    yield ""
    rows = [(text(each["name"]), ratio(each), each["change"]) for each in known["performance"]]
    yield from table(("figure", "candidate / baseline (95 % band)", "change"), rows)


def _sides(known: Json) -> Iterator[str]:
    yield "### Both sides"
    yield ""
    yield from table(("", "baseline", "candidate"), versions(known))


def versions(known: Json) -> Iterator[tuple[str, str, str]]:
    """Each component on both sides, then the settings that differ, as text."""
    before, after = ({part["name"]: part for part in known[side]["components"]} for side in ("baseline", "candidate"))
    for name in {**before, **after}:
        yield text(name), text(version(before.get(name))), text(version(after.get(name)))
    for setting in known["settings"]:
        yield text(setting["key"]), text(setting["baseline"]), text(setting["candidate"])
