"""`python -m tools.report` as a command: where it writes, what it packs, and what it says of bad input."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from suites.selftest import stored_run
from tools import summary
from tools.report.__main__ import main

pytestmark = pytest.mark.selftest


@pytest.fixture
def run(pytester: pytest.Pytester) -> Path:
    return stored_run.make(pytester)


def test_the_page_lies_beside_the_evidence_and_says_where(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"page: {run}/report.html\n"
    first = (run / "report.html").read_bytes()
    assert main([str(run)]) == 0
    again = (run / "report.html").read_bytes()
    assert again == first, "though it is among the files now"
    assert not list(run.glob(".*"))


def test_markdown_is_that_of_the_summary_and_alone_on_stdout(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([str(run), "--markdown"]) == 0
    printed = capsys.readouterr()
    assert printed.out == summary.markdown(stored_run.load(run))
    assert printed.err == f"page: {run}/report.html\n"


def test_the_archive_has_all_evidence_with_a_page_whose_links_lead_into_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "outside").symlink_to("/etc/hostname")
    archive = tmp_path / "run.tar.gz"
    capsys.readouterr()
    assert main([str(run), "-o", str(tmp_path / "page.html"), "--bundle", str(archive)]) == 0
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        root = f"conformance-{stored_run.load(run)['run_id']}"
        html = packed.extractfile(f"{root}/report.html")
        assert html is not None
        assert b'href="conformance.json"' in html.read()
    assert names == sorted(names, key=lambda name: (name.count("/"), name)), "what is nearest first"
    inside = {name.removeprefix(f"{root}/") for name in names}
    assert {"conformance.json", "report.txt", "report.html", "shared/logs/reader 1#.log"} <= inside
    assert set(stored_run.histories(stored_run.load(run))) <= inside
    assert "outside" not in inside
    assert f"bundle: {archive} ({len(names)} files)" in capsys.readouterr().out


def test_the_same_evidence_makes_the_same_archive_wherever_it_lies(run: Path) -> None:
    archives = [run / "a.tar.gz", run.parent / "b.tar.gz"]
    main([str(run)])
    packed = []
    for archive in archives:
        assert main([str(run), "--bundle", str(archive)]) == 0
        packed.append(archive.read_bytes())
        archive.unlink()
    assert packed[0] == packed[1]


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda run: (run / "conformance.json").unlink(),
            "{run}: no conformance.json in it; give the folder of one run",
        ),
        (lambda run: (run / "conformance.json").write_text("{"), "{run}/conformance.json: no whole report (Expecting"),
        (lambda run: (run / "conformance.json").write_text("[]"), "of schema None, this version reads 1"),
        (lambda run: (run / "conformance.json").write_bytes(b"\xff"), "no whole report ('utf-8' codec"),
        (
            lambda run: stored_run.save(run, {"schema_version": 2}),
            "{run}/conformance.json: of schema 2, this version reads 1; use the suite that wrote it",
        ),
        (
            lambda run: stored_run.save(run, {"schema_version": 1, "claims": []}),
            "{run}/conformance.json: no whole report (KeyError: ",
        ),
        (
            lambda run: stored_run.save(run, stored_run.load(run) | {"claims": [{"id": "V-1"}]}),
            "{run}/conformance.json: no whole report (KeyError: ",
        ),
        (
            lambda run: stored_run.save(run, stored_run.load(run) | {"capabilities": 3}),
            "{run}/conformance.json: no whole report (",
        ),
        (lambda run: (run / "report.html").mkdir(), "{run}/report.html: Is a directory; name another file with -o"),
    ],
)
def test_what_is_no_report_is_said_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], spoil: Spoil, says: str
) -> None:
    spoil(run)
    assert says.format(run=run) in refused(capsys, str(run))
    assert not list(run.glob(".*"))


def test_the_folder_of_all_runs_is_a_likely_mistake(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, str(run.parent)).endswith(f"give the folder of one run, such as {run}")


def test_bad_places_are_said_in_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "nowhere" / "x"
    assert refused(capsys, str(nowhere)).startswith(f"{nowhere}: no such folder; give the folder of a run")
    assert refused(capsys, str(run), "-o", str(nowhere)) == (
        f"{nowhere}: No such file or directory; name another file with -o"
    )
    assert "the archive was not made" in refused(capsys, str(run), "--bundle", str(nowhere))
    assert "unrecognized arguments: --pdf" in refused(capsys, str(run), "--pdf")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said, in one line, with exit code 4."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m tools.report: ")
    return line.removeprefix("python -m tools.report: ")


def test_the_last_screen_names_the_command(run: Path) -> None:
    assert f"as a page: python -m tools.report {run.name}" in (run / "report.txt").read_text("utf-8")
    assert json.loads((run / "conformance.json").read_text("utf-8"))["exit_code"] == 1
