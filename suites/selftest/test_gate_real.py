"""The gate as its user starts it, on real clusters: a candidate with a seeded defect is refused, its claim named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from suites.selftest.inner import PROJECT

pytestmark = pytest.mark.selftest

LIMIT_S = 280


def test_a_candidate_with_a_seeded_defect_is_worse(tmp_path: Path) -> None:
    report = tmp_path / "report"
    command = [sys.executable, "-m", "tools.gate", "--baseline=article", "--candidate=article", "--claims=V-9"]
    command += ["--without=upgrade,performance", "--runtime=embedded", "--seed=7", "--defect=count-includes-deleted"]
    result = subprocess.run(
        [*command, f"--report={report}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    known = json.loads((report / "gate.json").read_text("utf-8"))
    jsonschema.validate(known, json.loads((PROJECT / "docs" / "gate.schema.json").read_text("utf-8")))
    assert known["headline"] == "Worse: V-9"
    (claim,) = known["claims"]
    assert [claim[side][0]["verdict"] for side in ("baseline", "candidate")] == ["holds", "violated"]
    assert "SEEDED DEFECT count-includes-deleted" in known["candidate"]["judged_on"]
    assert "SEEDED DEFECT" not in known["baseline"]["judged_on"]
    assert (report / "gate.html").is_file()
    assert "Worse: V-9" in result.stdout
