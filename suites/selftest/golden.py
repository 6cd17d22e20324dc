"""Records of a real cluster, for tests: see data/golden/README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parent / "data" / "golden"
STORAGE = GOLDEN / "storage"


@dataclass(frozen=True)
class Call:
    """One recorded RPC. `code` is the name of its status code, `reason` the text beside it.

    `on` is "writer", "reader" or "proxy"; `wait_s` went by before the call.
    """

    id: str
    on: str
    rpc: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    wait_s: float

    @property
    def code(self) -> str:
        return str(self.response.get("status", self.response).get("error_code"))

    @property
    def reason(self) -> str:
        return str(self.response.get("status", self.response).get("reason"))


def calls(name: str) -> list[Call]:
    """The calls of transcript `name`, in order."""
    lines = (GOLDEN / f"{name}.jsonl").read_text().splitlines()
    return [
        Call(each["id"], each["on"], each["rpc"], each["request"], each["response"], each.get("wait", 0.0))
        for each in map(json.loads, lines)
    ]


def vectors(rows: Mapping[str, Mapping[str, int]]) -> NDArray[Any]:
    """The vectors that a `$rows` macro stands for: float32, or uint8 with eight bits each."""
    macro = rows["$rows"]
    rng = np.random.default_rng(macro["seed"])
    if "bits" in macro:
        return rng.integers(0, 256, size=(macro["n"], macro["bits"] // 8), dtype=np.uint8)
    return rng.random((macro["n"], macro["dim"]), dtype=np.float32)


def answer(call: Call) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids and distances of a recorded search, each of shape (queries, width)."""
    rows = int(call.response["row_num"])
    ids = np.array(call.response["ids"], dtype=np.int64).reshape(rows, -1)
    return ids, np.array(call.response["distances"], dtype=np.float64).astype(np.float32).reshape(rows, -1)
