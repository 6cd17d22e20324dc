"""`python -m tools.defects`: would the suite notice? Seeded defects against the claims meant for them: a kill matrix.

A defect is killed when every claim that is meant for it is violated. First the same claims run without a defect: one
that is violated anyway proves nothing. `--json FILE` keeps what is done after each defect, and a second call with it
goes on from there.

Exit codes: 0 every defect is killed and, where all ran, every claim kills one; 1 otherwise; 2 interrupted; 4 a wrong
argument.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fixtures.claims import Verdict
from fixtures.plugin.conformance import FILE_NAME
from fixtures.plugin.exit_codes import ExitCode
from fixtures.standin.defects import CATALOGUE, Defect, UnknownDefect, parse
from tools import claims as catalogue
from tools.kill_matrix import CLEAN, Matrix, Row, markdown, missing, table

ROOT = Path(__file__).resolve().parents[1]
_TEST_LIMIT_S = 300  # as pytest.ini has it
_START_LIMIT_S = 180
_END_LIMIT_S = 60

Tests = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of pytest: a defect's name, or CLEAN, and the claims to judge it by."""

    defect: str
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs. `tests` are the node ids of each claim's tests; `arguments` go to pytest as they are."""

    tests: Tests
    arguments: Sequence[str] = ()
    program: Sequence[str] = (sys.executable, "-m", "pytest")

    def run(self, job: Job) -> list[Row]:
        """A row for each claim that ran. A run that leaves no report is unknown in all of them."""
        nodes = [test for claim in job.claims for test in self.tests[claim]]
        defect = [] if job.defect == CLEAN else [f"--defect={job.defect}"]
        if defect and len(job.claims) == 1:
            # A claim that is violated stays so: what is left of its tests need not run.
            defect.append("-x")
        else:
            # By function: of the fault grid a sample runs then, as in the main job.
            nodes = list(dict.fromkeys(node.partition("[")[0] for node in nodes))
        with tempfile.TemporaryDirectory(prefix="defect-") as folder:
            report, output = Path(folder) / "report", Path(folder) / "output"
            argv = [*self.program, "-m", "cluster", f"--report={report}", *defect, *self.arguments, *nodes]
            with output.open("w") as said:
                ended = _run(argv, said.fileno(), limit_s=_START_LIMIT_S + _TEST_LIMIT_S * len(nodes))
            found = _read(report / FILE_NAME)
            lines = output.read_text(errors="replace").strip().splitlines()
        why = f"{ended}: {lines[-1] if lines else 'it said nothing'}"
        stamp = {"commit": _commit(), "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")}
        unknown = (Verdict.UNKNOWN.value, f"no report: {why}", 0.0)
        rows = {claim: found.get(claim, unknown) for claim in job.claims} | found
        return [
            Row(defect=job.defect, claim=claim, verdict=verdict, reason=reason, seconds=seconds, **stamp)
            for claim, (verdict, reason, seconds) in rows.items()
        ]


def _run(argv: Sequence[str], output: int, *, limit_s: float) -> str:
    """Run to the end, or until it has taken too long, and say how it ended."""
    # In our process group: Ctrl-C reaches it, too, and it removes what it started.
    process = subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        return f"exit code {process.wait(limit_s)}"
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return f"stopped after {limit_s:.0f} s"


def _read(report: Path) -> dict[str, tuple[str, str, float]]:
    if not report.exists():
        return {}
    document = json.loads(report.read_text(encoding="utf-8"))
    return {
        claim["id"]: (claim["verdict"], claim["reason"], round(claim["duration_s"], 1)) for claim in document["claims"]
    }


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def run_all(
    jobs: Sequence[Job], run: Callable[[Job], list[Row]], matrix: Matrix, say: Callable[[str], None], *, at_once: int
) -> None:
    """Run the jobs, `at_once` at a time; each one's rows are in the matrix when it is over."""
    began_s, lock = time.monotonic(), threading.Lock()
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        running = {pool.submit(run, job): job for job in jobs}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                job, rows = running[future], future.result()
                with lock:
                    matrix.add(rows)
                left_s = (time.monotonic() - began_s) / done * (len(jobs) - done)
                verdicts = ", ".join(f"{row.claim} {row.verdict}" for row in rows if row.claim in job.claims)
                say(f"[{done}/{len(jobs)}] {job.defect}: {verdicts}; about {left_s / 60:.0f} min left")
        finally:
            for future in running:
                future.cancel()


def plan(defects: Sequence[Defect], matrix: Matrix, tests: Tests, options: argparse.Namespace) -> list[Job]:
    """What is still to be run: the claims without a defect first, then each defect."""
    meant = tuple(claim for claim in tests if any(claim in defect.claims for defect in defects))
    jobs = [] if options.only and CLEAN not in options.only else [Job(CLEAN, meant)]
    if options.claims == "all":
        jobs += [Job(defect.name, tuple(tests)) for defect in defects]
    else:
        # Each claim by itself, so that its run can end with the first test that is violated.
        jobs += [Job(defect.name, (claim,)) for defect in defects for claim in defect.claims]
    return [job for job in jobs if options.again or not matrix.has(job.defect, job.claims)]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        defects = [parse(name) for name in options.only if name != CLEAN] if options.only else list(CATALOGUE.values())
        matrix = Matrix(options.json)
    except (UnknownDefect, ValueError) as error:
        print(f"tools.defects: {error}", file=sys.stderr)
        return ExitCode.USAGE
    if options.list:
        for defect in defects:
            print(f"{defect.name:<34} {defect.layer:<9} {' '.join(defect.claims):<10} {defect.breaks}")
        return ExitCode.OK
    tests = {entry.claim.id: entry.tests for entry in catalogue.read()}

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        jobs = [] if options.show else plan(defects, matrix, tests, options)
        say(f"{len(jobs)} runs")
        run_all(jobs, Runner(tests, options.pytest).run, matrix, say, at_once=options.jobs)
    except KeyboardInterrupt:
        say("interrupted" + (f"; go on with --json {options.json}" if options.json else ""))
        return ExitCode.INTERRUPTED
    for line in (markdown if options.markdown else table)(matrix, defects):
        print(line)
    lacking = missing(matrix, defects, tests, whole=not options.only)
    for line in lacking:
        say(f"LACKING: {line}")
    kept = len(defects) - len({line.partition(":")[0] for line in lacking} & {defect.name for defect in defects})
    say(f"{kept} of {len(defects)} defects are killed")
    return ExitCode.VIOLATED if lacking else ExitCode.OK


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, and the code that pytest has for a wrong argument."""
        print(f"tools.defects: {message}", file=sys.stderr)
        raise SystemExit(int(ExitCode.USAGE))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tools.defects", description="Run seeded defects; print the kill matrix.")
    parser.add_argument("--only", type=_names, default=(), metavar="NAME,...", help=f"these defects; {CLEAN}: without")
    parser.add_argument("--claims", choices=("meant", "all"), default="meant", help="which claims judge each defect")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows here, and go on from what it has")
    parser.add_argument("--again", action="store_true", help="run also what the file has already")
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="runs at a time (default 1)")
    parser.add_argument("--markdown", action="store_true", help="print a page instead of lines")
    parser.add_argument("--show", action="store_true", help="run nothing, print what the file has")
    parser.add_argument("--list", action="store_true", help="print the defects and run nothing")
    parser.add_argument("pytest", nargs="*", help="options for pytest, after --")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
