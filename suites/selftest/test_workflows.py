"""The workflows of GitHub Actions: whole, and made of commands and options that exist. And that the check notices."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from suites.selftest import workflows
from suites.selftest.inner import PROJECT
from suites.selftest.workflows import Command, Workflow
from tools.gate.profiles import PROFILES

pytestmark = pytest.mark.selftest

FILES = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {path.stem: Workflow.parse(path.read_text(encoding="utf-8")) for path in FILES}
COMMANDS = sorted({command for each in WORKFLOWS.values() for job in each.jobs for command in job.commands()})
PYTEST_WORDS = sorted({words for each in WORKFLOWS.values() for words in workflows.pytest_words(each)})
# A test with each of the markers.
COLLECTED = ("suites/visibility/test_counts.py", "suites/selftest/test_steps.py")


def _named(command: Command) -> str:
    return " ".join(command)[:90]


def test_they_are_there() -> None:
    assert set(WORKFLOWS) == {"ci", "cluster", "gate", "gpu"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_is_whole(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflows.structure(workflow) == []
    assert workflows.references(workflow) == []
    assert workflows.scripts(workflow) == []


@pytest.mark.parametrize("command", COMMANDS, ids=_named)
def test_each_command_exists(command: Command) -> None:
    assert workflows.absent(command, PROJECT) is None


@pytest.mark.parametrize("words", PYTEST_WORDS, ids=_named)
def test_pytest_takes_the_options(words: Command, tmp_path: Path) -> None:
    """By pytest's own parser, and by ours, which looks at the values."""
    assert _refusal(words, tmp_path) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "cluster", "--no-such-option"), "unrecognized arguments: --no-such-option"),
        (("-m", "cluster", "--runtime=embeded"), "did you mean embedded?"),
        (("-m", "clusters"), "Unknown marker"),
    ],
)
def test_what_pytest_does_not_take_is_noticed(words: Command, message: str, tmp_path: Path) -> None:
    assert message in str(_refusal(words, tmp_path))


def _refusal(words: Command, folder: Path) -> str | None:
    """What pytest says of a command line that it does not take. What it would write goes elsewhere."""
    elsewhere = [word.replace("=reports/", f"={folder}/") for word in words]
    # Not --help, with which pytest lets unknown options pass. Two files are collected sooner than all.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *elsewhere, "--collect-only", "-q", *COLLECTED]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else f"exit code {result.returncode}: {result.stderr.strip()}"


def test_setup_names_the_packages_and_installs_nothing() -> None:
    """The workflows install what it names, with sudo."""
    script = PROJECT / "tools" / "setup.sh"
    result = subprocess.run(["bash", script, "--print-packages"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1
    result = subprocess.run(["bash", script, "--print"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "set-up: unknown argument: --print (known: --print-packages)\n")


def test_the_gpu_is_for_nobody_elses_code() -> None:
    gpu = WORKFLOWS["gpu"]
    assert set(gpu.triggers) == {"workflow_dispatch", "schedule"}
    assert gpu.inputs == {"runner"}
    for job in gpu.jobs:
        condition = " ".join(job.body["if"].split())
        assert condition == (
            "github.event.repository.fork != true && "
            "(github.event_name == 'workflow_dispatch' || vars.GPU_RUNNER != '')"
        )
        assert "inputs.runner" in job.body["runs-on"]


def test_the_gate_can_be_called_and_says_what_it_found() -> None:
    gate = WORKFLOWS["gate"]
    called, by_hand = gate.triggers["workflow_call"], gate.triggers["workflow_dispatch"]
    assert {"baseline", "candidate", "profile", "runner"} <= set(called["inputs"]) & set(by_hand["inputs"])
    assert set(called["outputs"]) == {"verdict", "artifact"}
    (job,) = gate.jobs
    assert {f"${{{{ jobs.{job.name}.outputs.{name} }}}}" for name in job.body["outputs"]} == {
        output["value"] for output in called["outputs"].values()
    }
    (said,) = [step["run"] for step in job.steps if step.get("id") == "gate"]
    for name in called["outputs"]:
        assert f'echo "{name}=' in said, "each output is written"
    assert by_hand["inputs"]["profile"]["options"] == list(PROFILES)


def test_the_page_s_example_calls_the_gate_with_inputs_that_it_has() -> None:
    page = (PROJECT / "docs" / "gate.md").read_text("utf-8")
    example = Workflow.parse(page.partition("```yaml")[2].partition("```")[0])
    called = WORKFLOWS["gate"].triggers["workflow_call"]
    (call,) = [job for job in example.jobs if "uses" in job.body]
    assert call.body["uses"].partition("@")[0].endswith("/.github/workflows/gate.yml")
    given = set(call.body["with"])
    required = {name for name, entry in called["inputs"].items() if entry.get("required") == "true"}
    assert required <= given <= set(called["inputs"])
    used = set(re.findall(r"needs\.gate\.outputs\.(\w+)", page))
    assert used == set(called["outputs"])


def test_each_python_that_is_promised_is_tried() -> None:
    (job,) = [job for job in WORKFLOWS["ci"].jobs if job.name == "selftest"]
    assert [row["python"] for row in job.matrix()] == ["3.10", "3.11", "3.12", "3.13"]


def test_both_object_stores_are_tried_whatever_becomes_of_the_other() -> None:
    (job,) = [job for job in WORKFLOWS["cluster"].jobs if job.name == "local"]
    assert {row["store"] for row in job.matrix()} == {"minio", "seaweedfs"}
    assert job.body["strategy"]["fail-fast"] == "false"


WHOLE = """
on: {push: , workflow_dispatch: {inputs: {runner: }}}
permissions: {contents: read}
concurrency: {group: "x-${{ inputs.runner }}"}
jobs:
  first:
    runs-on: ubuntu
    timeout-minutes: 5
    outputs: {code: "${{ steps.claims.outputs.code }}"}
    strategy: {matrix: {store: [a, b]}}
    steps:
      - uses: actions/checkout@v4
      - id: claims
        run: .venv/bin/python -m pytest -m cluster --object-store=${{ matrix.store }}
      - run: .venv/bin/python -m tools.summary reports/ci
      - uses: actions/upload-artifact@v4
        if: always()
  second:
    needs: first
    runs-on: ubuntu
    timeout-minutes: 5
    if: needs.first.result == 'success'
    steps:
      - run: echo "$CODE"
        env: {CODE: "${{ needs.first.outputs.code }}"}
"""


def _problems(text: str) -> list[str]:
    workflow = Workflow.parse(text)
    return workflows.structure(workflow) + workflows.references(workflow) + workflows.scripts(workflow)


def test_nothing_is_wrong_with_a_whole_one() -> None:
    assert _problems(WHOLE) == []


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("{contents: read}", "{contents: write}", "permissions must be just contents: read"),
        ("permissions:", "permission:", "permissions must be just contents: read"),
        ("concurrency:", "concurrent:", "no concurrency group"),
        ("    timeout-minutes: 5\n    outputs", "    outputs", "first: no timeout-minutes"),
        ("if: always()", "if: success()", "first: an upload needs `if: always()`"),
        ("if: always()", "", "first: an upload needs `if: always()`"),
        ("actions/upload-artifact@v4", "actions/cache@v4", "first: runs pytest and uploads nothing"),
        ("-m tools.summary", "-m tools.sweep", "first: judges claims and writes no summary"),
        ("checkout@v4", "checkout@main", "first: actions/checkout@main: pin it by a major version or a commit"),
        ("matrix.store", "matrix.shop", "first: no matrix.shop"),
        ("steps.claims", "steps.clams", "first: no steps.clams"),
        ("{inputs: {runner: }}", "{inputs: {label: }}", "no inputs.runner"),
        ("needs.first.result", "needs.third.result", "second: no needs.third"),
        ("needs.first.outputs.code", "needs.first.outputs.cod", "second: no needs.first.outputs.cod"),
        ("needs: first", "needs: third", "second: needs third, which is no job"),
        ('echo "$CODE"', "echo ${{ github.head_ref }}", "second: ${{ github.head_ref }} in a script"),
        ('echo "$CODE"', "if true; then", "second: bash: "),
    ],
)
def test_what_is_wrong_is_noticed(before: str, after: str, problem: str) -> None:
    assert before in WHOLE
    assert any(found.startswith(problem) for found in _problems(WHOLE.replace(before, after, 1)))


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (("make", "no-such-target", "ARGS=-x"), "make no-such-target: "),
        (("bash", "tools/no_such.sh"), "no script tools/no_such.sh"),
        ((".venv/bin/python", "-m", "tools.no_such"), "no module tools.no_such"),
        ((".venv/bin/python", "-m", "no_such.module"), "no module no_such.module"),
        (("no-such-program",), "no program no-such-program"),
    ],
)
def test_what_does_not_exist_is_noticed(command: Command, missing: str) -> None:
    assert str(workflows.absent(command, PROJECT)).startswith(missing)


def test_a_broken_script_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "broken.sh").write_text("if true; then\n", encoding="utf-8")
    assert "syntax error" in str(workflows.absent(("bash", "broken.sh"), tmp_path))


def test_the_commands_of_a_script() -> None:
    script = """
    a=$(bash tools/setup.sh --print)  # a comment
    if [ -n "$a b" ]; then sudo -E apt-get install $a; fi
    X=1 make one two || code=$?
    python -m x \\
      --long=1 >> "$OUT" | tee file
    """
    assert workflows.commands(script) == [
        ("bash", "tools/setup.sh", "--print"),
        ("[", "-n", "$a b", "]"),
        ("apt-get", "install", "$a"),
        ("make", "one", "two"),
        ("python", "-m", "x", "--long=1"),
        ("tee", "file"),
    ]
