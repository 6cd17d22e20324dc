"""The docker runtime against Docker Compose: bring-up of the same cluster on the same images. It judges nothing.

python -m suites.performance.compose [--runs N] [--compose PATH] [--interval 1s] [--object-store ...] [--markdown]

Both kinds take turns, each from nothing but the images, which are the local ones. The docker runtime is timed to the
first search that it answers, Compose only to the end of `up --wait`: a search follows, but is not counted.

The exit code is as that of suites.performance.bench: 0 whatever the figures are, 4 for a wrong option or where there is
no Docker or no Compose, 7 where a cluster did not start or left something behind, 2 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures import images
from fixtures.errors import HarnessError, UsageError
from fixtures.plugin.exit_codes import ExitCode
from fixtures.runtimes import Folders, Runtime, new_run_id
from fixtures.runtimes.containers import Docker, daemon
from fixtures.topology import CHOICES, Images, Topology
from suites.performance import machine
from suites.performance.clusters import Lifetime, Place, run_cluster
from suites.performance.compose_up import Up, find_compose, project, version
from suites.performance.figures import HEAD, Figure, markdown_table, rows, text_table

PROJECT = Path(__file__).resolve().parents[2]
SPLIT_HEAD = ("part", "docker runtime: began", "ready", "docker compose: began", "ready")


@dataclass(slots=True)
class Results:
    """What has been measured so far: as many of one kind as of the other, or one more."""

    ours: list[Lifetime] = field(default_factory=list)
    theirs: list[Up] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        ours_s, theirs_s = [each.first_search_s for each in self.ours], [each.took_s for each in self.theirs]
        ratios = [mine / other for mine, other in zip(ours_s, theirs_s, strict=False)]
        found = (("docker_bring_up", ours_s), ("compose_up", theirs_s), ("docker_ratio", ratios))
        return [Figure.of(key, values) for key, values in found if values]

    def split(self) -> list[tuple[str, ...]]:
        """The medians of each part, by both. Seconds from nothing."""
        ours = {
            phase.name: (
                statistics.median(each.prepared_s + _phase(each, phase.name)[0] for each in self.ours),
                statistics.median(each.prepared_s + _phase(each, phase.name)[1] for each in self.ours),
            )
            for phase in (self.ours[0].phases if self.ours else ())
        }
        theirs = {
            name: (_median(self.theirs, name, lambda up: up.began_s), _median(self.theirs, name, lambda up: up.ready_s))
            for name in (self.theirs[0].began_s if self.theirs else ())
        }
        names = sorted(ours, key=lambda name: ours[name])
        blank = (None, None)
        lines = [(name, ours[name], theirs.get(name.replace(" ", "-"), blank)) for name in names]
        return [(name, *map(_seconds, mine), *map(_seconds, other)) for name, mine, other in lines]


def _phase(lifetime: Lifetime, name: str) -> tuple[float, float]:
    return next((phase.started_s, phase.ready_s) for phase in lifetime.phases if phase.name == name)


def _median(ups: Sequence[Up], name: str, times: Callable[[Up], Mapping[str, float]]) -> float | None:
    values = [times(up)[name] for up in ups if name in times(up)]
    return statistics.median(values) if values else None


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def measure(results: Results, place: Place, topology: Topology, words: list[str], options: argparse.Namespace) -> None:
    """Add `options.runs` of each kind to the results, in turns. Raises HarnessError."""

    def opened(folders: Folders) -> Runtime:
        return Docker(folders, images.choose(topology), reason="the benchmark")

    for number in range(1, options.runs + 1):
        lifetime = run_cluster(place, f"docker-{number}", topology=topology, opened=opened)
        results.ours.append(lifetime)
        place.say(f"docker runtime: first search after {lifetime.first_search_s:.2f} s; load {os.getloadavg()[0]:.2f}")
        if lifetime.left:
            raise HarnessError(f"a cluster did not end cleanly: {', '.join(lifetime.left)}")
        with project(words, topology, place.work_parent, new_run_id(), options.interval) as made:
            up = made.up()
            results.theirs.append(up)
            made.search(place.seed)
        place.say(f"docker compose: up --wait took {up.took_s:.2f} s; load {os.getloadavg()[0]:.2f}")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the exit code."""
    options = parse(arguments)
    began_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {line}", file=sys.stderr, flush=True)

    results, failed, code, before, compose = Results(), "", ExitCode.OK, machine.usage(), ""
    try:
        words = find_compose(options.compose)
        compose = version(words)
        topology = _topology(options)
        _ensure_images(topology, say)
        started = datetime.datetime.now(datetime.timezone.utc)
        report = options.report or PROJECT / "reports" / f"{started:%Y%m%dT%H%M%SZ}_compose_{new_run_id()}"
        place = Place(report=report, work_parent=options.work_dir, seed=1, say=say)
        measure(results, place, topology, words, options)
    except UsageError as error:
        failed, code = str(error), ExitCode.USAGE
    except HarnessError as error:
        failed, code = str(error), ExitCode.INFRASTRUCTURE
    except KeyboardInterrupt:
        failed, code = "interrupted", ExitCode.INTERRUPTED
    if results.theirs:
        print(as_text(results, before, f"Docker Compose {compose}, health asked every {options.interval}", options))
    if failed:
        print(f"compose: {failed}", file=sys.stderr)
    return int(code)


def as_text(results: Results, before: machine.Usage, compose: str, options: argparse.Namespace) -> str:
    """The figures, the split, the machine and how busy it was."""
    table = markdown_table if options.markdown else text_table
    host = machine.describe((*results.ours[0].parts, compose))
    medians = {figure.measure.key: figure.median for figure in results.figures()}
    factor = medians["compose_up"] / medians["docker_bring_up"]
    lines = [
        f"The docker runtime is {factor:.2f} times as fast as docker compose (medians; its search included).",
        f"machine: {host}",
        *machine.noise(before, machine.usage(), host.cores),
    ]
    split = table(SPLIT_HEAD, results.split())
    return "\n\n".join(
        [table(HEAD, rows(results.figures())), f"Seconds from nothing, medians:\n\n{split}", "\n".join(lines)]
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. Ends the program, as argparse does, with a message for a wrong one."""
    parser = argparse.ArgumentParser(prog="suites.performance.compose", description="Measures; judges nothing.")
    parser.add_argument("--runs", type=int, choices=range(1, 21), default=3, metavar="N", help="of each (default 3)")
    parser.add_argument("--compose", type=Path, metavar="PATH", help="Docker Compose v2, if it is no plugin of docker")
    parser.add_argument("--interval", default="1s", help="between health checks of Compose (default 1s)")
    parser.add_argument("--object-store", choices=CHOICES["object_store"], default="auto")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="logs go there (default reports/<time>_compose_<id>)"
    )
    parser.add_argument(
        "--work-dir", type=Path, default=Path("/var/tmp"), metavar="DIR", help="data (default /var/tmp)"
    )
    return parser.parse_args(arguments)


def _topology(options: argparse.Namespace) -> Topology:
    topology = Topology(images=Images(source="local"), object_store=options.object_store)
    return dataclasses.replace(topology, object_store=images.object_store(topology))


def _ensure_images(topology: Topology, say: Callable[[str], None]) -> None:
    client = daemon.connect().client
    with contextlib.closing(client):
        wanted = [image.component for key, image in images.choose(topology).items() if key != images.GPU]
        images.ensure(client, wanted, say)


if __name__ == "__main__":
    # Whoever asks it to end gets the clean-up of a Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
