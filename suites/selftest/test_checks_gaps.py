"""The longest gap: what ends it, what does not, and that a single miss is none."""

from __future__ import annotations

import pytest

from fixtures.history import Operation, Outcome
from suites.checks.gaps import longest_gap_s
from suites.checks.set_full import check_set_full

pytestmark = pytest.mark.selftest


class Story:
    """A history of one writer and one reader in which each operation takes a tenth of a second."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(self, kind: str, at_s: float, request: dict[str, object], reply: dict[str, object], node: str) -> None:
        self.operations.append(
            Operation(
                index=len(self.operations),
                client="c",
                node=node,
                kind=kind,
                collection="rows",
                request=request,
                invoked_s=at_s,
                completed_s=at_s + 0.1,
                outcome=Outcome.OK,
                reply=reply,
            )
        )

    def write(self, row: int, at_s: float) -> None:
        self.add("insert", at_s, {"ids": [row]}, {}, "writer")
        self.add("flush", at_s + 0.2, {}, {}, "writer")

    def read(self, row: int, at_s: float, *, found: bool) -> None:
        self.add("search", at_s, {"asked": [row]}, {"found": [row] if found else []}, "reader")

    def gap_s(self) -> float:
        misses = check_set_full(self.operations, collection="rows", node="reader").misses
        return longest_gap_s(self.operations, misses, collection="rows", node="reader")


def test_one_miss_is_no_gap_however_long_its_search_took() -> None:
    story = Story()
    story.write(1, 0.0)
    story.read(1, 1.0, found=False)
    story.read(1, 2.0, found=True)
    assert story.gap_s() == 0.0


def test_misses_in_a_row_are_a_gap_from_the_first_reply_to_the_last_call() -> None:
    story = Story()
    story.write(1, 0.0)
    for at_s in (1.0, 2.0, 3.0):
        story.read(1, at_s, found=False)
    story.read(1, 4.0, found=True)
    assert story.gap_s() == pytest.approx(1.9)


def test_a_read_that_found_only_older_rows_does_not_end_it() -> None:
    story = Story()
    story.write(1, 0.0)
    story.write(2, 1.0)
    story.read(2, 2.0, found=False)
    story.read(1, 3.0, found=True)
    story.read(2, 4.0, found=False)
    assert story.gap_s() == pytest.approx(1.9)


def test_a_read_that_found_a_newer_row_ends_it() -> None:
    story = Story()
    story.write(1, 0.0)
    story.write(2, 1.0)
    story.read(1, 2.0, found=False)
    story.read(2, 3.0, found=True)
    story.read(1, 4.0, found=False)
    assert story.gap_s() == 0.0


def test_no_miss_is_no_gap() -> None:
    story = Story()
    story.write(1, 0.0)
    story.read(1, 1.0, found=True)
    assert story.gap_s() == 0.0


def test_a_read_that_found_another_row_of_the_same_flush_ends_it() -> None:
    story = Story()
    story.add("insert", 0.0, {"ids": [1, 2]}, {}, "writer")
    story.add("flush", 0.2, {}, {}, "writer")
    story.read(1, 1.0, found=False)
    story.read(2, 2.0, found=True)
    story.read(1, 3.0, found=False)
    assert story.gap_s() == 0.0


def test_a_gap_that_ended_leaves_nothing_to_the_next_one() -> None:
    story = Story()
    story.write(1, 0.0)
    for at_s, found in ((1.0, False), (2.0, True), (3.0, False), (4.0, True), (5.0, False)):
        story.read(1, at_s, found=found)
    assert story.gap_s() == 0.0


def test_a_read_that_found_nothing_or_nothing_flushed_does_not_end_it() -> None:
    story = Story()
    story.write(1, 0.0)
    story.read(1, 1.0, found=False)
    story.read(9, 1.5, found=False)
    story.add("insert", 1.7, {"ids": [5]}, {}, "writer")
    story.read(5, 2.0, found=True)
    story.read(1, 3.0, found=False)
    assert story.gap_s() == pytest.approx(1.9)


def test_the_longest_of_several_gaps_counts() -> None:
    story = Story()
    story.write(1, 0.0)
    for at_s, found in ((1, False), (5, False), (6, True), (7, False), (8, False), (9, True)):
        story.read(1, at_s, found=found)
    assert story.gap_s() == pytest.approx(3.9)
