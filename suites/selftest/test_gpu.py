"""GPU or CPU: the decision, what it is made from, and what the user is told."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from fixtures.errors import UsageError
from fixtures.gpu import Decision, Gpu, HostFacts, ProbeResult, Way, decide, device_requests, for_embedded, host_facts
from suites.selftest import inner
from suites.selftest.test_launcher import REAL
from suites.selftest.test_options import ONE_CLAIM

pytestmark = pytest.mark.selftest

NVIDIA = {"Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}}}
PLAIN = {"Runtimes": {"runc": {"path": "runc"}}, "CDISpecDirs": None}
WORKED = ProbeResult(worked=True, evidence="1000 queries answered, 1 segments copied to the GPU")
DIED = ProbeResult(worked=False, evidence="CUDA error 209 no kernel image; the node died at its first search")


def card(capability: str = "7.5", index: int = 0, driver: str = "535.129.03") -> Gpu:
    name = {"7.5": "Tesla T4", "8.0": "NVIDIA A100", "9.0": "NVIDIA H100"}.get(capability, "a card")
    return Gpu(index=index, name=name, capability=capability, driver=driver)


def host(*gpus: Gpu, way: Way | None = Way.RUNTIME, why_no_gpu: str = "") -> HostFacts:
    return HostFacts(gpus=gpus, why_no_gpu=why_no_gpu, way=way, why_no_way="" if way else "Docker cannot hand one in")


REFUSALS = [
    pytest.param(host(why_no_gpu="no NVIDIA driver: ..."), None, "no NVIDIA driver", id="no driver"),
    pytest.param(host(card(), way=None), None, "Docker cannot hand one in", id="driver without runtime"),
    pytest.param(host(card("8.0")), None, "NVIDIA A100: compute capability 8.0, Milvus 1.x has", id="8.0"),
    pytest.param(host(card("9.0")), None, "NVIDIA H100: compute capability 9.0, Milvus 1.x has", id="9.0"),
    pytest.param(host(card("5.2")), None, "compute capability 5.2", id="too old a card"),
    pytest.param(host(card(driver="410.79")), None, "driver 410.79, Milvus 1.x starts with 418", id="too old a driver"),
    pytest.param(host(card("8.0"), card("9.0", 1)), None, r"A100: .* 8\.0.*; NVIDIA H100: .* 9\.0", id="two unfit"),
    pytest.param(host(card()), DIED, "trial search failed: CUDA error 209", id="dies at the first search"),
]


@pytest.mark.parametrize(("facts", "probe", "reason"), REFUSALS)
def test_what_cannot_be_had_falls_back_with_the_reason_or_is_refused(
    facts: HostFacts, probe: ProbeResult | None, reason: str
) -> None:
    decision = decide("auto", facts, probe)
    assert decision.device == "cpu"
    assert (decision.gpu, decision.way) == (None, None)
    assert decision.missing == decision.reason
    assert re.search(reason, decision.reason)
    with pytest.raises(UsageError, match=f"--device=gpu: .*{reason}"):
        decide("gpu", facts, probe)


@pytest.mark.parametrize("capability", ["6.0", "6.1", "7.0", "7.5"])
@pytest.mark.parametrize("option", ["auto", "gpu"])
def test_a_card_with_kernels_is_taken_once_it_has_searched(option: str, capability: str) -> None:
    before = decide(option, host(card(capability)), None)
    assert before.uses_gpu
    assert before.reason.endswith("not tried yet")
    after = decide(option, host(card(capability)), WORKED)
    assert after.missing is None
    assert after.reason == f"{card(capability)}; trial search: {WORKED.evidence}"


def test_the_fit_card_is_chosen_among_several() -> None:
    decision = decide("auto", host(card("9.0", 0), card("7.5", 1)), None)
    assert decision.gpu == card("7.5", 1)


def test_the_cpu_is_taken_when_asked_for_whatever_there_is() -> None:
    assert decide("cpu", host(card()), WORKED) == Decision(device="cpu", reason="asked for by --device=cpu")


def test_docker_is_asked_for_the_chosen_card_only() -> None:
    (asked,) = device_requests(decide("auto", host(card("9.0", 0), card("7.5", 1)), None))
    assert (asked.device_ids, asked.capabilities, asked.count) == (["1"], [["gpu"]], 0)
    (asked,) = device_requests(decide("auto", host(card(index=2), way=Way.CDI), None))
    assert (asked.driver, asked.device_ids) == ("cdi", ["nvidia.com/gpu=2"])
    assert device_requests(decide("cpu", host(card()), None)) == []


# What the host says


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of its own, on which only what a test writes is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def smi(path: Path, script: str) -> None:
    program = path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


T4 = "0, Tesla T4, 7.5, 535.129.03"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(None, "no NVIDIA driver: nvidia-smi is not on PATH", id="absent"),
        pytest.param("exec /bin/sleep 60", "nvidia-smi did not answer within 0.3 s", id="hangs"),
        pytest.param(
            "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2", "nvidia-smi is too old", id="old"
        ),
        pytest.param(
            "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
            "nvidia-smi: NVIDIA-SMI has failed because .* [(]exit code 9[)]",
            id="driver not loaded",
        ),
        pytest.param("echo 'No devices were found'", "nvidia-smi: No devices were found", id="no card"),
        pytest.param("exit 0", "nvidia-smi: cannot make out a GPU in 'nothing'", id="says nothing"),
        pytest.param("echo '0, Tesla T4, [N/A], 535.1'", "nvidia-smi: cannot make out .*Tesla T4", id="no capability"),
        pytest.param("printf '\\377\\376\\n'", "nvidia-smi: cannot make out a GPU", id="garbage"),
        pytest.param("kill -9 $$", "nvidia-smi: nothing [(]exit code -9[)]", id="killed"),
    ],
)
def test_each_failure_of_nvidia_smi_is_a_reason(path: Path, script: str | None, reason: str) -> None:
    if script is not None:
        smi(path, script)
    began_s = time.monotonic()
    facts = host_facts(NVIDIA, timeout_s=0.3 if "sleep" in (script or "") else 15)
    assert time.monotonic() - began_s < 15
    assert facts.gpus == ()
    with pytest.raises(UsageError, match=f"--device=gpu: {reason}"):
        decide("gpu", facts, None)


def test_a_program_that_cannot_be_run_is_a_reason(path: Path) -> None:
    smi(path, "")
    (path / "nvidia-smi").write_bytes(b"\x7fELF")
    assert host_facts(NVIDIA).why_no_gpu == "nvidia-smi cannot be run: Exec format error"


def test_the_cards_are_read_and_one_odd_row_hides_none(path: Path) -> None:
    smi(path, f"echo '0, Odd, [N/A], 535.1'; echo '1, NVIDIA H100, 9.0, 535.1'; echo '2{T4[1:]}'")
    facts = host_facts(NVIDIA)
    assert [gpu.index for gpu in facts.gpus] == [1, 2]
    assert facts.gpus[1] == card(index=2)
    assert decide("auto", facts, None).gpu == card(index=2)


def test_a_driver_without_a_way_into_a_container_says_what_to_install(path: Path) -> None:
    smi(path, f"echo '{T4}'")
    facts = host_facts(PLAIN)
    assert (facts.gpus, facts.way) == ((card(),), None)
    assert "install nvidia-container-toolkit" in decide("auto", facts, None).reason


def test_every_way_into_a_container_is_found(path: Path, tmp_path: Path) -> None:
    assert host_facts(NVIDIA).way is Way.RUNTIME
    assert host_facts({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}).way is Way.CDI
    assert host_facts({"DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.com/nic=0"}]}).way is None
    specs = tmp_path / "cdi"
    specs.mkdir()
    (specs / "nic.yaml").write_text("kind: vendor.com/nic\n")
    assert host_facts({"CDISpecDirs": [str(specs), str(tmp_path / "absent")]}).way is None
    (specs / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
    assert host_facts({"CDISpecDirs": [str(specs)]}).way is Way.CDI
    hook = path / "nvidia-container-runtime-hook"
    hook.touch(mode=0o755)
    assert host_facts(PLAIN).way is Way.RUNTIME


# What the user is told


def test_on_the_embedded_runtime_only_a_native_milvus_may_use_a_gpu() -> None:
    native = Path("/opt/milvus_server")
    assert for_embedded("auto", None).missing == "the embedded runtime runs the stand-in, which has no GPU"
    assert for_embedded("cpu", native).missing == "asked for by --device=cpu"
    assert for_embedded("auto", native).device == "cpu"
    asked = for_embedded("gpu", native)
    assert asked.missing is None
    assert "not tried, left to milvus_server" in asked.reason
    with pytest.raises(UsageError, match="has no GPU; give a native GPU build with --milvus=PATH"):
        for_embedded("gpu", None)


def test_a_gpu_for_the_stand_in_is_one_line_and_nothing_starts(pytester: pytest.Pytester) -> None:
    inner.write(pytester, ONE_CLAIM)
    pytester.makeconftest(REAL)
    result = pytester.runpytest_inprocess("--device=gpu")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --device=gpu: the embedded runtime runs the stand-in, which has no GPU; *"])
    assert len([line for line in result.errlines if line.strip()]) == 1
    assert list((pytester.path / "reports").iterdir()) == []


def test_the_reason_is_in_header_and_report(pytester: pytest.Pytester) -> None:
    result = inner.run(pytester, ONE_CLAIM, "--device=cpu", capabilities={"fuse": None, "gpu": "a fake has no GPU"})
    result.stdout.fnmatch_lines(["device: cpu (a fake has no GPU)", "protobuf: upb; fuse: yes"])
    document = inner.report(pytester)
    assert (document["device"], document["device_reason"]) == ("cpu", "a fake has no GPU")
    assert document["capabilities"]["gpu"] == "a fake has no GPU"


def test_a_claim_that_needs_a_gpu_is_unknown_with_the_reason(pytester: pytest.Pytester) -> None:
    needs = ONE_CLAIM.replace('"V-1"', '"R-6", needs=("gpu",)')
    lacks: dict[str, str | None] = {"gpu": "NVIDIA H100: compute capability 9.0"}
    assert inner.run(pytester, needs, capabilities=lacks).ret == 0
    told = inner.claims(pytester)["R-6"]
    assert told["verdict"] == "unknown"
    assert "NVIDIA H100: compute capability 9.0" in str(told)
    assert inner.run(pytester, needs, "--require=gpu", capabilities=lacks).ret == 6


def test_the_command_that_repeats_a_claim_names_the_device(pytester: pytest.Pytester) -> None:
    fails = ONE_CLAIM.replace('check(True, "fine")', 'check(False, "broken")')
    assert inner.run(pytester, fails, "--device=cpu").ret == 1
    assert "--device=cpu" in (pytester.path / "report" / "report.txt").read_text(encoding="utf-8")
    assert inner.run(pytester, fails).ret == 1
    assert "--device" not in (pytester.path / "report" / "report.txt").read_text(encoding="utf-8")
