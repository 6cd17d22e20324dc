"""The connections between Mishards and MySQL are reset, once."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures import network
from fixtures.claims import Trial, claim, deviates
from fixtures.clients import Client
from fixtures.cluster import Cluster
from fixtures.history import History
from fixtures.plugin import Names
from fixtures.waits import observe
from suites.failover.searching import WEDGED, Warm, make_collection, warm_up
from suites.support import DIMENSION, Rows, connect_all, insert_flushed, look_up

SESSIONS = 10
SEARCHES = 40
CONNECTIONS = 4
_NOT_FOUND = 4


@claim(
    "F-20",
    "one reset of its MySQL connections does not outlast itself: Mishards searches again, all its workers do",
    source="measured-2 1.4, N1",
    expected={
        "1.1.0": deviates(
            "a worker that had kept its session, as after a search that failed with code 4, or whose query was in"
            ' flight, fails for ever ("Can\'t reconnect until invalid transaction is rolled back") until Mishards'
            " restarts; its health check by version stays green meanwhile",
            "measured-2 N1",
        )
    },
    needs=("partition",),
    witnesses=("spread over readers", "sessions kept", "partition", "searched while reset"),
)
def test_mysql_reset(cluster: Cluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    proxy = cluster.mishards.name
    clients = connect_all(cluster, history)
    warm = make_collection(cluster, clients[cluster.writer.name], names("warm"), seed)
    warm_up(trial, cluster, warm, clients.values())
    asking = [cluster.connect(proxy, history=history) for _ in range(CONNECTIONS)]
    # A good search would give the session back, so none comes between this and the reset.
    _keep_sessions(trial, clients[cluster.writer.name], clients[proxy], names("gone"), seed)
    # A rule that answers with resets: to KILL the sessions in MySQL would only end them between two queries.
    with network.partition(cluster.mysql, cluster.mishards, "reject", history) as cut:
        during = _ask(trial, warm, asking)
        for node in cluster.nodes:
            reply = warm.ask(clients[node.name])
            trial.check(not warm.complaints(reply), f"it asks no Mishards: {reply.reason}", node=node.name)
    trial.add(cut.witness)
    if during:
        trial.witness("searched while reset", failed=len(during), of=SEARCHES, error=during[0][:200])
    _check_recovered(cluster, trial, warm, asking)


def _keep_sessions(trial: Trial, writer: Client, proxy: Client, collection: str, seed: int) -> None:
    """Search for what Mishards knows and what has gone: the worker then keeps its session (claim R-4)."""
    rows = Rows.make(seed, 0, 100)
    writer.create_collection(collection, DIMENSION).require()
    insert_flushed(writer, collection, rows)
    look_up(proxy, collection, rows).reply.require()
    writer.drop_collection(collection).require()
    codes = [proxy.search(collection, rows.vectors[:1], 1).code for _ in range(SESSIONS)]
    if set(codes) == {_NOT_FOUND}:
        trial.witness("sessions kept", searches=len(codes), code=_NOT_FOUND)


def _ask(trial: Trial, warm: Warm, asking: Sequence[Client]) -> list[str]:
    """Many searches, on several connections in turn: the complaints. A wrong answer in place of one is a violation."""
    replies = [warm.ask(asking[number % len(asking)]) for number in range(SEARCHES)]
    wrong = [finding for reply in replies for finding in warm.faults_of(reply)]
    trial.check(not wrong, f"a wrong answer instead of an error: {wrong[:1]}", node=asking[0].node)
    return [reply.reason for reply in replies if not reply.ok]


def _check_recovered(cluster: Cluster, trial: Trial, warm: Warm, asking: Sequence[Client]) -> None:
    """All of many searches in a row are good, within the budget; or else Mishards is restarted."""
    proxy, budget_s = cluster.mishards.name, cluster.budgets.mysql_recovery_s
    well = observe(lambda: _ask(trial, warm, asking), accept=lambda said: not said, timeout_s=budget_s)
    if well.satisfied:
        trial.measure("recovered after", well.elapsed_s, "s", budget_s, node=proxy)
        return
    said = well.value or []
    others = [reason for reason in said if WEDGED not in reason]
    trial.check(not others, f"no recovery after {budget_s:.0f} s: {others[:1]}"[:300], node=proxy)
    text = f"{len(said)} of {SEARCHES} searches fail {budget_s:.0f} s after the reset: {WEDGED}"
    trial.deviate(not said, text, node=proxy)
    cluster.mishards.ready()
    trial.note("Mishards answered `Cmd version` all the same: only a search tells that it is sick")
    cluster.mishards.restart()
    healed = observe(
        lambda: _ask(trial, warm, asking), accept=lambda said: not said, timeout_s=cluster.budgets.proxy_restart_s
    )
    trial.check(healed.satisfied, f"not healed by a restart: {healed.last_seen}"[:300], node=proxy)
