"""P-1 judged: what was measured of a first query against the article's 0.032 s. Pure: values in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fixtures.plugin.figures import number
from suites.performance.article.workload import ARTICLE
from suites.performance.intervals import Interval, mean
from suites.performance.verdicts import Judged, Verdict

ARTICLE_S = 0.032
SAID = "0.032 s on average"
"""To load what was newly inserted. The article names neither hardware, index type nor the state of the caches: so each
state is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of one state: what fetching a batch took, and the least it can take, by hand without any Milvus. Seconds."""

    state: str
    fetch_s: Sequence[float]
    floor_s: Sequence[float] = ()


def judge(evidence: Evidence, *, rows: int, implementation: str, seed: int) -> Judged:
    """The verdict over one state.

    Not reproduced, whatever plays Milvus, if the steps below Milvus alone take longer than the article's figure.
    Otherwise the verdict needs a real Milvus: a stand-in loads and searches with other code.
    """
    if not evidence.fetch_s:
        return _judged(evidence, "nothing", Verdict.NOT_COMPARABLE, "no query was proven to be of this state")
    fetch = mean(evidence.fetch_s, seed)
    floor = mean(evidence.floor_s, seed) if evidence.floor_s else None
    verdict, why = _verdict(fetch, floor, rows=rows, implementation=implementation)
    measured = f"{fetch} s, mean of {len(evidence.fetch_s)}"
    return _judged(evidence, measured, verdict, why)


def _verdict(fetch: Interval, floor: Interval | None, *, rows: int, implementation: str) -> tuple[Verdict, str]:
    if rows != ARTICLE.rows:
        return Verdict.NOT_COMPARABLE, f"batches of {number(rows)} rows, not of {number(ARTICLE.rows)}"
    if floor is not None and floor.low > ARTICLE_S:
        why = f"MySQL, metadata and reading the batch take {floor} s by hand, without any Milvus"
        return Verdict.NOT_REPRODUCED, why
    if implementation != "Milvus":
        return Verdict.NOT_COMPARABLE, f"{implementation} loads and searches here; what is under it is the real thing"
    if fetch.high <= ARTICLE_S:
        return Verdict.REPRODUCED, "the whole interval is within the article's figure"
    if fetch.low > ARTICLE_S:
        return Verdict.NOT_REPRODUCED, f"at least {number(fetch.low / ARTICLE_S)} times the article's figure"
    return Verdict.NOT_COMPARABLE, "the article's figure lies within the interval: more batches would tell"


def _judged(evidence: Evidence, measured: str, verdict: Verdict, why: str) -> Judged:
    return Judged(claim=f"P-1 {evidence.state}", said=SAID, measured=measured, verdict=verdict, why=why)
