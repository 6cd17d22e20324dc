"""What the article says of metadata and throughput beside a NAS, judged by the ratios that were measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fixtures.plugin.figures import number
from suites.performance.figures import spread
from suites.performance.nas.basics import Seen
from suites.performance.nas.rounds import MIN_ROUNDS, Row, Samples
from suites.performance.verdicts import Judged, Table, Verdict

METADATA_FACTOR = 10.0
"""The article: "ten times"."""
SAID = {
    "P-2": "metadata operations ten times those of a NAS",
    "P-3": "better throughput with one job and with many",
}
NO_NAS = "no NAS stands here (--compare-dir brings one), only other file systems on the same store, and local ones"


def judge_metadata(rows: Sequence[Row], nas: str | None, others: Sequence[str]) -> Judged:
    """P-2, by the geometric means of the metadata operations, one row for each number of jobs."""
    verdict, why = _against(rows, nas, METADATA_FACTOR)
    return Judged(
        claim="P-2",
        said=SAID["P-2"],
        measured=_ratios(rows, others),
        verdict=verdict,
        why=why,
    )


def judge_streams(rows: Sequence[Row], nas: str | None, others: Sequence[str]) -> Judged:
    """P-3, by the geometric means of the streams, one row for each number of jobs."""
    verdict, why = _against(rows, nas, 1.0)
    return Judged(
        claim="P-3",
        said=SAID["P-3"],
        measured=_ratios(rows, others),
        verdict=verdict,
        why=why,
    )


def not_measured(claim: str, why: str) -> Judged:
    """Nothing was measured that could be held against the article's words."""
    return Judged(claim=claim, said=SAID[claim], measured="-", verdict=Verdict.NOT_COMPARABLE, why=why)


def _against(rows: Sequence[Row], nas: str | None, factor: float) -> tuple[Verdict, str]:
    """Reproduced if the whole interval is at or above the factor with every number of jobs; not, if one is below it."""
    if nas is None:
        return Verdict.NOT_COMPARABLE, NO_NAS
    against = {row.what.jobs: row.others[nas] for row in rows}
    told = f"beside {nas}, {', '.join(f'{_jobs(jobs)}: {each.times}' for jobs, each in against.items())}"
    ratios = [each.ratio for each in against.values() if each.ratio is not None and each.decisive]
    if not ratios or len(ratios) < len(against):
        return Verdict.NOT_COMPARABLE, f"not {MIN_ROUNDS} rounds in which all could be done by both; {told}"
    if all(ratio.low >= factor for ratio in ratios):
        return Verdict.REPRODUCED, told
    if any(ratio.high < factor for ratio in ratios):
        return Verdict.NOT_REPRODUCED, told
    return Verdict.NOT_COMPARABLE, f"an interval holds {number(factor)}: more rounds would tell; {told}"


def _ratios(rows: Sequence[Row], others: Sequence[str]) -> str:
    return "; ".join(
        f"{other}: {', '.join(f'{_jobs(row.what.jobs)} {row.others[other].times}' for row in rows)}" for other in others
    )


def _jobs(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs} jobs"


def rates_table(title: str, unit: str, rows: Sequence[Row], others: Sequence[str], samples: Samples, n: int) -> Table:
    """Medians, and in brackets how many times as fast JuiceFS was, with its interval; then what failed."""
    failed = [
        f"{who}: {what}: {', '.join(f'{words} ({count})' for words, count in counted.items())}"
        for (who, what), counted in samples.errors.items()
        if counted
    ]
    rounds = f"{n} round" if n == 1 else f"{n} rounds"
    note = (
        f"{unit}, medians of {rounds} in turns; in brackets how many times as fast JuiceFS was, with a 95 % interval "
        f"from {MIN_ROUNDS} rounds on."
    )
    return Table(
        title=title,
        head=("what", "juicefs", *others),
        body=tuple(
            (
                str(row.what),
                "failed" if row.rate is None else number(row.rate),
                *(str(row.others[name]) for name in others),
            )
            for row in rows
        ),
        note=" ".join([note, *(f"Failed: {'; '.join(failed)}." for _ in failed[:1])]),
    )


def mdtest_table(rates: Mapping[int, Sequence[float]]) -> Table:
    """What JuiceFS' own metadata benchmark says of the same volume, to hold against the mix' `create`."""
    return Table(
        title="Empty files made by `juicefs mdtest`, which goes around FUSE",
        head=("jobs", "files a second: min / median / max"),
        body=tuple((str(jobs), spread(values)) for jobs, values in sorted(rates.items())),
    )


def basics_table(seen: Mapping[str, Mapping[str, Seen]], notes: Mapping[str, str]) -> Table:
    """What each shows another host after a close, beside how it is set up: speed is worth nothing without it."""
    cases = list(dict.fromkeys(case for by_case in seen.values() for case in by_case))
    body = [(case, *(str(by_case[case]) for by_case in seen.values())) for case in cases]
    held = tuple(f"{sum(each.holds for each in by_case.values())} of {len(by_case)}" for by_case in seen.values())
    return Table(
        title="Close-to-open: changed and closed on one mount, then opened on another (claim J-1)",
        head=("change", *seen),
        body=(*body, ("hold at once", *held)),
        note=" ".join(f"{name}: {note}." for name, note in notes.items()),
    )
