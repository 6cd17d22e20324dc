"""Topology files: a right one is read as it says, a wrong one is refused with file, key and the nearest right one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fixtures import topology
from fixtures.errors import UsageError
from fixtures.topology import MAX_READERS, JuiceFS, Milvus, MySQL, Redis, Topology

pytestmark = pytest.mark.selftest


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_the_default_cluster(tmp_path: Path) -> None:
    assert topology.load(written(tmp_path, "")) == Topology()
    assert topology.check(Topology(), "here") == Topology()
    assert Topology().readers == 2


def test_keys_and_tables_are_the_fields_of_the_topology(tmp_path: Path) -> None:
    text = """
    name = "small"
    readers = 1
    [mysql]
    isolation = "READ-COMMITTED"
    [redis]
    appendfsync = "always"
    [juicefs]
    entry_cache_s = 0
    [milvus]
    version = "1.1.1"
    recovery_error_ignore = true
    """
    assert topology.load(written(tmp_path, text)) == Topology(
        name="small",
        readers=1,
        mysql=MySQL(isolation="READ-COMMITTED"),
        redis=Redis(appendfsync="always"),
        juicefs=JuiceFS(entry_cache_s=0.0),
        milvus=Milvus(version="1.1.1", recovery_error_ignore=True),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reader = 2", r"unknown key reader \(did you mean readers\?\)"),
        ("[milvus]\nverson = '1.1.0'", r"unknown key milvus\.verson \(did you mean version\?\)"),
        ("zzz = 1", r"unknown key zzz \(known: name, readers, "),
        ("readers = '2'", r"readers = '2': must be int, not str"),
        ("readers = true", r"readers = True: must be int, not bool"),
        ("readers = 2.0", r"readers = 2\.0: must be int, not float"),
        ("mysql = 'on'", r"mysql must be a table, like \[mysql\]"),
        ("[juicefs]\nentry_cache_s = '1'", r"juicefs\.entry_cache_s = '1': must be float, not str"),
        ("readers = ", r"not valid TOML"),
    ],
)
def test_a_typo_is_refused_with_its_place_and_what_was_meant(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=message) as refused:
        topology.load(path)
    assert str(path) in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml: cannot be read: No such file"):
        topology.load(tmp_path / "missing.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        topology.load(binary)


@pytest.mark.parametrize("readers", [0, -1, MAX_READERS + 1])
def test_a_number_of_readers_that_cannot_be_is_refused(readers: int) -> None:
    with pytest.raises(UsageError, match=rf"here: readers = {readers}: must be 1 to {MAX_READERS}"):
        topology.check(Topology(readers=readers), "here")


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (Topology(object_store="seaweed"), r"object_store = 'seaweed': must be one of .*did you mean seaweedfs\?"),
        (Topology(object_store="azurite", store_proxy=True), "store_proxy = true: the proxy is for S3"),
        (Topology(redis=Redis(appendfsync="no")), r"redis\.appendfsync = 'no'"),
        (Topology(mysql=MySQL(isolation="SERIALIZABLE")), r"mysql\.isolation = 'SERIALIZABLE'"),
        (Topology(milvus=Milvus(version="2.0.0")), r"milvus\.version = '2\.0\.0'"),
        (Topology(juicefs=JuiceFS(compression="gzip")), r"juicefs\.compression = 'gzip'"),
        (Topology(juicefs=JuiceFS(entry_cache_s=-1.0)), r"juicefs\.entry_cache_s = -1\.0: must be 0 or more seconds"),
        (Topology(juicefs=JuiceFS(heartbeat_s=0)), r"juicefs\.heartbeat_s = 0: must be 1 to 3600"),
        (Topology(juicefs=JuiceFS(trash_days=-1)), r"juicefs\.trash_days = -1: must be 0 to 3650"),
    ],
)
def test_a_value_that_no_cluster_has_is_refused(cluster: Topology, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        topology.check(cluster, "here")


def test_every_choice_names_a_field_and_has_its_default_among_its_values() -> None:
    for key, choices in topology.CHOICES.items():
        value: object = Topology()
        for part in key.split("."):
            value = getattr(value, part)
        assert value in choices, key


def test_a_topology_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Topology().readers = 3  # type: ignore[misc]
