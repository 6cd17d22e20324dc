"""`docker compose up --wait` of the project of fixtures/compose, from nothing, with a time for each service."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures import data
from fixtures.clients import Client
from fixtures.compose import render
from fixtures.errors import InfrastructureError, UsageError
from fixtures.runtimes import kernel
from fixtures.runtimes.addresses import LoopbackBlock
from fixtures.runtimes.containers.sharing import share
from fixtures.topology import Topology

_HERE = "127.0.0.1"
_UP_TIMEOUT_S = 300.0
_EVENT = re.compile(r"^\s*Container (?P<container>\S+)\s+(?P<state>Starting|Healthy|Exited)\s*$")
_HOW = """\
no Docker Compose (v2) here: neither `docker compose` nor docker-compose on PATH. Install the Docker plugin, or build it
with Go and name it by --compose=PATH (`go install` of it is refused, because its go.mod has exclude directives):
  mkdir c && cd c && go mod init c && go get github.com/docker/compose/v2/cmd@v2.40.3 \\
    && go build -o docker-compose github.com/docker/compose/v2/cmd"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """One start. `began_s` and `ready_s` are by service, from before Compose itself was started. Seconds."""

    took_s: float
    began_s: Mapping[str, float]
    ready_s: Mapping[str, float]


def find_compose(given: Path | None) -> list[str]:
    """The words that run Compose. Raises UsageError that says how to get it."""
    found: list[list[str]] = [[str(given)]] if given is not None else [["docker", "compose"], ["docker-compose"]]
    for words in found:
        with contextlib.suppress(OSError):
            said = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
            # One that was built by hand calls itself "dev"; the first generation, in Python, is 1.x and has no --wait.
            if said.returncode == 0 and not said.stdout.startswith("1."):
                return words
    if given is not None:
        raise UsageError(f"--compose={given}: not a Docker Compose v2")
    raise UsageError(_HOW)


def version(words: list[str]) -> str:
    return subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A rendered project in a folder of its own; `environment` chooses its ports."""

    words: tuple[str, ...]
    folder: Path
    name: str
    environment: Mapping[str, str]

    def up(self) -> Up:
        """Start it from nothing, until all of it is healthy. Raises InfrastructureError with its last lines."""
        began: dict[str, float] = {}
        ready: dict[str, float] = {}
        lines = []
        began_s = time.monotonic()
        with self._popen("up", "--wait", "--wait-timeout", f"{_UP_TIMEOUT_S:.0f}") as process:
            assert process.stdout is not None
            for line in process.stdout:
                now_s = time.monotonic() - began_s
                lines.append(line.rstrip())
                if event := _EVENT.match(line):
                    service = event["container"].removeprefix(f"{self.name}-").rpartition("-")[0]
                    (began if event["state"] == "Starting" else ready).setdefault(service, now_s)
        took_s = time.monotonic() - began_s
        if process.returncode != 0:
            raise InfrastructureError("docker compose up failed; its last lines:\n" + "\n".join(lines[-20:]))
        return Up(took_s=took_s, began_s=began, ready_s=ready)

    def search(self, seed: int) -> None:
        """Insert, and find it through Mishards. Raises InfrastructureError if this is no cluster that works."""
        vectors = data.vectors(seed, 10, 8)
        try:
            with self._client("writer") as writer, self._client("mishards") as proxy:
                writer.create_collection("bench", 8).require()
                writer.insert("bench", vectors, list(range(10))).require()
                writer.flush("bench").require()
                found = proxy.search("bench", vectors[:1], 1).require()
        except AssertionError as error:
            raise InfrastructureError(f"the cluster of docker compose does not answer a search: {error}") from error
        if found.ids.tolist() != [[0]]:
            raise InfrastructureError(f"the cluster of docker compose found {found.ids.tolist()}, not [[0]]")

    def down(self) -> None:
        """Remove its containers, network, volumes and folder. Raises InfrastructureError."""
        with self._popen("down", "--volumes", "--remove-orphans") as process:
            said, _ = process.communicate()
        for point in kernel.mounts(self.folder):
            kernel.detach(point)
        kernel.remove_folder(self.folder)
        if process.returncode != 0:
            raise InfrastructureError("docker compose down failed; its last lines:\n" + said[-2000:])

    def _client(self, name: str) -> Client:
        port = int(self.environment[f"{name.upper()}_PORT"])
        return Client(name, (_HERE, port), timeout_s=30.0, name="bench")

    def _popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.words, "--ansi=never", "--progress=plain", "-p", self.name, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextlib.contextmanager
def project(words: list[str], topology: Topology, parent: Path, run_id: str, interval: str) -> Iterator[Project]:
    """The project of a topology, rendered below `parent`; nothing of it is left at the end."""
    folder = parent / f"mjc_{run_id}"
    ports = LoopbackBlock(_HERE.rpartition(".")[0])
    names = ("writer", "mishards", *(f"reader-{number}" for number in range(1, topology.readers + 1)))
    environment = {f"{name.upper().replace('-', '_')}_PORT": str(ports.port(_HERE, 0)) for name in names}
    for name, text in render(topology).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    made = Project(
        words=tuple(words),
        folder=folder,
        name=f"mjc-{run_id}",
        environment={**environment, "HEALTH_INTERVAL": interval},
    )
    try:
        if (refused := share(folder)) is not None:
            raise UsageError(refused)
        yield made
    finally:
        if shutil.which(words[0]):
            made.down()
