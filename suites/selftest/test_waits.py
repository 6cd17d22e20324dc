"""The waits, on a clock that only moves when somebody sleeps or works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from fixtures.errors import NotReady
from fixtures.waits import STOPPED, Clock, Deadline, WaitStopped, observe, pause, wait_until

pytestmark = pytest.mark.selftest


class FakeTime:
    """Seconds since the start, and every sleep that was asked for."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sleeps_s: list[float] = []
        self.clock = Clock(now=lambda: self.now_s, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.now_s += seconds

    def slow(self, seconds: float, value: object) -> Callable[[], object]:
        """A probe that takes `seconds` to give `value`."""

        def probe() -> object:
            self.now_s += seconds
            return value

        return probe


def series(*values: object) -> Callable[[], object]:
    """A probe that gives one value after another, and raises those that are exceptions."""
    remaining: Iterator[object] = iter(values)

    def probe() -> object:
        value = next(remaining)
        if isinstance(value, Exception):
            raise value
        return value

    return probe


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def test_a_value_that_is_there_costs_no_sleep(time: FakeTime) -> None:
    waited = wait_until(series("up"), timeout_s=5, reason="r", clock=time.clock)
    assert (waited.value, waited.elapsed_s, waited.attempts) == ("up", 0.0, 1)
    assert time.sleeps_s == []


def test_the_probe_is_asked_at_the_given_pace_until_its_value_is_accepted(time: FakeTime) -> None:
    waited = wait_until(
        series(1, 2, 3), timeout_s=5, reason="r", interval_s=0.5, accept=lambda value: value == 3, clock=time.clock
    )
    assert (waited.value, waited.elapsed_s, waited.attempts) == (3, 1.0, 3)
    assert time.sleeps_s == [0.5, 0.5]


def test_a_wait_that_runs_out_says_what_for_how_long_and_what_it_saw_last(time: FakeTime) -> None:
    with pytest.raises(NotReady, match=r"^the port: not within 1\.0 s \(4 attempts, last seen: 'starting'\)$"):
        wait_until(lambda: "starting", timeout_s=1, reason="the port", interval_s=0.4, accept=len0, clock=time.clock)
    assert time.now_s == 1.0


def len0(value: str) -> bool:
    return not value


def test_the_probe_is_asked_once_more_at_the_deadline(time: FakeTime) -> None:
    waited = wait_until(lambda: time.now_s >= 1.0, timeout_s=1, reason="r", interval_s=0.6, clock=time.clock)
    assert (waited.elapsed_s, waited.attempts) == (1.0, 3)


def test_a_slow_probe_that_began_in_time_counts(time: FakeTime) -> None:
    waited = wait_until(time.slow(3.0, "up"), timeout_s=1, reason="r", clock=time.clock)
    assert (waited.value, waited.elapsed_s) == ("up", 3.0)


def test_listed_errors_mean_not_yet_and_the_last_one_is_the_cause(time: FakeTime) -> None:
    waited = wait_until(
        series(ConnectionError("refused"), "up"), timeout_s=5, reason="r", errors=(ConnectionError,), clock=time.clock
    )
    assert waited.attempts == 2
    with pytest.raises(NotReady, match="last seen: ConnectionError: refused") as failed:
        wait_until(
            series(*[ConnectionError("refused")] * 9),
            timeout_s=0.1,
            reason="r",
            errors=(ConnectionError,),
            clock=time.clock,
        )
    assert isinstance(failed.value.__cause__, ConnectionError)


def test_other_errors_pass_at_once(time: FakeTime) -> None:
    with pytest.raises(KeyError):
        wait_until(series(KeyError("k")), timeout_s=5, reason="r", errors=(ConnectionError,), clock=time.clock)


def test_giving_up_ends_a_wait_early_with_its_reason_but_not_a_success(time: FakeTime) -> None:
    with pytest.raises(NotReady, match=r"gave up after 0\.0 s: exited with 1 \(last seen: None\)"):
        wait_until(series(None), timeout_s=5, reason="r", give_up=lambda: "exited with 1", clock=time.clock)
    assert wait_until(series("up"), timeout_s=5, reason="r", give_up=lambda: "late", clock=time.clock).value == "up"


def test_observing_says_how_it_ended_and_raises_nothing(time: FakeTime) -> None:
    seen = observe(series(0, 0, 0, 0, 0, 0, 7), timeout_s=1, interval_s=0.5, clock=time.clock)
    assert (seen.satisfied, seen.value, seen.elapsed_s, seen.attempts, seen.last_seen) == (False, 0, 1.0, 3, "0")
    later = observe(series(7), timeout_s=1, clock=time.clock)
    assert (later.satisfied, later.value) == (True, 7)


def test_a_timeout_of_nothing_asks_once(time: FakeTime) -> None:
    assert observe(series(0), timeout_s=0, clock=time.clock).attempts == 1
    assert time.sleeps_s == []


def test_a_deadline_is_shared_by_the_waits_that_must_end_together(time: FakeTime) -> None:
    deadline = Deadline(2.0, time.clock)
    assert (deadline.remaining_s, deadline.expired) == (2.0, False)
    time.sleep(1.5)
    assert deadline.remaining_s == 0.5
    time.sleep(5)
    assert (deadline.remaining_s, deadline.expired) == (0.0, True)


def test_a_pause_sleeps_once_and_must_have_a_reason(time: FakeTime) -> None:
    pause(1.5, "the outage lasts", clock=time.clock)
    assert time.sleeps_s == [1.5]
    with pytest.raises(ValueError, match=r"^a pause needs a reason$"):
        pause(1.5, "", clock=time.clock)


def test_waits_are_as_long_on_a_clock_that_has_run_for_a_while(time: FakeTime) -> None:
    time.now_s = 100.0
    assert (observe(series(0, 0, 0), timeout_s=1, interval_s=0.5, clock=time.clock).attempts, time.now_s) == (3, 101.0)


def test_the_usual_pace_is_a_fiftieth_of_a_second(time: FakeTime) -> None:
    observe(series(0, 1), timeout_s=1, clock=time.clock)
    wait_until(series(0, 1), timeout_s=1, reason="r", clock=time.clock)
    assert time.sleeps_s == [0.02, 0.02]


def test_what_is_satisfied_has_not_given_up(time: FakeTime) -> None:
    seen = observe(series(1), timeout_s=1, give_up=lambda: "exited", clock=time.clock)
    assert (seen.satisfied, seen.gave_up, seen.cause) == (True, None, None)


def test_a_thread_that_is_stopped_ends_its_wait_at_once() -> None:
    stopped = threading.Event()
    token = STOPPED.set(stopped)
    try:
        pause(0.001, "nobody has stopped it yet")
        stopped.set()
        with pytest.raises(WaitStopped):
            pause(60, "this would be long")
    finally:
        STOPPED.reset(token)
    pause(0.001, "no one can stop it any more")
