"""The documentation says what is: links resolve, examples compile, options exist, dependencies have their reason."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)])

# Written from the source, whose sentences follow one another.
GENERATED = {DOCS / "reference" / "cli.md", DOCS / "reference" / "settings.md"}

FENCE = re.compile(r"^(`{3,}|:{3,})(\{?[\w-]*\}?)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")


def fences(page: Path, *languages: str) -> Iterator[str]:
    for _, language, body in FENCE.findall(page.read_text("utf-8")):
        if language in languages:
            yield body


def anchors(page: Path) -> set[str]:
    """What GitHub and MyST make of the headings."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def duck_commands() -> list[tuple[str, str]]:
    """Each `$ duck ...` of a console example, with its page."""
    found = []
    for page in PAGES:
        for body in fences(page, "console"):
            lines = re.sub(r"\\\n\s*", " ", body).splitlines()
            found += [(str(page.relative_to(ROOT)), line[2:]) for line in lines if line.startswith("$ duck")]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    text = CODE.sub("", FENCE.sub("", page.read_text("utf-8")))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page}: {target} leads nowhere"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page}: {target} names no heading of {file.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_compile(page: Path) -> None:
    for number, body in enumerate(fences(page, "python", "py")):
        compile(body, f"{page}, example {number + 1}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_toml_examples_are_toml(page: Path) -> None:
    for body in fences(page, "toml"):
        tomllib.loads(body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_one_sentence_stands_on_a_line(page: Path) -> None:
    if page in GENERATED:
        return
    text = CODE.sub("x", FENCE.sub("", page.read_text("utf-8")))
    for line in text.splitlines():
        prose = not line.startswith(("|", "    ", "#", "<")) and not re.match(r"\s*([-*]|\d+\.) ", line)
        assert not (prose and re.search(r"[a-z)]\. [A-Z][a-z]", line)), f"{page}: two sentences on one line: {line}"


@pytest.mark.parametrize(("page", "line"), duck_commands() or [pytest.param("", "", marks=pytest.mark.skip("none"))])
def test_commands_in_examples_have_their_options(page: str, line: str) -> None:
    from duck.cli.main import cli

    words = shlex.split(line, comments=True)[1:]
    context = click.Context(cli)
    command: click.Command = cli
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"{page}: `{line}`: there is no command {name}"
        command = found
    if command.context_settings.get("ignore_unknown_options"):
        return  # what follows is another program's
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-") and word != "-":
            option = word.partition("=")[0]
            assert option in {*known, "--help", "-h"}, f"{page}: `{line}`: there is no option {option}"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = [
        *project["project"]["dependencies"],
        *(one for group in project["dependency-groups"].values() for one in group),
    ]
    page = (DOCS / "explanation" / "dependencies.md").read_text("utf-8")
    for requirement in named:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert f"`{name[0]}`" in page, f"docs/explanation/dependencies.md does not say what {name[0]} is for"


def test_the_bounds_on_the_page_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    page = (DOCS / "explanation" / "dependencies.md").read_text("utf-8")
    for requirement in project["project"]["dependencies"]:
        found = re.match(r"([\w.-]+)>=([\d.]+),<([\d.]+)", requirement)
        assert found is not None, f"{requirement} has no floor and ceiling"
        row = re.search(rf"^\| `{re.escape(found[1])}` \|.*$", page, re.MULTILINE)
        assert row is not None, found[1]
        _, _, _, floor, ceiling, _ = row[0].split("|")
        assert floor.strip().startswith(f"{found[2]}:"), f"{found[1]}: the floor is {found[2]}"
        assert ceiling.strip().startswith(f"{found[3]}:"), f"{found[1]}: the ceiling is {found[3]}"
