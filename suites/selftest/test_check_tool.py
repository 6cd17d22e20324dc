"""`python -m tools.check`: what it says of stored histories, and what of files and options that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.history import History, Outcome
from suites.selftest.hand_made import COLLECTION, NODE, HandMade, flushed
from tools.check import main

pytestmark = pytest.mark.selftest

Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Puts a hand-made history on disk, as a run would have, and gives its path."""

    def write(history: HandMade, faults: list[tuple[str, float, float | None]] | None = None) -> str:
        return str(history.save(tmp_path / "history.jsonl", faults or ()))

    return write


def kept() -> HandMade:
    """Two rows that are flushed, found, and counted."""
    history = flushed([1, 2])
    history.read(2, [1, 2], [1, 2])
    history.add("count", 3, {}, {"value": 2}, node=NODE)
    return history


def test_a_history_in_which_all_was_kept_ends_with_0(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(kept())]) == 0
    told = capsys.readouterr().out
    lines = {tuple(line.split()[:3]): line for line in told.splitlines()}
    assert "2 reads" not in told
    assert told.splitlines()[0] == "4 operations, 0 faults"
    assert "1 reads of 2 rows: 2 stable (0 stale), 0 lost, 0 never read" in lines[NODE, "set-full", "holds"]
    assert "2 rows of 2 (operation 3)" in lines[NODE, "count", "holds"]
    assert (NODE, "monotonic", "reads") in lines
    assert "of 2 acknowledged rows 2 kept" in lines[NODE, "loss", "holds"]
    assert told.splitlines()[-1].endswith("0 broken; exit code 0: nothing is broken")


def test_a_lost_row_ends_with_1_and_is_named(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    history = kept()
    history.read(4, [1, 2], [2])
    assert main([written(history)]) == 1
    told = capsys.readouterr().out
    assert "! c: 1 rows acknowledged or read, then lost: 1" in told
    assert "! 1 reads missed a row that an earlier one had found; the first: operation 4, rows 1" in told
    assert "! c: 1 rows flushed are lost, acknowledged up to 0.000 s before: 1" in told
    assert "exit code 1: something is broken" in told


def test_json_has_every_judgement(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    history = kept()
    history.read(4, [1, 2], [2])
    assert main([written(history), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["exit_code"], document["verdict"]) == (1, "violated")
    (full,) = [each for each in document["judgements"] if each["checker"] == "set-full"]
    assert (full["collection"], full["node"], full["verdict"]) == (COLLECTION, NODE, "violated")
    assert full["findings"][0] == {
        "message": "c: 1 rows acknowledged or read, then lost: 1",
        "rule": "acknowledged or read, then lost",
        "count": 1,
        "rows": [1],
    }
    assert full["facts"] == {"stable": 1, "stale": 0, "lost": 1, "never_read": 0}


def test_staleness_is_judged_where_a_bound_is_given(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    history = flushed([1])
    history.read(2.5, [1], [])
    history.read(4, [1], [1])
    path = written(history)
    assert [main([path, *bound]) for bound in ([], ["--bound=1.0"], ["--bound=0.9"])] == [0, 0, 1]
    assert "! 1 reads missed rows known for more than 0.9 s; the first: operation 2, rows 1" in capsys.readouterr().out


def test_rows_that_were_not_flushed_are_judged_at_the_level_of_calls(written: Written) -> None:
    history = HandMade()
    history.insert(0, [1])
    history.read(9, [1], [])
    path = written(history)
    assert main([path]) == 6
    assert main([path, "--level=called", "--bound=8"]) == 1
    assert main([path, "--level=called", "--bound=9"]) == 6


def test_what_a_reader_acknowledges_may_be_no_promise(written: Written) -> None:
    history = kept()
    history.insert(4, [7], node=NODE)
    history.flush(5, node=NODE)
    history.read(6, [7], [])
    path = written(history)
    assert main([path]) == 1
    assert main([path, "--acknowledged-by=writer"]) == 0


def test_recovery_after_a_fault_is_judged(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    history = kept()
    history.read(5, [1], [1], outcome=Outcome.FAILED, error="not sent: refused")
    history.read(12, [1], [1])
    path = written(history, [(NODE, 4.0, 10.0)])
    assert main([path]) == 0
    told = capsys.readouterr().out
    assert "3 of 4 calls answered" not in told.split("all collections")[0]
    assert (
        f"{NODE} availability      holds    3 of 4 calls answered (75.0%); kill of {NODE}: first error after "
        "1.500 s, 0 of 1 answered, well again within 2.500 s" in told
    )
    assert [main([path, f"--recovery={bound}"]) for bound in (1.9, 2.5)] == [0, 0], "nobody asked before 2 s"
    assert main([path, "--recovery=2"]) == 1
    assert f"! after kill of {NODE}: well again after 2.500 s, of 2.000 s allowed" in capsys.readouterr().out


def test_a_refused_request_is_an_answer(written: Written) -> None:
    history = kept()
    history.add("search", 12, {}, {"code": 4}, node=NODE, outcome=Outcome.FAILED)
    assert main([written(history, [(NODE, 4.0, 10.0)])]) == 0
    history.add("search", 13, {}, {"code": 1}, node=NODE, outcome=Outcome.FAILED)
    assert main([written(history, [(NODE, 4.0, 10.0)])]) == 1


@pytest.mark.parametrize("found", [[], [9]])
def test_an_insert_that_overlaps_a_delete_blames_nobody(written: Written, found: list[int]) -> None:
    history = kept()
    history.insert(4, [9], took=3)
    history.delete(5, [9], took=1)
    history.flush(8)
    history.read(9, [9], found)
    history.add("count", 10, {}, {"value": 2 + len(found)}, node=NODE)
    assert main([written(history)]) == 0


@pytest.mark.parametrize("kind", ["drop_collection", "drop_partition"])
def test_what_comes_after_a_drop_is_not_judged(written: Written, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    history = kept()
    history.read(4, [1, 2], [], took=3)
    history.add(kind, 6, {}, {})
    history.read(8, [1, 2], [])
    history.add("count", 9, {}, {"value": 0}, node=NODE)
    assert main([written(history)]) == 0
    assert "dropped, or a partition of it, at 6.000 s: what came then is not judged" in capsys.readouterr().out


def test_a_drop_that_failed_ends_nothing(written: Written) -> None:
    history = kept()
    history.add("drop_collection", 4, {}, {}, outcome=Outcome.FAILED)
    history.read(8, [1, 2], [])
    assert main([written(history)]) == 1


def test_a_count_is_held_against_the_history_once_all_is_flushed(written: Written) -> None:
    history = kept()
    history.insert(4, [3])
    history.add("count", 5, {}, {"value": 7}, node=NODE)
    assert main([written(history)]) == 0, "not flushed: nothing may be said of it"
    history.flush(6)
    history.add("stats", 7, {}, {"row_count": 2}, node=NODE)
    assert main([written(history)]) == 1
    assert main([written(history), "--bound=1"]) == 0


def test_nothing_to_judge_ends_with_6(written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("", "utf-8")
    assert main([str(tmp_path / "empty.jsonl")]) == 6
    assert "exit code 6: nothing could be judged" in capsys.readouterr().out
    assert main([written(flushed([1]))]) == 6


def test_a_history_that_a_killed_run_left_can_be_judged(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for kind, node, request, reply in (
        ("insert", "writer", {"ids": [1]}, {}),
        ("flush", "writer", {}, {}),
        ("search", NODE, {"asked": [1]}, {"found": [1]}),
    ):
        invoked = history.invoke(client="c", node=node, kind=kind, collection=COLLECTION, request=request)
        history.complete(invoked, Outcome.OK, reply)
    history.close()
    with path.open("a", encoding="utf-8") as torn:
        torn.write('{"event":"complete","ind')
    assert main([str(path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{none}"], "{none}: No such file or directory; give a history-*.jsonl of a report folder"),
        (["{bad}"], "{bad}: line 1: no JSON; give a history-*.jsonl of a report folder"),
        (["{folder}"], "{folder}: Is a directory; give a history-*.jsonl of a report folder"),
        (["{good}", "--bound=-1"], "argument --bound: must be a number of seconds, not negative, not '-1'"),
        (["{good}", "--bound=soon"], "argument --bound: must be a number of seconds, not negative, not 'soon'"),
        (["{good}", "--recovery=inf"], "argument --recovery: must be a number of seconds, not negative, not 'inf'"),
        (
            ["{good}", "--level=called"],
            "--level=called: rows that are not flushed need a bound: how long they may take to show; "
            "add --bound=SECONDS",
        ),
        (
            ["{good}", "--acknowledged-by=wirter"],
            "--acknowledged-by=wirter: no such node in {good}; it has reader-1, writer",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    (tmp_path / "bad.jsonl").write_text("no history\n", "utf-8")
    places = {
        "none": str(tmp_path / "none.jsonl"),
        "bad": str(tmp_path / "bad.jsonl"),
        "folder": str(tmp_path),
        "good": written(kept()),
    }
    with pytest.raises(SystemExit) as ended:
        main([argument.format(**places) for argument in arguments])
    assert ended.value.code == 4
    assert capsys.readouterr().err == f"python -m tools.check: {why.format(**places)}\n"
