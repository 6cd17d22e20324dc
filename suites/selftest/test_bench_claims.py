"""The command that judges the article's figures, with parts made for the test."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.errors import InfrastructureError
from suites.performance import claims
from suites.performance.claims import Part
from suites.performance.clusters import Place
from suites.performance.verdicts import Judged, Measured, Plot, Profile, Table, Verdict

pytestmark = pytest.mark.selftest

JUDGED = Judged(claim="P-0", said="it is fast", measured="9 s", verdict=Verdict.NOT_REPRODUCED, why="9 s > 1 s & more")
TABLE = Table(title="Where it goes", head=("step", "s"), body=(("a|b", "9"), ("rows", "1 000 000")), note="of one run")
GOOD = Measured(
    judged=(JUDGED,), tables=(TABLE,), plots=(Plot(title="steps", svg="<svg></svg>"),), values={"seconds": [9]}
)

Measure = Callable[[Place, Profile, Callable[[str], None]], Measured]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Measure], Part]:
    """A part of that name which measures so; 100 s in the quick profile, 1000 s in the full one."""

    def made(name: str, measure: Measure) -> Part:
        module = types.ModuleType(f"made_{name}")
        module.measure = measure  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return Part(name, module.__name__, 100, 1000)

    return made


def good(_place: Place, _profile: Profile, _say: Callable[[str], None]) -> Measured:
    return GOOD


def broken(_place: Place, _profile: Profile, _say: Callable[[str], None]) -> Measured:
    raise InfrastructureError("no node")


def test_verdicts_tables_json_and_page(
    part: Callable[[str, Measure], Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert claims.main([f"--json={out}", f"--report={tmp_path / 'r'}"], [part("P-0", good)]) == 0
    printed = capsys.readouterr().out
    order = ["claim", "it is fast", "not reproduced", "Where it goes", "a|b", "of one run", "machine: "]
    places = [printed.index(word) for word in order]
    assert places == sorted(places)
    stored = json.loads(out.read_text())
    assert stored["parts"]["P-0"]["judged"][0]["verdict"] == "not reproduced"
    assert json.loads((tmp_path / "r" / "P-0" / "values.json").read_text()) == {"seconds": [9]}
    page = (tmp_path / "r" / "article.html").read_text()
    assert "9 s &gt; 1 s &amp; more" in page
    assert "<svg></svg>" in page
    assert "1\N{NO-BREAK SPACE}000\N{NO-BREAK SPACE}000" in page


def test_a_part_that_fails_does_not_keep_the_others_from_being_measured(
    part: Callable[[str, Measure], Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims.main([f"--report={tmp_path}"], [part("P-1", broken), part("P-0", good)]) == 7
    printed = capsys.readouterr()
    assert "it is fast" in printed.out
    assert "FAILED: P-1: no node" in printed.out
    assert "bench: P-1: no node" in printed.err


def test_what_was_measured_before_a_ctrl_c_is_printed(
    part: Callable[[str, Measure], Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_place: Place, _profile: Profile, _say: Callable[[str], None]) -> Measured:
        raise KeyboardInterrupt

    assert claims.main([f"--report={tmp_path}"], [part("P-0", good), part("P-1", interrupted)]) == 2
    assert "it is fast" in capsys.readouterr().out


def test_time_is_shared_in_proportion_and_no_part_gets_more_than_its_own(
    part: Callable[[str, Measure], Part], tmp_path: Path
) -> None:
    given: list[Profile] = []

    def measure(_place: Place, profile: Profile, _say: Callable[[str], None]) -> Measured:
        given.append(profile)
        return GOOD

    parts = [part("a", measure), part("b", measure)]
    for options in (["--limit-s=50"], ["--limit-s=9999"], ["--profile=full", "--only=b"]):
        assert claims.main([*options, f"--report={tmp_path}"], parts) == 0
    assert [profile.limit_s for profile in given] == [25, 25, 100, 100, 1000]
    assert [profile.full for profile in given] == [False, False, False, False, True]


def test_a_wrong_option_ends_it_before_anything_starts(
    part: Callable[[str, Measure], Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [part("P-1", broken)]
    assert claims.main([f"--json={tmp_path}/none/out.json", f"--report={tmp_path}"], parts) == 4
    assert "its folder is not there" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        claims.main(["--only=P-9"], parts)
    assert "invalid choice: 'P-9'" in capsys.readouterr().err


def test_every_part_is_there_and_the_profiles_keep_to_their_time() -> None:
    for each in claims.PARTS:
        assert callable(__import__(each.module, fromlist=["measure"]).measure)
    assert sum(each.quick_s for each in claims.PARTS if each.in_quick) <= 600
    assert sum(each.full_s for each in claims.PARTS) <= 3600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime=embeded"], "--runtime=embeded: must be one of auto, embedded, docker, external; did you mean"),
        (["--topology=hardend"], "did you mean hardened?"),
        (["--runtime=external"], "--endpoints=FILE.toml says so"),
        (["--milvus=/nowhere"], "--milvus=/nowhere"),
    ],
)
def test_what_the_cluster_is_has_the_words_and_checks_of_pytest(
    words: list[str],
    said: str,
    part: Callable[[str, Measure], Part],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert claims.main([f"--report={tmp_path}", *words], [part("P-0", good)]) == 4
    assert said in capsys.readouterr().err


def test_a_part_is_given_the_cluster_that_was_asked_for(part: Callable[[str, Measure], Part], tmp_path: Path) -> None:
    given: list[Place] = []

    def measure(place: Place, _profile: Profile, _say: Callable[[str], None]) -> Measured:
        given.append(place)
        return GOOD

    words = [f"--report={tmp_path}", "--topology=hardened", "--object-store=seaweedfs"]
    assert claims.main(words, [part("P-0", measure)]) == 0
    (place,) = given
    assert (place.topology.name, place.topology.object_store) == ("hardened", "seaweedfs")
    assert place.launcher is not None


def test_what_starts_clusters_of_its_own_is_not_for_one_that_runs(
    part: Callable[[str, Measure], Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "theirs.toml"
    nodes = ("writer", "readers.reader-1", "mishards")
    file.write_text("".join(f'[{name}]\nendpoint = "127.0.0.1:{1 + at}"\n' for at, name in enumerate(nodes)))
    words = [f"--report={tmp_path}", "--runtime=external", f"--endpoints={file}"]
    inside, outside = part("P-0", broken), dataclasses.replace(part("P-1", good), runtimes=("external",))
    assert claims.main(words, [inside, outside]) == 0, "the one is left out"
    assert claims.main([*words, "--only=P-0"], [inside, outside]) == 4
    assert "--only P-0: not with --runtime=external, but embedded, docker" in capsys.readouterr().err
