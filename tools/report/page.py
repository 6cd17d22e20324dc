"""The page itself: one HTML file that needs nothing else, neither a network nor scripts."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fixtures.plugin.figures import number
from tools.report.evidence import Json
from tools.report.timeline import COLUMNS
from tools.report.view import MAX_LISTED, View

MARKS = {"holds": "\u2713", "deviates": "\u2248", "unknown": "?", "violated": "\u2717"}
"""So that no verdict is told by its colour alone; the word is always beside it."""


def render(document: Json, folder: Path, page: Path) -> str:
    """The page about `folder`, to lie at `page`. A document that is no report raises what Python or jinja2 raise."""
    return fill("page.html", view=View(document, folder, page), marks=MARKS)


def fill(name: str, *folders: Path, **values: object) -> str:
    """A page from a template, which may lie in other folders than the report's and use what lies there."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        # Reasons, errors and names come from the cluster: nothing in them may become markup.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    text = environment.get_template(name).render(columns=COLUMNS, max_listed=MAX_LISTED, **values)
    # A lone surrogate, from a path or a message, cannot be written as UTF-8.
    return str(text).encode("utf-8", "replace").decode("utf-8")
