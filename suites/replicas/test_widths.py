"""Answers of readers that have fewer rows than were asked for: does Mishards still make one right answer of them?

Milvus answers with as many columns as it has rows, so what the readers send differs in width whenever the share of one
holds fewer rows than topk. Which reader searches which segment is up to Mishards' hash ring; here it is found out by
asking, partition by partition, and the layouts are then chosen by partition tags.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fixtures.claims import Trial, claim, deviates, holds
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.wire import MetricType
from suites.oracle import Question
from suites.support import DIMENSION, Rows, connect_all, insert_flushed, served

SMALL, BIG = 3, 20
"""Rows of a segment: fewer than topk, and more."""
TOP_K = 10
WIDE_K = 100
QUERIES = 4
MOST_PARTITIONS = 60
NEEDED = {SMALL: 2, BIG: 2}
"""Segments of each size that each of two readers must have. All on one reader by chance: never in 60 of them."""
METRICS = (MetricType.L2, MetricType.IP)
SPOILT_OUTRIGHT = ("list index out of range", "unreadable answer")
"""How it fails where it does not answer: the exception, or rows of unequal length in one flat list."""
SPOILT_BY_WIDTH = frozenset(
    {
        "wrong width",
        "missing neighbour",
        "wrong neighbour",
        "wrong order",
        "wrong distance",
        "duplicate id",
        "pad inside",
    }
)
"""What merging by the width of the last answer can do to one: rows cut off, or ids of one query under another."""


@dataclass(frozen=True, slots=True)
class Part:
    """A partition of one segment, and the reader that searches it for Mishards."""

    tag: str
    rows: Rows
    reader: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Which segments are searched; `narrow` if some reader's share has fewer rows than `k`, and another's differs."""

    name: str
    parts: list[Part]
    k: int = TOP_K

    @property
    def shares(self) -> dict[str, int]:
        """Rows by reader."""
        rows: dict[str, int] = {}
        for part in self.parts:
            rows[part.reader] = rows.get(part.reader, 0) + len(part.rows)
        return rows

    @property
    def narrow(self) -> bool:
        return len(self.shares) > 1 and min(self.shares.values()) < self.k


@dataclass(slots=True)
class Spread:
    """The collection as it grows, until two readers have what the layouts need."""

    name: str
    parts: list[Part] = field(default_factory=list)

    def on(self, reader: str, size: int) -> list[Part]:
        return [part for part in self.parts if part.reader == reader and len(part.rows) == size]

    def pair(self) -> tuple[str, str] | None:
        """Two readers that have enough, if there are."""
        readers = sorted({part.reader for part in self.parts})
        ready = [each for each in readers if all(len(self.on(each, size)) >= n for size, n in NEEDED.items())]
        return (ready[0], ready[1]) if len(ready) > 1 else None


@claim(
    "R-3",
    "answers of readers that differ in width are merged into the right one",
    source="facts 5.8, 7.6; measured 4.3; milvus #5191, #4797",
    expected={
        "1.1.0": deviates(
            "rows missing, ids under the wrong query, or an exception, without a word of it", "milvus #5191"
        ),
        "1.1.1": holds("repaired: milvus #5191"),
    },
    needs=("stop mishards", "logs"),
    witnesses=("split over two readers", "whole on one reader"),
)
def test_answers_of_different_width(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    clients = connect_all(cluster, history)
    for metric in METRICS:
        spread = _grow(cluster, clients, names(metric.name), metric, seed)
        pair = spread.pair()
        if pair is None:
            trial.note(f"{metric.name}: {len(spread.parts)} segments, and one reader has them all")
            return
        for layout in _layouts(spread, *pair):
            _ask_everywhere(cluster, trial, clients, spread.name, layout, metric, seed)
        trial.progress(f"{metric.name}: {len(spread.parts)} segments, readers {', '.join(pair)}")


def _grow(cluster: Cluster, clients: dict[str, Client], name: str, metric: MetricType, seed: int) -> Spread:
    """Add partitions, small and big in turn, and see who is asked for each."""
    writer, proxy = clients[cluster.writer.name], clients[cluster.mishards.name]
    writer.create_collection(name, DIMENSION, metric).require()
    spread = Spread(name)
    before = served(cluster)
    while spread.pair() is None and len(spread.parts) < MOST_PARTITIONS:
        number = len(spread.parts)
        # All tags of one length: Mishards takes a tag for the beginning of one (claim V-11).
        tag = f"part{number:02}"
        rows = Rows.make(seed, number * 100, SMALL if number % 2 else BIG)
        writer.create_partition(name, tag).require()
        insert_flushed(writer, name, rows, tag)
        proxy.search(name, rows.vectors[:1], 1, tags=[tag]).require()
        now = served(cluster)
        asked = [each for each, count in now.items() if count > before[each]]
        if len(asked) > 1:
            raise AssertionError(f"a search of {tag} alone, which is one segment, was sent to {', '.join(asked)}")
        (reader,) = asked
        spread.parts.append(Part(tag, rows, reader))
        before = now
    return spread


def _layouts(spread: Spread, one: str, two: str) -> list[Layout]:
    """As in the measurement of a real cluster. Of two readers, the one whose segment is older is merged first."""
    small, big = {r: spread.on(r, SMALL) for r in (one, two)}, {r: spread.on(r, BIG) for r in (one, two)}
    layouts = [
        Layout("a narrow one alone", small[one][:1]),
        Layout("narrow and wide on one reader", [small[one][0], big[one][0]]),
        Layout("wide and wide", [big[one][0], big[two][0]]),
        Layout("more than topk in both shares", [small[one][0], big[one][0], small[two][0], big[two][0]]),
        Layout("narrow and narrow", [small[one][0], small[two][0]]),
        Layout("two narrow and one narrow", [*small[one][:2], small[two][0]]),
        Layout("all narrower than topk", [*small[one][:2], *big[one][:1], *big[two][:2]], WIDE_K),
    ]
    for narrow, wide in ((one, two), (two, one)):
        for order in (0, 1):
            layouts.append(Layout(f"narrow on {narrow}, wide on {wide}", [small[narrow][order], big[wide][1 - order]]))
    return layouts


def _ask_everywhere(
    cluster: Cluster,
    trial: Trial,
    clients: dict[str, Client],
    name: str,
    layout: Layout,
    metric: MetricType,
    seed: int,
) -> None:
    rows = Rows.join(part.rows for part in layout.parts)
    question = Question.about(rows.vectors, rows.ids, metric, seed=seed, queries=QUERIES, k=layout.k)
    tags = [part.tag for part in layout.parts]
    for door, client in clients.items():
        before = served(cluster) if door == cluster.mishards.name else {}
        reply = client.search(name, question.queries, layout.k, tags=tags)
        if before:
            asked = {reader for reader, count in served(cluster).items() if count > before[reader]}
            if asked == set(layout.shares):
                kind = "split over two readers" if len(asked) > 1 else "whole on one reader"
                trial.witness(kind, layout=layout.name, shares=layout.shares)
        excused = door == cluster.mishards.name and layout.narrow
        _judge(trial, door, f"{metric.name}, {layout.name}", question, reply, excused=excused)


def _judge(trial: Trial, door: str, what: str, question: Question, reply: Reply, *, excused: bool) -> None:
    """Exact, or wrong in the documented way where that is excused; a row that was not asked for is never excused."""
    if not reply.ok:
        known = excused and any(words in reply.reason for words in SPOILT_OUTRIGHT)
        (trial.deviate if known else trial.check)(False, f"{what}: {reply.reason}"[:200], node=door)
        return
    strangers = np.setdiff1d(np.unique(reply.ids), [*question.ids.tolist(), -1])
    text = f"{what}: {len(strangers)} rows of other partitions, or of none: {strangers[:5].tolist()}"
    trial.check(not len(strangers), text, node=door)
    rules = {str(finding.facts.get("rule", finding.message)) for finding in question.findings(reply)}
    hold = trial.deviate if excused and rules <= SPOILT_BY_WIDTH else trial.check
    hold(not rules, f"{what}: {', '.join(sorted(rules))}", node=door, operation=reply.operation.index)
