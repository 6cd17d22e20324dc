"""Can a reader be restarted at any time?

Milvus 1.1 fits the log of a starting node, a reader's too, to two numbers in MySQL: how far all is flushed, and how far
each collection is. An explicit Flush of one collection moves only the second, and then a reader, whose log never had
those records, is refused until an auto flush of anything has moved the first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from fixtures.services import MilvusNode
from fixtures.waits import observe
from suites.support import DIMENSION, Rows, connect_all, insert, look_up, settle_log_numbers

BATCH = 100
REFUSED = "Wal init error"


@dataclass(slots=True)
class Served:
    """The collection that the reader serves, and what is in it by now."""

    cluster: Cluster
    writer: Client
    name: str
    scratch: str
    seed: int
    rows: list[Rows]

    def write(self) -> None:
        """Insert a batch; it is not flushed."""
        self.rows.append(Rows.make(self.seed, len(self.rows) * BATCH, BATCH))
        insert(self.writer, self.name, self.rows[-1])

    def flush_one(self) -> None:
        self.write()
        self.writer.flush(self.name).require()

    def flush_all(self) -> None:
        self.write()
        self.writer.flush(None).require()

    def auto_flush(self) -> None:
        settle_log_numbers(self.cluster, self.writer, self.scratch, Rows.make(self.seed, 0, 1))

    def apart(self) -> bool:
        """Whether a collection is flushed further than MySQL says that all are."""
        ((reached,),) = self.cluster.query("SELECT COALESCE(MAX(global_lsn), 0) FROM Environment")
        ((newest,),) = self.cluster.query("SELECT COALESCE(MAX(flush_lsn), 0) FROM Tables WHERE state = 0")
        return int(newest) > int(reached)


@claim(
    "F-14",
    "a reader can be restarted at any time, and is then right",
    source="facts 4.2; measured 5.8",
    expected={
        "1.1.0": deviates(
            'refused ("Wal init error!") after an explicit Flush of a collection, until an auto flush; or with'
            " wal.recovery_error_ignore true, or wal.enable false on readers, never",
            "measured S2",
        )
    },
    witnesses=("one collection flushed further than all", "reader restarted"),
)
@pytest.mark.beside
def test_reader_restarts(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster()
    clients = connect_all(cluster, history)
    writer, victim = clients[cluster.writer.name], cluster.readers[0]
    served = Served(cluster, writer, names("served"), names("scratch"), seed, [])
    for name in (served.name, served.scratch):
        writer.create_collection(name, DIMENSION).require()
    served.flush_one()
    # Where the numbers may part on their own while the reader starts, the known refusal is excused as well.
    moments: list[tuple[str, Callable[[], None], bool]] = [
        ("an auto flush", served.auto_flush, False),
        ("a flush of all collections", served.flush_all, False),
        ("an insert that is not flushed yet", served.write, True),
        ("a flush of one collection", served.flush_one, False),
    ]
    for number, (after, act, parting) in enumerate(moments):
        act()
        apart = served.apart()
        if apart:
            trial.witness("one collection flushed further than all", after=after)
        before = victim.pid
        victim.kill() if number % 2 else victim.stop()
        refusal = victim.start_or_refuse()
        excused = REFUSED in refusal and (apart or parting)
        hold = trial.deviate if excused else trial.check
        hold(not refusal, f"after {after} its start is refused: {_words(refusal)}", node=victim.name)
        if refusal:
            _try_cures(trial, served, victim, history)
        if not victim.is_alive():
            # Said above; there is nobody to ask for more.
            return
        trial.witness("reader restarted", after=after, before=before, now=victim.pid)
        _check_right(trial, served, victim, history)
        trial.progress(f"restarted after {after}")
    _check_mishards(cluster, trial, served, clients[cluster.mishards.name])


def _try_cures(trial: Trial, served: Served, victim: MilvusNode, history: History) -> None:
    """What helps a refused reader, and what does not, as measured; it runs in the end."""
    if served.apart():
        helped = not victim.start_or_refuse(wal="empty")
        trial.note(f"an empty WAL folder {'helps' if helped else 'does not help'}")
        victim.stop()
        for key, value in (("recovery_error_ignore", "true"), ("enable", "false")):
            with _wal_setting(victim, key, value):
                refusal = victim.start_or_refuse()
                text = f"refused with wal.{key}: {value}, too: {_words(refusal)}"
                if trial.check(not refusal, text, node=victim.name):
                    _check_right(trial, served, victim, history)
                    trial.note(f"wal.{key}: {value} helps")
                victim.stop()
    served.auto_flush()
    refusal = victim.start_or_refuse()
    trial.check(not refusal, f"refused after an auto flush, too: {_words(refusal)}", node=victim.name)
    trial.note("an auto flush helps")


@contextlib.contextmanager
def _wal_setting(node: MilvusNode, key: str, value: str) -> Iterator[None]:
    """As its operator would: another value in its configuration for the next start."""
    as_it_was = node.config_path.read_text(encoding="utf-8")
    changed, times = re.subn(rf"(?ms)^(wal:.*?^\s+{key}:) \S+", rf"\g<1> {value}", as_it_was, count=1)
    assert times == 1, f"no wal.{key} in {node.config_path}"
    node.config_path.write_text(changed, encoding="utf-8")
    try:
        yield
    finally:
        node.config_path.write_text(as_it_was, encoding="utf-8")


def _check_right(trial: Trial, served: Served, victim: MilvusNode, history: History) -> None:
    """The restarted reader has every row that was inserted, once, as soon as they are flushed."""
    everything = Rows.join(served.rows)
    with Client(victim.name, victim.endpoint, history=history, name=f"client of {victim.name}, restarted") as client:
        seen = observe(
            lambda: look_up(client, served.name, everything),
            accept=lambda sighting: sighting.complete,
            timeout_s=served.cluster.budgets.visibility_unflushed_s,
        )
        text = f"restarted, it does not find all {len(everything)} rows: {seen.last_seen}"
        trial.check(seen.satisfied, text[:200], node=victim.name)
        doubled = seen.value.doubled if seen.value is not None else ()
        trial.check(not len(doubled), f"restarted, it has {len(doubled)} rows twice", node=victim.name)
        counted = client.count(served.name).require().value
        trial.check(counted == len(everything), f"restarted, it counts {counted} rows", node=victim.name)


def _check_mishards(cluster: Cluster, trial: Trial, served: Served, proxy: Client) -> None:
    """Mishards, which saw none of this, finds it again by itself."""
    began_s = History.now_s()
    budget_s = cluster.budgets.proxy_recovery_s(cluster.budgets.writer_restart_s)
    everything = Rows.join(served.rows)
    seen = observe(
        lambda: look_up(proxy, served.name, everything),
        accept=lambda sighting: sighting.complete,
        timeout_s=budget_s,
    )
    trial.check(seen.satisfied, f"does not find all rows: {seen.last_seen}"[:200], node=proxy.node)
    trial.measure("good again", History.now_s() - began_s, "s", budget_s, node=proxy.node)


def _words(refusal: str) -> str:
    """The line of a long complaint that says why."""
    lines = refusal.splitlines()
    return next((line.strip() for line in lines if "rror" in line), " ".join(lines))[:160]
