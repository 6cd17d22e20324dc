"""Random sequences of everything that changes a collection, held against a model of it at every door.

The model is a dict of rows. Hypothesis chooses the sequence; nothing raises when the cluster is wrong, so a finding
is recorded as it was seen, on the spot, instead of being shrunk in fifty more runs that may not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.plugin import Names
from fixtures.waits import observe
from fixtures.wire import IndexType
from suites.support import DIMENSION, Rows

T = TypeVar("T")
TAGS = ("red", "blue")
FIRST_ROWS = 15
NLIST = 4
NEVER = 1_000_000
"""Ids from here on are never inserted."""
EXACT = {"nprobe": NLIST}
"""All lists of the index are searched, so that it finds what FLAT does."""


@dataclass(slots=True)
class Bench:
    """What every sequence of one test shares. `sequences` and `steps` count what was done."""

    cluster: Cluster
    clients: Mapping[str, Client]
    trial: Trial
    names: Names
    seed: int
    sequences: int = 0
    steps: int = 0
    verbs: set[str] = field(default_factory=set)


class Sequence(RuleBasedStateMachine):
    """One sequence on one collection. `bench` is set by `of`."""

    bench: Bench

    @initialize()
    def create(self) -> None:
        self.name = self.bench.names(f"s{self.bench.sequences}")
        self.bench.sequences += 1
        self.tag_of: dict[int, str] = {}
        self.batches: list[Rows] = []
        self.story: list[str] = []
        self.writer = self.bench.clients[self.bench.cluster.writer.name]
        self.proxy = self.bench.clients[self.bench.cluster.mishards.name]
        self.writer.create_collection(self.name, DIMENSION, index_file_size_mb=1).require()
        for tag in TAGS:
            self.writer.create_partition(self.name, tag).require()
        # Rows from the start, so that half of a sequence does not go by before there is anything to delete.
        for tag in ("", *TAGS):
            self._insert(self.writer, FIRST_ROWS, tag)

    @rule(count=st.integers(1, 40), tag=st.sampled_from(("", *TAGS)), proxied=st.booleans())
    def insert(self, count: int, tag: str, proxied: bool) -> None:
        self._insert(self.proxy if proxied else self.writer, count, tag)

    def _insert(self, door: Client, count: int, tag: str) -> None:
        rows = Rows.make(self.bench.seed, sum(map(len, self.batches)), count)
        door.insert(self.name, rows.vectors, rows.ids, tag or None).require()
        self.tag_of.update(dict.fromkeys(rows.ids.tolist(), tag))
        self.batches.append(rows)
        self._tell(f"insert {count} {tag or 'without a tag'} through {door.node}")

    @precondition(lambda self: self.tag_of)
    @rule(data=st.data(), proxied=st.booleans())
    def delete(self, data: st.DataObject, proxied: bool) -> None:
        # Ids that never were are fair, Milvus acknowledges them; twice the same is not (facts 4.3: counted twice).
        unknown = [NEVER, NEVER + 1]
        ids = data.draw(st.lists(st.sampled_from([*self.tag_of, *unknown]), min_size=1, max_size=12, unique=True))
        door = self.proxy if proxied else self.writer
        door.delete(self.name, ids).require()
        for row in ids:
            self.tag_of.pop(row, None)
        self._tell(f"delete {ids} through {door.node}")

    @rule()
    def flush(self) -> None:
        self.writer.flush(self.name).require()
        self._tell("flush")

    @rule()
    def compact(self) -> None:
        self.writer.compact(self.name).require()
        self._tell("compact")

    @rule()
    def build_index(self) -> None:
        self.writer.create_index(self.name, IndexType.IVF_FLAT, {"nlist": NLIST}).require()
        self._tell("create_index IVF_FLAT")

    @rule()
    def drop_index(self) -> None:
        self.writer.drop_index(self.name).require()
        self._tell("drop_index")

    @rule(tag=st.sampled_from(TAGS))
    def renew_partition(self, tag: str) -> None:
        """Drop a partition with its rows, flushed or not, and make it again, empty."""
        self.writer.flush(self.name).require()
        self.writer.drop_partition(self.name, tag).require()
        self.writer.create_partition(self.name, tag).require()
        self.tag_of = {row: of for row, of in self.tag_of.items() if of != tag}
        self._tell(f"renew partition {tag}")

    @rule()
    def look(self) -> None:
        """After a flush every door finds exactly the rows of the model, and every node counts them.

        Once something was found nothing more is looked for: each further wait would only cost its whole bound.
        """
        if self.bench.trial.violations:
            return
        self.writer.flush(self.name).require()
        self._tell("look")
        readers = {reader.name for reader in self.bench.cluster.readers}
        for door, client in self.bench.clients.items():
            self._hold(door, "found", partial(self._found, client, fresh=door in readers), set(self.tag_of))
            self._hold(door, "counted", partial(self._counted, client), len(self.tag_of))

    def teardown(self) -> None:
        if getattr(self, "batches", None):
            self.look()

    def _found(self, client: Client, *, fresh: bool) -> set[int]:
        """The rows ever inserted that a search finds. A reader is made to look at the deletes again (claim V-7)."""
        if fresh:
            client.release(self.name).require()
        rows = Rows.join(self.batches)
        reply = client.search(self.name, rows.vectors, 2, EXACT, asked=rows.ids).require()
        if len(reply.ids) != len(rows):
            return set()
        return set(rows.ids[(reply.ids == rows.ids[:, None]).any(axis=1)].tolist())

    def _counted(self, client: Client) -> int:
        return int(client.count(self.name).require().value)

    def _hold(self, door: str, what: str, ask: Callable[[], T], expected: T) -> None:
        """Within the bound after a flush, which has room for the swap of a merge, the door says what the model says."""
        bound_s = self.bench.cluster.budgets.visibility_after_flush_s
        seen = observe(ask, accept=lambda value: value == expected, timeout_s=bound_s)
        difference = ""
        if isinstance(seen.value, set) and isinstance(expected, set):
            difference = f"missing {sorted(expected - seen.value)[:8]}, too many {sorted(seen.value - expected)[:8]}"
        text = f"{what}: {difference or f'{seen.value}, not {expected}'}; after {' | '.join(self.story[-6:])}"
        self.bench.trial.check(seen.satisfied, text, node=door, story=list(self.story))

    def _tell(self, step: str) -> None:
        self.bench.steps += 1
        self.bench.verbs.add(step.split()[0])
        self.story.append(step)
