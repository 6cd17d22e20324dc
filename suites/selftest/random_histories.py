"""Small random histories from a seed: whole seconds and few rows, so that much overlaps, touches and comes twice."""

from __future__ import annotations

import random
from typing import Any

from fixtures.history import Operation, Outcome, Window
from suites.selftest.hand_made import NODE, HandMade

OUTCOMES = [Outcome.OK] * 8 + [Outcome.UNKNOWN, Outcome.FAILED]
CLIENTS = ("ann of writer", "ann of reader-1", "ben of writer", "ben of reader-1")
ROWS = (0, 1, 2, 3)


def random_history(seed: int) -> list[Operation]:
    """Up to 30 inserts, flushes, deletes and reads of four rows by two users at two nodes.

    Every other one is mostly right: its reads find what was inserted and not deleted before. The others find anything.
    """
    rng = random.Random(seed)
    history = HandMade()
    there: set[int] = set()
    for at in sorted(rng.randint(0, 14) for _ in range(rng.randint(1, 30))):
        kind = rng.choice(["insert"] * 3 + ["flush"] * 2 + ["delete"] + ["read"] * 5)
        how: dict[str, Any] = {
            "took": rng.randint(0, 2),
            "outcome": rng.choice(OUTCOMES),
            "client": rng.choice(CLIENTS),
            "node": rng.choice(["writer", NODE, NODE]),
        }
        rows = rng.sample(ROWS, 1 if kind in ("insert", "delete") else rng.randint(1, 4))
        if kind == "insert":
            history.insert(at, rows, **how)
            there.update(rows)
        elif kind == "flush":
            history.flush(at, **how)
        elif kind == "delete":
            history.delete(at, rows, **how)
            there.difference_update(rows)
        else:
            found = [row for row in rows if (row in there if seed % 2 else rng.random() < 0.5)]
            history.read(at, rows, found, found[:1] if rng.random() < 0.05 else [], **how)
    return history.operations


def random_windows(seed: int) -> list[Window]:
    """None to three fault windows, some of which overlap, touch or never end."""
    rng = random.Random(-seed - 1)
    windows = []
    for number in range(rng.randint(0, 3)):
        began_s = float(rng.randint(0, 14))
        ended_s = began_s + rng.randint(0, 4) if rng.random() < 0.9 else None
        windows.append(Window(name=f"fault-{number}", target="writer", began_s=began_s, ended_s=ended_s))
    return windows
