"""Ids that the server makes: is each given once, and does it name the row that it was given for?"""

from __future__ import annotations

from functools import partial

import numpy as np

from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from suites.support import DIMENSION, Rows, connect_all, in_parallel, watch

INSERTERS = 4
BATCHES = 5
# Over a thousand, so that ids of one insert cross from one microsecond of the server's clock into the next.
BATCH = 1200


@claim(
    "V-14",
    "ids that the server makes for concurrent inserts are all different, and each finds the row that it was given for",
    source="facts 4.1, 5.4: ids are made from the clock, a thousand a microsecond",
    expected={"1.1.0": holds()},
    witnesses=("ids made",),
)
def test_made_ids_are_unique(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    collection = names("made_ids")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION).require()

    def insert_all(number: int) -> list[Rows]:
        # Half of them through Mishards, which only hands on.
        client = cluster.connect((cluster.writer.name, cluster.mishards.name)[number % 2], history=history)
        made = []
        for batch in range(BATCHES):
            rows = Rows.make(seed, (number * BATCHES + batch) * BATCH, BATCH)
            made.append(Rows(client.insert(collection, rows.vectors).require().ids, rows.vectors))
        return made

    inserted = in_parallel({str(number): partial(insert_all, number) for number in range(INSERTERS)})
    batches = [rows for made in inserted.values() for rows in made]
    for rows in batches:
        trial.check(len(rows.ids) == BATCH, f"{len(rows.ids)} ids for {BATCH} rows", node=writer.node)
    every = np.concatenate([rows.ids for rows in batches])
    twice = len(every) - len(np.unique(every))
    if trial.check(twice == 0, f"{twice} of {len(every)} ids were made before", node=writer.node):
        trial.witness("ids made", ids=len(every), inserters=INSERTERS)
    writer.flush(collection).require()
    # The first and last rows of each batch, where a row would be off by one.
    probes = Rows.join(rows.take([0, 1, BATCH // 2, -2, -1]) for rows in batches)
    seen = watch(clients, collection, probes, timeout_s=cluster.budgets.visibility_after_flush_s)
    for door, observed in seen.items():
        trial.check(observed.satisfied, f"rows are not found by their made id: {observed.last_seen}"[:300], node=door)
