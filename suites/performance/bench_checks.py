"""How long the checkers take, on histories of the size of the article's run. Prints figures; judges nothing.

python -m suites.performance.bench_checks
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fixtures import data
from fixtures.history import Operation, Outcome
from fixtures.rowids import encode
from fixtures.wire import MetricType
from suites.checks.set_full import check_monotonic, check_set_full


def operation(index: int, kind: str, begin_s: float, request: dict[str, object], reply: dict[str, object]) -> Operation:
    return Operation(
        index=index,
        client="bench",
        node="reader-1",
        kind=kind,
        collection="c",
        request=request,
        invoked_s=begin_s,
        completed_s=begin_s + 0.4,
        outcome=Outcome.OK,
        reply=reply,
    )


def whole_reads(rows: int, reads: int) -> list[Operation]:
    """`rows` inserted in ten flushed batches, among `reads` reads that each ask for every row; some miss a few."""
    batch = rows // 10
    history: list[Operation] = []
    for number in range(reads):
        if number % (reads // 10) == 0 and number < reads:
            first = number // (reads // 10) * batch
            inserted: dict[str, object] = {"ids": [[first, first + batch - 1]]}
            history.append(operation(len(history), "insert", 2.0 * number, inserted, {}))
            history.append(operation(len(history), "flush", 2.0 * number + 0.5, {}, {}))
            stored = first + batch
        found: list[object] = [[0, stored - 1]] if number % 7 else [[0, stored // 2], [stored // 2 + 1000, stored - 1]]
        asked: dict[str, object] = {"asked": [[0, rows - 1]]}
        history.append(operation(len(history), "search", 2.0 * number + 1.0, asked, {"found": found}))
    return history


def small_reads(rows: int, reads: int, asked: int) -> list[Operation]:
    """One insert of `rows`, then `reads` reads of `asked` rows drawn at random, all found but one row in each tenth."""
    rng = np.random.default_rng(1)
    history = [
        operation(0, "insert", 0.0, {"ids": [[0, rows - 1]]}, {}),
        operation(1, "flush", 1.0, {}, {}),
    ]
    for number in range(reads):
        ids = rng.integers(0, rows, asked)
        found = ids[1:] if number % 10 == 0 else ids
        history.append(
            operation(len(history), "search", 2.0 + number, {"asked": encode(ids)}, {"found": encode(found)})
        )
    return history


def timed(label: str, work: Callable[[], object]) -> None:
    began_s = time.perf_counter()
    work()
    print(f"{label:<66} {time.perf_counter() - began_s:8.3f} s", flush=True)


def main() -> None:
    for rows in (250_000, 500_000, 1_000_000):
        history = whole_reads(rows, 100)
        timed(
            f"set-full, {rows:>9,} rows x 100 reads of all rows",
            lambda history=history: check_set_full(history, collection="c", node="reader-1"),  # type: ignore[misc]
        )
    timed(
        "monotonic reads, 1,000,000 rows x 100 reads of all rows",
        lambda: check_monotonic(history, collection="c", node="reader-1"),
    )
    for reads in (5_000, 10_000):
        history = small_reads(1_000_000, reads, 100)
        timed(
            f"set-full, 1,000,000 rows x {reads:,} reads of 100 random rows",
            lambda history=history: check_set_full(history, collection="c", node="reader-1"),  # type: ignore[misc]
        )
    rows_128, queries = data.vectors(1, 1_000_000, 128), data.vectors(2, 100, 128)
    ids = np.arange(len(rows_128))
    for metric in (MetricType.L2, MetricType.IP):
        timed(
            f"exact top 10 of 1,000,000 x 128, 100 queries, {metric.name}",
            lambda metric=metric: data.exact_top_k(rows_128, ids, queries, 10, metric),  # type: ignore[misc]
        )


if __name__ == "__main__":
    main()
