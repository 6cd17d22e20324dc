"""What the article says of the cluster, measured and judged: the benchmark that `make bench` runs.

python -m suites.performance.claims [--profile quick|full] [--only PART] [--limit-s N] [--compare-dir PATH]
                                        [--json FILE] [--markdown] [options of pytest -m cluster]

On embedded clusters of its own, unless another --runtime is named; with --runtime=external P-1 alone, and of that what
can be asked from outside.

The verdicts go to stdout, progress to stderr, and everything as JSON and as a page with plots to the report folder,
part by part, so that what a part measured is there if a later one fails. `quick` takes up to 10 minutes, `full` up to
an hour. The exit code is 0 whatever the verdicts are, and one of fixtures/plugin/exit_codes.py if the harness failed:
4 for a wrong option, 7 where a cluster did not start or left something behind, 2 after Ctrl-C.

A part is a module with `measure(place, profile, say) -> Measured` (verdicts.py) and one line below.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from fixtures.errors import HarnessError, UsageError
from fixtures.plugin.exit_codes import ExitCode
from suites.performance import claims_output, machine
from suites.performance.clusters import Place
from suites.performance.commandline import (
    add_cluster_options,
    add_options,
    chosen_cluster,
    compared,
    count,
    launcher_of,
    place,
    require_parent,
)
from suites.performance.verdicts import Measured, MeasureFunction, Profile


@dataclass(frozen=True, slots=True)
class Part:
    """A part by the name it has on the command line, and the most it may take in each profile.

    One that judges no claim of the article has no place in the quick profile, unless it is named with --only.
    `runtimes` are those that it can measure: most start clusters, and some run programs of this host beside them.
    """

    name: str
    module: str
    quick_s: float
    full_s: float
    in_quick: bool = True
    runtimes: tuple[str, ...] = ("embedded", "docker")


PARTS: tuple[Part, ...] = (
    # name, module with `measure`, the most it may take in the quick profile and in the full one (s)
    Part("P-1", "suites.performance.article.first_query", 180, 400, runtimes=("embedded", "docker", "external")),
    Part("NAS", "suites.performance.nas.part", 180, 900, runtimes=("embedded",)),
    Part("compression", "suites.performance.nas.compression", 60, 300),
    Part("tuning", "suites.performance.article.tuning", 400, 900, in_quick=False),
    Part("scaling", "suites.performance.article.scaling", 240, 1000, in_quick=False),
)


@dataclass(slots=True)
class Run:
    """What has been measured so far, by part, and what went wrong."""

    measured: dict[str, Measured]
    failed: list[str]
    code: ExitCode = ExitCode.OK


def main(arguments: Sequence[str], parts: Sequence[Part] = PARTS) -> int:
    """Run the parts that were asked for; the exit code."""
    options = parse(arguments, parts)
    began_s, before, run = time.monotonic(), machine.usage(), Run({}, [])
    where = place(options, began_s)
    try:
        require_parent(options.json)
        cluster = chosen_cluster(options)
        where = dataclasses.replace(
            where,
            compare=compared(options.compare_dir),
            topology=cluster.topology,
            runtime=cluster.runtime,
            launcher=launcher_of(cluster),
        )
        _measure(run, where, options, parts)
    except UsageError as error:
        run.failed.append(str(error))
        run.code = ExitCode.USAGE
    except KeyboardInterrupt:
        run.failed.append("interrupted")
        run.code = ExitCode.INTERRUPTED
    if run.measured:
        results = claims_output.Results(
            measured=run.measured,
            profile=options.profile,
            seed=options.seed,
            before=before,
            after=machine.usage(),
            took_s=time.monotonic() - began_s,
            runtime=where.runtime,
            failed=tuple(run.failed),
        )
        print(claims_output.as_text(results, markdown=options.markdown), flush=True)
        page = where.report / "article.html"
        page.write_text(claims_output.as_page(results), encoding="utf-8")
        where.say(f"plots: {page}")
        if options.json is not None:
            options.json.write_text(claims_output.as_json(results), encoding="utf-8")
    for reason in run.failed:
        print(f"bench: {reason}", file=sys.stderr)
    return int(run.code)


def _measure(run: Run, where: Place, options: argparse.Namespace, parts: Sequence[Part]) -> None:
    """Each part in its share of the time. One that fails does not keep the others from being measured."""
    named, full = options.only or (), options.profile == "full"
    wanted = [part for part in parts if part.name in named or (not named and (full or part.in_quick))]
    for part in [part for part in wanted if where.runtime not in part.runtimes]:
        others = f"not with --runtime={where.runtime}, but {', '.join(part.runtimes)}"
        if part.name in named:
            raise UsageError(f"--only {part.name}: {others}")
        where.say(f"{part.name} is left out: {others}")
        wanted.remove(part)
    limits_s = {part.name: part.full_s if full else part.quick_s for part in wanted}
    # A shorter time in all is shared in the same proportions.
    share = min(1.0, options.limit_s / sum(limits_s.values())) if options.limit_s else 1.0
    for part in wanted:
        profile = Profile(name=options.profile, limit_s=share * limits_s[part.name])
        where.say(f"{part.name}, {profile.name}, at most {profile.limit_s:.0f} s ...")
        measure = cast(MeasureFunction, importlib.import_module(part.module).measure)
        own = dataclasses.replace(where, report=where.report / part.name)
        own.report.mkdir(parents=True, exist_ok=True)
        try:
            measured = measure(own, profile, where.say)
        except UsageError:
            raise
        except HarnessError as error:
            run.failed.append(f"{part.name}: {error}")
            run.code = ExitCode.INFRASTRUCTURE
            continue
        run.measured[part.name] = measured
        (own.report / "values.json").write_text(json.dumps(measured.values, indent=1) + "\n", encoding="utf-8")
        if left := [item for lifetime in measured.lifetimes for item in lifetime.left]:
            run.failed.append(f"{part.name}: a cluster did not end cleanly: {', '.join(left)}")
            run.code = ExitCode.INFRASTRUCTURE


def parse(arguments: Sequence[str], parts: Sequence[Part] = PARTS) -> argparse.Namespace:
    """The options. Ends the program, as argparse does, with a message for a wrong one."""
    parser = argparse.ArgumentParser(prog="suites.performance.claims", description="Judges the article's figures.")
    parser.add_argument("--profile", choices=("quick", "full"), default="quick", help="(default quick)")
    parser.add_argument(
        "--only", action="append", choices=[part.name for part in parts], help="only this part; may be given again"
    )
    parser.add_argument("--limit-s", type=count, metavar="N", help="the most that all parts together may take")
    parser.add_argument(
        "--compare-dir",
        metavar="PATH[,OTHER]",
        help="a folder of a NAS to compare JuiceFS with, or two mounts of the same one",
    )
    add_options(parser)
    add_cluster_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # Whoever asks it to end gets the clean-up of a Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
