"""`python -m tools.report`: what the page of a stored run says, and that nothing in it can do any harm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from suites.selftest import stored_run
from suites.selftest.hand_made import HandMade
from tools.report import page
from tools.report.__main__ import main

pytestmark = pytest.mark.selftest

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}'
"""Ends an attribute, an element, and then does something."""
STYLE = Path(page.__file__).parent / "templates" / "style.css"


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_style = tag == "style"
        self.text += "" if tag in ("a", "code", "span", "strong") else " "

    def handle_data(self, data: str) -> None:
        self.text += "" if self._in_style else data

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Path:
    return stored_run.make(pytester)


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def rendered(folder: Path) -> Page:
    return Page(page.render(stored_run.load(folder), folder, folder / "report.html"))


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_verdict_comes_first_and_says_what_it_is_about(run: Path) -> None:
    assert main([str(run)]) == 0
    told = words(read(run / "report.html").text)
    places = [
        told.index(part)
        for part in (
            "VIOLATED Exit code 1: a claim is violated, or a test of the harness failed.",
            "Judged on: Milvus 1.1.0: stand-in (not Milvus), runtime embedded",
            "the verdicts are on the stand-in, not on what it stands in for",
            "4 claims: 1 holds, 1 deviates, 1 unknown (1 allowed), 1 violated",
            "Claims, the worst first",
            "V-3 \u2717 violated expected holds lost inf rows of 0 rows",
            "V-4 ? unknown (allowed) expected holds -",
            "V-2 \u2248 deviates expected deviates -",
            "V-1 \u2713 holds expected holds visible 0.5 s of 2 s",
        )
    ]
    assert places == sorted(places)


def test_all_evidence_of_a_claim_is_there(run: Path) -> None:
    told = words(rendered(run).text)
    for part in (
        "V-3: rows stay promised in a test checks 2",
        "violation: lost: inf rows, budget 0.000 rows test_violated[a]",
        "deviation at reader-1: rows stale rows: [1, 2]",
        "expected to deviate it is known",
        "lost test_violated[b] inf rows 0 rows exceeded",
        "kill test_violated[a] target writer pid 42",
        "seen on the way",
        "Test test_inner.py::test_violated[a] \u2717 violated",
        "8 operations in 9.5 s, 1 fault",
        "reader-1 4 ok, 1 failed, 1 unknown",
        "1 search failed: refused by N.N.N.N:N",
        "kill of reader-1, at 4 s: 2 s",
        "kill of reader-1 reader-1 0 of 2 1 s after 1.5 s within 1.5 s (asked at 1 s)",
        "reader-1 2 1.01 s 1.01 s 0.5 s 2 s",
        "MariaDB 11.8.3",
        "fuse no: no device",
        "juicefs.heartbeat_s 12",
    ):
        assert part in told, f"{part}\n\n{told}"


def test_only_a_violated_claim_is_open_at_once(run: Path) -> None:
    html = page.render(stored_run.load(run), run, run / "report.html")
    opened = re.findall(r"<details open>\s*<summary>(\S+): rows stay", html)
    assert opened == ["V-3"]


def test_nothing_that_a_cluster_says_becomes_markup(run: Path) -> None:
    document = poisoned(stored_run.load(run))
    for name in stored_run.histories(stored_run.load(run)):
        history = HandMade()
        history.add("search", 0, {}, node=HOSTILE, error=HOSTILE, outcome="failed")
        history.save(run / name, [(HOSTILE, 0.0, 1.0)])
    (run / "shared" / "logs" / '"><script>.log').write_text("", "utf-8")
    clean, seen = rendered(run), Page(page.render(document, run, run / "report.html"))
    assert {tag for tag, _ in seen.elements} == {tag for tag, _ in clean.elements}
    assert not {"script", "img"} & {tag for tag, _ in seen.elements}
    names = {name for _, attributes in seen.elements for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert seen.text.count("alert(1)") > 50
    assert "49" not in re.findall(r"onerror=alert\(1\)>(\S+)", seen.text)


def poisoned(value: Any, key: str = "") -> Any:
    """Every free text of a report with something hostile at its end."""
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    if not isinstance(value, str) or key in ("verdict", "expected", "cause", "started", "ended", "history", "value"):
        return value
    return value + HOSTILE


def test_the_page_needs_nothing_and_may_load_nothing(run: Path) -> None:
    seen = rendered(run)
    policy = [each for tag, each in seen.elements if tag == "meta" and "http-equiv" in each]
    assert policy == [
        {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"}
    ]
    assert not seen.values("src")
    assert not [tag for tag, _ in seen.elements if tag in ("script", "link", "iframe", "object", "base", "form")]
    assert not re.search(r"url\(|@import", STYLE.read_text("utf-8"))


@pytest.mark.parametrize("where", ["report.html", "../page.html", "../pages/deep/page.html"])
def test_links_lead_to_the_evidence_from_where_the_page_lies(run: Path, where: str) -> None:
    output = run / where
    output.parent.mkdir(parents=True, exist_ok=True)
    assert main([str(run), "-o", str(output)]) == 0
    seen = read(output)
    links = seen.values("href")
    files = [unquote(link) for link in links if not link.startswith("#")]
    assert all((output.parent / file).is_file() for file in files)
    here = {(output.parent / file).resolve().relative_to(run.resolve()).as_posix() for file in files}
    assert {"conformance.json", "report.txt", "shared/logs/reader 1#.log"} <= here
    assert set(stored_run.histories(stored_run.load(run))) <= here
    assert {unquote(link[1:]) for link in links if link.startswith("#")} <= set(seen.values("id"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("history-gone.jsonl", None, "history-gone.jsonl cannot be read: No such file or directory"),
        ("history-bad.jsonl", "no\nhistory\n", "history-bad.jsonl cannot be read: line 1: no JSON"),
        ("history-empty.jsonl", "", "its history has no operations"),
        ("../conformance.json", "{}", "../conformance.json lies outside the report folder and was not read"),
    ],
)
def test_a_history_that_cannot_be_had_is_said_and_hides_no_claim(
    run: Path, name: str, content: str | None, says: str
) -> None:
    document = stored_run.load(run)
    (claim,) = [each for each in document["claims"] if each["id"] == "V-1"]
    claim["tests"][0]["history"] = name
    stored_run.save(run, document)
    if content is not None:
        (run / name).write_text(content, "utf-8")
    told = words(rendered(run).text)
    assert f"1.0), {says}" in told or says in told
    assert "V-3 \u2717 violated" in told


def test_a_history_that_makes_no_sense_is_said(run: Path) -> None:
    name = stored_run.histories(stored_run.load(run))[0]
    history = HandMade()
    history.add("insert", 0, {"ids": ["one"]})
    history.add("search", 1, {"asked": ["one"]}, node="reader-1")
    history.save(run / name)
    assert "its history makes no sense (ValueError: row ids in a journal: 'one'" in words(rendered(run).text)


def test_a_hundred_thousand_operations_stay_a_small_page(run: Path) -> None:
    history = HandMade()
    for at in range(5_000):
        history.insert(at, [at], took=0.1)
        history.flush(at + 0.2, took=0.1)
        history.read(at + 0.4, [at], [at], took=0.1)
        for place in range(17):
            history.add("count", at + place / 17, {}, node="mishards", outcome="failed", error=f"no {place}")
    faults = [("writer", at, at + 300) for at in range(0, 5_000, 500)]
    history.save(run / stored_run.histories(stored_run.load(run))[0], faults)
    text = page.render(stored_run.load(run), run, run / "report.html")
    assert "100 000 operations" in text
    assert len(text.encode()) < 1_000_000, "of 3 MB"


def test_a_run_that_was_killed_is_not_finished(run: Path) -> None:
    document = stored_run.load(run) | {"exit_code": None, "exit_meaning": "the run has not ended", "ended": None}
    stored_run.save(run, document | {"problems": ["left behind: process 42"], "required": ["fuse"]})
    told = words(rendered(run).text)
    assert "Not finished the run has not ended." in told
    assert ", not ended, seed 7" in told
    assert "harness: left behind: process 42 required and missing: fuse: no device" in told


def test_a_run_that_could_not_start_blames_no_claim(run: Path) -> None:
    document = stored_run.load(run) | {"exit_code": 7, "infrastructure_error": "mysql: did not answer\nno space left"}
    stored_run.save(run, document | {"claims": [], "bring_up": []})
    told = words(rendered(run).text)
    assert "Infrastructure: nothing was judged" in told
    assert "A cluster could not be started: mysql: did not answer no space left" in told
    assert "Claims, the worst first No claim was selected." in told


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_can_be_read_on_every_ground(scheme: str) -> None:
    """WCAG 2 asks for a contrast of 4.5 to 1."""
    light, _, dark = STYLE.read_text("utf-8").partition("prefers-color-scheme: dark")
    colours = dict(re.findall(r"--(\w+): (#\w{6})", light if scheme == "light" else dark.partition("}\n}")[0]))
    for text in ("text", "soft", "link", "holds", "deviates", "unknown", "violated", "fault"):
        for ground in ("page", "card"):
            assert contrast(colours[text], colours[ground]) >= 4.5, f"{text} on {ground}"


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(factor * share for factor, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
