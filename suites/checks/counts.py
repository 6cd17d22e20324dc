"""Do the numbers of rows that the nodes report agree with what the history says was stored, and with each other?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fixtures import rowids
from fixtures.claims import Finding
from fixtures.history import Operation, Outcome
from suites.checks.elements import Acknowledgement, Level, inserted_ids, locate


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows a collection holds: `least` to `most`, which differ by what operations of unknown outcome did."""

    least: int
    most: int

    def __contains__(self, count: int) -> bool:
        return self.least <= count <= self.most

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def expected_count(
    operations: Iterable[Operation], *, collection: str, acknowledged_by: Collection[str] | None = None
) -> RowCount:
    """How many rows `collection` holds once all is flushed. A row inserted twice counts twice; one delete ends both.

    Acknowledgements of nodes outside `acknowledged_by` (None: all count) promise nothing, as if they were unknown.
    """
    possible = [
        operation
        for operation in operations
        if operation.collection == collection and operation.outcome is not Outcome.FAILED
    ]
    deletes = _Deletes([operation for operation in possible if operation.kind == "delete"], acknowledged_by)
    least = most = 0
    for insert in possible:
        if insert.kind != "insert":
            continue
        ids = inserted_ids(insert)
        rows = int(str(insert.request.get("rows", 0))) if ids is None else rowids.count(ids)
        most += rows
        if insert.outcome is Outcome.OK:
            most -= deletes.surely(ids or [], after_s=_end_s(insert))
        if _sure(insert, acknowledged_by):
            least += rows - deletes.perhaps(ids or [], after_s=insert.invoked_s)
    return RowCount(least, most)


def settled_s(
    operations: Iterable[Operation],
    *,
    collection: str,
    level: Level = Level.FLUSHED,
    acknowledged_by: Collection[str] | None = None,
) -> float:
    """When every acknowledged change had reached `level`: from then on a count must be the expected one.

    Infinity if one never did, minus infinity where nothing was changed.
    """
    history = [operation for operation in operations if operation.collection in (collection, "")]
    flushes = [each for each in history if each.kind == "flush" and _sure(each, acknowledged_by)]
    known_from = Acknowledgement(flushes, level)
    changes = [each for each in history if each.kind in ("insert", "delete") and _sure(each, acknowledged_by)]
    return max((known_from(change) for change in changes), default=-np.inf)


class _Deletes:
    """Per deleted id: when the last sure delete of it began, and when the last one that may have worked ended."""

    def __init__(self, deletes: list[Operation], acknowledged_by: Collection[str] | None) -> None:
        listed = [rowids.decode(delete.request["ids"]) for delete in deletes]
        self._ids = rowids.distinct(np.concatenate(listed)) if listed else rowids.EMPTY
        self._began_s = np.full(len(self._ids), -np.inf)
        self._ended_s = np.full(len(self._ids), -np.inf)
        for delete in deletes:
            sure = _sure(delete, acknowledged_by)
            for index in locate(delete.request["ids"], self._ids)[0]:
                if sure:
                    self._began_s[index] = np.maximum(self._began_s[index], delete.invoked_s)
                self._ended_s[index] = np.maximum(self._ended_s[index], _end_s(delete) if sure else np.inf)

    def surely(self, ids: object, after_s: float) -> int:
        """How many of `ids` a delete ended for sure that began after `after_s`."""
        return sum(int((self._began_s[index] > after_s).sum()) for index in locate(ids, self._ids)[0])

    def perhaps(self, ids: object, after_s: float) -> int:
        """How many of `ids` a delete may have ended that was not over before `after_s`."""
        return sum(int((self._ended_s[index] >= after_s).sum()) for index in locate(ids, self._ids)[0])


def check_counts(counts: Mapping[str, int], expected: RowCount) -> list[Finding]:
    """Findings for nodes whose count is not the expected one, and one more if the nodes differ among themselves."""
    findings = [
        Finding(
            message=f"{node} counts {count} rows instead of {expected}",
            node=node,
            facts={"rule": "wrong count", "count": count, "least": expected.least, "most": expected.most},
        )
        for node, count in counts.items()
        if count not in expected
    ]
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{node} {count}" for node, count in counts.items())
        findings.append(Finding(message=f"the nodes differ: {told}", facts={"rule": "nodes differ", **counts}))
    return findings


def check_stats(node: str, stats: Mapping[str, Any], expected: RowCount) -> list[Finding]:
    """Findings for one node's statistics (Client.stats): their total, and that partitions and segments add up to it."""
    findings = check_counts({node: int(stats["row_count"])}, expected)
    partitions = stats["partitions"] or []
    total = sum(int(partition["row_count"]) for partition in partitions)
    if total != stats["row_count"]:
        message = f"the partitions have {total} rows together, the collection {stats['row_count']}"
        findings.append(Finding(message=message, node=node, facts={"rule": "partitions do not add up"}))
    for partition in partitions:
        in_segments = sum(int(segment["row_count"]) for segment in partition["segments"] or [])
        if in_segments != partition["row_count"]:
            message = (
                f"the segments of partition {partition['tag']} have {in_segments} rows together, "
                f"the partition {partition['row_count']}"
            )
            findings.append(Finding(message=message, node=node, facts={"rule": "segments do not add up"}))
    return findings


def _sure(operation: Operation, acknowledged_by: Collection[str] | None) -> bool:
    return operation.outcome is Outcome.OK and (acknowledged_by is None or operation.node in acknowledged_by)


def _end_s(operation: Operation) -> float:
    return np.inf if operation.completed_s is None else operation.completed_s
