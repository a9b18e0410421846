"""What declarations need where they run: directories, variables, files of secrets, a node with their tag.

What is not there on the only machine that could run them is a problem; where other nodes may have it, it is a warning.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from duck.services.automations.declaration import EACH
from duck.services.automations.target import directory_of

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.settings.load import Settings

_NEEDS_DJANGO = ("command", "task")


@dataclass(frozen=True, slots=True)
class Place:
    """Where they would run.

    Attributes:
        root: the directory that relative paths start from.
        has_project: whether there is a project whose Python could run what is of it.
    """

    root: Path
    has_project: bool = True


def look_around(
    settings: Settings,
    declarations: Iterable[Declaration],
    place: Place,
    environ: Mapping[str, str] = os.environ,
) -> tuple[list[str], list[str]]:
    """Problems, and warnings: sentences on what `declarations` need and is not there."""
    tags = settings["AUTOMATION_TAGS"]
    problems: list[str] = []
    warnings: list[str] = []
    elsewhere: dict[str, list[str]] = {}
    for each in declarations:
        if not each.enabled:
            continue
        who = f"{each.origin}: the automation {each.name!r}"
        if not place.has_project and each.kind in (*_NEEDS_DJANGO, "call"):
            what = "a Django project" if each.kind in _NEEDS_DJANGO else "a project"
            problems.append(
                f"{who} is a {each.kind}, which needs {what}, and there is none here; go to it, or say --django."
            )
        is_here = each.run_on in ("any", EACH) or each.run_on in tags
        if not is_here:
            elsewhere.setdefault(each.run_on, []).append(each.name)
        alone = is_here and settings["AUTOMATION_ENGINE"] == "local"
        (problems if alone else warnings).extend(f"{who} {said}" for said in _missing(each, place.root))
        warnings.extend(f"{who} {said}" for said in _unset(each, environ))
    warnings += [_untagged(tag, names, tags) for tag, names in elsewhere.items()]
    return problems, warnings


def _missing(declaration: Declaration, root: Path) -> Iterator[str]:
    """What is not there of the files that it names."""
    if declaration.kind == "shell" and declaration.details != "{}" and "cwd" in declaration.details_table:
        directory = directory_of(root, declaration.details_table)
        if not _is_there(directory):
            yield f"runs in {directory}, which is not there; make it, or give another cwd."
        elif directory.exists() and not directory.is_dir():
            yield f"runs in {directory}, which is no directory; give another cwd."
    for key, path, said in _secrets(declaration):
        if key == "secret_file":
            file = root / said
            if not _is_there(file):
                yield f"has the secret of {path} in {file}, which is not there, so that it refuses everybody; write it."
            elif file.is_dir():
                yield f"has the secret of {path} in {file}, which is a directory; give a file as secret_file."


def _unset(declaration: Declaration, environ: Mapping[str, str]) -> Iterator[str]:
    """Of variables this process alone is known: who serves may have others."""
    for key, path, said in _secrets(declaration):
        if key == "secret_env" and not environ.get(said):
            near = difflib.get_close_matches(said, environ, 1, 0.8)
            right = f"did you mean {near[0]}?" if near else "set it where Duck serves, or give secret_file."
            yield f"has the secret of {path} in the variable {said}, which is not set here; {right}"


def _secrets(declaration: Declaration) -> Iterator[tuple[str, str, str]]:
    for event in declaration.plan.events:
        if event.secret is not None:
            yield event.secret[0], dict(event.details)["path"], event.secret[1]


def _is_there(path: Path) -> bool:
    """Whether it is, as far as this user may see."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _untagged(tag: str, names: list[str], tags: list[str]) -> str:
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    mine = f"AUTOMATION_TAGS has {', '.join(tags)}" if tags else "AUTOMATION_TAGS is empty"
    near = difflib.get_close_matches(tag, tags, 1)
    right = f"did you mean {near[0]}?" if near else "start one that has it, or is called so."
    runs = "runs" if len(names) == 1 else "run"
    return f"{who} {runs} on nodes with the tag {tag!r} alone, which is none of this one's ({mine}); {right}"
