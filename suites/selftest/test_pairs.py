"""Which pairs of topologies are refused, what can be changed on a running cluster, and how to ask for an upgrade."""

from __future__ import annotations

import dataclasses

import pytest

from fixtures import pairs, topology, upgrades
from fixtures.errors import UsageError
from fixtures.topology import Topology
from suites.selftest import inner

pytestmark = pytest.mark.selftest

OLD, NEW = topology.find("juicefs-1.3.0"), topology.find("juicefs-1.4.2")


def test_what_differs_is_named_by_its_key() -> None:
    assert pairs.differing(OLD, NEW) == ["juicefs.version"]
    assert pairs.differing(OLD, dataclasses.replace(OLD, name="another")) == []
    assert pairs.differing(Topology(), topology.find("hardened")) == [
        "mysql.isolation",
        "juicefs.entry_cache_s",
        "milvus.reader_recovery_error_ignore",
    ]


def test_every_key_that_can_be_changed_exists() -> None:
    known = {
        f"{section.name}.{entry.name}"
        for section in dataclasses.fields(Topology)
        if dataclasses.is_dataclass(getattr(Topology(), section.name))
        for entry in dataclasses.fields(getattr(Topology(), section.name))
    } | {"object_store", "object_store_version"}
    assert known >= pairs.ROLLED


def test_what_cannot_be_changed_on_a_running_cluster_is_said() -> None:
    assert pairs.why_not_rolled(OLD, NEW) == ""
    more = dataclasses.replace(NEW, readers=3, store_proxy=True)
    assert pairs.why_not_rolled(OLD, more) == (
        "readers, store_proxy cannot be changed on a running cluster by this version"
    )


def test_a_pair_that_cannot_work_is_refused_with_its_source() -> None:
    older = dataclasses.replace(OLD, milvus=topology.Milvus(version="1.0.0"))
    with pytest.raises(UsageError, match=r"milvus\.version = 1\.0\.0 to 1\.1\.0: .*facts 7\.3"):
        pairs.refuse(older, NEW)
    pairs.refuse(OLD, NEW)
    pairs.refuse(NEW, OLD)
    pairs.refuse(topology.find("redis-6.2"), topology.find("valkey-9"))
    with pytest.raises(UsageError, match=r"redis = valkey 9\.1\.2 to redis 6\.2\.5: .*migration guide"):
        pairs.refuse(topology.find("valkey-9"), topology.find("redis-6.2"))
    with pytest.raises(UsageError, match=r"juicefs\.compression = none to lz4: .*formatted"):
        pairs.refuse(Topology(), Topology(juicefs=topology.JuiceFS(compression="lz4")))


def test_named_pairs_are_of_topologies_that_exist_and_may_be_tried() -> None:
    for name in pairs.names():
        baseline, candidate = map(topology.find, pairs.find(name))
        pairs.refuse(baseline, candidate)
        assert pairs.differing(baseline, candidate), name
    with pytest.raises(UsageError, match=r"pair redis-to-valky: must be .*did you mean redis-to-valkey\?"):
        pairs.find("redis-to-valky")


def test_a_mount_takes_the_candidate_s_options_that_a_mount_decides() -> None:
    assert upgrades.mounted(NEW) == {
        "version": "1.4.2",
        "attr_cache_s": 1.0,
        "entry_cache_s": 1.0,
        "dir_entry_cache_s": 1.0,
        "prefetch": 1,
        "readahead_mb": 0,
        "buffer_mb": 300,
        "fuse_io_kb": 128,
    }


TESTS = """
@promise("U-1")
@pytest.mark.upgrade
def test_upgrade(candidate, trial):
    trial.check(candidate.name == "juicefs-1.4.2", candidate.name)

@promise("V-1")
def test_other(trial):
    trial.check(True, "fine")
"""


def test_only_m_upgrade_upgrades(pytester: pytest.Pytester) -> None:
    inner.run(pytester, TESTS, "-m", "cluster")
    assert set(inner.claims(pytester)) == {"V-1"}
    assert inner.run(pytester, TESTS, "-m", "upgrade", "--candidate=juicefs-1.4.2").ret == 0
    assert {name: claim["verdict"] for name, claim in inner.claims(pytester).items()} == {"U-1": "holds"}


def test_it_needs_a_candidate(pytester: pytest.Pytester) -> None:
    assert inner.run(pytester, TESTS, "-m", "upgrade").ret == 6
    assert "needs --candidate=NAME" in inner.claims(pytester)["U-1"]["reason"]


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        ("juicefs-1.4", "topology juicefs-1.4: must be *did you mean juicefs-1.4.2?"),
        ("milvus-1.1.1", "--candidate=milvus-1.1.1: milvus.version cannot be changed on a running cluster*"),
    ],
)
def test_one_that_cannot_be_is_refused_in_one_line(pytester: pytest.Pytester, candidate: str, said: str) -> None:
    result = inner.run(pytester, TESTS, "-m", "upgrade", f"--candidate={candidate}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
