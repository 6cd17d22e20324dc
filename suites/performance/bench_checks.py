"""How long the checkers take, on histories of the size of the article's run. Prints figures; judges nothing.

python -m suites.performance.bench_checks
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fixtures import data
from fixtures.history import Operation, Outcome
from fixtures.rowids import encode
from fixtures.wire import MetricType
from suites.checks.loss import check_loss
from suites.checks.sessions import check_monotonic_writes
from suites.checks.set_full import check_monotonic, check_set_full
from suites.performance.figures import HEAD, Figure, rows, text_table


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
        half = stored // 2
        found: list[object] = [[0, stored - 1]] if number % 7 else [[0, half], [half + rows // 1000, stored - 1]]
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


def measure_checkers(repeats: int, say: Callable[[str], None]) -> list[Figure]:
    """The checkers' figures, each of `repeats` runs. Takes about 3 GB of memory."""
    figures = []
    for figure in itertools.chain(_of_whole_reads(repeats), _of_small_reads(repeats), _of_oracle(repeats)):
        say(f"{figure.measure.label}: {figure.measured}")
        figures.append(figure)
    return figures


def timed(repeats: int, work: Callable[[], object]) -> list[float]:
    """How long the work took, each time. Seconds."""
    took_s = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - began_s)
    return took_s


def growth(small_s: Sequence[float], large_s: Sequence[float], factor: float) -> float:
    """How the cost grew when the work grew `factor` times: 1 is linear, 2 twice that."""
    return statistics.median(large_s) / statistics.median(small_s) / factor


def _of_whole_reads(repeats: int) -> Iterator[Figure]:
    """The same reads of ten and a hundred times as many rows: what a check costs, and that it grows with the rows."""
    took_s = {}
    for count in (10_000, 100_000, 1_000_000):
        history = whole_reads(count, 100)
        took_s[count] = timed(repeats, functools.partial(check_set_full, history, collection="c", node="reader-1"))
    yield Figure.of("set_full_10k", took_s[10_000])
    yield Figure.of("set_full_100k", took_s[100_000])
    yield Figure.of("set_full", took_s[1_000_000])
    yield Figure.of("set_full_growth", [growth(took_s[100_000], took_s[1_000_000], 10)])
    for key, check in (
        ("monotonic", check_monotonic),
        ("monotonic_writes", check_monotonic_writes),
        ("loss", check_loss),
    ):
        yield Figure.of(key, timed(repeats, functools.partial(check, history, collection="c", node="reader-1")))


def _of_small_reads(repeats: int) -> Iterator[Figure]:
    small, large = small_reads(1_000_000, 5_000, 100), small_reads(1_000_000, 10_000, 100)
    small_s = timed(repeats, lambda: check_set_full(small, collection="c", node="reader-1"))
    large_s = timed(repeats, lambda: check_set_full(large, collection="c", node="reader-1"))
    yield Figure.of("set_full_small", large_s)
    yield Figure.of("set_full_small_growth", [growth(small_s, large_s, 2)])


def _of_oracle(repeats: int) -> Iterator[Figure]:
    vectors, queries = data.vectors(1, 1_000_000, 128), data.vectors(2, 100, 128)
    ids = np.arange(len(vectors))
    for key, metric in (("oracle_l2", MetricType.L2), ("oracle_ip", MetricType.IP)):
        search = functools.partial(data.exact_top_k, vectors, ids, queries, 10, metric)
        yield Figure.of(key, timed(repeats, search))


def main() -> None:
    """Print the checkers' figures."""
    print(text_table(HEAD, rows(measure_checkers(3, lambda line: print(line, flush=True)))))


if __name__ == "__main__":
    main()
