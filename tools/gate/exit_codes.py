"""What the exit code of the gate says.

Not those of a run (fixtures/plugin/exit_codes.py), which are pytest's: the gate answers another question, and CI that
waits for its answer must not have to know pytest.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from tools.gate.compare import Change


class GateCode(enum.IntEnum):
    """What CI reads: 0 is a yes, everything else is none."""

    NOTHING_WORSE = 0
    WORSE = 1
    UNKNOWN = 2
    INFRASTRUCTURE = 3
    USAGE = 4

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    GateCode.NOTHING_WORSE: "nothing got worse of what was asked",
    GateCode.WORSE: "something got worse",
    GateCode.UNKNOWN: "nothing is known to be worse, but not everything could be judged",
    GateCode.INFRASTRUCTURE: "a cluster did not start, or a run broke: the candidate is neither blamed nor cleared",
    GateCode.USAGE: "an option, a topology or the pair of them was wrong; nothing was started",
}


def decide(changes: Iterable[Change], *, infrastructure: bool) -> GateCode:
    """The exit code, from what changed (an unknown that is allowed left out) and whether a run broke.

    What was seen to be worse stays so, whatever else broke. A run that broke is told before what it left unknown.
    """
    seen = set(changes)
    if Change.WORSE in seen:
        return GateCode.WORSE
    if infrastructure:
        return GateCode.INFRASTRUCTURE
    return GateCode.UNKNOWN if Change.UNKNOWN in seen else GateCode.NOTHING_WORSE
