"""Ways to change a file and close it, that another mount is to see when it opens the file: close-to-open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from suites.storage.sides import GONE

SMALL = 4096
_LINES = 200

Change = Callable[[Path, bytes], bytes | str]
"""Changes a file in some way, closes it, and returns what is to be read then: bytes, or the name of an error."""


def _append(path: Path, old: bytes) -> bytes:
    added = os.urandom(SMALL)
    with path.open("ab") as file:
        file.write(added)
    return old + added


def _append_line_by_line(path: Path, old: bytes) -> bytes:
    lines = [f"line {number}\n".encode() for number in range(_LINES)]
    with path.open("ab") as file:
        for line in lines:
            file.write(line)
            file.flush()
    return old + b"".join(lines)


def _overwrite(path: Path, old: bytes) -> bytes:
    new = os.urandom(len(old))
    with path.open("r+b") as file:
        file.write(new)
    return new


def _write_shorter(path: Path, old: bytes) -> bytes:
    new = os.urandom(len(old) // 2)
    path.write_bytes(new)
    return new


def _write_longer(path: Path, old: bytes) -> bytes:
    new = os.urandom(2 * len(old) + 1)
    path.write_bytes(new)
    return new


def _rename_over(path: Path, old: bytes) -> bytes:
    new = os.urandom(len(old))
    other = path.with_name(f"{path.name}.new")
    other.write_bytes(new)
    other.rename(path)
    return new


def _delete(path: Path, _old: bytes) -> str:
    path.unlink()
    return GONE


def _delete_and_recreate(path: Path, old: bytes) -> bytes:
    path.unlink()
    new = os.urandom(len(old) + 1)
    with path.open("ab") as file:
        file.write(new)
        file.flush()
        os.fsync(file.fileno())
    return new


SAME_FILE: dict[str, Change] = {
    "append (juicefs #6323)": _append,
    "append line by line (juicefs #6594)": _append_line_by_line,
    "overwrite in place": _overwrite,
    "write anew, shorter": _write_shorter,
    "write anew, longer": _write_longer,
}
OTHER_FILE: dict[str, Change] = {
    "delete": _delete,
    "rename over": _rename_over,
    "delete and re-create (juicefs #6309, #6345)": _delete_and_recreate,
}
