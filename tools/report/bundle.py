"""The whole evidence of a run as one archive, the same bytes for the same evidence."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterable
from pathlib import Path


def write(archive: Path, folder: Path, files: Iterable[Path], name: str, mtime_s: int) -> int:
    """Pack `files` of `folder` below a folder `name`, in their order, all from the same moment; how many there were.

    Owners and times of files say nothing about the run, and would make two archives of it differ.
    """
    count = 0
    with (
        archive.open("wb") as out,
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=mtime_s) as zipped,
        tarfile.open(mode="w", fileobj=zipped, format=tarfile.PAX_FORMAT) as packed,
    ):
        for path in files:
            with path.open("rb") as file:
                entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                # A log that still grows is taken as long as it was.
                entry.size = path.stat().st_size
                entry.mtime, entry.mode = mtime_s, 0o644
                packed.addfile(entry, file)
            count += 1
    return count
