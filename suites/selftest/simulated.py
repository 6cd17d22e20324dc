"""A simulated cluster that keeps its promises, and the same with one of them broken: histories for the checkers' tests.

One writer applies changes in the order of its log; a flush, asked for or automatic, makes a *version* of all that was
applied; a reader shows each version at most `LAG_S` later, the versions in their order. Clients work side by side, one
call at a time each. A node is killed or frozen for a while: calls fail, or end without anybody knowing whether they
were carried out, some of them much later. Everything follows from the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fixtures.history import Operation, Outcome, Window
from fixtures.rowids import encode

COLLECTION = "c"
WRITER, READER = "writer", "reader-1"
NODES = (WRITER, READER)
LAG_S = 1.0
AUTO_FLUSH_S = 1.0
WORK_S = 5.0
OUTAGE_S = 2.0
UNFLUSHED_S = AUTO_FLUSH_S + OUTAGE_S + LAG_S
"""How long an acknowledged row may stay unread: until the next automatic flush, an outage meanwhile, and the lag."""

View = Counter[int]


@dataclass(slots=True)
class Call:
    """One call of one client: `at_s` is when it takes effect, None if it never does; `found` and `count` come later."""

    client: str
    node: str
    kind: str
    ids: list[int]
    invoked_s: float
    at_s: float | None
    completed_s: float
    outcome: Outcome
    reply: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A simulated history. `broke` counts the times the chosen break changed what somebody saw."""

    operations: list[Operation]
    windows: list[Window]
    broke: int


def simulate(seed: int, break_name: str = "") -> Run:
    """One run; with the name of a break (BREAKS), of a cluster that breaks that one promise."""
    rng = random.Random(seed)
    windows = _faults(rng)
    calls = _calls(rng, windows)
    breaking = Breaking(break_name, rng.choice(NODES), windows)
    _carry_out(rng, calls, windows, breaking)
    calls.sort(key=lambda call: call.invoked_s)
    operations = [_operation(index, call) for index, call in enumerate(calls)]
    return Run(operations, windows, breaking.showed)


def _faults(rng: random.Random) -> list[Window]:
    windows: list[Window] = []
    for _ in range(rng.randint(0, 2)):
        began_s = rng.uniform(1.0, WORK_S - OUTAGE_S)
        ended_s = began_s + rng.uniform(0.3, OUTAGE_S)
        window = Window(name=rng.choice(["kill", "pause"]), target=rng.choice(NODES), began_s=began_s, ended_s=ended_s)
        # One fault at a time, so that no outage is longer than said.
        if all(other.target != window.target for other in windows):
            windows.append(window)
    return windows


def _calls(rng: random.Random, windows: list[Window]) -> list[Call]:
    """What the clients do: three write, one of them reads what it wrote; two read at each node; all read at the end."""
    ids: list[int] = []
    calls: list[Call] = []
    for number in range(3):
        calls += _busy(rng, f"writer-{number}", WRITER, windows, lambda: _write(rng, ids))
    ids.sort()
    for node in NODES:
        for number in range(2):
            calls += _busy(rng, f"{node}-{number}", node, windows, lambda: ("search", _some(rng, ids, 8)))
    end_s = WORK_S + 2 * LAG_S
    calls += [_done("last", WRITER, "flush", [], end_s)]
    for number, node in enumerate(NODES):
        calls += [_done(f"last-{node}", node, "search", sorted(set(ids)), end_s + UNFLUSHED_S + 0.1 * number)]
        calls += [_done(f"last-{node}", node, "count", [], end_s + UNFLUSHED_S + 1 + 0.1 * number)]
    return calls


def _busy(
    rng: random.Random,
    client: str,
    node: str,
    windows: list[Window],
    choose: Callable[[], tuple[str, list[int]]],
) -> list[Call]:
    """The calls of one client, one after the other."""
    calls = []
    now_s = rng.uniform(0.0, 1.0)
    while now_s < WORK_S:
        kind, ids = choose()
        took_s = rng.uniform(0.01, 0.6)
        call = Call(client, node, kind, ids, now_s, now_s + took_s * rng.random(), now_s + took_s, Outcome.OK)
        _disturb(rng, call, windows)
        calls.append(call)
        now_s = call.completed_s + rng.uniform(0.1, 1.6)
    return calls


def _write(rng: random.Random, ids: list[int]) -> tuple[str, list[int]]:
    """What a writing client does next: mostly it inserts, new rows or some that it, or another, has written before."""
    dice = rng.random()
    if dice < 0.25:
        return "flush", []
    if dice < 0.4:
        return "search", _some(rng, ids, 6)
    if dice < 0.5 and ids:
        return "delete", _some(rng, ids, 2)
    if dice < 0.55 and ids:
        return "insert", _some(rng, ids, 1)
    first = len(ids) * 2
    new = list(range(first, first + rng.randint(1, 3)))
    ids += new
    return "insert", new


def _some(rng: random.Random, ids: list[int], most: int) -> list[int]:
    return sorted(set(rng.sample(ids, min(len(ids), most))))


def _done(client: str, node: str, kind: str, ids: list[int], at_s: float) -> Call:
    return Call(client, node, kind, ids, at_s, at_s + 0.01, at_s + 0.02, Outcome.OK)


def _disturb(rng: random.Random, call: Call, windows: list[Window]) -> None:
    """What the faults of its node make of a call: refused, cut off, or answered when the node goes on."""
    for window in windows:
        ended_s = window.ended_s or window.began_s
        if window.target != call.node or call.completed_s < window.began_s or call.invoked_s > ended_s:
            continue
        changes = call.kind in ("insert", "delete", "flush")
        if window.name == "kill" and call.invoked_s >= window.began_s:
            call.outcome, call.at_s, call.completed_s = Outcome.FAILED, None, call.invoked_s + 0.01
        elif window.name == "kill":
            call.outcome = Outcome.UNKNOWN if changes else Outcome.FAILED
            done = call.at_s is not None and call.at_s < window.began_s and rng.random() < 0.5
            call.at_s = call.at_s if done and changes else None
            call.completed_s = window.began_s + 0.01
        elif rng.random() < 0.5:
            # The client gave up; the node may carry it out when it goes on, long after that.
            call.outcome, call.completed_s = Outcome.UNKNOWN, max(call.completed_s, window.began_s) + 0.2
            call.at_s = ended_s + rng.uniform(0.0, 3.0) if changes and rng.random() < 0.7 else None
        else:
            call.at_s, call.completed_s = ended_s + 0.05, ended_s + 0.1


class Breaking:
    """One broken promise, if `name` names one: what it makes of a view that somebody is about to see."""

    def __init__(self, name: str, node: str, windows: list[Window]) -> None:
        self.name = name
        self.node = node
        self.showed = 0
        self._windows = windows
        self._turn = 0

    def applies(self, log: list[tuple[str, int]], flushed: int) -> list[tuple[str, int]]:
        """The log after a kill of the writer: all of it, unless its tail is lost."""
        return log[:flushed] if self.name == "lost tail" else log

    def of(self, node: str, versions: list[View], at_s: float) -> View:
        """What a node shows of the versions that have reached it, the newest last."""
        view = versions[-1]
        changed = view.copy()
        self._turn += 1
        if self.name == "lost row" and at_s > WORK_S / 2 and view:
            del changed[min(view)]
        elif self.name == "stale reader" and node == READER and at_s > WORK_S / 3:
            changed = versions[len(versions) // 3].copy()
        elif self.name == "forgetful reader" and node == READER and self._turn % 2 and len(versions) > 2:
            changed = versions[-3].copy()
        elif self.name == "keeps deleted rows" and node == READER:
            changed = sum(versions, Counter[int]())
            changed = Counter(dict.fromkeys(changed, 1)) | view
        elif self.name == "resurrects rows" and node == READER and at_s > WORK_S:
            for version in versions:
                changed |= version
        elif self.name == "doubles rows" and node == self.node and view:
            changed[max(view)] += 1
        elif self.name == "out of order" and node == READER and len(versions) > 2:
            changed = view - (versions[-2] - versions[-3])
        self.showed += changed != view
        return changed

    def answers(self, call: Call) -> None:
        """What becomes of an answer on its way."""
        if self.name == "invents rows" and call.node == READER and call.kind == "search":
            call.reply["others"] = [1_000_001]
            self.showed += 1
        elif self.name == "miscounts" and call.node == self.node and call.kind == "count":
            call.reply["value"] = int(str(call.reply["value"])) - 1
            self.showed += 1
        elif self.name == "hides own rows" and call.client.startswith("writer-"):
            self.showed += bool(call.reply["found"])
            call.reply["found"] = []
        elif self.name == "never recovers":
            over_s = [window.ended_s or 0.0 for window in self._windows if window.target == call.node]
            if over_s and call.invoked_s > max(over_s):
                call.outcome, call.reply = Outcome.FAILED, {}
                self.showed += 1


BREAKS = {
    "lost row": "set-full",
    "lost tail": "loss",
    "stale reader": "set-full",
    "forgetful reader": "monotonic reads",
    "keeps deleted rows": "set-full",
    "resurrects rows": "set-full",
    "doubles rows": "set-full",
    "invents rows": "set-full",
    "out of order": "monotonic writes",
    "miscounts": "count",
    "hides own rows": "read your writes",
    "never recovers": "availability",
}
"""Each break, and the checker that is there for it."""


def _carry_out(rng: random.Random, calls: list[Call], windows: list[Window], breaking: Breaking) -> None:
    """Let every call take effect in the order of its moment, and answer the reads."""
    cluster = _Cluster(rng, breaking)
    down = [(w.began_s, w.ended_s or 0.0) for w in windows if w.target == WRITER]
    moments: list[tuple[float, Callable[[], None]]] = []
    for call in calls:
        if call.at_s is not None:
            moments.append((call.at_s, lambda call=call: cluster.carry_out(call)))  # type: ignore[misc]
    phase_s = rng.uniform(0.0, AUTO_FLUSH_S)
    for tick in range(int(2 * WORK_S / AUTO_FLUSH_S)):
        at_s = phase_s + tick * AUTO_FLUSH_S
        if all(not began_s <= at_s <= ended_s for began_s, ended_s in down):
            moments.append((at_s, lambda at_s=at_s: cluster.flush(at_s)))  # type: ignore[misc]
    for window in windows:
        if window.target == WRITER:
            end_s = window.ended_s or 0.0
            if window.name == "kill":
                moments.append((window.began_s + 0.001, cluster.lose_tail))
            moments.append((end_s, lambda end_s=end_s: cluster.flush(end_s)))  # type: ignore[misc]
    for _, happen in sorted(moments, key=lambda moment: moment[0]):
        happen()


class _Cluster:
    def __init__(self, rng: random.Random, breaking: Breaking) -> None:
        self._rng = rng
        self._breaking = breaking
        self._log: list[tuple[str, int]] = []
        self._applied = 0
        self._versions: list[View] = [Counter()]
        self._visible_s: dict[str, list[float]] = {node: [0.0] for node in NODES}

    def carry_out(self, call: Call) -> None:
        assert call.at_s is not None
        if call.kind in ("insert", "delete"):
            self._log += [(call.kind, row) for row in call.ids]
        elif call.kind == "flush":
            self.flush(call.at_s)
        elif call.outcome is Outcome.OK:
            self._answer(call, self._breaking.of(call.node, self._reached(call.node, call.at_s), call.at_s))
            self._breaking.answers(call)

    def flush(self, at_s: float) -> None:
        view = self._versions[-1].copy()
        for kind, row in self._log[self._applied :]:
            if kind == "insert":
                view[row] += 1
            else:
                del view[row]
        self._applied = len(self._log)
        self._versions.append(view)
        for node, times_s in self._visible_s.items():
            lag_s = 0.0 if node == WRITER else self._rng.uniform(0.0, LAG_S)
            times_s.append(max(times_s[-1], at_s + lag_s))

    def lose_tail(self) -> None:
        kept = self._breaking.applies(self._log, self._applied)
        inserted = {row for kind, row in self._log[len(kept) :] if kind == "insert"}
        self._breaking.showed += bool(inserted)
        self._log = list(kept)

    def _reached(self, node: str, at_s: float) -> list[View]:
        times_s = self._visible_s[node]
        return [view for view, time_s in zip(self._versions, times_s, strict=True) if time_s <= at_s]

    @staticmethod
    def _answer(call: Call, view: View) -> None:
        if call.kind == "count":
            call.reply = {"value": view.total()}
            return
        call.reply = {"found": encode([row for row in call.ids if view[row]])}
        if doubled := [row for row in call.ids if view[row] > 1]:
            call.reply["doubled"] = encode(doubled)


def _operation(index: int, call: Call) -> Operation:
    request: dict[str, object] = {}
    if call.kind in ("insert", "delete"):
        request = {"rows": len(call.ids), "ids": encode(call.ids)}
    elif call.kind == "search":
        request = {"asked": encode(call.ids)}
    return Operation(
        index=index,
        client=call.client,
        node=call.node,
        kind=call.kind,
        collection=COLLECTION,
        request=request,
        invoked_s=call.invoked_s,
        completed_s=call.completed_s,
        outcome=call.outcome,
        reply=call.reply if call.outcome is Outcome.OK else {},
    )
