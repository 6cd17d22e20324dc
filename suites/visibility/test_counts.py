"""Do the nodes agree on how much there is?"""

from __future__ import annotations

from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from suites.checks.counts import check_counts, check_stats, expected_count
from suites.support import DIMENSION, Rows, connect_all, insert, wait_for_quiet_files


@claim(
    "V-9",
    "counts and statistics of all nodes agree with the oracle once quiet",
    source="facts 5.4: counts are sums of live rows in MySQL, the same for every node",
    expected={"1.1.0": holds()},
    needs=("mysql",),
    witnesses=("several segments", "deleted"),
)
def test_counts_agree(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    collection = names("counted")
    clients = connect_all(cluster, history)
    writer = clients[cluster.writer.name]
    writer.create_collection(collection, DIMENSION, index_file_size_mb=1).require()
    tags = {"_default": 9000, "north": 12_000, "south": 300}
    expected = dict(tags)
    first_id = 0
    for tag, count in tags.items():
        if tag != "_default":
            writer.create_partition(collection, tag).require()
        for part in range(3):
            rows = Rows.make(seed, first_id, count // 3)
            insert(writer, collection, rows, None if tag == "_default" else tag)
            first_id += len(rows)
            if part == 2:
                writer.flush(collection).require()
                writer.delete(collection, rows.ids[:7]).require()
                expected[tag] -= 7
                trial.witness("deleted", partition=tag, rows=7)
    writer.flush(collection).require()
    # Asked once before the last rows: an answer that is kept must not be the one that counts.
    scratch = Rows.make(seed, first_id, 40)
    for client in clients.values():
        client.count(collection).require()
    insert(writer, collection, scratch, "south")
    expected["south"] += len(scratch)
    writer.flush(collection).require()
    files = wait_for_quiet_files(cluster, collection, cluster.budgets.merge_s)
    if len(files) >= len(tags):
        trial.witness("several segments", files=len(files))
    total = expected_count(history.operations(), collection=collection)
    counts = {door: int(client.count(collection).require().value) for door, client in clients.items()}
    wrong = check_counts(counts, total)
    for door, client in clients.items():
        stats = client.stats(collection).require().value
        wrong += check_stats(door, stats, total)
        by_partition = {part["tag"]: part["row_count"] for part in stats["partitions"]}
        trial.check(by_partition == expected, f"statistics {by_partition}, expected {expected}", node=door)
    for finding in wrong:
        trial.check(False, finding.message, node=finding.node, **finding.facts)
    trial.check(not wrong, f"counts {counts}, expected {total}")
