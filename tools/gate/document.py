"""gate.json: everything a gate knows, for machines (docs/gate.schema.json). All other reports are made from it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from fixtures.plugin.conformance import plain
from tools.gate.compare import Change, Seen
from tools.gate.exit_codes import GateCode
from tools.gate.profiles import PARTS
from tools.gate.results import Measured, Results, Row, Step, differences
from tools.gate.runs import Json, Run, Side

SCHEMA_VERSION = 1
FILE_NAME = "gate.json"


def save(results: Results, report: Path) -> Path:
    """Write what is known so far, replacing the former at once: a killed gate leaves a whole file."""
    path = report / FILE_NAME
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    text = json.dumps(document(results), indent=1, ensure_ascii=False, allow_nan=False)
    # A lone surrogate, from a path or a message, cannot be written as UTF-8.
    fresh.write_bytes(text.encode("utf-8", "replace") + b"\n")
    fresh.replace(path)
    return path


def document(results: Results) -> dict[str, Any]:
    """The gate as plain values. Times are UTC (ISO 8601), durations seconds."""
    rows, code = results.rows(), results.code()
    finished = results.ended is not None
    return {
        "schema_version": SCHEMA_VERSION,
        "gate_id": results.gate_id,
        "verdict": verdict(rows, results.measured, code).value if finished else Change.UNKNOWN.value,
        "exit_code": int(code) if finished else None,
        "exit_meaning": code.meaning if finished else "the gate has not ended, or was killed",
        "headline": headline(rows, results, code) if finished else "Not finished",
        "counts": {change.value: count for change, count in _counted(rows).items()},
        "interrupted": results.interrupted,
        "started": results.started.isoformat(timespec="milliseconds"),
        "ended": results.ended.isoformat(timespec="milliseconds") if results.ended is not None else None,
        "command": list(results.command),
        "seed": results.seed,
        "runtime": results.ran_on,
        "profile": {"name": results.profile.name, "says": results.profile.says},
        "only": list(results.only),
        "left_out": [part for part in PARTS if part in results.without],
        "baseline": _side(results, results.baseline, None),
        "candidate": _side(results, results.candidate, results.defect),
        "settings": [
            {"key": key, "baseline": before, "candidate": after}
            for key, before, after in differences(results.baseline.topology, results.candidate.topology)
        ],
        "claims": [_row(row) for row in rows],
        "performance": [_measured(each) for each in results.measured],
        "steps": [_step(step) for step in results.steps],
        "troubles": results.troubles,
        "doubts": results.doubts,
    }


def verdict(rows: list[Row], measured: list[Measured], code: GateCode) -> Change:
    """The whole in one word: `better` only where something is better and nothing worse or unknown."""
    if code is GateCode.WORSE:
        return Change.WORSE
    if code is not GateCode.NOTHING_WORSE:
        return Change.UNKNOWN
    changes = {row.change for row in rows} | {each.change for each in measured}
    return Change.BETTER if Change.BETTER in changes else Change.SAME


def headline(rows: list[Row], results: Results, code: GateCode) -> str:
    """What it came to, in a few words for people."""
    if code is GateCode.WORSE:
        worse = [row.id for row in rows if row.change is Change.WORSE and row.decides]
        worse += [each.name for each in results.measured if each.change is Change.WORSE]
        return f"Worse: {', '.join(worse)}"
    if code is GateCode.INFRASTRUCTURE:
        return "Infrastructure: not everything could be run, the candidate is neither blamed nor cleared"
    if code is GateCode.UNKNOWN:
        return "Interrupted: not everything was judged" if results.interrupted else "Unknown: not everything was judged"
    better = [row.id for row in rows if row.change is Change.BETTER]
    return f"Nothing is worse, better: {', '.join(better)}" if better else "Nothing is worse"


def _counted(rows: list[Row]) -> Counter[Change]:
    return Counter(row.change for row in rows)


def _side(results: Results, side: Side, defect: str | None) -> dict[str, Any]:
    run = next(iter(results.runs.get(side.name, ())), None)
    known: Json = (run.document if run is not None else None) or {}
    return {
        "word": side.word,
        "name": side.topology.name,
        "topology": plain(side.topology),
        "judged_on": known.get("judged_on"),
        "components": known.get("components", []),
        "defect": defect,
        "folder": _folder(run),
    }


def _folder(run: Run | None) -> str | None:
    return run.folder if run is not None and run.document is not None else None


def _row(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "promise": row.promise,
        "change": row.change.value,
        "reason": row.comparison.reason,
        "allowed": row.comparison.allowed,
        "settled": row.comparison.settled,
        "by_chance": row.by_chance or None,
        "baseline": [_seen(seen) for seen in row.baseline],
        "candidate": [_seen(seen) for seen in row.candidate],
        "upgrade": _seen(row.upgrade) if row.upgrade is not None else None,
        "notes": list(row.notes),
    }


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "run": seen.run,
        "verdict": seen.verdict.value,
        "expected": seen.expected.value,
        "reason": seen.reason,
        "cause": seen.cause.value,
        "allowed": seen.allowed,
        "duration_s": seen.duration_s,
    }


def _measured(each: Measured) -> dict[str, Any]:
    return {**dataclasses.asdict(each), "change": each.change.value, "pairs": [list(pair) for pair in each.pairs]}


def _step(step: Step) -> dict[str, Any]:
    return {**dataclasses.asdict(step), "command": list(step.command)}
