"""Which options of a mount or of a volume read a cold segment faster: by hand, on mounts side by side, in turns."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.cluster import Cluster
from fixtures.extras import extra_mount, extra_volume
from fixtures.services import JuiceFSMount, Volume
from fixtures.waits import Deadline
from suites.performance.article.states import drop_pages
from suites.performance.article.steps import look_up_and_read

MOUNT_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "nothing changed (A/A)": {},
    "--max-fuse-io=1M (128K)": {"fuse_io_kb": 1024},
    "--max-readahead=64 (as JuiceFS sees fit)": {"readahead_mb": 64},
    "--prefetch=4 (1)": {"prefetch": 4},
    "--buffer-size=1024 (300)": {"buffer_mb": 1024},
    "--cache-partial-only (off)": {"cache_partial_only": True},
    "--entry-cache=0 (1)": {"entry_cache_s": 0.0},
}
"""By what is changed, its default in brackets. The first shows what two equal mounts differ by."""

VOLUME_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "format --block-size=1M (4M)": {"block_kb": 1024},
    "format --block-size=16M (4M)": {"block_kb": 16 << 10},
    "format --compress=lz4 (none)": {"compression": "lz4"},
}


def cold_reads(
    cluster: Cluster, folders: Sequence[str], rounds: int, limit: Deadline, say: Callable[[str], None]
) -> Iterator[tuple[str, float, float]]:
    """The same segments read by mounts that differ in one option, each with an empty cache, in turns.

    Gives the option, and the seconds with JuiceFS' own options and with that one, as many rounds as the time allows.
    Raises HarnessError.
    """
    with contextlib.ExitStack() as stack:
        own = _Reading(cluster.volume, stack.enter_context(extra_mount(cluster, "own")))
        others = {
            name: _Reading(cluster.volume, stack.enter_context(extra_mount(cluster, f"mount-{at}", options)))
            for at, (name, options) in enumerate(MOUNT_OPTIONS.items())
        }
        for at, (name, options) in enumerate(VOLUME_OPTIONS.items()):
            volume = stack.enter_context(extra_volume(cluster, f"volume-{at}", options))
            mount = stack.enter_context(extra_mount(cluster, f"volume-{at}", options, volume))
            for folder in folders:
                shutil.copytree(own.mount.point / folder, mount.point / folder)
            others[name] = _Reading(volume, mount)
        for turn in range(rounds):
            if turn and limit.expired:
                return
            folder = folders[turn % len(folders)]
            for name, other in others.items():
                order = (own, other) if turn % 4 in (0, 3) else (other, own)
                took_s = {id(each): each.cold_s(folder) for each in order}
                yield name, took_s[id(own)], took_s[id(other)]
            say(f"cold reads by hand, round {turn + 1} of {rounds}")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A mount of a volume, to read a segment with."""

    volume: Volume
    mount: JuiceFSMount

    def cold_s(self, folder: str) -> float:
        """A segment looked up and read, with nothing of it in a cache of this mount. Seconds."""
        path: Path = self.mount.point / folder
        self.volume.warm_up(path, self.mount.process, evict=True)
        drop_pages(path)
        return look_up_and_read(path)
