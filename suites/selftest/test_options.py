"""Bad input is one clear line and exit code 4, before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.plugin.options import OPTION_NAMES
from suites.selftest import inner

pytestmark = pytest.mark.selftest

ONE_CLAIM = """
@promise("V-1")
def test_holds(cluster, trial):
    trial.check(True, "fine")
"""


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--runtime=embeded", "--runtime=embeded: must be one of *; did you mean embedded?"),
        ("--runtime=external", "--runtime=external: where is it? --endpoints=FILE.toml says so*"),
        ("--endpoints=a.toml", "--endpoints: is for --runtime=external"),
        ("--allow-faults", "--allow-faults: is for --runtime=external"),
        ("--images=lokal", "--images=lokal: must be one of upstream, local; did you mean local?"),
        ("--image=mysq=x:1", "--image=mysq=x:1: no component 'mysq' (did you mean mysql?)"),
        ("--image=mysql", "--image=mysql: no image; like --image=mysql=REFERENCE"),
        ("--readers=two", "--readers=two: must be a whole number from 1 to 8"),
        ("--readers=0", "--readers=0: must be a whole number from 1 to 8; the nearest is 1"),
        ("--readers=99", "--readers=99: *; the nearest is 8"),
        (
            "--object-store=minoi",
            "--object-store=minoi: must be one of auto, seaweedfs, minio, azurite; did you mean minio?",
        ),
        ("--appendfsync=allways", "--appendfsync=allways: *; did you mean always?"),
        ("--device=gup", "--device=gup: must be one of auto, cpu, gpu; did you mean gpu?"),
        ("--require=fuse,rooot", "--require=rooot: must be one of *; did you mean root?"),
        ("--require=", "--require=: must be one of *"),
        ("--seed=many", "--seed=many: must be a whole number from 0 to *"),
        ("--seed=-1", "--seed=-1: *; the nearest is 0"),
        ("--milvus=nowhere", "--milvus=nowhere: no such file"),
        ("--milvus=test_inner.py", "--milvus=test_inner.py: not executable; chmod +x it"),
        ("--mishards=test_inner.py", "--mishards=test_inner.py: no such folder"),
        ("--mishards=.", "--mishards=.: no checkout of Mishards: mishards/main.py is missing in it"),
        ("--milvus-writer=nowhere", "--milvus-writer=nowhere: no such file"),
        ("--milvus-reader=test_inner.py", "--milvus-reader=test_inner.py: not executable; chmod +x it"),
        ("--mishards-python=/bin/true", "--mishards-python: only with --mishards=PATH*"),
        (
            "--as-fixed=merge-gap,stale-delets",
            "--as-fixed=merge-gap,stale-delets: 'stale-delets' is no deviation *; did you mean stale-deletes?",
        ),
        ("--as-fixed=", "--as-fixed=: '' is no deviation *; there are all, merge-gap, *"),
        ("--defect=lost-delte", "--defect=lost-delte: 'lost-delte' is no seeded defect; did you mean lost-delete?"),
        ("--topology=absent.toml", "topology absent.toml: cannot be read: No such file or directory"),
        ("--report=test_inner.py/sub", "--report=*/test_inner.py/sub: cannot write there: Not a directory"),
        ("--report=/proc/nowhere", "--report=/proc/nowhere: cannot write there: *"),
        ("--work-dir=/tmp/a.b", "--work-dir=/tmp/a.b: Milvus allows only letters*"),
        ("--work-dir=/proc/nowhere", "--work-dir=/proc/nowhere: cannot write there: *"),
    ],
)
def test_a_bad_value_is_one_line(pytester: pytest.Pytester, option: str, message: str) -> None:
    inner.write(pytester, ONE_CLAIM)
    result = pytester.runpytest_inprocess(option)
    assert result.ret == 4
    errors = [line for line in result.errlines if line.strip()]
    assert len(errors) == 1, errors
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert inner.events(pytester) == []
    assert not Path(pytester.path / "reports").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("readrs = 3", "unknown key readrs (did you mean readers?)"),
        ("[juicefs]\nentry_cash_s = 0", "unknown key juicefs.entry_cash_s (did you mean entry_cache_s?)"),
        ("readers = '3'", "readers = '3': must be int, not str"),
        ("readers = 12", "readers = 12: must be 1 to 8"),
        ("[redis]\nappendfsync = 'no'", "redis.appendfsync = 'no': must be one of always, everysec*"),
        ("readers = ", "not valid TOML*"),
    ],
)
def test_a_topology_with_a_typo_names_file_and_key(pytester: pytest.Pytester, text: str, message: str) -> None:
    inner.write(pytester, ONE_CLAIM)
    pytester.path.joinpath("mine.toml").write_text(text)
    result = pytester.runpytest_inprocess("--topology=mine.toml")
    assert result.ret == 4
    literal = message.replace("[", "[[]")
    result.stderr.fnmatch_lines([f"ERROR: topology mine.toml: {literal}"])
    assert inner.events(pytester) == []


def test_a_long_path_that_milvus_refuses_is_refused_at_once(pytester: pytest.Pytester) -> None:
    # Milvus' own expression, matched by backtracking, takes 2 to the power of this length.
    inner.write(pytester, ONE_CLAIM)
    result = pytester.runpytest_inprocess(f"--work-dir=/tmp/{'a' * 200}.b")
    assert result.ret == 4


def test_options_change_the_topology_of_the_file(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("mine.toml").write_text("name = 'mine'\nreaders = 2\n[juicefs]\nentry_cache_s = 0\n")
    result = inner.run(
        pytester, ONE_CLAIM, "--topology=mine.toml", "--readers=3", "--appendfsync=always", "--object-store=minio"
    )
    assert result.ret == 0
    topology = inner.report(pytester)["topology"]
    assert topology["name"] == "mine"
    assert topology["readers"] == 3
    assert topology["juicefs"]["entry_cache_s"] == 0
    assert topology["redis"]["appendfsync"] == "always"
    assert topology["object_store"] == "minio"


def test_the_header_says_what_will_run(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, ONE_CLAIM, capabilities={"fuse": "no /dev/fuse", "root": None})
    result.stdout.fnmatch_lines(
        [
            "runtime: embedded (a fake of the self-test)",
            "cluster: 1 writer, 2 readers, topology default",
            "  Milvus 1.1.0: stand-in (not Milvus)",
            "protobuf: upb; fuse: no (no /dev/fuse), root: yes",
            "seed: 7",
            "report: report",
            "work folder: /var/tmp/mjc_*",
        ]
    )


def test_a_run_without_claims_has_no_header_and_no_report(pytester: pytest.Pytester) -> None:
    inner.write(pytester, "def test_plain(): pass\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == 0
    result.stdout.no_fnmatch_line("runtime:*")
    assert not Path(pytester.path / "reports").exists()
    assert result.parseoutcomes() == {"passed": 1}


def test_listing_tests_starts_and_writes_nothing(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    result = pytester.runpytest_inprocess("--collect-only")
    assert result.ret == 0
    assert inner.events(pytester) == []
    assert not Path(pytester.path / "reports").exists()


def test_a_claim_is_selected_by_its_id(pytester: pytest.Pytester) -> None:
    second = ONE_CLAIM.replace("V-1", "V-2").replace("test_holds", "test_also")
    assert inner.run(pytester, ONE_CLAIM + second, "-k", "V-2").ret == 0
    assert list(inner.claims(pytester)) == ["V-2"]


def test_the_default_report_folder_and_its_link(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    for _ in range(2):
        assert pytester.runpytest_inprocess().ret == 0
    latest = pytester.path / "reports" / "latest"
    assert re.fullmatch(r"\d{8}T\d{6}Z_[0-9a-f]+", str(latest.readlink()))
    assert (latest / "conformance.json").is_file()
    assert len([entry for entry in (pytester.path / "reports").iterdir() if entry.is_dir()]) == 3


def test_the_seed_of_a_test_follows_from_the_run_and_the_test(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-1")
@pytest.mark.parametrize("which", ["a", "b"])
def test_draws(which, trial, seed, rng):
    trial.check(True, "fine")
    trial.note(f"{which} {seed} {rng.integers(1 << 30)}")
"""
    drawn = []
    for run_seed, picked in (("7", ""), ("7", "b"), ("8", "")):
        inner.run(pytester, tests, f"--seed={run_seed}", "-k", picked)
        drawn.append(inner.claims(pytester)["V-1"]["evidence"]["notes"])
    first, alone, other = drawn
    assert alone == first[1:], "a test draws the same alone as among others"
    assert len({note.split()[1] for note in [*first, *other]}) == 4, "every test of every run draws its own"


def test_every_option_is_in_one_group_of_the_help(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    text = pytester.runpytest_inprocess("--help").stdout.str()
    group = text[text.index("the Milvus cluster on JuiceFS") :]
    for option in OPTION_NAMES:
        assert f"  {option}" in group, option
