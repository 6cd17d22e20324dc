"""Which claims a gate runs, with the reason for each choice; and which claims vary by chance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from fixtures.errors import UsageError
from fixtures.plugin.catalogue import order

CHANCE: Mapping[str, str] = {
    "V-4": "a search falls into the swap of a merge, or does not",
    "V-5": "as V-4",
    "R-7": "as V-4, and files are removed under a search, or are not",
    "F-8": "a flush is in flight when MySQL stops, or is not: 3 of 6 stops lost a batch (measured 5.5)",
    "F-21": "some of a search's files are left when it wakes, or none",
    "G-1": "the writer dies in the swap of a merge, or beside it",
    "G-3": "a query of Mishards is in flight when it is reset, or is not",
    "G-4": "as F-8",
    "G-7": "the writer flushes when its mount dies, or does not",
    "G-8": "as G-1 and G-4",
}
"""Claims whose documented failure needs a coincidence, with what that is. All others end the same each time."""

INFORMATION: Mapping[str, str] = {"U-4": "the way back"}
"""Claims of the upgrade that are told and decide nothing: few components promise a downgrade."""

UPGRADE, PERFORMANCE = "upgrade", "performance"
PARTS = (UPGRADE, PERFORMANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one gate does. `claims` maps those that it runs to the reason; empty: all there are.

    No claim is repeated once `repeat_until_s` seconds of the gate have gone by: what then is not settled is unknown.
    """

    name: str
    says: str
    claims: Mapping[str, str] = field(default_factory=dict)
    repeat_until_s: float

    def choose(self, known: Collection[str], only: Collection[str] = ()) -> list[str]:
        """The claims to run, in the order of the catalogue: those asked for, else those of the profile.

        Raises UsageError for one that was asked for and does not exist. One that the profile names always does; a test
        sees to that.
        """
        if missing := sorted(set(only) - set(known), key=order):
            raise UsageError(f"--claims={','.join(only)}: no claim {', '.join(missing)}; see CLAIMS.md")
        return sorted(set(only) or (set(self.claims) & set(known) if self.claims else set(known)), key=order)


def _for(reason: str, claims: str) -> dict[str, str]:
    return dict.fromkeys(claims.split(), reason)


_QUICK = {
    **_for("what is written is found, once, at every door", "V-1 V-8 V-9 V-14 R-2"),
    **_for("mended by a setting: --entry-cache 0, READ-COMMITTED, recovery_error_ignore", "V-6 R-4 F-14"),
    **_for("nothing acknowledged dies with its writer", "F-4"),
    **_for("a dead mount is loud and can be mended", "F-11"),
    **_for("the file system under it all: close-to-open, durable, the same in all layers", "J-1 J-2 J-4"),
}
_STANDARD = {
    **_QUICK,
    **_for("visibility and deletes, all of it that ends the same each time", "V-2 V-3 V-7 V-10 V-11 V-12 V-15"),
    **_for("answers are exact, merged right, and of a reader alone", "R-1 R-3 R-5"),
    **_for("varies by chance, but takes 15 s: readers while the writer merges", "R-7"),
    **_for("parts that freeze, restart or lose their host", "F-2 F-5 F-7"),
    **_for("the stores go and come back", "F-9 F-10"),
    **_for("full disks", "F-16 F-17"),
    **_for("locks, held-open files, appends, ways of storing, two mounts as one folder", "J-3 J-5 J-6 J-7 J-8"),
}

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="quick",
            says="a few minutes: one claim of each kind, none that varies by chance",
            claims=_QUICK,
            repeat_until_s=300,
        ),
        Profile(
            name="standard",
            says=(
                "20 minutes on 2 cores: all but what takes longest. Left out: V-4 and V-5 (85 s a run, up to five runs "
                "of each side; their checkers judge the history of the upgrade, too), F-8, F-21 and the grid, which "
                "vary by chance as well, what waits out long time-outs (F-1, F-3, F-6, F-12, F-15, F-18, F-19), and "
                "F-13 and F-20, which take 30 s more"
            ),
            claims=_STANDARD,
            repeat_until_s=960,
        ),
        Profile(
            name="full",
            says="twice as long as `make cluster`, and more: every claim, of the fault grid its sample",
            repeat_until_s=7200,
        ),
    )
}


def without(words: Iterable[str]) -> frozenset[str]:
    """The parts that are left out. Raises UsageError for one that is none."""
    parts = frozenset(words)
    if unknown := sorted(parts - set(PARTS)):
        raise UsageError(f"--without={','.join(unknown)}: must be of {', '.join(PARTS)}")
    return parts
