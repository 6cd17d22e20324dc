"""The checkers once more, written for nothing but being obviously right: each row against each read, in plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fixtures.history import Operation, Outcome, Window
from fixtures.rowids import decode
from suites.checks.elements import Level


@dataclass
class Row:
    """All that the slow checkers find out about one row."""

    attempts: int = 0
    settled_s: float = -math.inf
    attempted_s: float = math.inf
    known_s: float = math.inf
    delete_began_s: float = math.inf
    final_delete_s: float = math.inf
    deleted_s: float = math.inf
    present: list[int] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
    doubled: bool = False
    lingering: bool = False
    resurrected: bool = False


def ended_s(operation: Operation) -> float:
    assert operation.completed_s is not None
    return operation.completed_s


def asked(read: Operation) -> set[int]:
    return set(decode(read.request["asked"]).tolist())


def found(read: Operation) -> set[int]:
    return set(decode(read.reply["found"]).tolist())


def acknowledged_s(change: Operation, operations: Sequence[Operation], level: Level) -> float:
    if change.outcome is not Outcome.OK:
        return math.inf
    if level is Level.CALLED:
        return ended_s(change)
    flushes = [
        ended_s(flush)
        for flush in operations
        if flush.kind == "flush" and flush.outcome is Outcome.OK and flush.invoked_s > ended_s(change)
    ]
    return min(flushes, default=math.inf)


def slow_rows(operations: Sequence[Operation], level: Level) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    possible = [operation for operation in operations if operation.outcome is not Outcome.FAILED]
    for insert in possible:
        if insert.kind == "insert":
            for number in decode(insert.request["ids"]).tolist():
                row = rows.setdefault(number, Row())
                row.attempts += 1
                row.attempted_s = min(row.attempted_s, insert.invoked_s)
                sure = insert.outcome is Outcome.OK
                row.settled_s = max(row.settled_s, ended_s(insert) if sure else math.inf)
                row.known_s = min(row.known_s, acknowledged_s(insert, operations, level))
    for delete in possible:
        if delete.kind == "delete":
            for number in decode(delete.request["ids"]).tolist():
                if number in rows:
                    row = rows[number]
                    row.delete_began_s = min(row.delete_began_s, delete.invoked_s)
                    if delete.invoked_s > row.settled_s:
                        row.final_delete_s = min(row.final_delete_s, delete.invoked_s)
                        row.deleted_s = min(row.deleted_s, acknowledged_s(delete, operations, level))
    return rows


def slow_reads(operations: Sequence[Operation], node: str) -> list[Operation]:
    reads = [
        operation
        for operation in operations
        if operation.kind == "search" and operation.outcome is Outcome.OK and operation.node == node
    ]
    return sorted(reads, key=lambda read: read.invoked_s)


def judge_deletes(row: Row, reads: Sequence[Operation], number: int, grace_s: float) -> None:
    """Every read of a deleted row: was it still there, or there again?"""
    for read in reads:
        if number in found(read) and read.invoked_s > row.deleted_s + grace_s:
            gone_before = any(
                number in asked(other) - found(other)
                and other.invoked_s > row.final_delete_s
                and ended_s(other) < read.invoked_s
                for other in reads
            )
            row.resurrected |= gone_before
            row.lingering |= not gone_before


def judge_read(row: Row, order: int, read: Operation, number: int) -> float:
    """One read of one row: found, or missing; and if that may be held against a known row, how long it was known."""
    if number in found(read):
        row.present.append(order)
        row.doubled |= row.attempts == 1 and number in decode(read.reply.get("doubled", []))
        return -1.0
    if row.attempted_s < ended_s(read) < row.delete_began_s:
        row.absent.append(order)
        return read.invoked_s - row.known_s
    return -1.0


def slow_set_full(operations: Sequence[Operation], node: str, level: Level, grace_s: float) -> dict[str, object]:
    rows = slow_rows(operations, level)
    reads = slow_reads(operations, node)
    invented: set[int] = set()
    for read in reads:
        for number in found(read):
            if number not in rows or rows[number].attempted_s > ended_s(read):
                invented.add(number)
            if number in rows:
                rows[number].known_s = min(rows[number].known_s, ended_s(read))
    misses: dict[int, list[int]] = {}
    for order, read in enumerate(reads):
        for number in asked(read) & set(rows):
            if judge_read(rows[number], order, read, number) > grace_s:
                misses.setdefault(read.index, []).append(number)
    for number, row in rows.items():
        judge_deletes(row, reads, number, grace_s)
    return _summary(rows, reads, invented, misses, grace_s)


def _summary(
    rows: dict[int, Row],
    reads: Sequence[Operation],
    invented: set[int],
    misses: dict[int, list[int]],
    grace_s: float,
) -> dict[str, object]:
    def late_s(row: Row) -> float:
        return max(0.0, reads[row.absent[-1]].invoked_s - row.known_s) if row.absent else 0.0

    stable = {n for n, row in rows.items() if max(row.present, default=-1) > max(row.absent, default=-1)}
    unseen_last = {n for n, row in rows.items() if max(row.absent, default=-1) > max(row.present, default=-1)}
    lost = {n for n in unseen_last if late_s(rows[n]) > grace_s}
    return {
        "attempted": len(rows),
        "reads": len(reads),
        "stable": len(stable),
        "stale": sorted((n, late_s(rows[n])) for n in stable if late_s(rows[n]) > grace_s),
        "never_read": len(rows) - len(stable) - len(lost),
        "lost": tuple(sorted(lost)),
        "doubled": tuple(sorted(n for n, row in rows.items() if row.doubled)),
        "invented": tuple(sorted(invented)),
        "lingering": tuple(sorted(n for n, row in rows.items() if row.lingering)),
        "resurrected": tuple(sorted(n for n, row in rows.items() if row.resurrected)),
        "misses": {read: tuple(sorted(missed)) for read, missed in misses.items()},
        "greatest latency": max((late_s(rows[n]) for n in stable), default=None),
    }


def slow_gaps(operations: Sequence[Operation], node: str) -> dict[int, set[int]]:
    """By read: the rows it missed though a read that had ended before had found them."""
    rows, reads = slow_rows(operations, Level.CALLED), slow_reads(operations, node)
    gaps: dict[int, set[int]] = {}
    for read in reads:
        for number in (asked(read) - found(read)) & set(rows):
            seen = any(number in found(other) and ended_s(other) < read.invoked_s for other in reads)
            if seen and rows[number].attempted_s < ended_s(read) < rows[number].delete_began_s:
                gaps.setdefault(read.index, set()).add(number)
    return gaps


def user(operation: Operation) -> str:
    return operation.client.split(" of ")[0]


def slow_read_your_writes(
    operations: Sequence[Operation], level: Level, here_s: float, elsewhere_s: float
) -> dict[tuple[str, str], dict[int, set[int]]]:
    """By user and node: the reads that missed rows which this user had inserted, and which.

    A user's row counts from the first acknowledgement of an insert of his own.
    """
    every = slow_rows(operations, level)
    missed: dict[tuple[str, str], dict[int, set[int]]] = {}
    inserts = [each for each in operations if each.kind == "insert" and each.outcome is not Outcome.FAILED]
    for read in operations:
        if read.kind != "search" or read.outcome is not Outcome.OK:
            continue
        own = [insert for insert in inserts if user(insert) == user(read)]
        grace_s = here_s if any(insert.node == read.node for insert in own) else elsewhere_s
        for insert in own:
            known_s = acknowledged_s(insert, operations, level)
            for number in (asked(read) - found(read)) & set(decode(insert.request["ids"]).tolist()):
                if read.invoked_s - known_s > grace_s and ended_s(read) < every[number].delete_began_s:
                    missed.setdefault((user(read), read.node), {}).setdefault(read.index, set()).add(number)
    return missed


def slow_disorders(operations: Sequence[Operation], node: str) -> dict[int, set[int]]:
    """By read: the rows of a user that it missed though it found one whose inserts all began after theirs had ended.

    Only rows that a single user inserted.
    """
    rows = slow_rows(operations, Level.CALLED)
    owners: dict[int, set[str]] = {}
    for insert in operations:
        if insert.kind == "insert" and insert.outcome is not Outcome.FAILED:
            for number in decode(insert.request["ids"]).tolist():
                owners.setdefault(number, set()).add(user(insert))
    disorders: dict[int, set[int]] = {}
    for read in slow_reads(operations, node):
        for number in (asked(read) - found(read)) & set(rows):
            for later in found(read) & set(rows):
                same = owners[number] == owners[later] and len(owners[number]) == 1
                ordered = rows[number].known_s < rows[later].attempted_s
                if same and ordered and ended_s(read) < rows[number].delete_began_s:
                    disorders.setdefault(read.index, set()).add(number)
    return disorders


def slow_loss(
    operations: Sequence[Operation], node: str, disasters_s: Sequence[float], grace_s: float
) -> dict[str, object]:
    """Row by row: what the last read that counts says of it."""
    called, flushed = slow_rows(operations, Level.CALLED), slow_rows(operations, Level.FLUSHED)
    reads = slow_reads(operations, node)
    acknowledged = {n: row for n, row in called.items() if row.known_s < math.inf and row.delete_began_s == math.inf}
    last_s = max((row.known_s for row in called.values() if row.known_s < math.inf), default=0.0)
    kept, reach_s = 0, 0.0
    lost_flushed: set[int] = set()
    lost_unflushed: set[int] = set()
    for number, row in acknowledged.items():
        disaster_s = min((at_s for at_s in disasters_s if at_s >= row.known_s), default=math.inf)
        flush_s = flushed[number].known_s
        safe = flush_s <= disaster_s and flush_s < math.inf
        from_s = (flush_s if safe else row.known_s) + grace_s
        told = [read for read in reads if number in found(read)]
        told += [read for read in reads if number in asked(read) - found(read) and ended_s(read) > row.attempted_s]
        last = max(told, key=reads.index, default=None)
        if last is None or (disaster_s < math.inf and last.invoked_s <= disaster_s):
            continue
        if number in found(last):
            kept += 1
        elif last.invoked_s > from_s:
            (lost_flushed if safe else lost_unflushed).add(number)
            reach_s = max(reach_s, (disaster_s if disaster_s < math.inf else last_s) - row.known_s)
    return {
        "acknowledged": len(acknowledged),
        "kept": kept,
        "unread": len(acknowledged) - kept - len(lost_flushed) - len(lost_unflushed),
        "flushed": tuple(sorted(lost_flushed)),
        "unflushed": tuple(sorted(lost_unflushed)),
        "recovery_point_s": reach_s,
    }


def slow_outages(operations: Sequence[Operation], windows: Sequence[Window], node: str) -> list[dict[str, Any]]:
    """Stretch by stretch, each of its figures by itself from all calls of the node."""
    stretches = sorted((window.began_s, math.inf if window.ended_s is None else window.ended_s) for window in windows)
    while together := [(one, two) for one, two in itertools.combinations(stretches, 2) if two[0] <= one[1]]:
        one, two = together[0]
        stretches = sorted([*(s for s in stretches if s not in (one, two)), (one[0], max(one[1], two[1]))])
    outages: list[dict[str, Any]] = []
    for began_s, healed_s in stretches:
        next_s = min((other for other, _ in stretches if other > began_s), default=math.inf)
        calls = [call for call in operations if call.node == node]
        during = [call for call in calls if call.invoked_s <= healed_s and ended_s(call) >= began_s]
        after = [call for call in calls if call.invoked_s > healed_s and ended_s(call) < next_s]
        failed = [call for call in after if call.outcome is not Outcome.OK]
        well = [call for call in after if all(call.index > bad.index for bad in failed)]
        errors_s = [
            ended_s(call) for call in during + failed if call.outcome is not Outcome.OK and ended_s(call) < next_s
        ]
        proof = min(well, key=ended_s, default=None)
        outages.append(
            {
                "asked": len(during),
                "answered": sum(call.outcome is Outcome.OK for call in during),
                "asked_after": len(after),
                "first_error_s": min((at_s - began_s for at_s in errors_s), default=None),
                "last_error_s": max((ended_s(call) - healed_s for call in failed), default=None),
                "first_answer_s": min((ended_s(c) - healed_s for c in after if c.outcome is Outcome.OK), default=None),
                "asked_again_s": proof and proof.invoked_s - healed_s,
                "recovered_s": proof and ended_s(proof) - healed_s,
            }
        )
    return outages
