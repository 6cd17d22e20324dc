"""Files written and read through a JuiceFS mount, timed; and what the object store keeps of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fixtures.errors import InfrastructureError
from fixtures.services import JuiceFSMount
from fixtures.services.object_store import BUCKET, S3Store
from suites.storage.sides import FETCHED

BLOCK = 1 << 20


def write(path: Path, content: bytes) -> float:
    """Write a new file and close it when all of it is in the object store: the seconds that took."""
    began_s = time.monotonic()
    with path.open("xb", buffering=0) as file:
        for start in range(0, len(content), BLOCK):
            file.write(content[start : start + BLOCK])
        os.fsync(file.fileno())
    return time.monotonic() - began_s


def read(path: Path, content: bytes) -> float:
    """Read a file whose pages the kernel has dropped: the seconds that took.

    Raises InfrastructureError if it is not what was written.
    """
    seen = bytearray(len(content))
    view = memoryview(seen)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        began_s = time.monotonic()
        start = 0
        while count := file.readinto(view[start : start + BLOCK]):
            start += count
        took_s = time.monotonic() - began_s
    if start != len(content) or seen != content:
        raise InfrastructureError(f"{path} is read as {start} bytes that are not the {len(content)} written")
    return took_s


def objects_fetched(mount: JuiceFSMount) -> float:
    """How many objects the mount has read from the store so far."""
    return mount.counters().get(FETCHED, 0.0)


def stored_bytes(store: S3Store, volume: str) -> int:
    """What a volume's files take in the bucket, asked with a client of our own."""
    listed = store.client(timeout_s=30.0).list_objects(BUCKET, prefix=f"{volume}/chunks/", recursive=True)
    return sum(item.size or 0 for item in listed)
