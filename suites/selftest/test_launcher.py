"""What the embedded launcher says before it starts anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.errors import InfrastructureError, UsageError
from fixtures.plugin import embedded
from fixtures.plugin.header import describe
from fixtures.plugin.launcher import Component, Plan
from fixtures.runtimes import host
from suites.selftest import inner
from suites.selftest.test_options import ONE_CLAIM

pytestmark = pytest.mark.selftest

REAL = 'pytest_plugins = ["fixtures.plugin"]\n'


def _program(folder: Path, says: str, code: int = 0) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu", "10.11.19-MariaDB-0+deb12u1"),
        ("version 8000GB 4.48 pypi linux amd64", "4.48"),
        ("juicefs version 1.4.2+2026-10-26.pypi", "1.4.2+2026-10-26.pypi"),
        ("Redis server v=6.2.5 sha=00000000:0 malloc=jemalloc-5.1.0", "6.2.5"),
        ("minio version RELEASE.2025-09-07T16-13-09Z (commit-id=0)", "RELEASE.2025-09-07T16-13-09Z"),
    ],
)
def test_the_version_in_what_a_program_says(tmp_path: Path, says: str, version: str) -> None:
    assert embedded.ask_version(_program(tmp_path, says), "--version") == version


def test_a_program_that_cannot_say_its_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"program --version: no version in 'none of yours'"):
        embedded.ask_version(_program(tmp_path, "none of yours"), "--version")
    with pytest.raises(UsageError, match=r"program --version: .*exit status 3"):
        embedded.ask_version(_program(tmp_path, "1.0", code=3), "--version")
    with pytest.raises(UsageError, match=r"absent --version: .*No such file"):
        embedded.ask_version(tmp_path / "absent", "--version")


def test_a_missing_program_is_one_line_and_nothing_is_made(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(names: tuple[str, ...], install: str) -> Path:
        raise InfrastructureError(f"no {' or '.join(names)} on PATH: {install}")

    monkeypatch.setattr(host, "find_program", none)
    inner.write(pytester, ONE_CLAIM)
    pytester.makeconftest(REAL)
    result = pytester.runpytest_inprocess()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: no mariadbd or mysqld on PATH: install the Debian package mariadb-server"])
    assert len([line for line in result.errlines if line.strip()]) == 1
    assert list((pytester.path / "reports").iterdir()) == []


def test_the_real_plan_names_stand_ins_as_such_and_leaves_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through pytest, up to the start, which is refused here."""
    plans: list[Plan] = []
    works: list[Path] = []

    def refuse(self: embedded.EmbeddedLauncher, *_: Any, **__: Any) -> None:
        works.append(self.folders.work)
        assert self.folders.work.is_dir()
        raise InfrastructureError("not in this test")

    plan = embedded.EmbeddedLauncher.plan

    def keep(self: embedded.EmbeddedLauncher) -> Plan:
        plans.append(plan(self))
        return plans[-1]

    monkeypatch.setattr(embedded.EmbeddedLauncher, "plan", keep)
    monkeypatch.setattr(embedded.EmbeddedLauncher, "start", refuse)
    inner.write(pytester, ONE_CLAIM)
    pytester.makeconftest(REAL)
    result = pytester.runpytest_inprocess("--report=report")
    assert result.ret == 7
    components = {component.name: component for component in plans[0].components}
    assert list(components) == ["mysql", "redis", "object-store", "juicefs", "milvus", "mishards"]
    assert all(component.version for component in components.values())
    result.stdout.fnmatch_lines(["runtime: embedded (*)", "  Milvus 1.1.0: stand-in (not Milvus)"])
    assert set(plans[0].capabilities) == {"disks", "docker", "fuse", "gpu", "partition", "root"}
    assert plans[0].device.missing == "the embedded runtime runs the stand-in, which has no GPU"
    assert not works[0].exists()


def test_a_native_milvus_of_another_version_ends_the_run_before_anything_starts(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    pytester.makeconftest(REAL)
    old = pytester.path / "milvus_server"
    old.write_text("#!/bin/sh\necho Milvus version: v1.0.0\n")
    old.chmod(0o755)
    result = pytester.runpytest_inprocess(f"--milvus-reader={old}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {old}: is 1.0.0, but pymilvus 1.1.2 and Mishards 1.1 talk to 1.1.x only*"])
    assert len([line for line in result.errlines if line.strip()]) == 1


def test_a_stand_in_never_poses_as_another_version(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    pytester.makeconftest(REAL)
    result = pytester.runpytest_inprocess("--topology=milvus-1.1.1")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: milvus.version = '1.1.1': the stand-ins are those of 1.1.0; for another*"])


def test_a_mixed_cluster_names_both_kinds_of_nodes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InfrastructureError("not in this test")

    monkeypatch.setattr(embedded.EmbeddedLauncher, "start", refuse)
    inner.write(pytester, ONE_CLAIM)
    pytester.makeconftest(REAL)
    native = pytester.path / "milvus_server"
    native.write_text("#!/bin/sh\necho Milvus version: v1.1.1\n")
    native.chmod(0o755)
    result = pytester.runpytest_inprocess(f"--milvus-reader={native}", "--as-fixed=merge-gap")
    assert result.ret == 7
    result.stdout.fnmatch_lines(
        [
            "  Milvus writer 1.1.0: stand-in (not Milvus writer), as fixed: merge-gap",
            "  Milvus readers: Milvus 1.1.1",
            "  Mishards 1.1.0: stand-in (not Mishards)",
        ]
    )


def test_a_stand_in_is_never_called_the_real_thing() -> None:
    stand_in = Component(name="mishards", implementation="stand-in (not Milvus)", version="1.1.0")
    assert describe(stand_in) == "Mishards 1.1.0: stand-in (not Mishards)"
    assert describe(Component(name="milvus", implementation="Milvus", version="1.1.1")) == "Milvus: Milvus 1.1.1"
