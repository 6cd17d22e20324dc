"""JuiceFS beside other file systems: the pure parts, by numbers worked out by hand."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import kernel
from suites.performance.commandline import PROJECT, compared
from suites.performance.nas import mix
from suites.performance.nas.basics import Seen
from suites.performance.nas.judge import NO_NAS, basics_table, judge_metadata, judge_streams, rates_table
from suites.performance.nas.metadata import bench_rates, mdtest_rate, rates_of
from suites.performance.nas.rounds import Row, Samples, What, compare, in_random_order, means, run_rounds
from suites.performance.nas.streams import COLD, NAMES, RANDOM, WARM, WRITE, looked_at, written
from suites.performance.nas.streams import rates_of as stream_rates
from suites.performance.verdicts import Verdict

pytestmark = pytest.mark.selftest

MIB = 1 << 20
NAS = "nfs4 at /mnt/nas"


def sampled(ours: list[float | None], theirs: list[float | None], name: str = "stat", jobs: int = 1) -> Samples:
    samples = Samples()
    for mine, other in zip(ours, theirs, strict=True):
        samples.add("juicefs", jobs, {name: mine})
        samples.add(NAS, jobs, {name: other})
    return samples


def rows(ours: list[float | None], theirs: list[float | None]) -> list[Row]:
    return compare(sampled(ours, theirs), "juicefs", [NAS], 1)


def test_every_round_has_all_of_them_once_and_those_of_a_count_together() -> None:
    orders = [in_random_order("abc", (1, 16), random.Random(seed)) for seed in range(20)]
    for order in orders:
        assert sorted(order) == sorted((name, jobs) for name in "abc" for jobs in (1, 16))
        assert len({jobs for _, jobs in order[:3]}) == 1
    assert len({tuple(order) for order in orders}) > 10, "the order differs from round to round"


def test_rounds_end_at_the_limit_but_one_is_always_done() -> None:
    measured: list[tuple[str, int, int]] = []
    options = {"seed": 1, "say": lambda _line: None}
    done = run_rounds("ab", (1,), 3, lambda *each: measured.append(each), limit_s=0.0, **options)  # type: ignore[arg-type]
    assert (done, len(measured)) == (1, 2)
    done = run_rounds("ab", (1,), 3, lambda *each: measured.append(each), limit_s=1e9, **options)  # type: ignore[arg-type]
    assert (done, len(measured)) == (3, 8)


def test_a_ratio_is_of_medians_from_the_rounds_that_have_both() -> None:
    # 60/20, 30/10, 90/30 are 3; the round in which one failed has no say, and no part in its own median.
    (row,) = rows([60, 30, None, 90, 50, 70], [20, 10, 1, 30, None, 20])
    against = row.others[NAS]
    assert (row.rate, against.rate, against.rounds) == (60, 20, 4)
    assert against.ratio is not None
    assert against.ratio.value == 65 / 20
    assert not against.decisive
    assert str(against) == "20 (3.25 x of 4)"


def test_an_interval_is_told_from_five_rounds_on() -> None:
    (row,) = rows([60, 60, 60, 60, 60], [20, 20, 20, 20, 20])
    assert str(row.others[NAS]) == "20 (3 [3, 3] x)"


def test_what_always_fails_has_neither_rate_nor_ratio() -> None:
    samples = sampled([5, 6], [None, None])
    samples.add_errors(NAS, 1, "stat", {"Not supported": 2})
    samples.add_errors(NAS, 1, "stat", {"Not supported": 1})
    (row,) = compare(samples, "juicefs", [NAS], 1)
    assert (str(row.others[NAS]), row.others[NAS].ratio) == ("failed", None)
    table = rates_table("t", "A second", [row], [NAS], samples, 2)
    assert table.body == (("stat, 1 job", "5.5", "failed"),)
    assert "Failed: nfs4 at /mnt/nas: stat, 1 job: Not supported (3)." in table.note
    assert samples.to_json()["errors"] == {f"{NAS}: stat, 1 job": {"Not supported": 3}}


def test_the_geometric_mean_of_a_round_weighs_each_operation_alike() -> None:
    samples = Samples()
    for stat, unlink in ((100, 4), (None, 4)):
        samples.add("juicefs", 1, {"stat": stat, "unlink": unlink, "write": 1})
    mean = means(samples, ["stat", "unlink"], "all")
    assert mean.values[What("all", 1)]["juicefs"] == [pytest.approx(20.0), None]


@pytest.mark.parametrize(
    ("ours", "verdict", "why"),
    [
        ([120, 100, 110, 130, 105], Verdict.REPRODUCED, "beside nfs4 at /mnt/nas, 1 job: 11 [10, 13] x"),
        ([50, 60, 40, 55, 45], Verdict.NOT_REPRODUCED, "1 job: 5 ["),
        ([50, 200, 100, 120, 90], Verdict.NOT_COMPARABLE, "an interval holds 10: more rounds would tell"),
        ([120, 100, 110, 130, None], Verdict.NOT_COMPARABLE, "not 5 rounds in which all could be done by both"),
    ],
)
def test_ten_times_is_reproduced_if_the_whole_interval_says_so(
    ours: list[float | None], verdict: Verdict, why: str
) -> None:
    judged = judge_metadata(rows(ours, [10] * 5), NAS, [NAS])
    assert judged.verdict == verdict
    assert why in judged.why


def test_better_throughput_must_be_so_with_one_job_and_with_many() -> None:
    faster, slower = [20.0] * 5, [5.0] * 5
    both = sampled([*faster], [10.0] * 5)
    for rate in slower:
        both.add("juicefs", 16, {"stat": rate})
        both.add(NAS, 16, {"stat": 10.0})
    judged = judge_streams(compare(both, "juicefs", [NAS], 1), NAS, [NAS])
    assert judged.verdict == Verdict.NOT_REPRODUCED
    assert "1 job: 2 [2, 2] x, 16 jobs: 0.5 [0.5, 0.5] x" in judged.why
    assert judge_streams(rows([20.0] * 5, [10.0] * 5), NAS, [NAS]).verdict == Verdict.REPRODUCED


def test_without_a_nas_nothing_is_reproduced_however_fast() -> None:
    for judge in (judge_metadata, judge_streams):
        judged = judge(rows([1000.0] * 5, [1.0] * 5), None, [NAS])
        assert (judged.verdict, judged.why) == (Verdict.NOT_COMPARABLE, NO_NAS)
        assert "1 000 [1 000, 1 000] x" in judged.measured, "what stands there is told all the same"


def test_what_another_mount_sees_in_words() -> None:
    assert str(Seen(words=("new", "new"), right_after_s=0.0, watched_s=10.0)) == "at once"
    stale = Seen(words=("old", "new", "ENOENT"), right_after_s=0.66, watched_s=10.0)
    assert str(stale) == "ENOENT 1 of 3, old 1 of 3; right after 0.7 s"
    never = Seen(words=("old", "old", "old"), right_after_s=None, watched_s=10.0)
    assert str(never) == "old 3 of 3; not right within 10 s"
    table = basics_table({"a": {"append": stale, "delete": never}, "b": {"append": never, "delete": never}}, {"a": "x"})
    assert table.body[-1] == ("hold at once", "0 of 2", "0 of 2")
    assert table.note == "a: x."


def test_a_phase_lasts_from_the_first_begin_to_the_last_end() -> None:
    told = [
        (phase, 10, began_s, began_s + 2.0, ["gone"] if phase == "read" else [], 1.5 if phase == "stat" else None)
        for phase in mix.PHASES
        for began_s in (100.0, 103.0)
    ]
    summary = json.loads(json.dumps(mix.summary(told)))
    assert summary["seen_s"] == 1.5
    assert summary["phases"]["stat"] == {"operations": 20, "took_s": 5.0, "errors": {}}
    rates, errors = rates_of(summary)
    assert rates == {**dict.fromkeys(mix.PHASES, 4.0), "read": None}, "what failed has no rate"
    assert errors == {"read": {"gone": 2}}


def test_the_mix_on_a_folder_does_all_it_counts(tmp_path: Path) -> None:
    here = tmp_path / "mix"
    words = [str(here), str(here), "2", "5", "100", "1", "0"]
    argv = [sys.executable, "-m", "suites.performance.nas.mix", *words]
    told = json.loads(subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True).stdout)
    counted = {name: phase["operations"] for name, phase in told["phases"].items()}
    assert counted == {**dict.fromkeys(mix.PHASES, 10), "list": 2 * mix.LISTS}
    assert all(not phase["errors"] and phase["took_s"] > 0 for phase in told["phases"].values())
    left = sorted(path.name for path in (here / "job-0").iterdir())
    assert left == [f"file-{number:06d}.small" for number in range(5)], "the empty ones were renamed and removed"
    assert (here / "job-1" / "file-000000.small").stat().st_size == 100


def test_the_mix_counts_what_the_other_mount_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "job-0").mkdir(parents=True)
    job = mix.Job(tmp_path / "here", tmp_path / "there", 0, 3, 10, 1)
    assert job.do("create") == job.do("write") == (3, [])
    (tmp_path / "there/job-0/file-000001.small").write_bytes(b"something")
    assert job.do("stat") == (3, ["No such file or directory"] * 3)
    assert sorted(job.do("read")[1]) == ["No such file or directory"] * 2 + ["other content"]
    assert job.do("list") == (mix.LISTS, ["other names"] * mix.LISTS)
    monkeypatch.setattr(mix, "SEEN_TIMEOUT_S", 0.0)
    monkeypatch.setattr(mix, "CACHES_EXPIRE_S", 0.0)
    assert mix._await_seen([job], late=False) > 0


def test_where_files_come_late_the_last_one_says_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job-0").mkdir()
    job = mix.Job(tmp_path, tmp_path, 0, 3, 10, 1)
    assert job.do("create") == job.do("write") == (3, [])
    (tmp_path / "job-0/file-000001").unlink()
    assert job.last_seen()
    assert mix._await_seen([job], late=False) == 0.0
    monkeypatch.setattr(mix, "SEEN_TIMEOUT_S", 0.0)
    monkeypatch.setattr(mix, "CACHES_EXPIRE_S", 0.0)
    assert mix._await_seen([job], late=True) > 0


BENCH = """
|             ITEM |          VALUE |         COST |
| Write small file |  148.5 files/s | 6.73 ms/file |
|  Read small file |  420.5 files/s | 2.38 ms/file |
|        Stat file | 2996.4 files/s | 0.33 ms/file |
|       Put object |  40 operations |   4.15 ms/op |
"""


def test_the_table_of_juicefs_bench_is_read() -> None:
    assert bench_rates(BENCH) == {"write": 148.5, "read": 420.5, "stat": 2996.4}
    with pytest.raises(InfrastructureError, match="no table that we know"):
        bench_rates(BENCH.replace("Stat file", "Stat"))


def test_the_rate_of_juicefs_mdtest_is_read() -> None:
    said = "<INFO>: Created 3 dirs in 3.8ms (778 dirs/s)\n<INFO>: Created 960 files in 1.219006734s (787 files/s) [x]\n"
    assert mdtest_rate(said) == 787
    with pytest.raises(InfrastructureError, match="no rate that we know"):
        mdtest_rate(said.splitlines()[0])


def fio_job(name: str, kind: str, moved: int, runtime_ms: int = 500, error: int = 0) -> dict[str, object]:
    idle = {"io_bytes": 0, "runtime": 0}
    return {"jobname": name, "error": error, "read": idle, "write": idle} | {
        kind: {"io_bytes": moved, "runtime": runtime_ms}
    }


def test_rates_are_by_fios_own_clock() -> None:
    jobs = [
        fio_job(RANDOM, "read", 2 * MIB),
        fio_job(COLD, "read", 32 * MIB),
        fio_job(WARM, "read", 32 * MIB, runtime_ms=0),
    ]
    printed = "fio: a warning\n" + json.dumps({"jobs": jobs})
    rates = stream_rates(printed, looked_at(32 * MIB))
    assert rates == {RANDOM: 4 * MIB, COLD: 64 * MIB, WARM: 32 * MIB * 1000}


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("fio: size too small", "nothing that we know: fio: size too small"),
        (json.dumps({"jobs": []}), "nothing that we know"),
        (json.dumps({"jobs": [fio_job(WRITE, "write", 4 * MIB)]}), "error 0, 4194304 bytes moved"),
        (json.dumps({"jobs": [fio_job(WRITE, "write", 8 * MIB, error=5)]}), "error 5"),
    ],
)
def test_what_fio_did_not_do_is_no_rate(printed: str, why: str) -> None:
    with pytest.raises(InfrastructureError, match=why):
        stream_rates(printed, written(8 * MIB)[:1])


def test_all_jobs_share_the_bytes_and_readers_make_no_files() -> None:
    streams = {stream.name: stream for stream in (*written(64 * MIB), *looked_at(64 * MIB))}
    assert set(NAMES) < streams.keys()
    for stream in streams.values():
        options = stream.options(16)
        assert f"--size={stream.size // 16}" in options
        assert ("--fsync_on_close=1" in options) == (stream.moved == "write")
        assert ("--allow_file_create=0" in options) == (stream.moved == "read")
    read = {stream.files for stream in looked_at(64 * MIB)}
    assert read == {stream.files for stream in written(64 * MIB)}, "what is read was written"


def test_a_folder_to_compare_with(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert compared(None) == ()
    assert compared(str(tmp_path)) == (tmp_path,)
    assert compared(f"{tmp_path},{other}") == (tmp_path, other)
    with pytest.raises(UsageError, match="no folder that can be written"):
        compared(f"{tmp_path}/none")
    with pytest.raises(UsageError, match="with a comma between"):
        compared(f"{tmp_path},{other},{other}")


def test_the_type_of_a_file_system_is_the_kernels_own_word() -> None:
    assert kernel.file_system(Path("/proc/self")) == "proc"
    assert kernel.file_system(Path("/sys")) == "sysfs"
