"""One exit code for each kind of trouble, and none of them hides another."""

from __future__ import annotations

import signal

import pytest

from fixtures.plugin.exit_codes import ExitCode, decide
from fixtures.waits import wait_until
from suites.selftest import inner

pytestmark = pytest.mark.selftest

HOLDS = """
@promise("V-1")
def test_holds(cluster, trial):
    trial.check(True, "fine")
"""
VIOLATED = """
@promise("V-2")
def test_violated(cluster, trial):
    trial.check(False, "row lost")
"""
BROKEN = """
@promise("V-3")
def test_broken(cluster, trial):
    raise FaultNotEffective("nobody died")
"""
NEEDS_FUSE = """
@promise("V-4", needs=["fuse"])
def test_needs_fuse(cluster, trial):
    trial.check(True, "fine")
"""
PLAIN = """
def test_plain():
    assert 1 == 2
"""


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        (HOLDS, ExitCode.OK),
        (HOLDS + VIOLATED, ExitCode.VIOLATED),
        (HOLDS + VIOLATED + BROKEN, ExitCode.VIOLATED),
        (HOLDS + BROKEN, ExitCode.UNKNOWN),
        (HOLDS + PLAIN, ExitCode.VIOLATED),
        (HOLDS + BROKEN + PLAIN, ExitCode.VIOLATED),
    ],
)
def test_the_exit_code(pytester: pytest.Pytester, tests: str, code: ExitCode) -> None:
    result = inner.run(pytester, tests)
    assert result.ret == code
    assert inner.report(pytester)["exit_code"] == code
    result.stdout.fnmatch_lines([f"exit code {int(code)}: {code.meaning}"])


def test_nothing_collected_is_pytests_own(pytester: pytest.Pytester) -> None:
    assert inner.run(pytester, HOLDS, "-k", "absent").ret == ExitCode.NOTHING_COLLECTED


def test_a_missing_capability_is_allowed(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, HOLDS + NEEDS_FUSE, capabilities={"fuse": "no device"})
    assert result.ret == ExitCode.OK
    claim = inner.claims(pytester)["V-4"]
    assert (claim["verdict"], claim["cause"], claim["allowed"]) == ("unknown", "capability", True)
    assert "no device" in claim["reason"]


def test_require_turns_it_into_a_failure(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, HOLDS + NEEDS_FUSE, "--require=fuse", capabilities={"fuse": "no device"})
    assert result.ret == ExitCode.UNKNOWN
    claim = inner.claims(pytester)["V-4"]
    assert (claim["verdict"], claim["allowed"]) == ("unknown", False)
    result.stdout.fnmatch_lines(["--require=fuse: missing: no device"])


def test_require_fails_also_where_no_claim_needed_it(pytester: pytest.Pytester) -> None:
    assert inner.run(pytester, HOLDS, "--require=gpu").ret == ExitCode.UNKNOWN


def test_a_claim_that_needs_what_is_missing_starts_no_cluster(pytester: pytest.Pytester) -> None:
    inner.run(pytester, NEEDS_FUSE, capabilities={"fuse": "no device"})
    assert inner.events(pytester) == ["close"]


def test_a_capability_found_missing_only_in_the_test_is_allowed_too(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-4")
def test_finds_out(cluster, trial):
    raise MissingCapability("fuse", "the mount was refused")
"""
    assert inner.run(pytester, tests).ret == ExitCode.OK
    assert inner.run(pytester, tests, "--require=fuse").ret == ExitCode.UNKNOWN


def test_skipping_by_hand_is_no_excuse(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-4")
def test_shy(cluster, trial):
    pytest.skip("not today")

@promise("V-5")
@pytest.mark.skip("never")
def test_shier(cluster, trial): ...
"""
    assert inner.run(pytester, tests).ret == ExitCode.UNKNOWN
    assert {claim["allowed"] for claim in inner.claims(pytester).values()} == {False}


def test_a_cluster_that_does_not_start_is_tried_once_and_said_once(pytester: pytest.Pytester) -> None:
    tests = "".join(HOLDS.replace("V-1", f"V-{n}").replace("test_holds", f"test_{n}") for n in range(1, 6))
    fresh = (
        HOLDS.replace("V-1", "F-1").replace("(cluster", "(fresh_cluster").replace("    trial", "    fresh_cluster()")
    )
    result = inner.run(pytester, tests + fresh, refuses="all")
    assert result.ret == ExitCode.INFRASTRUCTURE
    assert inner.events(pytester) == ["start shared", "close"]
    text = result.stdout.str()
    assert text.count("no space left") == 1
    assert text.count("A cluster could not be started") == 1
    assert text.count("the cluster did not start, see above") == 6
    assert {claim["verdict"] for claim in inner.claims(pytester).values()} == {"unknown"}
    assert {claim["cause"] for claim in inner.claims(pytester).values()} == {"infrastructure"}
    assert "no space left" in inner.report(pytester)["infrastructure_error"]


def test_a_fresh_cluster_that_does_not_start_costs_its_own_claim_only(pytester: pytest.Pytester) -> None:
    fresh = """
@promise("F-1")
def test_fresh(fresh_cluster, trial):
    fresh_cluster()
"""
    result = inner.run(pytester, fresh + HOLDS, refuses="fresh")
    assert result.ret == ExitCode.INFRASTRUCTURE
    verdicts = {name: claim["verdict"] for name, claim in inner.claims(pytester).items()}
    assert verdicts == {"V-1": "holds", "F-1": "unknown"}


def test_a_violation_wins_over_infrastructure(pytester: pytest.Pytester) -> None:
    fresh = """
@promise("F-1")
def test_fresh(fresh_cluster, trial):
    fresh_cluster()
"""
    assert inner.run(pytester, fresh + VIOLATED, refuses="fresh").ret == ExitCode.VIOLATED


def test_what_a_cluster_leaves_behind_fails_the_run_but_no_claim(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, HOLDS, leaves=("process 17 (weed)",))
    assert result.ret == ExitCode.UNKNOWN
    assert inner.claims(pytester)["V-1"]["verdict"] == "holds"
    result.stdout.fnmatch_lines(["harness: cluster shared left behind: process 17 (weed)"])


def test_names_are_dropped_and_a_refusal_is_the_harness_s_trouble(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-1")
def test_tidy(cluster, trial, names):
    cluster.writer.collections.append(names("one"))
    cluster.writer.collections.append("somebody else's")
    names("never made")
    trial.check(names("a-b").endswith("_tidy_a_b"), names("a-b"))

@promise("V-2")
def test_sees_no_rest(cluster, trial, names):
    trial.check(cluster.writer.collections == ["somebody else's"], str(cluster.writer.collections))

@promise("V-3")
def test_stuck(cluster, trial, names):
    cluster.writer.collections.append(names("stuck"))
    trial.check(True, "fine")
"""
    assert inner.run(pytester, tests).ret == ExitCode.UNKNOWN
    claims = inner.claims(pytester)
    assert claims["V-1"]["verdict"] == "holds"
    assert claims["V-2"]["verdict"] == "holds"
    assert claims["V-3"]["verdict"] == "unknown"
    assert "it is stuck" in claims["V-3"]["reason"]


SLOW = (
    HOLDS
    + """
@promise("V-8")
def test_slow(cluster, fresh_cluster, trial):
    fresh_cluster()
    open("running.txt", "w").close()
    pause(60, "until it is interrupted")

@promise("V-9")
def test_later(cluster, trial): ...
"""
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_its_clusters(pytester: pytest.Pytester, number: signal.Signals) -> None:
    with inner.started(pytester, SLOW) as process:
        process.send_signal(number)
        process.wait(timeout=60)
    output = inner.output(pytester)
    assert process.returncode == ExitCode.INTERRUPTED, output
    events = [event for event in inner.events(pytester) if not event.startswith("stopping")]
    shared, fresh = events[:2]
    assert events[2:] == [fresh.replace("start", "stop"), shared.replace("start", "stop"), "close"]
    claims = inner.claims(pytester)
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "V-1": "holds",
        "V-8": "unknown",
        "V-9": "unknown",
    }
    assert "not finished" in claims["V-8"]["reason"]
    assert claims["V-9"]["reason"] == "not run"
    assert "exit code 2" in output


def test_a_second_interrupt_does_not_cut_the_shutdown_short(pytester: pytest.Pytester) -> None:
    with inner.started(pytester, SLOW, slow_stop_s=1.5) as process:
        process.send_signal(signal.SIGINT)
        for stopping in ("stopping fresh", "stopping shared"):
            wait_until(
                lambda word=stopping: any(event.startswith(word) for event in inner.events(pytester)),  # type: ignore[misc]
                timeout_s=30,
                reason=stopping,
            )
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    output = inner.output(pytester)
    assert process.returncode == ExitCode.INTERRUPTED, output
    assert [event for event in inner.events(pytester) if event.startswith(("stop ", "close"))][-2:] == [
        "stop shared",
        "close",
    ]
    assert output.count("already stopping") == 2


def test_an_interrupt_while_a_cluster_stops_takes_effect_afterwards(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-8")
def test_slow(fresh_cluster, trial):
    fresh_cluster()
    open("running.txt", "w").close()
    trial.check(True, "fine")

@promise("V-9")
def test_later(cluster, trial): ...
"""
    with inner.started(pytester, tests, slow_stop_s=1.5) as process:
        wait_until(
            lambda: any(event.startswith("stopping fresh") for event in inner.events(pytester)),
            timeout_s=30,
            reason="the fresh cluster to be stopped",
        )
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    output = inner.output(pytester)
    assert process.returncode == ExitCode.INTERRUPTED, output
    assert any(event.startswith("stop fresh") for event in inner.events(pytester))
    assert inner.claims(pytester)["V-8"]["verdict"] == "holds"
    assert inner.claims(pytester)["V-9"]["reason"] == "not run"


def test_kill_9_leaves_a_valid_report(pytester: pytest.Pytester) -> None:
    with inner.started(pytester, SLOW) as process:
        process.kill()
        process.wait(timeout=60)
    document = inner.report(pytester)
    assert document["exit_code"] is None
    assert document["ended"] is None
    reasons = {claim["id"]: (claim["verdict"], claim["reason"]) for claim in document["claims"]}
    assert reasons["V-1"] == ("holds", "1 checks")
    assert reasons["V-8"] == ("unknown", "not finished: the run ended while it ran")
    assert reasons["V-9"] == ("unknown", "not run")


@pytest.mark.parametrize("status", [2, 3, 4, 5])
def test_pytests_own_codes_are_kept(status: int) -> None:
    code = decide(status, violated=True, harness_tests_failed=True, not_started=True, unknown=True)
    assert code == status


def test_every_code_says_what_it_means() -> None:
    assert all(code.meaning for code in ExitCode)
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


def test_a_kept_cluster_stays_until_ctrl_c(pytester: pytest.Pytester) -> None:
    tests = """
@promise("V-1")
def test_holds(cluster, trial):
    trial.check(True, "fine")
    open("running.txt", "w").close()
"""
    with inner.started(pytester, tests, "--keep-cluster") as process:
        wait_until(lambda: "is kept" in inner.output(pytester), timeout_s=30, reason="the run to be over")
        assert "exit code 0" in inner.output(pytester), "the summary comes before the wait"
        assert inner.events(pytester) == ["start shared"]
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == ExitCode.OK
    assert inner.events(pytester) == ["start shared", "stopping shared", "stop shared", "close"]
