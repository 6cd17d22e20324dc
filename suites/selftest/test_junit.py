"""JUnit XML as CI reads it: a test of a claim is there once, whatever became of it, and says what its verdict says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from suites.selftest import inner

pytestmark = pytest.mark.selftest

TESTS = """
@promise("V-1")
def test_holds(cluster, trial):
    trial.check(True, "fine")

@promise("V-2", expected={"1.0.0": deviates("it is known")})
def test_deviates(cluster, trial):
    trial.deviate(False, "row stale")

@promise("V-3")
@pytest.mark.parametrize("reader", ["a-b\\x01"])
def test_violated(cluster, trial, reader):
    trial.check(False, "row <lost> & \\x07gone")

@promise("V-4", needs=["fuse"])
def test_allowed(cluster, trial):
    trial.check(True, "fine")

@promise("V-5")
def test_unknown(cluster, trial):
    raise FaultNotEffective("nobody died")

@pytest.fixture
def unclean(cluster):
    yield
    raise HarnessError("could not drop")

@promise("V-6")
def test_unclean(cluster, trial, unclean):
    trial.check(True, "fine")

@promise("V-7")
def test_violated_and_unclean(cluster, trial, unclean):
    trial.check(False, "row doubled")

def test_plain():
    assert 1 == 2
"""
# How a testcase can end, but for passing, which has no element.
ELEMENTS = ("failure", "error", "skipped")


def _suite(pytester: pytest.Pytester, tests: str, *args: str, **launcher: object) -> ET.Element:
    inner.run(pytester, tests, "--junitxml=$HERE/junit.xml", *args, **launcher)
    suite = ET.parse(pytester.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    counted = {tag: sum(case.find(tag) is not None for case in cases) for tag in ELEMENTS}
    attributes = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert attributes == {
        "tests": str(len(cases)),
        "failures": str(counted["failure"]),
        "errors": str(counted["error"]),
        "skipped": str(counted["skipped"]),
    }
    return suite


def _cases(suite: ET.Element) -> dict[str, tuple[str, str]]:
    """By name: the element that says how it ended (or `passed`), and its message."""
    cases = {}
    for case in suite.findall("testcase"):
        ends = [child for child in case if child.tag in ELEMENTS]
        assert len(ends) <= 1, case.get("name")
        assert case.get("name") not in cases, "there twice"
        cases[case.get("name", "")] = (ends[0].tag, ends[0].get("message", "")) if ends else ("passed", "")
    return cases


@pytest.fixture(autouse=True)
def _here(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # As pytest does, variables in the name of the file are filled in.
    monkeypatch.setenv("HERE", str(pytester.path))


def test_each_verdict_is_what_it_says(pytester: pytest.Pytester) -> None:
    cases = _cases(_suite(pytester, TESTS, capabilities={"fuse": "no device"}))
    assert cases == {
        "run": ("passed", ""),
        "test_holds": ("passed", ""),
        "test_deviates": ("passed", ""),
        "test_violated[a-b\\x01]": ("failure", "row <lost> & #x07gone"),
        "test_allowed": ("skipped", "missing fuse: no device"),
        "test_unknown": ("error", "harness error: nobody died"),
        "test_unclean": ("error", "its clean-up failed: could not drop (before that: holds, 1 checks)"),
        "test_violated_and_unclean": ("failure", "row doubled"),
        "test_plain": ("failure", "assert 1 == 2"),
    }


def test_the_properties_are_those_of_the_report(pytester: pytest.Pytester) -> None:
    suite = _suite(pytester, TESTS, capabilities={"fuse": "no device"})
    claims = inner.claims(pytester)
    seen = set()
    for case in suite.findall("testcase[properties]"):
        values = {entry.get("name"): entry.get("value") for entry in case.findall("properties/property")}
        claim = claims[str(values.pop("claim"))]
        seen.add(claim["id"])
        assert values.pop("reason") == claim["reason"].replace("\x07", "#x07")
        assert values == {name: claim[name] for name in ("verdict", "expected", "cause")}
    assert seen == set(claims)


def test_a_failure_has_the_screen_of_the_claim(pytester: pytest.Pytester) -> None:
    text = _suite(pytester, TESTS).findtext("testcase[@name='test_violated_and_unclean']/failure")
    assert text is not None
    assert text.startswith("V-7 violated: rows stay\n")
    assert "pytest -m cluster" in text


def test_claims_that_did_not_run_are_there(pytester: pytest.Pytester) -> None:
    """A run that was cut short must not look like a short green one."""
    cases = _cases(_suite(pytester, TESTS, "-x"))
    assert cases["test_holds"] == ("passed", "")
    assert cases["test_violated_and_unclean"] == ("error", "not run")


def test_a_cluster_that_did_not_start_is_no_failure(pytester: pytest.Pytester) -> None:
    cases = _cases(_suite(pytester, TESTS, "-k", "holds or test_violated", refuses="all"))
    assert {tag for tag, _ in cases.values()} == {"error"}
    assert cases["run"][1].startswith("exit code 7: the cluster could not be started")


def test_a_leak_is_an_error_of_the_run(pytester: pytest.Pytester) -> None:
    suite = _suite(pytester, TESTS, "-k", "test_holds", leaves=("process 42",))
    assert _cases(suite)["run"][0] == "error"
    assert suite.findtext("testcase[@name='run']/error") == "cluster shared left behind: process 42"


def test_a_demanded_capability_is_an_error_of_the_run(pytester: pytest.Pytester) -> None:
    suite = _suite(pytester, TESTS, "-k", "test_holds", "--require=fuse", capabilities={"fuse": "no device"})
    assert suite.findtext("testcase[@name='run']/error") == "--require=fuse: missing: no device"


def test_pytests_options_for_the_file_are_kept(pytester: pytest.Pytester) -> None:
    suite = _suite(pytester, TESTS, "--junitprefix=nightly", "-o", "junit_suite_name=cluster", "-k", "test_holds")
    assert suite.get("name") == "cluster"
    assert [case.get("classname") for case in suite] == ["conformance", "nightly.test_inner"]


def test_without_claims_it_is_pytests_own(pytester: pytest.Pytester) -> None:
    assert _cases(_suite(pytester, TESTS, "-k", "plain")) == {"test_plain": ("failure", "assert 1 == 2")}
