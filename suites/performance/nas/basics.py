"""Which of claim J-1's basics hold on each file system: a fast mount that shows others old files is no alternative.

Each change is made and closed on one mount, on a file that the other has just read; then the other opens it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fixtures.waits import Deadline, observe
from suites.performance.nas.opponents import Field, Opponent, limited
from suites.storage.changes import OTHER_FILE, SAME_FILE, SMALL, Change
from suites.storage.sides import error_name, read, told

ROUNDS = 3
NEW_FILE = "a new file"
_THERE_S = 20.0
"""How long the harness waits for the files to be changed: what is not there by then is told as that."""


def _make(path: Path, _old: bytes) -> bytes:
    new = os.urandom(SMALL)
    path.write_bytes(new)
    return new


CASES: dict[str, Change] = {NEW_FILE: _make, **SAME_FILE, **OTHER_FILE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the other mount had after the close, in one word a round: "new", "old", an error's name, other bytes.

    `right_after_s` is when the last of them was right, at the latest; None if one never was.
    """

    words: tuple[str, ...]
    right_after_s: float | None
    watched_s: float

    @property
    def holds(self) -> bool:
        return all(word == "new" for word in self.words)

    def __str__(self) -> str:
        if self.holds:
            return "at once"
        wrong = Counter(word for word in self.words if word != "new")
        counted = ", ".join(f"{word} {count} of {len(self.words)}" for word, count in sorted(wrong.items()))
        after_s = self.right_after_s
        right = f"not right within {self.watched_s:.0f} s" if after_s is None else f"right after {after_s:.1f} s"
        return f"{counted}; {right}"


@dataclass(slots=True)
class _Round:
    """One file: what it was, what it is to be, and how the other mount saw it."""

    case: str
    path: Path
    old: bytes
    new: bytes | str
    closed_s: float
    word: str
    right_after_s: float | None = None

    def look(self) -> bool:
        """Whether it is right by now."""
        if self.right_after_s is None and told(read(self.path), self.old, self.new) == "new":
            self.right_after_s = time.monotonic() - self.closed_s
        return self.right_after_s is not None


def look_at(field: Field, watch_s: float) -> dict[str, dict[str, Seen]]:
    """By file system and case, for those that have two views; the others have nothing to disagree about.

    What is wrong is looked at for `watch_s`, whether it gets right in the end.
    """
    return {who.name: _looked_at(who, watch_s) for who in field.all if not who.one_sided}


def _looked_at(who: Opponent, watch_s: float) -> dict[str, Seen]:
    try:
        return _basics(who, watch_s)
    except OSError as error:
        failed = Seen(words=(f"failed ({error_name(error)})",), right_after_s=None, watched_s=watch_s)
        return dict.fromkeys(CASES, failed)


def _basics(who: Opponent, watch_s: float) -> dict[str, Seen]:
    here, there = who.here / "basics", who.there / "basics"
    with limited(who.points, watch_s):
        here.mkdir()
        plan = [(case, here / f"{index}-{turn}") for index, case in enumerate(CASES) for turn in range(ROUNDS)]
        old = {path: os.urandom(SMALL) for case, path in plan if case != NEW_FILE}
        for path, content in old.items():
            path.write_bytes(content)
        deadline = Deadline(_THERE_S)
        for path, content in old.items():
            observe(partial(_has, there / path.name, content), timeout_s=deadline.remaining_s)
        rounds = [_change(case, path, there / path.name, old.get(path, b"")) for case, path in plan]
        observe(lambda: all([each.look() for each in rounds]), timeout_s=watch_s)
    return {case: _seen([each for each in rounds if each.case == case], watch_s) for case in CASES}


def _has(path: Path, content: bytes) -> bool:
    return read(path) == content


def _change(case: str, path: Path, other: Path, old: bytes) -> _Round:
    before = read(other)
    if case != NEW_FILE and before != old:
        return _Round(case, other, old, "", time.monotonic(), f"not there before ({told(before, b'', old)})")
    try:
        new = CASES[case](path, old)
    except OSError as error:
        return _Round(case, other, old, "", time.monotonic(), f"cannot be done ({error_name(error)})")
    closed_s = time.monotonic()
    word = told(read(other), old, new)
    return _Round(case, other, old, new, closed_s, word, 0.0 if word == "new" else None)


def _seen(rounds: Sequence[_Round], watched_s: float) -> Seen:
    known = [each.right_after_s for each in rounds if each.right_after_s is not None]
    return Seen(
        words=tuple(each.word for each in rounds),
        right_after_s=max(known) if len(known) == len(rounds) else None,
        watched_s=watched_s,
    )
