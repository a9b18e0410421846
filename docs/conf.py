"""Sphinx: four parts of Markdown, and reference pages read from the source."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from duck import __version__  # noqa: E402

project = "Duck"
author = "the Duck authors"
copyright = "2026, the Duck authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changes"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"Duck {__version__}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True
napoleon_use_rtype = False

# `--option` in prose stays what is typed.
smartquotes = False

CHANGES_MARK = "<!-- changes -->"
SECTIONS = {"Args:", "Attributes:", "Raises:", "Returns:", "Yields:", "Example:", "Examples:"}
INLINE_CODE = re.compile(r"`+([^`]+)`+")
SPECIAL = re.compile(r"([\\*|_])")


def collect_changes(app: Any, name: str, source: list[str]) -> None:
    """Put the fragments of docs/changes where the changelog wants them."""
    if name == "changelog":
        fragments = [path.read_text("utf-8").strip() for path in sorted((DOCS / "changes").glob("*.md"))]
        source[0] = source[0].replace(CHANGES_MARK, "\n\n".join(fragments))


def from_house_style(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Our docstrings as reStructuredText: code between single backticks, drawings indented, nothing else is markup."""
    written: list[str] = []
    section = drawing = False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        if line.strip() and not indented:
            section = line in SECTIONS
            drawing = False
        elif indented and not section and not drawing and not lines[number - 1].strip():
            drawing = True
            written += ["::", ""]
        written.append(line if drawing else _inline(line))
    lines[:] = written


def _inline(line: str) -> str:
    parts: list[str] = []
    at = 0
    for found in INLINE_CODE.finditer(line):
        parts.append(SPECIAL.sub(r"\\\1", line[at : found.start()]))
        # An escaped space ends the markup before a letter or an apostrophe without being seen.
        parts.append(f"\\ ``{found[1]}``\\ ")
        at = found.end()
    parts.append(SPECIAL.sub(r"\\\1", line[at:]))
    return "".join(parts)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", collect_changes)
    app.connect("autodoc-process-docstring", from_house_style, priority=100)
