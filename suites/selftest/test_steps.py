"""Steps: in the order of their needs, side by side otherwise, and none left behind when one fails."""

from __future__ import annotations

import itertools
import threading

import pytest

from fixtures.steps import Phase, Step, run_steps, slowest_chain

pytestmark = pytest.mark.selftest


def test_each_step_waits_for_what_it_needs() -> None:
    done: list[str] = []
    steps = [
        Step("first", lambda: done.append("first")),
        Step("second", lambda: done.append("second"), ("first",)),
        Step("third", lambda: done.append("third"), ("second", "first")),
    ]
    phases = run_steps(steps)
    assert done == ["first", "second", "third"]
    assert [phase.name for phase in phases] == done
    assert all(later.started_s >= earlier.ready_s for earlier, later in itertools.pairwise(phases))


def test_steps_without_needs_run_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=10)
    run_steps([Step(name, meeting.wait) for name in ("a", "b", "c")])


def test_a_failure_ends_it_and_nothing_more_begins() -> None:
    release = threading.Event()
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("broken")

    def slow() -> None:
        assert release.wait(10)
        done.append("slow")

    steps = [Step("slow", slow), Step("broken", fail), Step("next", lambda: done.append("next"), ("slow",))]
    with pytest.raises(RuntimeError, match="broken"):
        run_steps(steps, on_failure=release.set)
    assert done == ["slow"], "what ran was waited for, what waited never began"


def test_steps_that_cannot_be_ordered_are_refused() -> None:
    with pytest.raises(ValueError, match="step a comes before b, which it needs"):
        run_steps([Step("a", lambda: None, ("b",)), Step("b", lambda: None)])


def test_the_slowest_chain_is_the_longest_sum_along_needs() -> None:
    phases = [
        Phase(name="store", started_s=0, ready_s=1),
        Phase(name="database", started_s=0, ready_s=2),
        Phase(name="mount", started_s=1.5, ready_s=3.5, after=("store",)),
        Phase(name="node", started_s=4, ready_s=5, after=("mount", "database")),
    ]
    assert slowest_chain(phases) == (4.0, ["store", "mount", "node"])
