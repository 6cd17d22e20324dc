"""Which programs stand for Milvus and Mishards: versions of native ones, and what a stand-in is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.errors import UsageError
from fixtures.plugin.header import describe
from fixtures.plugin.launcher import Component
from fixtures.plugin.programs import ProgramOptions, gpu_build, milvus_version, mishards_version
from fixtures.services import READER, STAND_IN, WRITER, Programs
from fixtures.services.milvus import stand_in_name
from fixtures.standin import node
from fixtures.standin.deviations import AS_1_1_0, MISHARDS, NODE, Deviation, UnknownDeviation, parse, shown

pytestmark = pytest.mark.selftest


def program(folder: Path, says: str) -> Path:
    path = folder / "milvus_server"
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\n")
    path.chmod(0o755)
    return path


def checkout(folder: Path, settings: str) -> Path:
    (folder / "mishards").mkdir()
    (folder / "mishards" / "settings.py").write_text(settings)
    return folder


def test_a_native_milvus_says_its_version(tmp_path: Path) -> None:
    banner = "Welcome to use Milvus!\\nMilvus Release version: v1.1.0, built at 2021-05-07 10:11.12, with OpenBLAS"
    assert milvus_version(program(tmp_path, banner)) == "1.1.0"


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("Milvus version: v1.0.0", "is 1.0.0, but pymilvus 1.1.2 and Mishards 1.1 talk to 1.1.x only; give a 1.1.x"),
        ("Milvus 11.1.0", "is 11.1.0, but"),
        ("usage: milvus", "--help: no version in 'usage: milvus' (exit code 0)"),
    ],
)
def test_another_version_of_milvus_is_refused_in_one_line(tmp_path: Path, says: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as refused:
        milvus_version(program(tmp_path, says))
    assert "\n" not in str(refused.value)


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    path = program(tmp_path, "")
    path.write_text("no program")
    with pytest.raises(UsageError, match="milvus_server --help: "):
        milvus_version(path)


def test_a_checkout_says_which_servers_it_accepts(tmp_path: Path) -> None:
    assert mishards_version(checkout(tmp_path, "import os\nSERVER_VERSIONS = ['1.0.x', '1.1.x']\n")) == "1.1.x"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("SERVER_VERSIONS = ['1.0.x']", r"SERVER_VERSIONS \['1.0.x'\]: is 1.0.x, but pymilvus 1.1.2"),
        ("SERVER_VERSIONS = []", "is , but"),
        ("DEBUG = True", "names no SERVER_VERSIONS"),
        ("def", "cannot be read"),
    ],
)
def test_a_checkout_for_other_servers_is_refused(tmp_path: Path, settings: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mishards_version(checkout(tmp_path, settings))


def test_the_nearer_to_a_node_a_binary_is_given_the_more_it_counts() -> None:
    programs = Programs(milvus=Path("/all"), milvus_reader=Path("/readers"), milvus_of={"reader-2": Path("/one")})
    assert programs.binary("writer", WRITER) == Path("/all")
    assert programs.binary("reader-1", READER) == Path("/readers")
    assert programs.binary("reader-2", READER) == Path("/one")
    assert Programs(milvus_writer=Path("/rw")).binary("reader-1", READER) is None


def test_a_gpu_needs_a_native_milvus_on_every_node_that_is_to_use_it() -> None:
    readers = ProgramOptions(milvus_reader=Path("/ro"))
    both = ProgramOptions(milvus_writer=Path("/rw"), milvus_reader=Path("/ro"))
    assert gpu_build(readers, "readers") == gpu_build(both, "all") == Path("/ro")
    assert gpu_build(readers, "all") is None
    assert gpu_build(ProgramOptions(milvus_writer=Path("/rw")), "readers") is None


# --- names of deviations and defects


def test_names_are_read_as_they_are_shown() -> None:
    some = frozenset({Deviation.MERGE_GAP, Deviation.PREFIX_TAGS})
    assert parse("prefix-tags, merge-gap") == parse(shown(some)) == some
    assert (shown(some, NODE), shown(some, MISHARDS), shown(AS_1_1_0)) == ("merge-gap", "prefix-tags", "")
    assert parse("all") == frozenset(Deviation)
    assert shown(parse("all")) == shown(parse("all"), MISHARDS) == "all"
    with pytest.raises(UnknownDeviation, match="did you mean merge-gap"):
        parse("mergegap")


def test_every_deviation_has_a_name_of_its_own_and_says_what_it_concerns() -> None:
    assert len({each.title for each in Deviation}) == len(Deviation)
    for each in Deviation:
        assert re.fullmatch("[a-z]+(-[a-z]+)+", each.title)
        assert each.program in (NODE, MISHARDS)
        assert each.value.concerns
        assert each.value.wrong


def test_every_deviation_has_a_test() -> None:
    here = Path(__file__).parent
    of = {NODE: "test_standin_deviations.py", MISHARDS: "test_standin_mishards_deviations.py"}
    for each in Deviation:
        assert f"def test_{each.title.replace('-', '_')}(" in (here / of[each.program]).read_text(), each.title


def test_a_stand_in_says_what_is_fixed_in_it() -> None:
    fixed = frozenset({Deviation.MERGE_GAP})
    assert stand_in_name("Milvus", AS_1_1_0, NODE) == STAND_IN.format("Milvus")
    name = stand_in_name("Milvus", fixed, NODE)
    assert name == "stand-in (not Milvus), as fixed: merge-gap"
    assert stand_in_name("Mishards", fixed, MISHARDS) == "stand-in (not Mishards)"
    described = describe(Component(name="milvus-readers", implementation=name, version="1.1.0"))
    assert described == "Milvus readers 1.1.0: stand-in (not Milvus readers), as fixed: merge-gap"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--as-fixed=stale", "no deviation"),
        ("--defect=nothing", "is no seeded defect; `python -m tools.defects --list`"),
    ],
)
def test_a_node_refuses_an_unknown_name(option: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        node.main(["-c", "absent.yaml", option])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
