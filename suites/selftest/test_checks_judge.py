"""All checkers on one history: every word that they say of it."""

from __future__ import annotations

import pytest

from fixtures.claims import Finding, Verdict
from fixtures.history import Operation, Outcome, Window
from suites.checks.elements import Level
from suites.checks.judge import Judgement, Rules, judge_history, until_dropped, written_collections
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed

pytestmark = pytest.mark.selftest

KILL = Window(name="kill", target=NODE, began_s=4.6, ended_s=8.0)
PAUSE = Window(name="pause", target="writer", began_s=20.0, ended_s=None)


def broken() -> list[Operation]:
    """Each checker finds something in it, but for loss: nobody read after the kill."""
    history = HandMade()
    history.insert(0, [1, 2], client="ann of writer")
    history.insert(1, [3], client="ann of writer")
    history.flush(2)
    history.read(3, [1, 2, 3], [1, 3], client="ann of reader-1")
    history.read(4, [1, 2, 3], [2, 3], client="ann of reader-1")
    history.read(5, [3], [], outcome=Outcome.FAILED, error="not sent: refused")
    history.read(9, [3], [], outcome=Outcome.UNKNOWN)
    history.add("count", 10, {}, {"value": 7}, node=NODE)
    history.add("drop_collection", 11, {}, {})
    return history.operations


def said(
    checker: str,
    verdict: Verdict,
    says: str,
    findings: dict[str, dict[str, object]] | None = None,
    facts: dict[str, object] | None = None,
    node: str = NODE,
    collection: str = COLLECTION,
) -> Judgement:
    found = [Finding(message=message, node=node, facts=facts) for message, facts in (findings or {}).items()]
    return Judgement(
        checker=checker,
        collection=collection,
        node=node,
        verdict=verdict,
        says=says,
        findings=found,
        facts=facts or {},
    )


EXPECTED = [
    said(
        "set-full",
        Verdict.VIOLATED,
        "2 reads of 3 rows: 2 stable (0 stale), 1 lost, 0 never read; 1 reads missed a row; "
        "stable after 0.500 s median, 0.500 s 99 %, 0.500 s at most",
        {
            "c: 1 rows acknowledged or read, then lost: 1": {
                "rule": "acknowledged or read, then lost",
                "count": 1,
                "rows": (1,),
            },
            "1 reads missed rows known for more than 1 s; the first: operation 4, rows 1": {
                "rule": "staleness",
                "count": 1,
                "operations": [4],
            },
        },
        {"stable": 2, "stale": 0, "lost": 1, "never_read": 0},
    ),
    said(
        "monotonic reads",
        Verdict.VIOLATED,
        "1 of 2 reads missed a row that an earlier one had found",
        {
            "1 reads missed a row that an earlier one had found; the first: operation 4, rows 1": {
                "rule": "gap",
                "count": 1,
                "operations": [4],
            }
        },
    ),
    said(
        "monotonic writes",
        Verdict.VIOLATED,
        "2 of 2 reads saw a session's later write without its earlier one",
        {
            "2 reads saw a session's later write without its earlier one; the first: operation 3, rows 2": {
                "rule": "writes out of order",
                "count": 2,
                "operations": [3, 4],
            }
        },
    ),
    said(
        "loss",
        Verdict.UNKNOWN,
        "of 3 acknowledged rows 0 kept, 3 not read at the end, lost 0 flushed and 0 unflushed",
    ),
    said(
        "read your writes",
        Verdict.VIOLATED,
        "1 of 1 reads of ann missed rows of its own",
        {
            "1 reads missed rows that ann itself wrote; the first: operation 4, rows 1": {
                "rule": "own write not read",
                "count": 1,
                "operations": [4],
            }
        },
    ),
    said(
        "count",
        Verdict.VIOLATED,
        "7 rows of 3 (operation 7)",
        {"reader-1 counts 7 rows instead of 3": {"rule": "wrong count", "count": 7, "least": 3, "most": 3}},
    ),
    said("drop", Verdict.UNKNOWN, "dropped, or a partition of it, at 11.000 s: what came then is not judged", node=""),
    said(
        "availability",
        Verdict.HOLDS,
        "4 of 4 calls answered (100.0%); kill of reader-1: no error, 0 of 0 answered, well again within 3.500 s; "
        "pause of writer: no error, 0 of 0 answered, not seen well again",
        facts={"errors": {}},
        node="writer",
        collection="",
    ),
    said(
        "availability",
        Verdict.VIOLATED,
        "3 of 5 calls answered (60.0%); kill of reader-1: first error after 0.900 s, 0 of 1 answered, "
        "well again within 2.500 s; pause of writer: no error, 0 of 0 answered, not seen well again",
        {
            "after kill of reader-1: well again after 2.500 s, of 2.000 s allowed": {
                "rule": "recovery",
                "recovered_s": 2.5,
                "asked_after": 2,
            }
        },
        {"errors": {"failed: not sent: refused": 1, "unknown: no word": 1}},
        collection="",
    ),
]


def test_every_checker_says_what_it_found() -> None:
    watched: list[str] = []
    judgements = list(
        judge_history(broken(), [KILL, PAUSE], Rules(bound_s=1.0, recovery_s=2.0), progress=watched.append)
    )
    assert [(each.checker, each.node) for each in judgements] == [(each.checker, each.node) for each in EXPECTED]
    for judgement, expected in zip(judgements, EXPECTED, strict=True):
        assert judgement == expected
    assert watched == ["c at reader-1", "availability of writer", "availability of reader-1"]


def judged(history: HandMade, rules: Rules, *windows: Window) -> dict[str, Judgement]:
    return {each.checker: each for each in judge_history(history.operations, windows, rules)}


def test_lost_rows_that_were_never_flushed_count_at_the_level_of_calls_alone() -> None:
    history = flushed([1])
    history.insert(2, [2])
    history.read(9, [1, 2], [1])
    rules = Rules(level=Level.CALLED, bound_s=1.0)
    lost = "of 2 acknowledged rows 1 kept, 0 not read at the end, lost 0 flushed and 1 unflushed"
    lost += ", from up to 2.100 s before"
    window = Window(name="kill", target="writer", began_s=4.6, ended_s=5.0)
    assert judged(history, rules, window)["loss"].says == lost
    assert judged(history, rules, window)["loss"].verdict is Verdict.VIOLATED
    assert judged(history, Rules(), window)["loss"].says == lost
    assert judged(history, Rules(), window)["loss"].verdict is Verdict.HOLDS
    assert judged(history, rules, window)["set-full"].verdict is Verdict.VIOLATED
    assert judged(history, Rules(), window)["set-full"].verdict is Verdict.HOLDS


def test_own_writes_are_expected_elsewhere_only_with_a_bound() -> None:
    history = flushed([1])
    history.read(9, [1], [], client="test of reader-1")
    assert judged(history, Rules())["read your writes"].verdict is Verdict.UNKNOWN
    assert judged(history, Rules(bound_s=7.5))["read your writes"].verdict is Verdict.UNKNOWN
    assert judged(history, Rules(bound_s=7.4))["read your writes"].verdict is Verdict.VIOLATED


def test_own_writes_are_expected_where_they_were_written_as_soon_as_they_are_acknowledged() -> None:
    history = flushed([1])
    history.read(1.7, [1], [], node="writer")
    assert judged(history, Rules())["read your writes"].verdict is Verdict.VIOLATED
    assert judged(history, Rules(level=Level.CALLED, bound_s=1.2))["read your writes"].verdict is Verdict.UNKNOWN
    assert judged(history, Rules(level=Level.CALLED, bound_s=1.1))["read your writes"].verdict is Verdict.VIOLATED


def test_counts_are_judged_after_the_bound() -> None:
    history = flushed([1])
    history.add("count", 3.5, {}, {"value": 5}, node=NODE)
    assert "count" not in judged(history, Rules(bound_s=2.0))
    assert judged(history, Rules(bound_s=1.9))["count"].verdict is Verdict.VIOLATED


def test_counts_wait_for_the_flushes_of_those_whose_word_counts() -> None:
    history = flushed([1])
    history.insert(3, [2], node=NODE)
    history.add("count", 4, {}, {"value": 5}, node=NODE)
    assert "count" not in judged(history, Rules())
    assert judged(history, Rules(acknowledged_by=["writer"]))["count"].says == "5 rows of 1 to 2 (operation 3)"


@pytest.mark.parametrize("reply", [{}, {"value": None}, {"row_count": "many"}])
def test_a_count_that_says_nothing_is_none(reply: dict[str, object]) -> None:
    history = flushed([1])
    history.add("stats", 3, {}, reply, node=NODE)
    history.add("count", 4, {}, {"value": 9}, node=NODE, outcome=Outcome.FAILED)
    history.add("count", 4, {}, {"value": 9}, node=NODE, collection="another")
    assert "count" not in judged(history, Rules())


def test_rows_that_are_not_flushed_need_a_bound() -> None:
    with pytest.raises(ValueError, match=r"^rows that are not flushed need a bound: how long they may take to show$"):
        Rules(level=Level.CALLED)


def test_without_a_fault_availability_is_not_asked_for() -> None:
    history = flushed([1])
    assert "availability" not in judged(history, Rules())


def test_collections_are_those_that_were_inserted_into() -> None:
    history = HandMade()
    history.insert(0, [1], collection="b")
    history.insert(1, [1], collection="a")
    history.insert(2, [2], collection="b")
    history.read(3, [1], [], collection="z")
    assert written_collections(history.operations) == ["b", "a"]


def test_a_drop_cuts_a_history_and_what_answers_too_late() -> None:
    history = HandMade()
    history.insert(0, [1])
    history.insert(1, [2], took=9)
    history.read(2, [1], [1], took=2)
    history.read(2, [1], [1], took=3)
    history.add("count", 3, {}, {"value": 1}, took=None, outcome=Outcome.UNKNOWN)
    history.add("stats", 3, {}, {}, took=1)
    history.flush(4, collection="")
    history.insert(4, [1], collection="another")
    history.add("drop_partition", 5, {}, {})
    history.add("drop_collection", 6, {}, {})
    history.insert(5, [3])
    kept, cut_s = until_dropped(history.operations, COLLECTION)
    assert ([each.index for each in kept], cut_s) == ([0, 1, 2, 5, 6], 5)
    assert until_dropped(history.operations[:7], COLLECTION) == (history.operations[:7], None)
