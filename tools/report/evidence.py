"""What lies in a report folder: the document of the run, its histories, and the files that may be linked to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fixtures.history import Stored, read
from fixtures.plugin.conformance import FILE_NAME, SCHEMA_VERSION

Json = Mapping[str, Any]


class Unusable(Exception):
    """What was given is no report, or cannot be written to; the text is one line that says what to do."""


def load(folder: Path) -> Json:
    """The document of the run in `folder`. Raises Unusable."""
    file = folder / FILE_NAME
    if not folder.is_dir():
        raise Unusable(f"{folder}: no such folder; give the folder of a run, the one its last line names")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unusable(f"{folder}: no {FILE_NAME} in it; give the folder of one run{_such_as(folder)}") from None
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}; make it readable, or give another run") from None
    except ValueError as error:
        raise Unusable(f"{file}: no whole report ({error}); give the folder of another run") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version != SCHEMA_VERSION:
        raise Unusable(f"{file}: of schema {version}, this version reads {SCHEMA_VERSION}; use the suite that wrote it")
    return document


def _such_as(folder: Path) -> str:
    """The likeliest mistake is the folder that holds the folders of all runs."""
    runs = sorted(file.parent for file in folder.glob(f"*/{FILE_NAME}"))
    return f", such as {runs[-1]}" if runs else ""


def history(folder: Path, name: str) -> Stored | str:
    """The history that the report names, or why it cannot be had."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        return f"{name} lies outside the report folder and was not read"
    try:
        return read(path)
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    except ValueError as error:
        return f"{name} cannot be read: {error}"


def files(folder: Path) -> Iterator[Path]:
    """Every plain file below the folder, always in the same order. No links: they may lead anywhere."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path
