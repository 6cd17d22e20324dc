"""Looking at a folder by a child: what is there is told exactly, and what hangs is given up in time."""

from __future__ import annotations

import hashlib
import struct
import sys
import time
from pathlib import Path

import pytest

from fixtures import hanging, walk
from fixtures.walk import Seen

pytestmark = pytest.mark.selftest


def test_files_are_told_with_size_header_and_digest(tmp_path: Path) -> None:
    (tmp_path / "tables" / "c").mkdir(parents=True)
    ids = struct.pack("<Q2q", 16, 7, 8)
    deleted = struct.pack("<Q3i", 12, 5, 5, 300_000)
    (tmp_path / "tables" / "c" / "1.uid").write_bytes(ids)
    (tmp_path / "tables" / "c" / "deleted_docs").write_bytes(deleted)
    (tmp_path / "tables" / "empty").touch()
    (tmp_path / ".accesslog").write_bytes(b"JuiceFS' own")
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "file").touch()
    assert walk.look(tmp_path, 10) == {
        "tables/c/1.uid": Seen(24, 24, 16, 0, hashlib.sha256(ids).hexdigest()),
        "tables/c/deleted_docs": Seen(20, 20, 12, 2, hashlib.sha256(deleted).hexdigest()),
        "tables/empty": Seen(0, 0, -1, 0, hashlib.sha256().hexdigest()),
    }


def test_of_what_is_too_big_only_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / "1.rv").write_bytes(struct.pack("<Q", 92) + bytes(92))
    assert walk.look(tmp_path, 10, max_bytes=99) == {"1.rv": Seen(100, payload=92)}
    assert walk.look(tmp_path, 10, max_bytes=100)["1.rv"].digest


def test_a_file_that_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert walk.look(tmp_path, 10) == {"dangling": Seen(0, error="No such file or directory")}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere: No such file or directory"):
        walk.look(tmp_path / "nowhere", 10)


def test_who_does_not_answer_is_given_up() -> None:
    began_s = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer from a sleeper within 0\.2 s"):
        hanging.ask(("sleep", "60"), 0.2, "a sleeper")
    assert time.monotonic() - began_s < 5


def test_a_complaint_is_passed_on() -> None:
    with pytest.raises(OSError, match=r"^broken$"):
        hanging.ask((sys.executable, "-c", "raise SystemExit('broken')"), 20, "it")
    with pytest.raises(OSError, match=r"^it: exit code 3$"):
        hanging.ask((sys.executable, "-c", "raise SystemExit(3)"), 20, "it")
    assert hanging.ask(("cat",), 5, "it", stdin="said") == "said"
