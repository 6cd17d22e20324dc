"""conformance.json: complete, honest, and valid at any moment."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest

from fixtures.claims import Finding, Verdict
from fixtures.plugin.conformance import MAX_LISTED, plain
from suites.selftest import inner

pytestmark = pytest.mark.selftest

TESTS = """
KNOWN = {"1.0.0": holds(), "1.1.0": deviates("stale", "milvus #2368")}

@promise("V-1", "rows stay", expected=KNOWN, witnesses=["kill"])
@pytest.mark.parametrize("reader", ["reader-1", "reader-2"])
def test_rows(cluster, trial, history, reader):
    trial.witness("kill", signal=9, node=reader)
    trial.measure("visible", 0.5, "s", 2.0)
    trial.deviate(reader == "reader-1", "a stale row", node=reader, ids=[1, 2])
    trial.note("read " + reader)

@promise("V-2", needs=["fuse"])
def test_fuse(cluster, trial): ...
"""


def test_what_a_report_holds(pytester: pytest.Pytester) -> None:
    inner.run(pytester, TESTS, capabilities={"fuse": "no device"})
    document = inner.report(pytester)
    assert document["schema_version"] == 1
    assert document["runtime"] == "embedded"
    assert document["runtime_reason"] == "a fake of the self-test"
    milvus = next(part for part in document["components"] if part["name"] == "milvus")
    assert milvus == {"name": "milvus", "implementation": "stand-in", "version": "1.1.0", "image": "", "digest": ""}
    assert document["capabilities"] == {"fuse": "no device"}
    assert document["seed"] == 7
    assert document["topology"]["milvus"]["version"] == "1.1.0"
    started, ended = (datetime.datetime.fromisoformat(document[key]) for key in ("started", "ended"))
    assert started <= ended
    assert started.utcoffset() == datetime.timedelta(0)
    assert [phase["name"] for phase in document["phases"]] == [
        "collect",
        "prepare",
        "start shared",
        "stop shared",
    ]
    (bring_up,) = document["bring_up"]
    assert bring_up["cluster"] == "shared"
    assert {"name": "mysql", "started_s": 0.0, "ready_s": 0.25} in bring_up["services"]
    assert document["exit_code"] == 0
    assert document["problems"] == []


def test_what_it_holds_of_a_claim(pytester: pytest.Pytester) -> None:
    inner.run(pytester, TESTS, capabilities={"fuse": "no device"})
    claim = inner.claims(pytester)["V-1"]
    assert claim["promise"] == "rows stay"
    assert claim["source"] == "a test"
    assert (claim["verdict"], claim["expected"]) == ("deviates", "deviates")
    assert (claim["because"], claim["issue"]) == ("stale", "milvus #2368")
    assert claim["reason"] == "1 of 2 tests: reader-2: a stale row"
    evidence = claim["evidence"]
    assert evidence["checks"] == 4
    assert evidence["findings"] == [
        {
            "kind": "deviation",
            "test": "test_inner.py::test_rows[reader-2]",
            "message": "a stale row",
            "node": "reader-2",
            "facts": {"ids": [1, 2]},
        }
    ]
    assert [figure["value"] for figure in evidence["figures"]] == [0.5, 0.5]
    assert evidence["notes"] == ["read reader-1", "read reader-2"]
    assert claim["witnesses"][0]["proof"] == {"signal": 9, "node": "reader-1"}
    assert [test["verdict"] for test in claim["tests"]] == ["holds", "deviates"]
    assert all((pytester.path / "report" / test["history"]).is_file() for test in claim["tests"])
    assert claim["duration_s"] == pytest.approx(sum(test["duration_s"] for test in claim["tests"]))


def test_a_claim_that_was_not_run_is_unknown(pytester: pytest.Pytester) -> None:
    tests = '@promise("V-1")\ndef test_a(trial):\n    assert 0\n@promise("V-2")\ndef test_b(trial): ...\n'
    inner.run(pytester, tests, "-x")
    claim = inner.claims(pytester)["V-2"]
    assert (claim["verdict"], claim["reason"], claim["cause"]) == ("unknown", "not run", "not run")


def test_the_report_is_complete_and_valid_in_every_test(pytester: pytest.Pytester) -> None:
    """Read by the tests themselves, so that a kill at that moment is known to leave just this."""
    result = inner.run(
        pytester,
        """
import json
from pathlib import Path

def seen():
    claims = json.loads(Path("report/conformance.json").read_text())["claims"]
    return {claim["id"]: claim["verdict"] + ", " + claim["reason"] for claim in claims}

@promise("V-1")
def test_a(trial):
    trial.check(seen()["V-1"] == "unknown, not finished: the run ended while it ran", str(seen()))
    trial.check(seen()["V-2"] == "unknown, not run", str(seen()))

@promise("V-2")
def test_b(trial):
    trial.check(seen()["V-1"] == "holds, 2 checks", str(seen()))
""",
    )
    assert result.ret == 0


def test_a_report_folder_used_again_holds_the_new_run_only(pytester: pytest.Pytester) -> None:
    inner.run(pytester, TESTS)
    (pytester.path / "report" / "mine.txt").write_text("not the plugin's")
    before = inner.report(pytester)["run_id"]
    inner.run(pytester, TESTS, "-k", "reader-1")
    assert inner.report(pytester)["run_id"] != before
    assert len(list((pytester.path / "report").glob("history-*.jsonl"))) == 1
    assert (pytester.path / "report" / "mine.txt").exists()


def test_values_become_plain_json() -> None:
    value = {
        "id": np.int64(7),
        "ids": np.arange(3),
        "set": frozenset({"b", "a"}),
        "verdict": Verdict.HOLDS,
        "nan": float("nan"),
        "inf": np.float32("inf"),
        "finding": Finding(message="lost"),
        "many": list(range(MAX_LISTED + 5)),
        3: None,
        "path": object,
    }
    text = json.dumps(plain(value), allow_nan=False)
    back = json.loads(text)
    assert back["id"] == 7
    assert back["ids"] == [0, 1, 2]
    assert back["set"] == ["a", "b"]
    assert back["verdict"] == "holds"
    assert (back["nan"], back["inf"]) == ("nan", "inf")
    assert back["finding"] == {"message": "lost", "node": "", "facts": {}}
    assert back["many"][-1] == "... 5 more"
    assert len(back["many"]) == MAX_LISTED + 1
    assert back["3"] is None
