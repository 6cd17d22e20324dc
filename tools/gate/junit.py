"""gate.xml: the gate as JUnit, for CI that shows tests.

| change | in the file |
|---|---|
| same, better | passed |
| worse | `failure`, with the reason |
| unknown, allowed | `skipped`, with the reason |
| unknown otherwise | `error`, with the reason: it is not about the candidate |
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from _pytest.junitxml import bin_xml_escape

from tools.gate.compare import Change
from tools.gate.exit_codes import GateCode
from tools.gate.runs import Json


def write(known: Json, file: Path) -> None:
    """A testcase for each claim, one for each figure, and one for the gate itself."""
    cases = [_gate(known), *(_claim(claim) for claim in known["claims"])]
    cases += [_figure(each) for each in known["performance"]]
    counts = {
        name: str(sum(case.find(tag) is not None for case in cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    attributes = {"name": "gate", "tests": str(len(cases)), "timestamp": known["started"], **counts}
    suite = ET.Element("testsuite", attributes)
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _gate(known: Json) -> ET.Element:
    """What no claim has as its reason must not look green."""
    case = ET.Element("testcase", classname="gate", name="gate", time="0")
    if known["exit_code"] not in (GateCode.NOTHING_WORSE, GateCode.WORSE):
        text = "\n".join([*known["troubles"], *known["doubts"]])
        _say(case, "error", f"{known['headline']} (exit code {known['exit_code']}: {known['exit_meaning']})", text)
    return case


def _claim(claim: Json) -> ET.Element:
    runs = [*claim["baseline"], *claim["candidate"], *([claim["upgrade"]] if claim["upgrade"] else [])]
    took_s = sum(run["duration_s"] for run in runs)
    case = ET.Element("testcase", classname="gate.claims", name=claim["id"], time=f"{took_s:.3f}")
    properties = ET.SubElement(case, "properties")
    for run in runs:
        ET.SubElement(properties, "property", name=run["run"], value=bin_xml_escape(run["verdict"]))
    ET.SubElement(properties, "property", name="change", value=claim["change"])
    told = f"{claim['promise']}\n" + "\n".join(f"{run['run']}: {run['verdict']}: {run['reason']}" for run in runs)
    if claim["change"] == Change.WORSE:
        _say(case, "failure", claim["reason"], told)
    elif claim["change"] == Change.UNKNOWN:
        _say(case, "skipped" if claim["allowed"] else "error", claim["reason"], told)
    return case


def _figure(each: Json) -> ET.Element:
    case = ET.Element("testcase", classname="gate.performance", name=bin_xml_escape(each["name"]), time="0")
    if each["change"] == Change.WORSE:
        _say(case, "failure", each["reason"], each["reason"])
    elif each["change"] == Change.UNKNOWN:
        _say(case, "skipped", each["reason"], each["reason"])
    return case


def _say(case: ET.Element, tag: str, reason: str, text: str) -> None:
    ET.SubElement(case, tag, message=bin_xml_escape(reason)).text = bin_xml_escape(text or reason)
