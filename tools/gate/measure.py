"""`python -m tools.gate.measure`: both sides measured in turns, in a process of its own, into performance.json.

A process, so that the gate stops it as it stops a run: Ctrl-C is asked for once, and what it started is shut down.
Exit codes: 0 measured, 2 interrupted, 3 a cluster failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fixtures import topology
from fixtures.errors import HarnessError
from fixtures.plugin.interrupts import Interrupts
from fixtures.plugin.options import DEFAULT_WORK_DIR
from fixtures.services import Programs
from suites.performance.clusters import Place
from suites.performance.paired import SIZES, Paired, compare
from tools.gate.measurements import FILE_NAME


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    place = Place(report=options.report, work_parent=DEFAULT_WORK_DIR, seed=options.seed, say=_say)
    interrupts = Interrupts()
    interrupts.install()
    try:
        paired = compare(
            place,
            topology.find(options.baseline),
            topology.find(options.candidate),
            seed=options.seed,
            profile=options.profile,
            say=_say,
            candidate_programs=Programs(defect=options.defect) if options.defect is not None else None,
        )
    except HarnessError as error:
        _say(str(error).partition("\n")[0])
        return 3
    except KeyboardInterrupt:
        return 2
    finally:
        interrupts.restore()
    text = json.dumps([as_json(each) for each in paired], indent=1)
    (options.report / FILE_NAME).write_text(text + "\n", encoding="utf-8")
    return 0


def as_json(each: Paired) -> dict[str, object]:
    """As measurements.py reads it."""
    return {
        "name": each.name,
        "unit": each.unit,
        "change": each.verdict.value,
        "reason": each.why,
        "pairs": [list(pair) for pair in each.pairs],
        "ratio": each.ratio.value if each.ratio is not None else None,
        "low": each.ratio.low if each.ratio is not None else None,
        "high": each.ratio.high if each.ratio is not None else None,
        "margin": each.margin,
    }


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.gate.measure", description="Measure two clusters in turns.")
    parser.add_argument("--baseline", required=True, metavar="NAME")
    parser.add_argument("--candidate", required=True, metavar="NAME")
    parser.add_argument("--seed", required=True, type=int, metavar="N")
    parser.add_argument("--profile", required=True, choices=tuple(SIZES))
    parser.add_argument("--report", required=True, type=Path, metavar="DIR")
    parser.add_argument("--defect", metavar="NAME", help="a seeded defect, in the candidate alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
