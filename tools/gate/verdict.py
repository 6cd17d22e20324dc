"""`python -m tools.gate.verdict DIR`: a stored gate in one word, for the output of a CI job; its page with --markdown.

`unknown` where there is no gate.json, or no whole one: what was refused or killed was not judged. The exit code is 0
whatever the verdict (that was the gate's), and 4 for a wrong argument.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tools.gate import markdown
from tools.gate.compare import Change
from tools.gate.document import FILE_NAME, SCHEMA_VERSION
from tools.gate.exit_codes import GateCode
from tools.gate.runs import Json
from tools.summary import DEFAULT_LIMIT_KIB, cut


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    known = load(options.report)
    if options.markdown:
        text = markdown.render(known) if known is not None else f"**No verdict:** no gate in `{options.report}`.\n"
        sys.stdout.write(cut(text, DEFAULT_LIMIT_KIB * 1024))
    else:
        print(Change(known["verdict"]).value if known is not None else Change.UNKNOWN.value)
    return 0


def load(report: Path) -> Json | None:
    """The gate.json of a folder; None where there is no whole one of this version."""
    try:
        known = json.loads((report / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and known.get("schema_version") == SCHEMA_VERSION else None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(GateCode.USAGE, f"tools.gate.verdict: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tools.gate.verdict", description="A stored gate in one word.")
    parser.add_argument("report", type=Path, metavar="DIR", help="the folder given with --report")
    parser.add_argument("--markdown", action="store_true", help="the whole of it, for the summary of a CI job")
    return parser


if __name__ == "__main__":
    sys.exit(main())
