"""How fast the harness itself is: bring-up, shutdown, the stand-in, the checkers. It measures and judges nothing.

What the article says of the cluster is judged by `python -m suites.performance.claims`, which `make bench` runs.

python -m suites.performance.bench [--full] [--runs N] [--only PART] [--milvus PATH] [--json FILE] [--markdown]

The table goes to stdout, progress to stderr. The exit code is 0 whatever the figures are, and one of
fixtures/plugin/exit_codes.py if the harness failed: 4 for a wrong option, 7 where a cluster did not start or left
something behind, 2 after Ctrl-C; what was measured until then is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.errors import HarnessError, UsageError
from fixtures.plugin import programs as given_programs
from fixtures.plugin.exit_codes import ExitCode
from fixtures.services import Programs
from suites.performance import machine
from suites.performance.bench_checks import measure_checkers
from suites.performance.bring_up import Part, measure_bring_up
from suites.performance.clusters import Lifetime, Place
from suites.performance.commandline import add_options, count, place, require_parent
from suites.performance.figures import Figure, beside
from suites.performance.output import Results, as_json, as_text
from suites.performance.stand_in import Measured, measure_first_searches, measure_insert, measure_searches

PARTS = ("bring-up", "insert", "first-search", "search", "checkers")
_LONG = ("first-search", "search")


@dataclass(slots=True)
class _Bench:
    """What has been measured so far, so that it can be printed if a later part fails."""

    options: argparse.Namespace
    place: Place
    figures: list[Figure] = field(default_factory=list)
    split: tuple[Part, ...] = ()
    lifetimes: list[Lifetime] = field(default_factory=list)

    def run(self) -> None:
        """Measure each part that was asked for. Raises HarnessError."""
        for part in parts_to_run(self.options.only, full=self.options.full):
            self.place.say(f"{part} ...")
            if part == "bring-up":
                brought_up = measure_bring_up(self.place, self.options.runs, self.options.serial_runs)
                self.split = brought_up.split
                self._add(brought_up.figures, brought_up.lifetimes)
            elif part == "checkers":
                self._add(measure_checkers(self.options.repeats, self.place.say), ())
            else:
                self._measure_milvus(part)
        # Told at the end, since the figures of the other parts are good all the same.
        if left := [item for lifetime in self.lifetimes for item in lifetime.left]:
            raise HarnessError(f"a cluster did not end cleanly: {', '.join(left)}")

    def _measure_milvus(self, part: str) -> None:
        """The stand-in, and where a native server is given, that one as well: its figures stand beside then."""
        measured = self._measured(part, self.place)
        figures = measured.figures
        if self.options.milvus is not None:
            programs = Programs(milvus_writer=self.options.milvus, milvus_reader=self.options.milvus)
            self.place.say(f"{part}, native Milvus ...")
            beside_it = dataclasses.replace(self.place, report=self.place.report / "native", programs=programs)
            native = self._measured(part, beside_it)
            figures = beside(figures, native.figures, "native Milvus")
            self._add((), (native.lifetime,))
        self._add(figures, (measured.lifetime,))

    def _measured(self, part: str, place: Place) -> Measured:
        if part == "insert":
            return measure_insert(place, self.options.inserts)
        if part == "first-search":
            return measure_first_searches(place, self.options.inserts)
        return measure_searches(place, self.options.searches)

    def _add(self, figures: Sequence[Figure], lifetimes: Sequence[Lifetime]) -> None:
        self.figures.extend(figures)
        self.lifetimes.extend(lifetimes)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the exit code."""
    options = parse(arguments)
    began_s = time.monotonic()
    bench = _Bench(options, place(options, began_s))
    failed, code, before = "", ExitCode.OK, machine.usage()
    try:
        require_parent(options.json)
        if options.milvus is not None:
            bench.place.say(f"beside the stand-in: Milvus {given_programs.milvus_version(options.milvus)}")
        bench.run()
    except UsageError as error:
        failed, code = str(error), ExitCode.USAGE
    except HarnessError as error:
        failed, code = str(error), ExitCode.INFRASTRUCTURE
    except KeyboardInterrupt:
        failed, code = "interrupted", ExitCode.INTERRUPTED
    if bench.figures:
        results = _results(bench, before, time.monotonic() - began_s, failed)
        print(as_text(results, markdown=options.markdown), flush=True)
        if options.json is not None:
            options.json.write_text(as_json(results), encoding="utf-8")
    if failed:
        print(f"bench: {failed}", file=sys.stderr)
    return int(code)


def parts_to_run(only: Sequence[str] | None, *, full: bool) -> list[str]:
    """The parts in their order: those named, else all, of which the long ones only when asked for."""
    if only:
        return [part for part in PARTS if part in only]
    return [part for part in PARTS if full or part not in _LONG]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. Ends the program, as argparse does, with a message for a wrong one."""
    parser = argparse.ArgumentParser(prog="suites.performance.bench", description="Measures; judges nothing.")
    parser.add_argument("--runs", type=count, default=5, help="clusters brought up side by side (default 5)")
    parser.add_argument("--serial-runs", type=count, default=3, help="and one step after the other (default 3)")
    parser.add_argument("--inserts", type=count, default=5, help="inserts of 100k x 128 (default 5)")
    parser.add_argument("--searches", type=count, default=10, help="warm searches of each kind (default 10)")
    parser.add_argument("--repeats", type=count, default=3, help="runs of each checker (default 3)")
    parser.add_argument("--full", action="store_true", help="searches of 1M x 128 as well, FLAT and IVF_FLAT")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be given again")
    parser.add_argument("--milvus", type=Path, metavar="PATH", help="a native milvus_server to measure in the same run")
    add_options(parser)
    return parser.parse_args(arguments)


def _results(bench: _Bench, before: machine.Usage, took_s: float, failed: str) -> Results:
    parts = bench.lifetimes[0].parts if bench.lifetimes else ()
    host = machine.describe(parts)
    after = machine.usage()
    storage = sorted({lifetime.storage for lifetime in bench.lifetimes})
    return Results(
        figures=tuple(bench.figures),
        split=bench.split,
        machine=host,
        storage=tuple(storage),
        before=before,
        after=after,
        took_s=took_s,
        failed=failed,
    )


if __name__ == "__main__":
    # Whoever asks it to end gets the clean-up of a Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
