"""`python -m tools.compose [-o DIR]`: write the cluster as a project of Docker Compose, into compose/ by default.

What is committed there is made with no options; suites/selftest/test_compose.py finds it out when it is not. Nothing is
started, and no Docker daemon is asked.

Exit codes: 0 done, 4 a wrong option, or a folder that is somebody else's.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fixtures.compose import render
from fixtures.compose.render import CONFIGS, FILE, FIRST_LINE, GPU_FILE
from fixtures.errors import UsageError
from fixtures.topology import CHOICES, Topology, check, find, names

DONE, REFUSED = 0, 4
COMPOSE = Path(__file__).resolve().parents[1] / "compose"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.compose", description="Render the Docker Compose project.")
    parser.add_argument("--images", choices=CHOICES["images.source"], help="published (default) or those built here")
    parser.add_argument("--object-store", choices=CHOICES["object_store"], help="default: minio; seaweedfs if local")
    parser.add_argument("--readers", type=int, metavar="N", help="default 2")
    parser.add_argument("--topology", metavar="NAME", help=f"{', '.join(names())} or FILE.toml; options go before it")
    parser.add_argument("--new-secrets", action="store_true", help="passwords of its own, not those that are published")
    parser.add_argument("-o", "--output", type=Path, default=COMPOSE, metavar="DIR", help="default compose/")
    options = parser.parse_args(arguments)
    try:
        written = write(render(_topology(options), new_secrets=options.new_secrets), options.output)
    except UsageError as error:
        print(error, file=sys.stderr)
        return REFUSED
    print(f"{len(written)} files in {options.output}")
    return DONE


def write(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write them, in place of an earlier rendering there. Raises UsageError for a folder with a project of another."""
    main_file = folder / FILE
    try:
        if main_file.exists() and not main_file.read_text(encoding="utf-8").startswith(FIRST_LINE):
            raise UsageError(f"{main_file}: not made by tools.compose; choose another folder with -o")
        if (folder / CONFIGS).exists():
            if not main_file.exists():
                raise UsageError(f"{folder / CONFIGS}: not made by tools.compose; choose another folder with -o")
            shutil.rmtree(folder / CONFIGS)
        (folder / GPU_FILE).unlink(missing_ok=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another folder with -o") from error
    return [folder / name for name in files]


def _topology(options: argparse.Namespace) -> Topology:
    topology = find(options.topology) if options.topology is not None else Topology()
    changes: dict[str, object] = {}
    if options.images is not None:
        changes["images"] = dataclasses.replace(topology.images, source=options.images)
    if options.object_store is not None:
        changes["object_store"] = options.object_store
    if options.readers is not None:
        changes["readers"] = options.readers
    return check(dataclasses.replace(topology, **changes), "tools.compose")  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
