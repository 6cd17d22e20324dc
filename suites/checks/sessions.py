"""Session guarantees: a client finds what it wrote itself, and nobody sees a client's writes out of their order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.claims import Finding, Verdict
from fixtures.history import Operation, Outcome
from suites.checks.elements import Elements, Index, Level, Times, gather, inserted_ids, locate
from suites.checks.replay import Absence, Miss, end_s, replay, set_reads, told

WORST = 8


def session_of(client: str) -> str:
    """The session of a client: its name up to " of ", so that `ann of writer` and `ann of reader-1` are one user."""
    return client.partition(" of ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadYourWrites:
    """Whether one session, at one node, found what it had written itself: `misses` are its reads that did not."""

    collection: str
    node: str
    session: str
    written: int
    reads: int
    misses: tuple[Miss, ...]

    @property
    def verdict(self) -> Verdict:
        if self.misses:
            return Verdict.VIOLATED
        return Verdict.HOLDS if self.reads else Verdict.UNKNOWN

    def findings(self) -> list[Finding]:
        return told(self.misses, self.node, f"missed rows that {self.session} itself wrote", "own write not read")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotonicWrites:
    """Whether a node showed each session's writes in their order: `disorders` are reads that saw a later one alone."""

    collection: str
    node: str
    reads: int
    shown: bool
    disorders: tuple[Miss, ...]

    @property
    def verdict(self) -> Verdict:
        if self.disorders:
            return Verdict.VIOLATED
        return Verdict.HOLDS if self.shown else Verdict.UNKNOWN

    def findings(self) -> list[Finding]:
        what = "saw a session's later write without its earlier one"
        return told(self.disorders, self.node, what, "writes out of order")


def check_read_your_writes(
    operations: Iterable[Operation],
    *,
    collection: str,
    level: Level = Level.FLUSHED,
    here_s: float = 0.0,
    elsewhere_s: float = 0.0,
    sessions: Callable[[str], str] = session_of,
    acknowledged_by: Collection[str] | None = None,
    examples: int = WORST,
) -> list[ReadYourWrites]:
    """Hold each session's reads against its own acknowledged rows, node by node.

    A read must find them from `here_s` after the acknowledgement at a node where the session wrote to, `elsewhere_s`
    at others. `sessions` says to which session a client belongs. Sessions that only wrote, or only read, are left out.
    """
    history = [operation for operation in operations if operation.collection in (collection, "")]
    results = []
    for session, nodes in _writers(history, sessions).items():
        own = [
            operation
            for operation in history
            if sessions(operation.client) == session or operation.kind in ("delete", "flush")
        ]
        elements = gather(own, collection=collection, level=level, acknowledged_by=acknowledged_by)
        mine = [operation for operation in own if sessions(operation.client) == session]
        for node in dict.fromkeys(operation.node for operation in mine if "asked" in operation.request):
            reads = set_reads(mine, collection, node)
            grace_s = here_s if node in nodes else elsewhere_s
            seen = replay(elements, reads, grace_s=grace_s, examples=examples, by_reads=False)
            asked = [read for read in reads if _asks_for_known(elements, read, grace_s)]
            results.append(
                ReadYourWrites(
                    collection=collection,
                    node=node,
                    session=session,
                    written=int(np.isfinite(elements.acknowledged_s).sum()),
                    reads=len(asked),
                    misses=tuple(seen.misses),
                )
            )
    return results


def check_monotonic_writes(
    operations: Iterable[Operation],
    *,
    collection: str,
    node: str,
    sessions: Callable[[str], str] = session_of,
    acknowledged_by: Collection[str] | None = None,
    examples: int = WORST,
) -> MonotonicWrites:
    """Find the reads of `node` that saw a row of a session and missed one whose insert had succeeded before its began.

    Of rows that several sessions inserted nothing is said; `shown` says that at least one read had both to show.
    """
    history = [operation for operation in operations if operation.collection in (collection, "")]
    elements = gather(history, collection=collection, level=Level.CALLED, acknowledged_by=acknowledged_by)
    owner, count = _owners(history, elements, sessions)
    reads = set_reads(history, collection, node)
    absence = Absence(len(elements.ids))
    disorders: list[Miss] = []
    shown = False
    for read in reads:
        found, _ = locate(read.reply.get("found"), elements.ids)
        newest_s = _newest_write_s(elements, owner, count, found)
        with absence.of(elements, read, found):
            absent = absence.where(elements.acknowledged_s, newest_s.max())
        late = elements.acknowledged_s[absent] < newest_s[owner[absent]]
        absent = absent[late & (end_s(read) < elements.delete_began_s[absent])]
        if absent.size:
            ages_s = read.invoked_s - elements.acknowledged_s[absent]
            disorders.append(Miss.of(read, elements.ids[absent], ages_s, examples))
        shown = shown or bool(absent.size) or _both(elements, owner, newest_s, found)
    return MonotonicWrites(collection=collection, node=node, reads=len(reads), shown=shown, disorders=tuple(disorders))


def _writers(history: Sequence[Operation], sessions: Callable[[str], str]) -> dict[str, set[str]]:
    """The sessions that inserted rows, and the nodes at which."""
    nodes: dict[str, set[str]] = {}
    for operation in history:
        if operation.kind == "insert" and operation.outcome is not Outcome.FAILED:
            nodes.setdefault(sessions(operation.client), set()).add(operation.node)
    return nodes


def _asks_for_known(elements: Elements, read: Operation, grace_s: float) -> bool:
    """Whether the read had anything to prove: it asked for a row acknowledged long enough before it began."""
    return any(
        bool((read.invoked_s - elements.acknowledged_s[index] > grace_s).any())
        for index in locate(read.request["asked"], elements.ids)[0]
    )


def _owners(
    history: Sequence[Operation], elements: Elements, sessions: Callable[[str], str]
) -> tuple[NDArray[np.intp], int]:
    """The number of the session that inserted each row, and how many sessions there are; -1 for rows of several."""
    numbers: dict[str, int] = {}
    least = np.full(len(elements.ids), np.iinfo(np.intp).max, dtype=np.intp)
    most = np.full(len(elements.ids), -1, dtype=np.intp)
    for operation in history:
        if operation.kind != "insert" or operation.outcome is Outcome.FAILED:
            continue
        number = numbers.setdefault(sessions(operation.client), len(numbers))
        for index in locate(inserted_ids(operation) or [], elements.ids)[0]:
            least[index] = np.minimum(least[index], number)
            most[index] = np.maximum(most[index], number)
    return np.where(least == most, least, -1), len(numbers)


def _newest_write_s(elements: Elements, owner: NDArray[np.intp], count: int, found: list[Index]) -> Times:
    """Per session: when the newest of its writes began of which a read found a row. The last entry is nobody's."""
    newest_s = np.full(count + 1, -np.inf)
    for index in found:
        np.maximum.at(newest_s, owner[index], elements.attempted_s[index])
    newest_s[-1] = -np.inf
    return newest_s


def _both(elements: Elements, owner: NDArray[np.intp], newest_s: Times, found: list[Index]) -> bool:
    """Whether among the rows found there is one that was acknowledged before another's insert began."""
    return any(bool((elements.acknowledged_s[index] < newest_s[owner[index]]).any()) for index in found)
