"""How long a node went on missing rows: what tells a moment's swap from an outage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fixtures.history import Operation
from suites.checks.replay import Miss, set_reads


def longest_gap_s(operations: Iterable[Operation], misses: Sequence[Miss], *, collection: str, node: str) -> float:
    """Seconds of the longest unbroken run of reads of `node` that missed rows, from its first call to its last reply.

    Reads follow each other in the order of their invocation; one that found all it asked for ends a run. 0.0 for none.
    """
    missed = {miss.operation for miss in misses}
    longest_s = 0.0
    began_s: float | None = None
    for read in set_reads(operations, collection, node):
        if read.index not in missed:
            began_s = None
            continue
        if began_s is None:
            began_s = read.invoked_s
        ended_s = read.invoked_s if read.completed_s is None else read.completed_s
        longest_s = max(longest_s, ended_s - began_s)
    return longest_s
