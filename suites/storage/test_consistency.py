"""What one mount sees of what another has closed: JuiceFS' promise, and where the kernel's caches break it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fixtures.claims import Trial, claim, deviates
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import observe
from suites.storage.changes import OTHER_FILE, SAME_FILE, SMALL, Change
from suites.storage.sides import GONE, TWO_MOUNTS, Sides, read, sides, told, writer_and_reader

ROUNDS = 6
ROUNDS_WITHOUT_CACHES = 3
LARGE = 300_000
UNCACHED = "without caches"


@claim(
    "J-1",
    "what is closed on one mount is what another mount opens: append, overwrite, rename, delete, re-create",
    source="JuiceFS documentation, guide/cache: close-to-open; juicefs #6323, #6309, #6345, #6594; measured-2 4.1",
    expected={
        "1.1.0": deviates(
            "a name that was renamed over, deleted or re-created still leads a mount that has just used it to the old"
            " file, for the entry cache's TTL: its content, or ENOENT on a volume without trash; a file that was only"
            " written to is never stale",
            "juicefs #6345, PR 6346; measured-2 4.1",
        )
    },
    needs=("fuse", "internals"),
    witnesses=(TWO_MOUNTS, "cached before", UNCACHED),
)
def test_close_to_open(cluster: Cluster, trial: Trial, names: Names) -> None:
    here, there = writer_and_reader(cluster)
    with sides(trial, here, there, names("sides")) as both:
        for what, change in SAME_FILE.items():
            for number in range(ROUNDS):
                size = LARGE if number % 2 else SMALL
                seen = _changed(trial, both, f"{change.__name__}{number}", size, change).seen
                trial.check(seen == "new", f"{what}: opened after the close, it is {seen}", node=there.name)
        _check_names(trial, both, there.name)
        trial.progress("names that lead to another file")
        _check_other_files(cluster, trial, both, there.name)
        with extra_mount(cluster, "no-caches", dict.fromkeys(_CACHES, 0.0)) as bare:
            uncached = Sides(both.here, bare.point / both.name, both.name)
            _check_without_caches(trial, uncached, bare.name)


_CACHES = ("attr_cache_s", "entry_cache_s", "dir_entry_cache_s")


@dataclass(frozen=True, slots=True)
class Changed:
    """A file that one side read, the other changed and closed at `closed_s`, and what the first opened then."""

    name: str
    old: bytes
    new: bytes | str
    closed_s: float
    opened_s: float
    seen: str


def _changed(trial: Trial, both: Sides, name: str, size: int, change: Change) -> Changed:
    """One round: written here, read there so that its caches have it, changed and closed here, opened there."""
    old = os.urandom(size)
    (both.here / name).write_bytes(old)
    before = read(both.there / name)
    trial.check(before == old, f"{name}: a new file is {told(before, b'', old)}, opened after its close", node=name)
    new = change(both.here / name, old)
    closed_s = History.now_s()
    seen = told(read(both.there / name), old, new)
    if before == old:
        trial.witness("cached before")
    return Changed(name, old, new, closed_s, closed_s, seen)


def _check_names(trial: Trial, both: Sides, node: str) -> None:
    """A new file is found where a listing and a look-up had just missed it; a removed one is listed no more."""
    for number in range(ROUNDS):
        name = f"named{number}"
        missed = read(both.there / name) == GONE and name not in _listing(both.there)
        trial.check(missed, f"{name} is there before it was made", node=node)
        (both.here / name).write_bytes(b"new")
        trial.check(read(both.there / name) == b"new", "a new file is not found", node=node)
        trial.check(name in _listing(both.there), "a new file is not listed", node=node)
        (both.here / name).unlink()
        trial.check(name not in _listing(both.there), "a removed file is still listed", node=node)


def _listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _check_other_files(cluster: Cluster, trial: Trial, both: Sides, node: str) -> None:
    """Where the name leads to another file it may be missed, or be the old one, until the entry cache's TTL is over."""
    budget_s = cluster.budgets.entry_cache_ttl_s
    rounds = {
        what: [_changed(trial, both, f"{change.__name__}{n}", SMALL, change) for n in range(ROUNDS)]
        for what, change in OTHER_FILE.items()
    }
    for what, changed in rounds.items():
        at_once = Counter(each.seen for each in changed)
        for seen in at_once.keys() - {"new", "old", GONE}:
            trial.check(False, f"{what}: opened after the close, it is {seen}", node=node)
        stale = [each for each in changed if each.seen != "new"]
        text = f"{what}: opened after the close, {len(stale)} of {ROUNDS} files are {_listed(at_once)}"
        trial.deviate(not stale, text, node=node)
        # One after the other: who waits for the first has waited for all.
        stale_s = max((_stale_for(trial, both, each, 2 * budget_s, what, node) for each in stale), default=0.0)
        trial.measure(f"stale after {what.partition(' (')[0]}", stale_s, "s", budget_s, node=node)


def _stale_for(trial: Trial, both: Sides, changed: Changed, timeout_s: float, what: str, node: str) -> float:
    """How long after the close the last stale opening began, in seconds."""
    last_s = changed.opened_s

    def seen() -> str:
        nonlocal last_s
        began_s = History.now_s()
        now = told(read(both.there / changed.name), changed.old, changed.new)
        if now != "new":
            last_s = began_s
        return now

    watched = observe(seen, accept=lambda now: now == "new", timeout_s=timeout_s)
    trial.check(watched.satisfied, f"{what}: it stays {watched.value} after {timeout_s:.1f} s", node=node)
    return last_s - changed.closed_s


def _check_without_caches(trial: Trial, both: Sides, node: str) -> None:
    """The cure: a mount without the kernel's caches is never stale."""
    for what, change in {**SAME_FILE, **OTHER_FILE}.items():
        for number in range(ROUNDS_WITHOUT_CACHES):
            seen = _changed(trial, both, f"bare{change.__name__}{number}", SMALL, change).seen
            trial.check(seen == "new", f"{what}: without caches, opened after the close, it is {seen}", node=node)
    trial.witness(UNCACHED, rounds=ROUNDS_WITHOUT_CACHES, cases=len(SAME_FILE) + len(OTHER_FILE))


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{word} ({count})" for word, count in sorted(counted.items()) if word != "new")
