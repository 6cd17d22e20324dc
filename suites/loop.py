"""What clients do over and over while a test looks elsewhere: one thread, one step at a time, paced, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from fixtures.waits import pause

MOST_STEPS = 100_000
"""Nothing goes on for ever, whoever forgets to leave the block."""


class Loop:
    """Does one step after another from the begin of the block to its end, which waits for the step under way.

    What a step raises ends the loop, and is raised by `require_alive` and by the end of the block.
    """

    def __init__(self, name: str, step: Callable[[int], None], pace_s: float) -> None:
        """`step` is given its number, from 0; `pace_s` is the breath between two."""
        self._step = step
        self._pace_s = pace_s
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self.require_alive()

    def halt(self) -> None:
        """Begin no further step; the one under way is not waited for."""
        self._stop.set()

    def stop(self) -> None:
        """End it, the step under way included. Harmless a second time."""
        self.halt()
        self._thread.join()

    def require_alive(self) -> None:
        """Raise what a step has raised, if one has."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            for number in range(MOST_STEPS):
                if self._stop.is_set():
                    return
                self._step(number)
                pause(self._pace_s, "the pace of the load")
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for this one
            self._failure = error
