"""`python -m tools.check HISTORY.jsonl`: judges a stored history again, with all checkers, per collection and node.

It knows no version of Milvus: what a claim documents as a deviation is broken here all the same.

Exit codes: 0 nothing is broken, 1 something is, 4 a wrong option or a file that is no history, 6 nothing could be
judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from fixtures.claims import Verdict, worst
from fixtures.clients.reply import REFUSALS
from fixtures.history import Stored, read
from fixtures.plugin.exit_codes import ExitCode
from suites.checks.elements import Level
from suites.checks.judge import Judgement, Rules, judge_history

_STEP_BYTES = 32 * 1024 * 1024
"""How much is read between two signs of life."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not negative, not {text!r}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tools.check", description="Judges a stored history with all checkers.")
    parser.add_argument("history", type=Path, metavar="HISTORY", help="a history-*.jsonl of a report folder")
    parser.add_argument(
        "--level",
        choices=[level.value for level in Level],
        default=Level.FLUSHED.value,
        help="a row counts as acknowledged when a flush after its insert succeeded (flushed, the default) or when its "
        "insert did (called; needs --bound)",
    )
    parser.add_argument(
        "--bound",
        type=_seconds,
        metavar="SECONDS",
        help="how long an acknowledged row may stay unread (default: staleness is told, not judged)",
    )
    parser.add_argument(
        "--recovery",
        type=_seconds,
        metavar="SECONDS",
        help="how soon after a fault every node must be well again (default: at some time)",
    )
    parser.add_argument(
        "--acknowledged-by",
        action="append",
        metavar="NODE",
        help="only what this node acknowledges is a promise; may be given again (default: all of them)",
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of text")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the history that the arguments name; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        rules = Rules(
            level=Level(options.level),
            bound_s=options.bound,
            recovery_s=options.recovery,
            acknowledged_by=options.acknowledged_by,
            refusals=REFUSALS,
        )
    except ValueError as error:
        parser.error(f"--level={options.level}: {error}; add --bound=SECONDS")
    stored = _read(options.history, parser.error)
    nodes = {operation.node for operation in stored.operations}
    for name in options.acknowledged_by or ():
        if name not in nodes:
            parser.error(f"--acknowledged-by={name}: no such node in {options.history}; it has {_listed(nodes)}")
    judgements = list(judge_history(stored.operations, stored.windows, rules, _say))
    code = exit_code(judgements)
    print(as_json(judgements, code) if options.json else as_text(judgements, stored, code))
    return code


def exit_code(judgements: Sequence[Judgement]) -> ExitCode:
    """Broken wins over all; unknown only where nothing else was said."""
    verdicts = {judgement.verdict for judgement in judgements}
    if Verdict.VIOLATED in verdicts:
        return ExitCode.VIOLATED
    return ExitCode.OK if Verdict.HOLDS in verdicts else ExitCode.UNKNOWN


def as_text(judgements: Sequence[Judgement], stored: Stored, code: ExitCode) -> str:
    """A line for each judgement under its collection, what is broken below it, and the sum of it."""
    lines = [f"{len(stored.operations)} operations, {len(stored.windows)} faults"]
    collection = None
    width = max((len(judgement.node) for judgement in judgements), default=0)
    for judgement in judgements:
        if judgement.collection != collection:
            collection = judgement.collection
            lines += ["", collection or "all collections"]
        verdict = "BROKEN" if judgement.verdict is Verdict.VIOLATED else judgement.verdict.value
        lines.append(f"  {judgement.node or '-':<{width}} {judgement.checker:<17} {verdict:<8} {judgement.says}")
        lines += [f"  {'':<{width}} {'':<17} {'':<8} ! {finding.message}" for finding in judgement.findings]
    broken = sum(judgement.verdict is Verdict.VIOLATED for judgement in judgements)
    lines += ["", f"{len(judgements)} judgements, {broken} broken; exit code {code.value}: {_MEANINGS[code]}"]
    return "\n".join(lines)


def as_json(judgements: Sequence[Judgement], code: ExitCode) -> str:
    """The same for programs; `verdict` is the worst of them."""
    document = {
        "exit_code": code.value,
        "verdict": worst(judgement.verdict for judgement in judgements).value,
        "judgements": [
            {
                "checker": judgement.checker,
                "collection": judgement.collection,
                "node": judgement.node,
                "verdict": judgement.verdict.value,
                "says": judgement.says,
                "findings": [{"message": each.message, **each.facts} for each in judgement.findings],
                "facts": dict(judgement.facts),
            }
            for judgement in judgements
        ],
    }
    return json.dumps(document, indent=2)


_MEANINGS = {
    ExitCode.OK: "nothing is broken",
    ExitCode.VIOLATED: "something is broken",
    ExitCode.UNKNOWN: "nothing could be judged",
}


def _read(path: Path, refuse: Callable[[str], NoReturn]) -> Stored:
    reached = 0

    def progress(bytes_read: int) -> None:
        nonlocal reached
        if bytes_read // _STEP_BYTES > reached:
            reached = bytes_read // _STEP_BYTES
            _say(f"{bytes_read // 2**20} MiB read")

    try:
        return read(path, progress)
    except OSError as error:
        refuse(f"{path}: {error.strerror}; give a history-*.jsonl of a report folder")
    except ValueError as error:
        refuse(f"{path}: {error}; give a history-*.jsonl of a report folder")


def _say(text: str) -> None:
    """A sign of life for whoever watches; nothing where the output goes to a file."""
    if sys.stderr.isatty():
        print(f"... {text}", file=sys.stderr)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


if __name__ == "__main__":
    sys.exit(main())
