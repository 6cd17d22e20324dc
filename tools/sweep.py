"""`python -m tools.sweep`: find and remove what a crashed run has left.

It goes by the ledgers alone: a run writes down each process, mount and folder before it makes it, and holds its ledger
locked while it lives, so nothing that a live run owns is touched. Prints each thing that it removes.

Exit codes: 0 nothing is left, 1 something could not be removed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fixtures.errors import UsageError
from fixtures.runtimes import kernel, ledger
from fixtures.runtimes.cleanup import in_docker, remove, running


def sweep(index: Path, say: Callable[[str], None], *, dry_run: bool = False) -> bool:
    """Clean up after every dead run in `index`; whether nothing is left of them."""
    clean = True
    for abandoned in ledger.abandoned(index):
        things = describe(abandoned.entries)
        for thing in things:
            say(f"{abandoned.entries.run_id}: {'would remove' if dry_run else 'removing'} {thing}")
        if dry_run:
            clean = clean and not things
            abandoned.close(done=False)
            continue
        left = remove(abandoned.entries)
        for item in left:
            say(f"{abandoned.entries.run_id}: NOT removed: {item}")
        clean = clean and not left
        abandoned.close(done=not left)
    return clean


def describe(entries: ledger.Entries) -> list[str]:
    """What of a dead run still exists, in words."""
    names = {pid: name for pid, _, name in entries.processes}
    things = []
    if entries.boot_id == kernel.boot_id():
        things += [f"process {pid} ({names.get(pid) or kernel.command_line(pid)})" for pid in running(entries)]
    if entries.docker:
        try:
            things += in_docker(entries.run_id)
        except UsageError as error:
            things.append(f"containers of this run, if there are any: {error}")
    points = {point for folder in entries.folders for point in kernel.mounts(folder)}
    points |= {point for point in entries.mounts if point in kernel.mounts(point)}
    things += [f"mount {point}" for point in sorted(points)]
    things += [f"file {path}" for path in entries.files if path.exists()]
    things += [f"folder {path}" for path in entries.folders if path.exists()]
    return things


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.sweep", description="Remove what crashed runs have left.")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--ledgers", type=Path, default=ledger.default_index(), help="the folder of the ledgers")
    options = parser.parse_args(arguments)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(line, flush=True)

    clean = sweep(options.ledgers, say, dry_run=options.dry_run)
    if not said:
        print("nothing to remove")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
