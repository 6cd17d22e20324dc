"""Reads GitHub workflows and says what is wrong in them: nobody runs them here, so what can be checked is checked.

Each function returns the problems it found, one sentence each; none means that it found nothing wrong.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What a runner has, and the machine of a developer need not have.
RUNNER_PROGRAMS = {"sudo", "apt-get", "docker", "nvidia-smi"}
_KEYWORDS = {"if", "then", "elif", "else", "fi", "!", "while", "until", "do", "done", "{", "}", "time"}
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_REFERENCE = re.compile(r"(?<![\w.])(matrix|inputs|needs|steps)\.([\w-]+)(?:\.outputs\.([\w-]+))?")

Json = Mapping[str, Any]
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a workflow. `steps` are plain mappings."""

    name: str
    body: Json

    @property
    def steps(self) -> Sequence[Json]:
        steps: Sequence[Json] = self.body.get("steps", ())
        return steps

    def matrix(self) -> list[dict[str, str]]:
        """The values that each run of the job has."""
        matrix = dict(self.body.get("strategy", {}).get("matrix", {}))
        more = [dict(entry) for entry in matrix.pop("include", ())]
        rows = [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]
        return ([] if more and rows == [{}] else rows) + more

    def scripts(self) -> Iterator[str]:
        """Each `run:`, once for each row of the matrix, with its values filled in."""
        for step in self.steps:
            if "run" in step:
                yield from dict.fromkeys(_fill(step["run"], row) for row in self.matrix())

    def commands(self) -> list[Command]:
        return list(dict.fromkeys(command for script in self.scripts() for command in commands(script)))


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow file. All its values are strings: YAML would read `on` as true, and 3.10 as a number."""

    document: Json

    @classmethod
    def parse(cls, text: str) -> Workflow:
        document = yaml.load(text, Loader=yaml.BaseLoader)
        if not isinstance(document, dict) or not isinstance(document.get("jobs"), dict):
            raise ValueError("no workflow: it has no jobs")
        return cls(document)

    @property
    def triggers(self) -> Mapping[str, Any]:
        on = self.document.get("on", {})
        return on if isinstance(on, dict) else dict.fromkeys([on] if isinstance(on, str) else on, "")

    @property
    def inputs(self) -> set[str]:
        events = (self.triggers.get(name) or {} for name in ("workflow_dispatch", "workflow_call"))
        return {name for event in events for name in event.get("inputs", {})}

    @property
    def jobs(self) -> list[Job]:
        return [Job(name, body) for name, body in self.document["jobs"].items()]


def commands(script: str) -> list[Command]:
    """The simple commands of a shell script: no keywords, assignments or redirections, nor `sudo` before another.

    Raises ValueError for what this does not read: text in quotes that goes on in the next line.
    """
    found: list[Command] = []
    for line in script.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>")
        lexer.whitespace_split = True
        tokens = iter(lexer)
        for token in tokens:
            if token[0] in "<>":
                next(tokens, None)
            elif token[0] in ";&|()":
                found.append(_simple(words))
                words = []
            else:
                words.append(token)
        found.append(_simple(words))
    return [command for command in found if command]


def _simple(words: Sequence[str]) -> Command:
    rest = list(words)
    while rest and (rest[0] in _KEYWORDS or re.match(r"\w+=", rest[0]) or rest[0] == "sudo"):
        sudo = rest.pop(0) == "sudo"
        while sudo and rest and rest[0].startswith("-"):
            rest.pop(0)
    return tuple(rest)


def _fill(script: str, row: Mapping[str, str]) -> str:
    for name, value in row.items():
        script = re.sub(rf"\$\{{\{{\s*matrix\.{re.escape(name)}\s*\}}\}}", value, script)
    return script


def structure(workflow: Workflow) -> list[str]:
    """What a workflow of ours must have, whatever it does."""
    problems = []
    if workflow.document.get("permissions") != {"contents": "read"}:
        problems.append("permissions must be just contents: read")
    if not workflow.document.get("concurrency", {}).get("group"):
        problems.append("no concurrency group")
    for job in workflow.jobs:
        problems += [f"{job.name}: {problem}" for problem in _job_structure(job)]
    return problems


def _job_structure(job: Job) -> Iterator[str]:
    if not str(job.body.get("timeout-minutes", "")).isdecimal():
        yield "no timeout-minutes"
    uploads = [step for step in job.steps if step.get("uses", "").startswith("actions/upload-artifact@")]
    for step in uploads:
        if step.get("if") != "always()":
            yield "an upload needs `if: always()`"
    runs = [command for command in job.commands() if _module(command) == "pytest"]
    if runs and not uploads:
        yield "runs pytest and uploads nothing"
    if any("cluster" in command for command in runs) and not any("tools.summary" in each for each in job.commands()):
        yield "judges claims and writes no summary"
    for step in job.steps:
        if "uses" in step and not re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40})", step["uses"]):
            yield f"{step['uses']}: pin it by a major version or a commit"


def references(workflow: Workflow) -> list[str]:
    """Inputs, needed jobs, steps, outputs and values of the matrix that are used and not there."""
    outputs = {job.name: set(job.body.get("outputs", {})) for job in workflow.jobs}
    top = {key: value for key, value in workflow.document.items() if key != "jobs"}
    problems = [f"no {kind}.{name}" for kind, name, _ in _used(top) if kind != "inputs" or name not in workflow.inputs]
    for job in workflow.jobs:
        needs = job.body.get("needs", [])
        known = {
            "inputs": workflow.inputs,
            "matrix": {name for row in job.matrix() for name in row},
            "needs": {needs} if isinstance(needs, str) else set(needs),
            "steps": {step["id"] for step in job.steps if "id" in step},
        }
        problems += [f"{job.name}: needs {name}, which is no job" for name in known["needs"] - set(outputs)]
        for kind, name, output in _used(job.body):
            if name not in known[kind]:
                problems.append(f"{job.name}: no {kind}.{name}")
            elif kind == "needs" and output and output not in outputs.get(name, set()):
                problems.append(f"{job.name}: no needs.{name}.outputs.{output}")
    return problems


def _used(body: Any) -> Iterator[tuple[str, str, str]]:
    """What is referred to in all strings of `body`: in `if:` as a whole, elsewhere between ${{ and }}."""
    if isinstance(body, str):
        yield from (match for text in _EXPRESSION.findall(body) for match in _REFERENCE.findall(text))
    elif isinstance(body, list):
        yield from (used for entry in body for used in _used(entry))
    elif isinstance(body, dict):
        for key, value in body.items():
            yield from _REFERENCE.findall(value) if key == "if" else _used(value)


def scripts(workflow: Workflow) -> list[str]:
    """Scripts that bash does not take, or into which a value is pasted that somebody else may choose."""
    problems = []
    for job in workflow.jobs:
        for script in job.scripts():
            problems += [f"{job.name}: ${{{{ {text} }}}} in a script" for text in _EXPRESSION.findall(script)]
            checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
            if checked.returncode:
                problems.append(f"{job.name}: bash: {checked.stderr.strip()}")
    return problems


def absent(command: Command, root: Path) -> str | None:
    """What of a command is not there: its make target, Python module, script or program. Options are not looked at."""
    program, *rest = command
    if program == "make":
        targets = [word for word in rest if not re.match(r"-|\w+=", word)]
        # make itself says whether it has a rule.
        dry = subprocess.run(["make", "-n", *targets], cwd=root, capture_output=True, text=True, check=False)
        return None if dry.returncode == 0 else f"make {' '.join(targets)}: {dry.stderr.strip()}"
    if program == "bash":
        if not rest or not (root / rest[0]).is_file():
            return f"no script {' '.join(rest)}"
        checked = subprocess.run(["bash", "-n", root / rest[0]], capture_output=True, text=True, check=False)
        return checked.stderr.strip() or None
    if (module := _module(command)) is not None:
        return None if _module_exists(module) else f"no module {module}"
    if program in RUNNER_PROGRAMS:
        return None
    known = subprocess.run(["bash", "-c", 'type "$1"', "-", program], capture_output=True, check=False)
    return None if known.returncode == 0 else f"no program {program}"


def pytest_words(workflow: Workflow) -> list[Command]:
    """The words after `python -m pytest`, of each such command."""
    return [command[3:] for job in workflow.jobs for command in job.commands() if _module(command) == "pytest"]


def _module(command: Command) -> str | None:
    return command[2] if command[:2] == (".venv/bin/python", "-m") and len(command) > 2 else None


def _module_exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
