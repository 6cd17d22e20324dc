"""What is left once all is well again: every row accounted for, at every door, by the journal of the cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fixtures.claims import Trial
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.faults import Fault
from fixtures.history import History
from fixtures.rowids import Ids
from suites.audit import audit
from suites.checks.counts import expected_count
from suites.checks.set_full import DOUBLED, LINGERING, LOST, SetFull, check_set_full
from suites.failover.writing import BATCH, READ_BACK, Writing
from suites.grid.scenarios import NODES, Scenario
from suites.load import Mixing
from suites.support import Rows, look_up, wait_for_quiet_files


def judge(
    cluster: Cluster,
    trial: Trial,
    history: History,
    scenario: Scenario,
    broken: Sequence[Fault],
    writing: Writing,
    mixing: Mixing,
    clients: Mapping[str, Client],
) -> None:
    """Read everything back at every door, and hold the whole history against what was acknowledged."""
    writer = clients[cluster.writer.name]
    for collection in (writing.collection, mixing.collection):
        writer.flush(collection).require()
    trial.progress(f"{scenario.name}: reading back {len(writing.flushed)} batches")
    _read_back(cluster, history, writing, mixing, clients)
    operations = history.operations()
    for door in clients:
        result = check_set_full(operations, collection=writing.collection, node=door, examples=BATCH)
        _judge_written(trial, scenario, broken, writing, result)
    for node in cluster.nodes:
        result = check_set_full(operations, collection=mixing.collection, node=_in_the_end(node.name))
        _judge_mixed(trial, scenario, result)
    for collection in (writing.collection, mixing.collection):
        expected = expected_count(operations, collection=collection)
        for node in cluster.nodes:
            counted = clients[node.name].count(collection).require().value
            text = f"{collection}: {counted} rows counted, {expected} by the journal"
            # What is lost in a documented way shows in the count, too.
            hold = trial.deviate if _may_lose_merged(scenario) else trial.check
            hold(counted in expected, text, node=node.name)
    audit(cluster, trial, writer_quiet=False)
    trial.note(f"{scenario.name}: {len(writing.flushed)} batches flushed, {writing.uncertain} uncertain")


def _read_back(
    cluster: Cluster, history: History, writing: Writing, mixing: Mixing, clients: Mapping[str, Client]
) -> None:
    for client in clients.values():
        for first in range(0, len(writing.flushed), READ_BACK):
            rows = Rows.join(batch.rows for batch in writing.flushed[first : first + READ_BACK])
            look_up(client, writing.collection, rows).reply.require()
    # A search by an index wants its parameters, and finds most rows, not all.
    clients[cluster.writer.name].drop_index(mixing.collection).require()
    wait_for_quiet_files(cluster, mixing.collection, cluster.budgets.merge_s)
    for node in cluster.nodes:
        # A name of its own in the journal: while segments are swapped and deletes are stale on readers (claims V-4 and
        # V-7), what they said meanwhile is another matter. Released, a reader goes by what is stored.
        with Client(_in_the_end(node.name), node.endpoint, history=history) as last:
            last.release(mixing.collection).require()
            look_up(last, mixing.collection, mixing.rows()).reply.require()


def _in_the_end(node: str) -> str:
    return f"{node}, in the end"


def _judge_written(
    trial: Trial, scenario: Scenario, broken: Sequence[Fault], writing: Writing, result: SetFull
) -> None:
    """Nothing of what was flushed is lost, doubled or missing for a moment; no merge ever touches these rows."""
    trial.check(result.stable > 0, "no flushed row was ever read", node=result.node)
    for finding in result.findings():
        rule = finding.facts["rule"]
        rows = result.lost.examples if rule == LOST else result.doubled.examples
        known = (rule == LOST and _may_lose(scenario)) or (rule == DOUBLED and _may_double(scenario))
        hold = trial.deviate if known and _in_flight(rows, writing, broken) else trial.check
        hold(False, finding.message[:300], node=result.node, **{**finding.facts, "rows": rows[:8]})
    worst = [(stale.row, round(stale.latency_s, 3)) for stale in result.worst_stale[:3]]
    text = f"{result.stale} flushed rows were missing in an answer, and there later: {worst}"
    late = [stale.row for stale in result.worst_stale]
    hold = trial.deviate if _may_lose(scenario) and _in_flight(late, writing, broken) else trial.check
    hold(not result.stale, text, node=result.node)


def _judge_mixed(trial: Trial, scenario: Scenario, result: SetFull) -> None:
    for finding in result.findings():
        # A delete is lost in the same way as an insert, and its row is then still there.
        lost = finding.facts["rule"] in (LOST, LINGERING) and _may_lose_merged(scenario)
        doubled = finding.facts["rule"] == DOUBLED and _may_double(scenario)
        hold = trial.deviate if lost or doubled else trial.check
        hold(False, finding.message, node=result.node, **finding.facts)


def _may_lose(scenario: Scenario) -> bool:
    """Whether Insert and Flush may report success though the batch is lost, or there only after the writer's restart.

    They do when MySQL goes away meanwhile (measured S3), when the log's disk is full (claim F-16), and when the storage
    cannot be written: Milvus does not look at the outcome of what it takes from its log (facts 4.1).
    """
    full_log = any(part.how == "full" and part.role == NODES[0] for part in scenario.breaks)
    return full_log or scenario.concerns("mysql") or scenario.kills_mount_of_writer


def _may_lose_merged(scenario: Scenario) -> bool:
    """A merge or compaction cut off between its old rows and its new one loses the segment (facts 2.6)."""
    return _may_lose(scenario) or any(part.role == NODES[0] and part.how == "kill" for part in scenario.breaks)


def _may_double(scenario: Scenario) -> bool:
    """The writer ends, or MySQL goes away, between the row of a segment and the number up to which the log is flushed.

    The replay then inserts the same rows again (facts 4.2).
    """
    return scenario.concerns("mysql") or any(part.role == NODES[0] and part.how == "kill" for part in scenario.breaks)


def _in_flight(lost: Sequence[int] | Ids, writing: Writing, broken: Sequence[Fault]) -> bool:
    """Whether every lost row is of a batch that was under way while something was broken."""
    numbers = {int(row) // BATCH for row in lost}
    batches = [batch for batch in writing.flushed if batch.number in numbers]
    return all(any(batch.during(fault, slack_s=1.0) for fault in broken) for batch in batches)
