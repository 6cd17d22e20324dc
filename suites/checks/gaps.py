"""How long a node went on missing rows: what tells a moment's swap from an outage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fixtures.history import Operation
from fixtures.rowids import Ids
from suites.checks.elements import Elements, Level, gather, locate
from suites.checks.replay import Miss, end_s, set_reads


def longest_gap_s(operations: Iterable[Operation], misses: Sequence[Miss], *, collection: str, node: str) -> float:
    """Seconds of the longest run of reads of `node` that missed flushed rows, from the first reply to the last call.

    How long the searches themselves took is not part of it, so a single miss is a gap of 0. A run ends with a read that
    found a row which was flushed no earlier than the missed ones: finding only older rows says nothing about a node
    that serves an old list of its files.
    """
    history = list(operations)
    elements = gather(history, collection=collection, level=Level.FLUSHED)
    missed = {miss.operation: miss for miss in misses}
    longest_s, began_s, newest_missed_s = 0.0, None, -np.inf
    for read in set_reads(history, collection, node):
        miss = missed.get(read.index)
        if miss is None:
            if _newest_s(elements, read.reply.get("found")) >= newest_missed_s:
                began_s, newest_missed_s = None, -np.inf
            continue
        if began_s is None:
            began_s = end_s(read)
        newest_missed_s = max(newest_missed_s, _newest_s(elements, list(miss.examples)))
        longest_s = max(longest_s, read.invoked_s - began_s)
    return longest_s


def _newest_s(elements: Elements, rows: object) -> float:
    """When the newest of these rows was flushed; -inf if none of them is known to be."""
    times = [_flushed_s(elements, index) for index in locate(rows, elements.ids)[0]]
    return max(times, default=-np.inf)


def _flushed_s(elements: Elements, index: slice | Ids) -> float:
    times = elements.acknowledged_s[index]
    return float(np.max(times, where=np.isfinite(times), initial=-np.inf))
