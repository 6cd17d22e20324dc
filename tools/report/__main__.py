"""`python -m tools.report REPORT_DIR`: a stored run as a page for people, and its evidence as one archive.

Exit codes: 0 the page is written, whatever its verdict (that was pytest's exit code); 4 a wrong argument, a folder that
holds no whole report, or a place that cannot be written to.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jinja2 import UndefinedError

from fixtures.plugin.conformance import FILE_NAME
from fixtures.plugin.exit_codes import ExitCode
from tools import summary
from tools.report import bundle, evidence, page
from tools.report.evidence import Json, Unusable
from tools.report.view import PAGE_NAME


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.prog}: {' '.join(message.split())}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tools.report", description="A stored run as one HTML page.")
    parser.add_argument("report", type=Path, metavar="REPORT_DIR", help="the folder given with --report")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"where the page goes (default REPORT_DIR/{PAGE_NAME})"
    )
    parser.add_argument("--markdown", action="store_true", help="write the Markdown of tools.summary to stdout as well")
    parser.add_argument("--bundle", type=Path, metavar="FILE.tar.gz", help="pack all evidence, with the page, as well")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what the arguments ask for; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    folder = options.report
    output = options.output or folder / PAGE_NAME
    try:
        document = evidence.load(folder)
        written = [_page(document, folder, output)]
        if options.bundle is not None:
            written.append(_bundle(document, folder, options.bundle, output))
        markdown = summary.markdown(document) if options.markdown else ""
    except Unusable as error:
        parser.error(str(error))
    for line in written:
        # With --markdown, stdout is the summary of a CI job and nothing else.
        print(line, file=sys.stderr if options.markdown else sys.stdout)
    sys.stdout.write(markdown)
    return 0


def write_page(folder: Path) -> Path:
    """The page of a stored run, in its folder. Raises Unusable."""
    _page(evidence.load(folder), folder, folder / PAGE_NAME)
    return folder / PAGE_NAME


def _page(document: Json, folder: Path, output: Path) -> str:
    try:
        text = page.render(document, folder, output)
    except (KeyError, TypeError, ValueError, AttributeError, UndefinedError) as error:
        why = f"{type(error).__name__}: {error}"
        raise Unusable(f"{folder / FILE_NAME}: no whole report ({why}); give the folder of another run") from None
    fresh = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(output)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Unusable(f"{output}: {error.strerror}; name another file with -o") from None
    return f"page: {output}"


def _bundle(document: Json, folder: Path, archive: Path, output: Path) -> str:
    """Links of the page in the archive must lead to the files beside it there."""
    inside = folder / PAGE_NAME
    if output.resolve() != inside.resolve():
        _page(document, folder, inside)
    fresh = archive.with_name(f".{archive.name}.{os.getpid()}.tmp")
    ours = {fresh.resolve(), archive.resolve()}
    files = [path for path in evidence.files(folder) if path.resolve() not in ours]
    try:
        count = bundle.write(fresh, folder, files, f"conformance-{document['run_id']}", _started_s(document))
        fresh.replace(archive)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Unusable(f"{error.filename or archive}: {error.strerror or error}; the archive was not made") from None
    return f"bundle: {archive} ({count} files)"


def _started_s(document: Json) -> int:
    return int(datetime.datetime.fromisoformat(document["started"]).timestamp())


if __name__ == "__main__":
    sys.exit(main())
