"""`python -m tools.gate --baseline A --candidate B`: is this upgrade safe?

Runs the claims on both clusters, what is not settled again, the upgrade itself, and measurements in turns; says of each
claim whether it is better, same, worse or unknown. docs/gate.md is the page for operators.

Exit codes: 0 nothing worse; 1 worse; 2 unknown, or interrupted; 3 infrastructure; 4 usage.
"""

from __future__ import annotations

import argparse
import datetime
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from fixtures import pairs, topology
from fixtures.errors import UsageError
from fixtures.plugin.interrupts import Interrupts
from fixtures.plugin.options import MAX_SEED, RUNTIMES, writable
from fixtures.runtimes.base import new_run_id
from fixtures.standin.defects import UnknownDefect, parse
from tools import claims as catalogue
from tools.gate import document, outputs, profiles
from tools.gate.children import ROOT, Children
from tools.gate.exit_codes import GateCode
from tools.gate.profiles import PROFILES
from tools.gate.results import Results
from tools.gate.runs import PYTEST, Pytest, Side
from tools.gate.sequence import MEASURE, Gate

RUNNABLE = tuple(runtime for runtime in RUNTIMES if runtime != "external")
"""A cluster that runs already has no topology that could be started in its place."""

Tests = Mapping[str, Sequence[str]]


def main(
    arguments: Sequence[str] | None = None,
    *,
    program: Sequence[str] = PYTEST,
    measure: Sequence[str] = MEASURE,
    tests: Tests | None = None,
) -> int:
    """The exit code. `program`, `measure` and `tests` stand in for the real ones in tests."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    try:
        results = _plan(options, words)
        known = tests if tests is not None else _catalogue()
        chosen = results.profile.choose(known, options.claims)
        report = writable("--report", options.report.resolve())
        return _run(results, report, {claim: known[claim] for claim in chosen}, options, program, measure)
    except UsageError as error:
        print(f"tools.gate: {error}", file=sys.stderr)
        return GateCode.USAGE
    except KeyboardInterrupt:
        print("tools.gate: interrupted before anything was started", file=sys.stderr)
        return GateCode.UNKNOWN


def _run(
    results: Results,
    report: Path,
    tests: Tests,
    options: argparse.Namespace,
    program: Sequence[str],
    measure: Sequence[str],
) -> int:
    interrupts = Interrupts()
    children = Children(say=_say, interrupts=interrupts)
    arguments = (f"--runtime={options.runtime}", *options.pytest)
    gate = Gate(
        results=results,
        pytest=Pytest(children=children, report=report, arguments=arguments, program=program),
        children=children,
        report=report,
        tests=tests,
        say=_say,
        kept=lambda: document.save(results, report),
        measure=measure,
    )
    interrupts.install()
    try:
        gate.run()
    except KeyboardInterrupt:
        results.interrupted = True
    finally:
        interrupts.restore()
    results.ended = datetime.datetime.now(datetime.timezone.utc)
    outputs.write(results, report, _say)
    for line in outputs.screen(results, report):
        print(line)
    return results.code()


def _plan(options: argparse.Namespace, words: Sequence[str]) -> Results:
    """What is to be done, all of it checked. Raises UsageError."""
    if options.pair is not None:
        if options.baseline or options.candidate:
            raise UsageError(f"--pair={options.pair}: says both sides, so without --baseline and --candidate")
        options.baseline, options.candidate = pairs.find(options.pair)
    if not (options.baseline and options.candidate):
        raise UsageError("give --baseline=NAME and --candidate=NAME, or --pair=NAME")
    baseline = Side(name="baseline", word=options.baseline, topology=topology.find(options.baseline))
    try:
        seeded = (f"--defect={parse(options.defect).name}",) if options.defect is not None else ()
    except UnknownDefect as error:
        raise UsageError(f"--defect={options.defect}: {error}") from error
    candidate = Side(
        name="candidate", word=options.candidate, topology=topology.find(options.candidate), arguments=seeded
    )
    pairs.refuse(baseline.topology, candidate.topology)
    return Results(
        gate_id=new_run_id(),
        baseline=baseline,
        candidate=candidate,
        profile=PROFILES[options.profile],
        # 32 bits are enough to choose by chance, and short enough to read out.
        seed=secrets.randbits(32) if options.seed is None else options.seed,
        runtime=options.runtime,
        defect=options.defect,
        command=("python", "-m", "tools.gate", *words),
        started=datetime.datetime.now(datetime.timezone.utc),
        only=options.claims,
        without=profiles.without(options.without),
    )


def _catalogue() -> Tests:
    """The tests of each claim, by function: of the fault grid a sample runs then, as in the main job.

    Without those about the upgrade itself, which is a step of its own.
    """
    return {
        entry.claim.id: tuple(dict.fromkeys(test.partition("[")[0] for test in entry.tests))
        for entry in catalogue.read()
        if not entry.claim.id.startswith("U-")
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, and the gate's code for a wrong argument."""
        self.exit(GateCode.USAGE, f"tools.gate: {' '.join(message.split())}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tools.gate", description="Is this upgrade safe? Exit code 0: nothing is worse.")
    known = ", ".join(topology.names())
    parser.add_argument("--baseline", metavar="NAME", help=f"what runs now: {known}, or FILE.toml")
    parser.add_argument("--candidate", metavar="NAME", help="what shall run: likewise")
    parser.add_argument("--pair", metavar="NAME", help=f"both at once: {', '.join(pairs.names())}")
    says = "; ".join(f"{profile.name}: {profile.says.partition('. ')[0]}" for profile in PROFILES.values())
    parser.add_argument("--profile", choices=tuple(PROFILES), default="standard", help=f"{says} (default standard)")
    parser.add_argument("--claims", type=_words, default=(), metavar="ID,...", help="these claims instead")
    parser.add_argument("--without", type=_words, default=(), metavar="PART,...", help="leave out upgrade, performance")
    parser.add_argument("--report", type=Path, default=_default_report(), metavar="DIR", help="where the evidence goes")
    parser.add_argument("--seed", type=_seed, metavar="N", help="of all random choices (default: a new one)")
    parser.add_argument("--runtime", choices=RUNNABLE, default="auto", help="as of pytest -m cluster (default auto)")
    parser.add_argument("--defect", metavar="NAME", help="seed a defect in the candidate: would the gate notice?")
    parser.add_argument("pytest", nargs="*", help="options for pytest, after --")
    return parser


def _default_report() -> Path:
    now = datetime.datetime.now(datetime.timezone.utc)
    return ROOT / "reports" / f"gate-{now:%Y%m%dT%H%M%SZ}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 0 to {MAX_SEED}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
