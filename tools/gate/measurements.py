"""What both sides took for the same work, measured in turns: as the gate reads it. `measure.py` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from fixtures.plugin import programs
from tools.gate.compare import Change
from tools.gate.results import Measured

FILE_NAME = "performance.json"


def why_not(runtime: str, arguments: Iterable[str]) -> str:
    """Why nothing is measured on this runtime, or with these arguments for pytest; empty where it is."""
    if runtime != "embedded":
        return f"two clusters side by side are measured on the embedded runtime only, not on {runtime}"
    # Its clusters are made from the topologies alone: other programs would be judged there, and stand-ins measured.
    other = [word for word in arguments if word.partition("=")[0] in programs.OPTION_NAMES]
    return f"what is measured are the topologies as they are, without {', '.join(other)}" if other else ""


def read(file: Path) -> list[Measured]:
    """The measurements in a file. Raises ValueError where it has none that can be read."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return [
            Measured(
                name=entry["name"],
                unit=entry["unit"],
                change=Change(entry["change"]),
                reason=entry["reason"],
                pairs=tuple((float(before), float(after)) for before, after in entry["pairs"]),
                ratio=entry["ratio"],
                low=entry["low"],
                high=entry["high"],
                margin=float(entry["margin"]),
            )
            for entry in entries
        ]
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: no measurements ({type(error).__name__}: {error})") from error
