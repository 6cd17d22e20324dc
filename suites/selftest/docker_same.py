"""Containers of the docker runtime and services of Docker Compose, in the same words, so that they can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.cluster import Cluster
from fixtures.compose.project import INSIDE
from fixtures.compose.recorder import Recorder
from fixtures.runtimes.base import Command, Process
from fixtures.runtimes.containers import Docker
from fixtures.runtimes.containers.launch import _WITH_LOG

_GUARD = "test -d "
"""Begins the script by which Compose runs a command only once; the command follows it and the folder that it tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What must be the same.

    `passes` is how folders are bound that others mount in, by their paths. `files` are its configurations. `env` has
    what the image gives as well.
    """

    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: str
    user: str
    init: bool
    capabilities: tuple[str, ...]
    devices: tuple[str, ...]
    security: tuple[str, ...]
    folders: frozenset[str]
    passes: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict, compare=False)

    @staticmethod
    def of_compose(service: Mapping[str, Any], image_env: Mapping[str, str]) -> Container:
        argv = [word.replace("$$", "$") for word in service["entrypoint"]]
        if argv[2:3] and argv[2].startswith(_GUARD):
            argv = argv[4:]
        binds = [volume for volume in service["volumes"] if not volume.get("read_only")]
        return Container(
            image=service["image"],
            argv=tuple(argv),
            env={**image_env, **service["environment"]},
            folder=service["working_dir"],
            user=service["user"],
            init=service["init"],
            capabilities=tuple(service.get("cap_add", ())),
            devices=tuple(service.get("devices", ())),
            security=tuple(word.replace(":", "=") for word in service.get("security_opt", ())),
            # The WAL is on a volume of its own within the node's folder.
            folders=frozenset(bind["target"] for bind in binds if not bind["target"].endswith("/wal")),
            passes={bind["target"]: bind["bind"]["propagation"] for bind in binds if bind["type"] == "bind"},
        )

    @staticmethod
    def of_docker(attributes: Mapping[str, Any], words: Words, shared: set[str]) -> Container:
        """`attributes` are what the daemon says; `shared` are the folders that somebody mounts in."""
        config, host = attributes["Config"], attributes["HostConfig"]
        assert config["Entrypoint"][:3] == ["/bin/sh", "-c", _WITH_LOG]
        assert config["Cmd"] is None
        log = str(Path(config["Entrypoint"][3]).parent)
        binds = {target: mode for _, target, mode in (bind.split(":") for bind in host["Binds"]) if target != log}
        return Container(
            image=config["Image"],
            argv=tuple(map(words, config["Entrypoint"][4:])),
            env={key: words(value) for key, value in _by_key(config["Env"]).items()},
            folder=words(config["WorkingDir"]),
            user=config["User"],
            init=host["Init"],
            capabilities=tuple(host["CapAdd"] or ()),
            devices=tuple(f"{it['PathOnHost']}:{it['PathInContainer']}" for it in host["Devices"] or ()),
            security=tuple(host["SecurityOpt"] or ()),
            folders=frozenset(map(words, binds)),
            passes={words(path): mode.partition(",")[2] for path, mode in binds.items() if path in shared},
            files={
                words(str(path)): words(path.read_text(encoding="utf-8"))
                for path in Path(config["WorkingDir"]).glob("*")
                if path.is_file()
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of the docker runtime, and those of Compose in their place: folders, and addresses of hosts."""

    replaced: Mapping[str, str]

    @staticmethod
    def of(opened: Docker, cluster: Cluster) -> Words:
        # Longer ones first: no address may be taken for the beginning of another.
        (block,) = opened._blocks
        hosts = {address: block._names[address] for address in sorted(block._names, key=len, reverse=True)}
        return Words(replaced={str(cluster.writer.folder.parent): INSIDE, **hosts})

    def __call__(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        # What is known to differ: JuiceFS' mount is on the node's own host, and Milvus takes no name to bind.
        text = re.sub(r"^--metrics=(?=[a-z])", "--metrics=juicefs-", text)
        return re.sub(r"(?m)^( *bind\.address:) \S+$", r"\1 0.0.0.0", text)


def containers(opened: Docker, cluster: Cluster) -> dict[str, Container]:
    """All containers of the cluster, by service, as the daemon has made them; none of a service is started."""
    commands: list[Command] = []

    def note(command: Command, timeout_s: float, beside: Process | None = None) -> str:  # noqa: ARG001 - as `run`
        commands.append(command)
        opened.process(command)
        return ""

    opened.run = note  # type: ignore[method-assign]
    cluster.mysql.initialise()
    cluster.volume.format()
    opened.make_ahead(opened.folders.work)
    commands += [service.process.command for service in cluster.services]
    shared = {str(command.mounts) for command in commands if command.mounts is not None}
    words = Words.of(opened, cluster)
    found = {}
    for container in opened.client.containers.list(all=True, filters={"label": f"mjc.run={opened.folders.run_id}"}):
        attributes = container.attrs
        if attributes["Config"]["Entrypoint"][0] != "sleep":
            name = re.sub(rf"^mjc-{opened.folders.run_id}-\d+-", "", container.name)
            found[name] = Container.of_docker(attributes, words, shared)
    return found


def image_env(opened: Docker, image: str) -> dict[str, str]:
    return _by_key(opened.client.images.get(image).attrs["Config"]["Env"] or [])


def _by_key(entries: Sequence[str]) -> dict[str, str]:
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


def same_secrets(opened: Docker) -> None:
    """Let the runtime give the passwords of a rendering."""
    opened.secret = Recorder(opened.folders, opened.images).secret  # type: ignore[method-assign]
