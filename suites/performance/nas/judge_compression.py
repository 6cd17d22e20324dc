"""What the article says of compression and caching, judged by bytes and times that were measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fixtures.plugin.figures import number
from suites.performance.nas.rounds import MIN_ROUNDS, Against, Samples, What, compare, means
from suites.performance.verdicts import Judged, Table, Verdict

SAID = "compression and caching that a NAS lacks"
VECTORS = "vectors"
"""How the names of the files begin that are most of Milvus' data."""
WORTH = 0.95
"""A share above this is no compression worth the time: what is left of a file's bytes."""
NONE = "none"

Shares = Mapping[str, Mapping[str, float]]
"""By file and codec, the share of its bytes that the store keeps."""


def judge_compression(shares: Shares) -> Judged:
    """Reproduced if some codec makes vectors of every kind smaller; not, if vectors of no kind."""
    best = {
        name: min((share, codec) for codec, share in by_codec.items() if codec != NONE)
        for name, by_codec in shares.items()
    }
    smaller = {name for name, (share, _) in best.items() if name.startswith(VECTORS) and share <= WORTH}
    vectors = {name for name in best if name.startswith(VECTORS)}
    measured = "; ".join(f"{name}: {100 * share:.0f} % with {codec}" for name, (share, codec) in best.items())
    if not vectors:
        verdict, why = Verdict.NOT_COMPARABLE, "the object store does not speak S3, so its bytes were not counted"
    elif smaller == vectors:
        verdict = Verdict.REPRODUCED
        why = f"vectors of all {len(vectors)} kinds get smaller; the table says what that costs in time"
    elif not smaller:
        verdict, why = Verdict.NOT_REPRODUCED, f"vectors of none of {len(vectors)} kinds get 5 % smaller"
    else:
        verdict = Verdict.NOT_COMPARABLE
        why = (
            f"it depends on the data, which the article does not name: worth it for {', '.join(sorted(smaller))} alone"
        )
    return Judged(claim="compression", said=SAID, measured=f"stored: {measured}", verdict=verdict, why=why)


def judge_cache(samples: Samples, unproved: Sequence[str], seed: int) -> Judged:
    """Reproduced if files are read faster when warm than when cold, without compression; not, if slower."""
    against = warm_against_cold(samples, NONE, seed)
    ratio = against.ratio
    if unproved:
        verdict, why = Verdict.NOT_COMPARABLE, f"not proved: {unproved[0]} (and {len(unproved) - 1} more)"
    elif ratio is None or not against.decisive:
        verdict, why = Verdict.NOT_COMPARABLE, f"{against.rounds} rounds are too few to tell; {MIN_ROUNDS} would do"
    elif ratio.low > 1:
        why = "the mount's own disk is faster than the store; what a NAS caches was not looked at"
        verdict = Verdict.REPRODUCED
    elif ratio.high < 1:
        verdict, why = Verdict.NOT_REPRODUCED, "read again, from the mount's own disk, files come slower"
    else:
        verdict, why = Verdict.NOT_COMPARABLE, "the interval holds 1: more rounds would tell"
    return Judged(claim="cache", said=SAID, measured=f"warm / cold reads: {against.times}", verdict=verdict, why=why)


def warm_against_cold(samples: Samples, codec: str, seed: int) -> Against:
    """How many times as fast files are read from the cache as from the store: geometric means over all of them."""
    means_by_how = {
        how: means(samples, [what.name for what in samples.values if what.name.endswith(f": {how}")], how)
        for how in ("cold", "warm")
    }
    joined = Samples()
    for how, mean in means_by_how.items():
        for rate in mean.values[What(how, 1)][codec]:
            joined.add(how, 1, {"read": rate})
    (row,) = compare(joined, "warm", ["cold"], seed)
    return row.others["cold"]


def tables(samples: Samples, shares: Shares, codecs: Sequence[str], rounds: int, seed: int) -> tuple[Table, ...]:
    """Rates by file and codec beside those without compression, and the share of the bytes that is stored."""
    others = [codec for codec in codecs if codec != NONE]
    rows = {codec: {row.what: row for row in compare(samples, codec, [NONE], seed)} for codec in others}
    body = []
    for what in samples.values:
        first = rows[others[0]][what].others[NONE]
        cells = [what.name, "failed" if first.rate is None else number(first.rate)]
        for codec in others:
            row = rows[codec][what]
            cells.append("failed" if row.rate is None else f"{number(row.rate)} ({row.others[NONE].times})")
        body.append(tuple(cells))
    rates = Table(
        title="Compression and cache: JuiceFS, one file written on one mount and read on another, cold and warm",
        head=("what", NONE, *others),
        body=tuple(body),
        note=f"MiB/s of the file's own bytes, medians of {rounds} rounds in turns; in brackets beside `none`.",
    )
    stored = Table(
        title="Bytes in the bucket, of the file's own",
        head=("file", *codecs),
        body=tuple(
            (name, *(f"{100 * by_codec[codec]:.1f} %" if codec in by_codec else "-" for codec in codecs))
            for name, by_codec in shares.items()
        ),
    )
    return (rates, stored) if shares else (rates,)
