"""`python -m tools.images [NAMES...]`: build the local images, only what is missing or has changed.

`--list` says what there is. `--prune` removes those of other versions of this suite, but for what a container uses.
`--prepare` only fetches and compiles what the images take from this machine (wheels,
MinIO, Azurite), into the cache; that needs no Docker.

Exit codes: 0 done, 1 an image could not be built (the others were), 4 an unknown name or no Docker daemon.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence

import docker

from fixtures import images
from fixtures.errors import HarnessError, UsageError
from fixtures.images import builder, recipes
from fixtures.runtimes.containers import daemon

DONE, FAILED, REFUSED = 0, 1, 4


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.images", description="Build the local Docker images.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(images.NAMES)} (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="say which there are, by name, and which are missing")
    what.add_argument("--prepare", action="store_true", help="only what they take from this machine; needs no Docker")
    what.add_argument("--prune", action="store_true", help="remove those of other versions; what is in use stays")
    options = parser.parse_args(arguments)
    names = tuple(options.names or images.NAMES)
    try:
        for name in names:
            builder.check(name)
        if options.prepare:
            return _each(names, _prepare)
        client = connect()
    except UsageError as error:
        print(error, file=sys.stderr)
        return REFUSED
    with contextlib.closing(client):
        if options.list:
            return _list(client, names)
        if options.prune:
            return _prune(client)
        return _each(names, lambda name: images.ensure(client, [name], _say))


def connect() -> docker.DockerClient:
    """A client of the daemon that answers. Raises UsageError if none does."""
    return daemon.connect().client


def _each(names: Sequence[str], do: Callable[[str], object]) -> int:
    code = DONE
    for name in names:
        try:
            do(name)
        except HarnessError as error:
            print(error, file=sys.stderr)
            code = FAILED
    return code


def _prepare(name: str) -> None:
    if name != recipes.BASE:
        recipes.RECIPES[name].contents(_say)


def _list(client: docker.DockerClient, names: Sequence[str]) -> int:
    for name in names:
        size = builder.size_mb(client, name)
        state = "missing" if size is None else "here"
        print(f"{images.tag(name):40} {state:7} {'' if size is None else f'{size:.0f} MB'}".rstrip())
    return DONE


def _prune(client: docker.DockerClient) -> int:
    stale = builder.stale(client)
    for reference in stale:
        try:
            client.images.remove(reference)
        except docker.errors.APIError as error:
            _say(f"kept {reference}: {error.explanation}")
        else:
            _say(f"removed {reference}")
    if not stale:
        _say("nothing to remove")
    return DONE


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
