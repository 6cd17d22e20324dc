"""The journal: what it keeps, what it leaves on disk when a run is killed, and that it can be read again."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from fixtures.history import History, Operation, Outcome, Window, load, read

pytestmark = pytest.mark.selftest


def begin(history: History, kind: str = "insert") -> Operation:
    return history.invoke(client="t", node="writer", kind=kind, collection="c", request={"ids": [[1, 9]]})


def test_an_operation_is_open_and_unknown_until_it_is_completed() -> None:
    history = History()
    invoked = begin(history)
    assert (invoked.outcome, invoked.completed_s) == (Outcome.UNKNOWN, None)
    assert history.operations() == [invoked]
    completed = history.complete(invoked, Outcome.OK, {"code": 0})
    assert history.operations() == [completed]
    assert (completed.index, completed.invoked_s, completed.reply) == (0, invoked.invoked_s, {"code": 0})
    assert completed.completed_s is not None
    assert completed.completed_s >= invoked.invoked_s


def test_operations_are_in_the_order_of_their_invocation() -> None:
    history = History()
    first, second = begin(history), begin(history, "search")
    history.complete(second, Outcome.FAILED, error="no")
    history.complete(first, Outcome.OK)
    assert [(operation.kind, operation.outcome) for operation in history.operations()] == [
        ("insert", Outcome.OK),
        ("search", Outcome.FAILED),
    ]


def test_a_stored_history_is_the_one_that_was_journaled(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.jsonl"
    history = History(path)
    history.complete(begin(history), Outcome.OK, {"code": 0})
    history.fault("kill", "reader-1", 1.0, None)
    history.complete(begin(history), Outcome.UNKNOWN, error="DEADLINE_EXCEEDED")
    begin(history)
    expected = history.operations()
    history.close()
    assert list(load(path)) == expected


def test_a_killed_run_leaves_all_it_knew_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    operation = begin(history)
    # Not closed: what is on disk now is what a killed run leaves.
    assert list(load(path)) == [operation]
    with path.open("a", encoding="utf-8") as torn:
        torn.write('{"event":"complete","index":0,"outc')
    assert list(load(path)) == [operation]
    history.close()


def test_a_fault_window_is_open_until_it_is_healed() -> None:
    history = History()
    history.fault("kill", "reader-1", 1.0, None)
    history.fault("kill", "reader-2", 2.0, None)
    history.fault("kill", "reader-1", 1.0, 5.0)
    assert {(w.target, w.began_s, w.ended_s) for w in history.windows()} == {
        ("reader-1", 1.0, 5.0),
        ("reader-2", 2.0, None),
    }


def test_many_threads_journal_without_losing_or_mixing_anything(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)

    def work() -> None:
        for _ in range(50):
            history.complete(begin(history), Outcome.OK)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.close()
    assert [operation.index for operation in history.operations()] == list(range(400))
    assert list(load(path)) == history.operations()
    assert all(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_after_closing_operations_are_kept_in_memory_only(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.close()
    history.close()
    begin(history)
    assert len(history.operations()) == 1
    assert list(load(tmp_path / "history.jsonl")) == []


def test_a_stored_history_has_its_fault_windows(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.fault("kill", "reader-1", 1.0, None)
    history.complete(begin(history), Outcome.OK)
    history.fault("pause", "reader-2", 2.0, None)
    history.fault("kill", "reader-1", 1.0, 5.0)
    history.close()
    bytes_read: list[int] = []
    stored = read(path, bytes_read.append)
    assert stored.operations == history.operations()
    assert stored.windows == [
        Window(name="kill", target="reader-1", began_s=1.0, ended_s=5.0),
        Window(name="pause", target="reader-2", began_s=2.0, ended_s=None),
    ]
    assert (len(bytes_read), bytes_read[-1]) == (5, path.stat().st_size)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "line 2: no JSON"),
        ("{}", "line 2: no 'event' in it"),
        ("[1]", "line 2: no event, but a bare value"),
        ('{"event":"party"}', "line 2: an event 'party', which no journal has"),
        ('{"event":"invoke","outcome":"fine"}', "line 2: 'fine' is not a valid Outcome"),
        ('{"event":"invoke","outcome":"ok"}', "line 2: an operation missing"),
        ('{"event":"fault","name":"kill"}', "line 2: a window missing"),
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    begin(history)
    history.close()
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=why):
        read(path)
