"""What the commands of this folder have in common: where they run, and how they tell a wrong option."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.errors import UsageError
from fixtures.plugin import choice, programs
from fixtures.plugin import options as cluster_options
from fixtures.plugin.launcher import Launcher
from fixtures.plugin.options import Options
from fixtures.runtimes import Folders, new_run_id
from suites.performance.clusters import Place

PROJECT = Path(__file__).resolve().parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that all of them take."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there as well")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--seed", type=count, default=1, help="of vectors (default 1)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="logs go there (default reports/<time>_bench_<id>)")
    parser.add_argument(
        "--work-dir", type=Path, default=Path("/var/tmp"), metavar="DIR", help="data (default /var/tmp)"
    )


CLUSTER_OPTIONS = (
    *("--runtime", "--images", "--image", "--object-store", "--appendfsync", "--device", "--topology"),
    *("--privileged-mount", "--endpoints", *programs.OPTION_NAMES),
)
"""Those of `pytest -m cluster` that a benchmark takes as well, with the same words and checks."""
_RUNTIME = "embedded"
"""Unless one is named: nothing is between the programs and the machine."""


class _Group:
    """A group of pytest's options that adds those of CLUSTER_OPTIONS to a parser of argparse."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_argument_group("what the cluster is, as for pytest -m cluster")

    def getgroup(self, _name: str, _description: str = "") -> _Group:
        return self

    def addoption(self, name: str, **how: Any) -> None:
        if name == "--runtime":
            known = ", ".join(cluster_options.RUNTIMES)
            how |= {"default": _RUNTIME, "help": f"what runs it: {known} (default {_RUNTIME})"}
        if name in CLUSTER_OPTIONS:
            self._group.add_argument(name, **how)


class _Words:
    """The words of such a parser, asked as pytest's configuration is. What a benchmark does not take was not given."""

    def __init__(self, words: argparse.Namespace) -> None:
        self._words = {**vars(words), "seed": str(words.seed), "report": None, "work_dir": str(words.work_dir)}

    def getoption(self, name: str) -> Any:
        return self._words.get(name)


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """CLUSTER_OPTIONS; the runtime is embedded unless one is named."""
    cluster_options.pytest_addoption(cast(pytest.Parser, _Group(parser)))


def chosen_cluster(words: argparse.Namespace) -> Options:
    """What the words say of the cluster, checked, with the runtime that `auto` comes to. Raises UsageError."""
    options = cluster_options.checked(cast(pytest.Config, _Words(words)))
    if options.runtime != "auto":
        return options
    return dataclasses.replace(options, runtime="docker" if choice.why_not_docker(options) is None else "embedded")


def launcher_of(options: Options) -> Callable[[Folders], Launcher]:
    """Who starts such clusters, each with folders of its own."""
    return lambda folders: choice.pytest_milvus_launcher(options=options, folders=folders)


def count(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: must be at least 1")
    return number


def place(options: argparse.Namespace, began_s: float) -> Place:
    """Where the clusters run, by the options; its progress lines go to stderr, with the seconds since `began_s`."""
    started = datetime.datetime.now(datetime.timezone.utc)
    report = options.report or PROJECT / "reports" / f"{started:%Y%m%dT%H%M%SZ}_bench_{new_run_id()}"

    def say(line: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {line}", file=sys.stderr, flush=True)

    return Place(report=report, work_parent=options.work_dir, seed=options.seed, say=say)


def compared(text: str | None) -> tuple[Path, ...]:
    """The folders of `--compare-dir PATH` or `PATH,OTHER`; none if it was not given. Raises UsageError."""
    paths = tuple(Path(word).absolute() for word in text.split(",")) if text is not None else ()
    if len(paths) > 2:
        raise UsageError(f"--compare-dir {text}: one folder, or two mounts of the same one with a comma between")
    for path in paths:
        if not path.is_dir() or not os.access(path, os.W_OK):
            raise UsageError(f"--compare-dir {path}: is no folder that can be written; give one of a NAS, say")
    return paths


def require_parent(path: Path | None) -> None:
    """Raises UsageError if --json cannot be written there, which is better told before an hour of measuring."""
    if path is not None and not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"--json {path}: its folder is not there or cannot be written; choose another")
