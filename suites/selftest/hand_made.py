"""Histories written by hand, for the checkers' tests: one call an operation, times as they are told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.history import Operation, Outcome
from fixtures.rowids import encode

COLLECTION = "c"
NODE = "reader-1"


@dataclass
class HandMade:
    """Collects operations; `at` is when one begins, `took` how long it lasts, both in seconds."""

    operations: list[Operation] = field(default_factory=list)

    def insert(self, at: float, ids: Sequence[int], **how: Any) -> Operation:
        return self.add("insert", at, {"rows": len(ids), "ids": encode(ids)}, **how)

    def insert_without_ids(self, at: float, chosen: Sequence[int], **how: Any) -> Operation:
        known = how.get("outcome", Outcome.OK) is Outcome.OK
        return self.add("insert", at, {"rows": len(chosen)}, {"ids": encode(chosen)} if known else {}, **how)

    def flush(self, at: float, collection: str = COLLECTION, **how: Any) -> Operation:
        return self.add("flush", at, {}, collection=collection, **how)

    def delete(self, at: float, ids: Sequence[int], **how: Any) -> Operation:
        return self.add("delete", at, {"ids": encode(ids)}, **how)

    def read(
        self,
        at: float,
        asked: Sequence[int],
        found: Sequence[int],
        doubled: Sequence[int] = (),
        others: Sequence[int] = (),
        **how: Any,
    ) -> Operation:
        reply: dict[str, object] = {"found": encode(found)}
        if doubled:
            reply["doubled"] = encode(doubled)
        if others:
            reply["others"] = encode(others)
        return self.add("search", at, {"asked": encode(asked)}, reply, **{"node": NODE, **how})

    def add(
        self,
        kind: str,
        at: float,
        request: Mapping[str, object],
        reply: Mapping[str, object] | None = None,
        **how: Any,
    ) -> Operation:
        outcome = Outcome(how.get("outcome", Outcome.OK))
        took = how.get("took", 0.5)
        operation = Operation(
            index=len(self.operations),
            client=str(how.get("client", "test")),
            node=str(how.get("node", "writer")),
            kind=kind,
            collection=str(how.get("collection", COLLECTION)),
            request=request,
            invoked_s=at,
            completed_s=at + float(str(took)) if took is not None else None,
            outcome=outcome,
            reply=reply or {},
            error=str(how.get("error", "")),
        )
        self.operations.append(operation)
        return operation

    def save(self, path: Path, faults: Sequence[tuple[str, float, float | None]] = ()) -> Path:
        """Put it on disk, as a run would have, with kills of these targets from when to when."""
        lines = [{"event": "complete", **_plain(operation)} for operation in self.operations]
        lines += [
            {"event": "fault", "name": "kill", "target": target, "began_s": began_s, "ended_s": ended_s}
            for target, began_s, ended_s in faults
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        return path


def _plain(operation: Operation) -> dict[str, Any]:
    fields = Operation.__dataclass_fields__
    return {name: getattr(operation, name) for name in fields} | {"outcome": operation.outcome.value}


def flushed(ids: Sequence[int]) -> HandMade:
    """A history in which `ids` were inserted at 0 and are flush-acknowledged at 1.5."""
    history = HandMade()
    history.insert(0, ids)
    history.flush(1)
    return history
