"""Does a partition tag select the same rows, whoever is asked?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client, Reply
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from suites.support import DIMENSION, Rows, connect_all, insert

DEFAULT = "_default"
# Some begin like others, and one ends like one: a match of the beginning, of the end or of a part takes too many.
PARTITIONS = ("p", "p1", "p10", "p1x", "xp1", "ab", "abc", DEFAULT)
PARTITION_ROWS = 20
ASKED = (
    ["p"],
    ["p1"],
    ["p10"],
    ["xp1"],
    ["ab", "p10"],
    ["p.*"],
    ["p1$"],
    ["p1", DEFAULT],
    [DEFAULT],
)
UNKNOWN_TAG = "nope"
DROPPED = "xp1"


@claim(
    "V-11",
    "partition tags select the same rows everywhere",
    source="facts 5.5: a tag is a regular expression, matched whole; milvus #1679, #2121",
    expected={
        "1.1.0": deviates("Mishards matches the beginning only: p1 selects p10 too; p1$ selects p1", "milvus #2121")
    },
    needs=("stop mishards",),
    witnesses=("rows in every partition", "tags told apart"),
)
def test_tags_select_the_same_rows(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    collection = names("tagged")
    clients = connect_all(cluster, history)
    proxy = cluster.mishards.name
    rows = _fill(clients[cluster.writer.name], clients[proxy], collection, seed)
    for door, client in clients.items():
        if _selected(client, collection, rows, None) == set(PARTITIONS):
            trial.witness("rows in every partition", node=door, partitions=len(PARTITIONS))
        for tags in ASKED:
            chosen = _selected(client, collection, rows, tags)
            wanted = _matched(tags, re.fullmatch)
            if chosen == wanted and len(wanted) < len(PARTITIONS):
                trial.witness("tags told apart", node=door, tags=tags, partitions=sorted(wanted))
            # Only the documented mistake is excused, and only where it is made.
            known = door == proxy and chosen == _matched(tags, re.match)
            hold = trial.deviate if known else trial.check
            text = f"{tags} selects {_listed(chosen)} instead of {_listed(wanted)}"
            hold(chosen == wanted, text, node=door, tags=tags)
        unknown = client.search(collection, rows["p1"].vectors[:1], 2, tags=[UNKNOWN_TAG])
        trial.check(not unknown.ok, f"an unknown tag is no error: {_ids_of(unknown)}", node=door)
    clients[cluster.writer.name].drop_partition(collection, DROPPED).require()
    for door, client in clients.items():
        left = _selected(client, collection, rows, None)
        text = f"after {DROPPED} was dropped there are {_listed(left)}"
        trial.check(left == set(PARTITIONS) - {DROPPED}, text, node=door)


def _fill(writer: Client, proxy: Client, collection: str, seed: int) -> dict[str, Rows]:
    """The rows of each partition: half written to the writer, half through Mishards."""
    writer.create_collection(collection, DIMENSION).require()
    rows = {}
    for number, tag in enumerate(PARTITIONS):
        rows[tag] = Rows.make(seed, number * 100, PARTITION_ROWS)
        if tag != DEFAULT:
            writer.create_partition(collection, tag).require()
        half = PARTITION_ROWS // 2
        for client, part in ((writer, range(half)), (proxy, range(half, PARTITION_ROWS))):
            insert(client, collection, rows[tag].take(part), None if tag == DEFAULT else tag)
    writer.flush(collection).require()
    return rows


def _selected(client: Client, collection: str, rows: dict[str, Rows], tags: list[str] | None) -> set[str]:
    """The partitions whose rows a search with these tags finds; one found in part has a name of its own.

    Each row is asked for by its own vector. Two neighbours, so that every reader has as many and no answer is narrow,
    which is another claim's matter (R-3).
    """
    everything = Rows.join(rows.values())
    reply = client.search(collection, everything.vectors, 2, tags=tags, asked=everything.ids).require()
    there: set[int] = set()
    if reply.ids.size:
        there = set(everything.ids[(reply.ids == everything.ids[:, None]).any(axis=1)].tolist())
    chosen = set()
    for tag, of_tag in rows.items():
        found = sum(row in there for row in of_tag.ids.tolist())
        if found:
            chosen.add(tag if found == len(of_tag) else f"{tag} ({found} of {len(of_tag)} rows)")
    strays = set(np.unique(reply.ids).tolist()) - set(everything.ids.tolist()) - {-1}
    return chosen | {f"unknown row {row}" for row in strays}


def _matched(tags: Iterable[str], match: Callable[[str, str], object]) -> set[str]:
    """The partitions that the tags select if `match` (of the module re) says what matching is."""
    chosen = {tag for tag in PARTITIONS if tag != DEFAULT and any(match(each, tag) for each in tags)}
    return chosen | ({DEFAULT} & set(tags))


def _listed(partitions: set[str]) -> str:
    return ", ".join(sorted(partitions)) or "nothing"


def _ids_of(reply: Reply) -> list[int]:
    return [int(row) for row in np.unique(reply.ids)]
