"""A query that counts only when it is right: until a search finds the row that it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from fixtures.clients import Client
from fixtures.errors import InfrastructureError
from fixtures.waits import Observed, observe
from suites.support import Rows, Sighting, look_up

VISIBLE_WITHIN_S = 60.0
"""A benchmark of a cluster that does not find what was flushed so long ago measures nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """How long it took, from the first call on, and how many searches: more than one where a merge swapped segments."""

    seconds: float
    searches: int


def find(client: Client, collection: str, probe: Rows) -> Found:
    """Search for a row until it is found, since an answer without it would be quick and worth nothing.

    Raises InfrastructureError if it is not found in time.
    """
    seen = observe(
        lambda: look_up(client, collection, probe),
        accept=lambda sighting: sighting.complete,
        timeout_s=VISIBLE_WITHIN_S,
    )
    return require_found(client.node, seen)


def require_found(node: str, seen: Observed[Sighting]) -> Found:
    """What a watch for rows took. Raises InfrastructureError if they were not found."""
    if not seen.satisfied:
        raise InfrastructureError(
            f"{node} does not find what was flushed {VISIBLE_WITHIN_S:.0f} s ago: {seen.last_seen[:200]}"
        )
    return Found(seen.elapsed_s, seen.attempts)
