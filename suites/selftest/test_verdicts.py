"""From what a test did to the verdict on its claim, through pytest as it is used."""

from __future__ import annotations

import pytest

from fixtures.claims import Claim, Expectation, Trial, Verdict, claim, deviates, holds
from fixtures.errors import FaultNotEffective, HarnessError, MissingCapability, NotReady
from fixtures.plugin.verdicts import Cause, Conclusion, Record, after_teardown, conclude, of_claim, unprepared
from suites.selftest import inner

pytestmark = pytest.mark.selftest

CLAIM = Claim(id="V-1", promise="rows stay", source="a test", expected={"1.0.0": holds()})
NOTHING_REQUIRED: frozenset[str] = frozenset()


def _trial(*, kept: bool = True) -> Trial:
    trial = Trial(claim=CLAIM)
    trial.check(kept, "row 7 is gone", node="reader-1")
    return trial


def _judged(trial: Trial | None, error: BaseException | None, expectation: Expectation | None = None) -> Conclusion:
    return conclude(trial, error, expectation or holds(), NOTHING_REQUIRED)


@pytest.mark.parametrize(
    ("error", "verdict", "cause"),
    [
        (None, Verdict.HOLDS, Cause.CLUSTER),
        (AssertionError("row 8 is gone"), Verdict.VIOLATED, Cause.CLUSTER),
        (FaultNotEffective("nobody died"), Verdict.UNKNOWN, Cause.HARNESS),
        (NotReady("no answer"), Verdict.UNKNOWN, Cause.INFRASTRUCTURE),
        (HarnessError("lost"), Verdict.UNKNOWN, Cause.HARNESS),
        (KeyError("x"), Verdict.UNKNOWN, Cause.HARNESS),
        (MissingCapability("fuse", "no device"), Verdict.UNKNOWN, Cause.CAPABILITY),
    ],
)
def test_what_ended_a_test_decides(error: BaseException | None, verdict: Verdict, cause: Cause) -> None:
    conclusion = _judged(_trial(), error)
    assert (conclusion.verdict, conclusion.cause) == (verdict, cause)
    if error is not None:
        assert str(error.args[0]) in conclusion.reason


def test_a_recorded_violation_outlives_a_harness_error() -> None:
    conclusion = _judged(_trial(kept=False), HarnessError("lost the client"))
    assert conclusion.verdict is Verdict.VIOLATED
    assert "row 7 is gone" in conclusion.reason
    assert "lost the client" in conclusion.reason


def test_a_recorded_deviation_does_not_outlive_one() -> None:
    trial = Trial(claim=CLAIM)
    trial.deviate(False, "stale")
    assert _judged(trial, HarnessError("lost"), deviates("known")).verdict is Verdict.UNKNOWN
    assert _judged(trial, None, deviates("known")).verdict is Verdict.DEVIATES
    assert _judged(trial, None, holds()).verdict is Verdict.VIOLATED


def test_a_test_without_trial_proves_nothing() -> None:
    assert _judged(None, None).verdict is Verdict.UNKNOWN
    assert _judged(Trial(claim=CLAIM), None).verdict is Verdict.UNKNOWN


def test_an_assertion_while_preparing_is_no_violation() -> None:
    assert unprepared(AssertionError("create refused"), NOTHING_REQUIRED).verdict is Verdict.UNKNOWN


def test_a_missing_capability_is_allowed_unless_required() -> None:
    error = MissingCapability("fuse", "no device")
    assert conclude(_trial(), error, holds(), NOTHING_REQUIRED).allowed
    demanded = conclude(_trial(), error, holds(), frozenset({"fuse"}))
    assert not demanded.allowed
    assert demanded.fails
    assert "--require=fuse" in demanded.reason


def test_a_failed_clean_up_spoils_a_good_verdict_only() -> None:
    good = _judged(_trial(), None)
    bad = _judged(_trial(kept=False), None)
    assert after_teardown(good, HarnessError("stuck")).verdict is Verdict.UNKNOWN
    assert after_teardown(bad, HarnessError("stuck")) is bad


def test_a_claim_is_as_bad_as_its_worst_test() -> None:
    def record(verdict: Verdict, *, allowed: bool = False) -> Record:
        conclusion = Conclusion(verdict=verdict, reason=verdict.value, cause=Cause.CLUSTER, allowed=allowed)
        return Record(test="t", claim=CLAIM, expectation=holds(), conclusion=conclusion)

    allowed, failing = record(Verdict.UNKNOWN, allowed=True), record(Verdict.UNKNOWN)
    assert of_claim([record(Verdict.HOLDS), record(Verdict.DEVIATES)]).verdict is Verdict.DEVIATES
    assert of_claim([record(Verdict.HOLDS), allowed]).allowed
    assert not of_claim([allowed, failing]).allowed
    assert of_claim([failing, record(Verdict.VIOLATED), record(Verdict.HOLDS)]).verdict is Verdict.VIOLATED
    assert of_claim([]).verdict is Verdict.UNKNOWN


def test_every_verdict_through_pytest(pytester: pytest.Pytester) -> None:
    result = inner.run(
        pytester,
        """
KNOWN = {"1.0.0": holds(), "1.1.0": deviates("it is stale", "milvus #2368")}

@promise("V-1")
def test_holds(cluster, trial):
    trial.check(True, "fine")

@promise("V-2", expected=KNOWN)
def test_deviates(cluster, trial):
    trial.deviate(False, "stale row", node="reader-1")

@promise("V-3")
def test_violated(cluster, trial):
    trial.check(False, "row lost", node="reader-2")

@promise("V-4", witnesses=["kill"])
def test_no_witness(cluster, trial):
    trial.check(True, "fine")

@promise("V-5")
def test_asserts(cluster, trial):
    assert 1 == 2, "one is not two"

@promise("V-6", expected=KNOWN)
def test_deviates_from_1_1_on(fresh_cluster, trial):
    fresh_cluster(milvus={"version": "1.0.0"})
    trial.deviate(False, "stale row")

def test_plain():
    pass
""",
    )
    verdicts = {name: entry["verdict"] for name, entry in inner.claims(pytester).items()}
    assert verdicts == {
        "V-1": "holds",
        "V-2": "deviates",
        "V-3": "violated",
        "V-4": "unknown",
        "V-5": "violated",
        "V-6": "violated",
    }
    assert inner.claims(pytester)["V-4"]["reason"] == "no witness of: kill"
    assert inner.claims(pytester)["V-5"]["reason"].startswith("one is not two")
    assert result.ret == 1
    outcomes = result.parseoutcomes()
    assert outcomes == {"holds": 1, "deviates": 1, "violated": 3, "unknown": 1, "passed": 1}


def test_pytest_sees_the_same_outcomes(pytester: pytest.Pytester) -> None:
    inner.write(
        pytester,
        """
@promise("V-1")
def test_holds(cluster, trial):
    trial.check(True, "fine")

@promise("V-2")
def test_violated(cluster, trial):
    trial.check(False, "row lost")

@promise("V-3", needs=["fuse"])
def test_needs_fuse(cluster, trial):
    trial.check(True, "fine")
""",
        capabilities={"fuse": "no device"},
    )
    outcomes = pytester.inline_run("--report=report").listoutcomes()
    assert [len(reports) for reports in outcomes] == [1, 1, 1]


def test_one_claim_described_twice_is_refused(pytester: pytest.Pytester) -> None:
    result = inner.run(
        pytester,
        """
@promise("V-1", "rows stay")
def test_one(cluster, trial): ...

@promise("V-1", "rows go")
def test_two(cluster, trial): ...
""",
    )
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: claim V-1 is described differently by *test_one and *test_two"])
    assert inner.events(pytester) == []


def test_the_decorator_carries_all_of_a_claim() -> None:
    @claim("X-1", "it works", source="here", expected={"1.0.0": holds()}, needs=["fuse"], witnesses=["kill"])
    def marked() -> None: ...

    names = {mark.name for mark in marked.pytestmark}  # type: ignore[attr-defined]
    assert names == {"claim", "cluster"}
