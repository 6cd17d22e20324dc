"""What the storage suite judges by: a machine that notices, bytes told apart, and locks that are really asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.claims import Claim, Trial, holds
from suites.storage.sides import GONE, exclusive, read, told, try_lock
from suites.storage.test_durability import _is_between
from suites.storage.test_machine import EXAMPLES, STEPS, Examples, tree

pytestmark = pytest.mark.selftest


def new_trial() -> Trial:
    return Trial(claim=Claim(id="J-0", promise="it is so", source="here", expected={"1.1.0": holds()}))


def folders(tmp_path: Path, *names: str) -> list[Path]:
    made = [tmp_path / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def test_a_sound_folder_agrees_with_the_model_and_the_seed_decides(tmp_path: Path) -> None:
    models, mount, again, others = folders(tmp_path, "models", "mount", "again", "others")
    first, second = (Examples(new_trial(), models, (folder, folder)) for folder in (mount, again))
    for examples in (first, second):
        examples.run(7)
    assert not first._trial.violations
    assert first._trial.checks == first.succeeded + first.refused == EXAMPLES * STEPS
    assert first.succeeded > EXAMPLES * STEPS // 4
    assert tree(mount) == tree(again)
    other = Examples(new_trial(), models, (others, others))
    other.run(8)
    assert tree(others) != tree(mount)


def test_a_mount_that_never_sees_the_other_is_noticed(tmp_path: Path) -> None:
    models, one, two = folders(tmp_path, "models", "one", "two")
    examples = Examples(new_trial(), models, (one, two))
    examples.run(7)
    (finding,) = examples._trial.violations
    assert finding.message.startswith("mount 1 shows .: ENOENT instead of folder; ")
    assert finding.message.endswith(", after 0 operations")


def test_a_mount_that_loses_what_is_renamed_is_noticed_with_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, mount = folders(tmp_path, "models", "mount")
    rename = os.rename

    def losing(source: Path, target: Path) -> None:
        rename(source, target)
        if mount in target.parents:
            target.write_bytes(b"")

    monkeypatch.setattr("os.rename", losing)
    examples = Examples(new_trial(), models, (mount, mount))
    examples.run(7)
    (finding,) = examples._trial.violations
    assert "0 bytes instead of" in finding.message
    assert "rename" in str(finding.facts["steps"])


def test_bytes_are_told_apart() -> None:
    assert told(b"new", b"old", b"new") == "new"
    assert told(b"old", b"old", b"new") == "old"
    assert told(b"ol", b"old", b"new") == "2 bytes, neither the old nor the new ones"
    assert told(GONE, b"old", b"new") == GONE
    assert told(GONE, b"old", GONE) == "new"
    assert told(b"old", b"old", GONE) == "old"


def test_what_was_not_synced_may_be_cut_off_and_nothing_else(tmp_path: Path) -> None:
    assert read(tmp_path / "nothing") == GONE
    for seen in (b"", b"ne", b"new"):
        assert _is_between(seen, b"", b"new")
    for seen in (b"half", b"half+", b"half+half"):
        assert _is_between(seen, b"half", b"half+half")
    for seen in (b"old!", b"new!", b"nld!"):
        assert _is_between(seen, b"old!", b"new!")
    assert not _is_between(b"hal", b"half", b"half+half"), "durable bytes are missing"
    assert not _is_between(b"half\0half", b"half", b"half+half"), "zeros instead of a byte"
    assert not _is_between(b"new+", b"", b"new"), "more than was written"
    assert not _is_between(b"zew", b"", b"new")


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open("r+b") as ours, (tmp_path / "lock").open("r+b") as theirs:
        with exclusive(ours):
            assert not try_lock(theirs)
        assert try_lock(theirs)
