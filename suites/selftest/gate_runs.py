"""Runs that never were, for the tests of the gate: a program in pytest's place that leaves the verdicts it is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.gate.__main__ import main

Json = dict[str, Any]
Verdicts = Mapping[str, Mapping[str, str]]
"""By run (`baseline`, `again-1-candidate`, `upgrade`, ...) the verdict on each claim, some with a `!message`."""

TESTS = {claim: [f"suites/a.py::{claim}"] for claim in ("V-1", "V-4", "F-4", "R-6")}
PROMISE = "rows stay"
_PROGRAM = """
import json, pathlib, sys, threading
told = json.loads({told!r})
(report,) = [pathlib.Path(word.partition("=")[2]) for word in sys.argv if word.startswith("--report=")]
run, marker = report.name, sys.argv[sys.argv.index("-m") + 1]
with pathlib.Path(__file__).with_name("calls.jsonl").open("a") as calls:
    calls.write(json.dumps([run, *sys.argv[1:]]) + "\\n")
how = told["codes"].get(run, 0)
if how == "hang":
    (report / "running").touch()
    try:
        threading.Event().wait(60)
    except KeyboardInterrupt:
        (report / "stopped").touch()
        sys.exit(2)
if how in (4, "silent"):
    print("ERROR: --readers=99: must be a whole number from 1 to 8")
    sys.exit(4 if how == 4 else 3)
asked = [word.partition("::")[2] for word in sys.argv if "::" in word]
known, usual = told["documents"].get(run, told["documents"][""]), told["documents"][""]["claims"]
claims = {{claim["id"]: claim for claim in ([] if marker == "upgrade" else usual) + known["claims"]}}
claims = [claim for name, claim in claims.items() if name in asked or marker == "upgrade"]
known = known | {{"claims": claims, "run_id": run}} | told["more"].get(run, {{}})
if how == 7:
    known["infrastructure_error"] = "mysql: no space left\\nmore"
(report / "conformance.json").write_text(json.dumps(known))
for claim in claims:
    print(f"{{claim['id']:<5}} rows stay  {{claim['verdict']}}")
sys.exit(how or (1 if any(claim["verdict"] == "violated" for claim in claims) else 0))
"""
_MEASURE = """
import json, pathlib, sys
(report,) = [pathlib.Path(word.partition("=")[2]) for word in sys.argv if word.startswith("--report=")]
(report / "performance.json").write_text({figures!r})
print("measured")
"""


def document(claims: Mapping[str, str], run: str = "run") -> Json:
    """A whole conformance.json with these claims: `holds`, `violated!20 rows lost`, `unknown?` for an allowed one."""
    return {
        "schema_version": 1,
        "run_id": run,
        "runtime": "embedded",
        "runtime_reason": "a fake",
        "judged_on": "Milvus 1.1.0: stand-in (not Milvus), runtime embedded",
        "device": "cpu",
        "device_reason": "a fake",
        "components": [
            {"name": "mysql", "implementation": "MariaDB", "version": "10.11", "image": "", "digest": ""},
            {"name": "juicefs", "implementation": "JuiceFS", "version": f"1.{len(run)}", "image": "", "digest": ""},
        ],
        "capabilities": {"fuse": None},
        "required": [],
        "seed": 7,
        "command": ["pytest"],
        "started": "2026-11-29T01:00:00.000+00:00",
        "ended": "2026-11-29T01:01:00.000+00:00",
        "topology": {"name": "fake"},
        "claims": [_claim(claim, told) for claim, told in claims.items()],
        "phases": [],
        "bring_up": [],
        "problems": [],
        "infrastructure_error": None,
        "harness_tests_failed": 0,
        "exit_code": 0,
        "exit_meaning": "a fake",
    }


def _claim(claim: str, told: str) -> Json:
    word, _, message = told.partition("!")
    verdict, allowed = word.rstrip("?"), word.endswith("?")
    finding = {"kind": "violation", "test": "t", "message": message, "node": "reader-1", "facts": {}}
    cause = "cluster" if verdict != "unknown" else "capability" if allowed else "harness"
    test = {"id": f"suites/a.py::{claim}", "verdict": verdict, "reason": message or "3 checks", "cause": cause}
    return {
        "id": claim,
        "promise": PROMISE,
        "source": "a test",
        "verdict": verdict,
        "expected": "deviates" if verdict == "deviates" else "holds",
        "because": "",
        "issue": "",
        "reason": message or "3 checks",
        "cause": cause,
        "allowed": allowed,
        "needs": [],
        "evidence": {
            "checks": 3,
            "findings": [finding] if verdict == "violated" else [],
            "findings_total": int(verdict == "violated"),
            "figures": [],
            "notes": [],
        },
        "witnesses": [],
        "duration_s": 1.5,
        "tests": [{**test, "allowed": allowed, "cluster": "", "ran_on": "", "duration_s": 1.5, "history": None}],
    }


def figure(name: str, change: str, ratio: float, low: float, high: float) -> Json:
    """One entry of performance.json."""
    return {
        "name": name,
        "unit": "s",
        "change": change,
        "reason": "a fake",
        "pairs": [[0.1, 0.1 * ratio]] * 5,
        "ratio": ratio,
        "low": low,
        "high": high,
        "margin": 1.25,
    }


@dataclass(slots=True)
class FakeGate:
    """Calls the command with fakes in the place of pytest and of the measurements."""

    folder: Path
    tests: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(TESTS))

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def programs(
        self,
        verdicts: Verdicts | None = None,
        codes: Mapping[str, int | str] | None = None,
        more: Mapping[str, Json] | None = None,
        figures: Sequence[Json] = (),
    ) -> tuple[Path, Path]:
        """Write both programs."""
        documents = {run: document(claims, run) for run, claims in (verdicts or {}).items()}
        # The usual one has all claims, and all hold.
        documents[""] = document(dict.fromkeys(self.tests, "holds"))
        told = json.dumps({"documents": documents, "codes": codes or {}, "more": more or {}})
        program, measure = self.folder / "fake_pytest.py", self.folder / "fake_measure.py"
        program.write_text(_PROGRAM.format(told=told), "utf-8")
        measure.write_text(_MEASURE.format(figures=json.dumps(list(figures))), "utf-8")
        return program, measure

    def run(self, *arguments: str, **told: Any) -> int:
        """The exit code of a gate from `juicefs-1.3.0` to `juicefs-1.4.2`."""
        program, measure = self.programs(**told)
        words = [
            "--baseline=juicefs-1.3.0",
            "--candidate=juicefs-1.4.2",
            "--seed=7",
            f"--report={self.report}",
            *arguments,
        ]
        try:
            return main(
                words, program=(sys.executable, str(program)), measure=(sys.executable, str(measure)), tests=self.tests
            )
        except SystemExit as ended:
            return int(str(ended.code))

    def calls(self) -> list[list[str]]:
        """The run and the words of each call of pytest, in their order."""
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def known(self) -> Json:
        """gate.json."""
        known: Json = json.loads((self.report / "gate.json").read_text("utf-8"))
        return known

    def changes(self) -> dict[str, str]:
        return {claim["id"]: claim["change"] for claim in self.known()["claims"]}
