"""Compression and cache, judged: by numbers worked out by hand, and the files that are like Milvus'."""

from __future__ import annotations

import zlib

import pytest

from suites.performance.nas.compression import CODECS, contents
from suites.performance.nas.judge_compression import judge_cache, judge_compression, tables
from suites.performance.nas.rounds import Samples
from suites.performance.verdicts import Verdict

pytestmark = pytest.mark.selftest

KIB = 1 << 10


@pytest.mark.parametrize(
    ("uniform", "whole", "verdict", "why"),
    [
        (0.92, 0.32, Verdict.REPRODUCED, "vectors of all 2 kinds get smaller"),
        (1.0, 0.99, Verdict.NOT_REPRODUCED, "vectors of none of 2 kinds get 5 % smaller"),
        (1.0, 0.32, Verdict.NOT_COMPARABLE, "worth it for vectors of whole numbers alone"),
    ],
)
def test_compression_is_judged_by_the_vectors(uniform: float, whole: float, verdict: Verdict, why: str) -> None:
    shares = {
        "vectors, uniform": {"none": 1.0, "lz4": 1.004, "zstd": uniform},
        "vectors of whole numbers": {"none": 1.0, "lz4": 1.0, "zstd": whole},
        "ids in a row": {"none": 1.0, "lz4": 0.5, "zstd": 0.13},
    }
    judged = judge_compression(shares)
    assert judged.verdict == verdict
    assert why in judged.why
    assert "ids in a row: 13 % with zstd" in judged.measured


def test_bytes_that_nobody_counted_are_no_verdict() -> None:
    assert judge_compression({}).verdict == Verdict.NOT_COMPARABLE


def read(cold: list[float], warm: list[float]) -> Samples:
    samples = Samples()
    for slow, fast in zip(cold, warm, strict=True):
        for codec in CODECS:
            samples.add(
                codec, 1, {"a: write": 1.0, "a: cold": slow, "a: warm": fast, "b: cold": 4 * slow, "b: warm": fast}
            )
    return samples


@pytest.mark.parametrize(
    ("cold", "warm", "verdict"),
    [
        ([10.0] * 5, [60.0] * 5, Verdict.REPRODUCED),
        ([10.0] * 5, [10.0] * 5, Verdict.NOT_REPRODUCED),
        ([10.0, 10.0, 10.0, 10.0, 10.0], [10.0, 60.0, 20.0, 5.0, 40.0], Verdict.NOT_COMPARABLE),
        ([10.0] * 4, [60.0] * 4, Verdict.NOT_COMPARABLE),
    ],
)
def test_the_cache_is_judged_by_warm_against_cold(cold: list[float], warm: list[float], verdict: Verdict) -> None:
    assert judge_cache(read(cold, warm), [], 1).verdict == verdict


def test_the_ratio_of_warm_to_cold_is_of_the_means_over_all_files() -> None:
    # Cold: the mean of 10 and 40 is 20. Warm: 60 and 60.
    assert judge_cache(read([10.0] * 5, [60.0] * 5), [], 1).measured == "warm / cold reads: 3 [3, 3] x"


def test_a_cold_read_that_fetched_nothing_proves_nothing() -> None:
    judged = judge_cache(read([10.0] * 5, [60.0] * 5), ["none, a: cold, but 0 objects were fetched"], 1)
    assert judged.verdict == Verdict.NOT_COMPARABLE
    assert "0 objects were fetched" in judged.why


def test_rates_stand_beside_those_without_compression() -> None:
    samples = Samples()
    for _ in range(5):
        samples.add("none", 1, {"a: cold": 10.0})
        samples.add("lz4", 1, {"a: cold": 5.0})
        samples.add("zstd", 1, {"a: cold": 20.0})
    rates, stored = tables(samples, {"a": {"none": 1.0, "lz4": 0.5}}, CODECS, 5, 1)
    assert rates.body == (("a: cold", "10", "5 (0.5 [0.5, 0.5] x)", "20 (2 [2, 2] x)"),)
    assert stored.body == (("a", "100.0 %", "50.0 %", "-"),)


def test_the_files_are_as_long_as_asked_the_same_for_a_seed_and_differ_in_what_can_be_saved() -> None:
    files = contents(64 * KIB, 7)
    assert files == contents(64 * KIB, 7)
    assert files["vectors, uniform"] != contents(64 * KIB, 8)["vectors, uniform"]
    assert {len(content) for content in files.values()} == {64 * KIB}
    left = {name: len(zlib.compress(content)) / len(content) for name, content in files.items()}
    assert left["ids in a row"] < left["vectors of whole numbers"] < 0.6 < 0.8 < left["vectors, uniform"]
