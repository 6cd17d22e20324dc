"""All checkers on one history: what each says of each collection and node. Nothing here talks to a cluster.

Not judged are kNN exactness, since a journal has no vectors, and what comes after a collection or one of its partitions
was dropped, since nobody knows any more which rows are left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fixtures.claims import Finding, Verdict
from fixtures.history import Operation, Outcome, Window
from suites.checks.availability import Availability, check_availability
from suites.checks.counts import check_counts, expected_count, settled_s
from suites.checks.elements import Level
from suites.checks.loss import check_loss
from suites.checks.replay import told
from suites.checks.sessions import check_monotonic_writes, check_read_your_writes
from suites.checks.set_full import SetFull, check_monotonic, check_set_full

_DROPS = ("drop_collection", "drop_partition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a history is held against.

    `bound_s` is how long an acknowledged row may stay unread, and a count wrong. None, for flushed rows only: for ever,
    so that staleness is told and not judged. `recovery_s` is how soon after a fault all must be well again; None: at
    some time. The nodes in `acknowledged_by` alone promise anything (None: all). `refusals` are the codes of requests
    turned down.
    """

    level: Level = Level.FLUSHED
    bound_s: float | None = None
    recovery_s: float | None = None
    acknowledged_by: Collection[str] | None = None
    refusals: Collection[int] = ()

    def __post_init__(self) -> None:
        if self.level is Level.CALLED and self.bound_s is None:
            raise ValueError("rows that are not flushed need a bound: how long they may take to show")

    @property
    def grace_s(self) -> float:
        return self.bound_s or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one checker says of one node: `says` in a line, `findings` for what is broken, figures in `facts`."""

    checker: str
    collection: str
    node: str
    verdict: Verdict
    says: str
    findings: Sequence[Finding] = field(default_factory=list)
    facts: Mapping[str, object] = field(default_factory=dict)


def judge_history(
    operations: Sequence[Operation],
    windows: Sequence[Window],
    rules: Rules,
    progress: Callable[[str], None] = lambda _what: None,
) -> Iterator[Judgement]:
    """Each checker's word on each collection that was written to, node by node, then on each node's availability."""
    for collection in written_collections(operations):
        history, dropped_s = until_dropped(operations, collection)
        for node in _readers(history, collection):
            progress(f"{collection} at {node}")
            yield from _of_node(history, windows, collection, node, rules)
        yield from _read_your_writes(history, collection, rules)
        yield from _counts(history, collection, rules)
        if dropped_s is not None:
            says = f"dropped, or a partition of it, at {dropped_s:.3f} s: what came then is not judged"
            yield Judgement(checker="drop", collection=collection, node="", verdict=Verdict.UNKNOWN, says=says)
    for node in dict.fromkeys(operation.node for operation in operations) if windows else ():
        progress(f"availability of {node}")
        yield _availability(
            check_availability(
                operations, windows, node=node, refusals=rules.refusals, recovery_bound_s=rules.recovery_s
            )
        )


def written_collections(operations: Iterable[Operation]) -> list[str]:
    """The collections that anything was inserted into, in the order of the first time."""
    return list(dict.fromkeys(each.collection for each in operations if each.kind == "insert"))


def until_dropped(operations: Iterable[Operation], collection: str) -> tuple[list[Operation], float | None]:
    """What concerns a collection until it, or a partition, may have been dropped, and when that began (None: never).

    Of the calls that began before, answers that came after it are left out.
    """
    history = [each for each in operations if each.collection in (collection, "")]
    drops_s = [each.invoked_s for each in history if each.kind in _DROPS and each.outcome is not Outcome.FAILED]
    if not drops_s:
        return history, None
    cut_s = min(drops_s)
    kept = []
    for each in history:
        late = each.completed_s is None or each.completed_s >= cut_s
        answer = "asked" in each.request or each.kind in ("count", "stats")
        if each.invoked_s < cut_s and not (late and answer):
            kept.append(each)
    return kept, cut_s


def _readers(history: Iterable[Operation], collection: str) -> list[str]:
    return list(
        dict.fromkeys(each.node for each in history if each.collection == collection and "asked" in each.request)
    )


def _of_node(
    history: Sequence[Operation], windows: Sequence[Window], collection: str, node: str, rules: Rules
) -> Iterator[Judgement]:
    by = rules.acknowledged_by
    full = check_set_full(
        history, collection=collection, node=node, level=rules.level, grace_s=rules.grace_s, acknowledged_by=by
    )
    yield _set_full(full, rules)
    monotonic = check_monotonic(history, collection=collection, node=node)
    says = f"{len(monotonic.gaps)} of {monotonic.reads} reads missed a row that an earlier one had found"
    yield Judgement(
        checker="monotonic reads",
        collection=collection,
        node=node,
        verdict=monotonic.verdict,
        says=says,
        findings=monotonic.findings(),
    )
    writes = check_monotonic_writes(history, collection=collection, node=node, acknowledged_by=by)
    says = f"{len(writes.disorders)} of {writes.reads} reads saw a session's later write without its earlier one"
    yield Judgement(
        checker="monotonic writes",
        verdict=writes.verdict,
        says=says,
        findings=writes.findings(),
        collection=collection,
        node=node,
    )
    began_s = [window.began_s for window in windows]
    lost = check_loss(
        history, collection=collection, node=node, disasters_s=began_s, grace_s=rules.grace_s, acknowledged_by=by
    )
    says = (
        f"of {lost.acknowledged} acknowledged rows {lost.kept} kept, {lost.unread} not read at the end, "
        f"lost {lost.flushed.count} flushed and {lost.unflushed.count} unflushed"
    )
    if lost.lost:
        says += f", from up to {lost.recovery_point_s:.3f} s before"
    verdict, findings = lost.verdict, lost.findings()
    if rules.level is Level.FLUSHED:
        # Rows that were never flushed promise nothing here.
        findings = [finding for finding in findings if finding.facts["rule"] == "lost: flushed"]
        verdict = Verdict.VIOLATED if findings else Verdict.HOLDS if lost.kept else Verdict.UNKNOWN
    yield Judgement(checker="loss", verdict=verdict, says=says, findings=findings, collection=collection, node=node)


def _set_full(full: SetFull, rules: Rules) -> Judgement:
    late = full.stable_latency_s
    says = (
        f"{full.reads} reads of {full.attempted} rows: {full.stable} stable ({full.stale} stale), "
        f"{full.lost.count} lost, {full.never_read} never read; {len(full.misses)} reads missed a row"
    )
    if late is not None:
        says += f"; stable after {late.p50:.3f} s median, {late.p99:.3f} s 99 %, {late.p100:.3f} s at most"
    findings = full.findings()
    if rules.bound_s is not None:
        what = f"missed rows known for more than {rules.bound_s:g} s"
        findings += told(full.misses, full.node, what, "staleness")
    verdict = full.verdict if rules.bound_s is None else full.staleness
    return Judgement(
        checker="set-full",
        collection=full.collection,
        node=full.node,
        verdict=Verdict.VIOLATED if findings else verdict,
        says=says,
        findings=findings,
        facts={"stable": full.stable, "stale": full.stale, "lost": full.lost.count, "never_read": full.never_read},
    )


def _read_your_writes(history: Sequence[Operation], collection: str, rules: Rules) -> Iterator[Judgement]:
    sessions = check_read_your_writes(
        history,
        collection=collection,
        level=rules.level,
        here_s=0.0 if rules.level is Level.FLUSHED else rules.grace_s,
        elsewhere_s=float("inf") if rules.bound_s is None else rules.bound_s,
        acknowledged_by=rules.acknowledged_by,
    )
    for session in sessions:
        yield Judgement(
            checker="read your writes",
            collection=collection,
            node=session.node,
            verdict=session.verdict,
            says=f"{len(session.misses)} of {session.reads} reads of {session.session} missed rows of its own",
            findings=session.findings(),
        )


def _counts(history: Sequence[Operation], collection: str, rules: Rules) -> Iterator[Judgement]:
    """Counts asked for once all that is sure had settled, held against what the history says was stored."""
    by = rules.acknowledged_by
    settled = settled_s(history, collection=collection, level=rules.level, acknowledged_by=by) + rules.grace_s
    expected = expected_count(history, collection=collection, acknowledged_by=by)
    for each in history:
        if each.kind not in ("count", "stats") or each.collection != collection or each.outcome is not Outcome.OK:
            continue
        told = each.reply.get("value", each.reply.get("row_count"))
        if each.invoked_s > settled and isinstance(told, int):
            findings = check_counts({each.node: told}, expected)
            yield Judgement(
                checker="count",
                collection=collection,
                node=each.node,
                verdict=Verdict.VIOLATED if findings else Verdict.HOLDS,
                says=f"{told} rows of {expected} (operation {each.index})",
                findings=findings,
            )


def _availability(result: Availability) -> Judgement:
    told = [f"{result.answered} of {result.asked} calls answered ({result.share:.1%})"]
    for outage in result.outages:
        error = "no error" if outage.first_error_s is None else f"first error after {outage.first_error_s:.3f} s"
        well = "not seen well again" if outage.recovered_s is None else f"well again within {outage.recovered_s:.3f} s"
        told.append(f"{', '.join(outage.faults)}: {error}, {outage.answered} of {outage.asked} answered, {well}")
    return Judgement(
        checker="availability",
        collection="",
        node=result.node,
        verdict=result.verdict,
        says="; ".join(told),
        findings=result.findings(),
        facts={"errors": dict(result.errors)},
    )
