"""Which front-end server a project has, and how it is started: decided by files, nothing is run."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ProjectError
from duck.services.frontend.address import parse_address

if TYPE_CHECKING:
    from duck.settings.frontend import FrontendView

VITE: Final = "vite"

_CONFIGS: Final = tuple(f"vite.config.{suffix}" for suffix in ("js", "mjs", "ts", "cjs", "mts", "cts"))
_PASSED_OVER: Final = ("node_modules", "dist", "build", "static", "staticfiles", "venv", "env", "site-packages")
_SCRIPTS: Final = ("dev", "start", "serve")
# One that is put together of several commands may start Django, too.
_NOT_ONE_COMMAND: Final = re.compile(r"[;&|<>`$()\n]")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*")
# A text, or a call with texts: `root: resolve(__dirname, "src")`.
_ROOT: Final = re.compile(r"""(?:^|[{,])\s*root\s*:\s*([\w.]+\s*\([^)\n]*\)|['"`][^'"`\n]*['"`])""", re.MULTILINE)
_BASE: Final = re.compile(r"""(?:^|[{,])\s*base\s*:\s*(['"`])(/(?:[^'"`\s]*/)?)\1""", re.MULTILINE)
_TEXTS: Final = re.compile(r"""(['"`])([^'"`$]*)\1""")
_MAX_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class FrontendPlan:
    """A front-end server to start, or to use where it runs already.

    Attributes:
        name: as the console says it.
        argv: None for a server that runs already.
        cwd: the working directory; empty where nothing is started.
        root: the directory whose files it serves; empty where that is not known.
        base: the path below which these are, as far as can be told before it runs.
        environ: variables for it, besides those of the project.
        tools: directories with its programs, the nearest first.
        files: those whose change may mend a start that failed.
        url: where it listens; None where it prints that.
    """

    name: str
    argv: tuple[str, ...] | None
    cwd: str = ""
    root: str = ""
    environ: tuple[tuple[str, str], ...] = ()
    tools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    url: str | None = None
    base: str = "/"


def find_frontend(project: Path, view: FrontendView) -> FrontendPlan | None:
    """The front-end server of the Django project at `project`; None for none.

    Raises:
        ProjectError: one is meant, and cannot be started; one sentence.
    """
    if view.wanted is False:
        return None
    if view.command is not None:
        directory = view.directory or _vite_directory(project, named=False) or project
        if not directory.is_dir():
            raise ProjectError(f"FRONTEND_DIR is {directory}, which is no directory; name that of the front end.")
        return FrontendPlan(
            "frontend",
            view.command,
            cwd=str(directory),
            root=_root_of(directory) if view.directory or _config_in(directory) else "",
            tools=tuple(_tools(directory, project)),
            files=tuple(_files(directory)),
            url=view.url,
            base=_base_of(directory, view),
        )
    if view.url is not None:
        root = view.directory or _vite_directory(project, named=False)
        base = _base_of(root or project, view)
        return FrontendPlan("frontend", None, root=_root_of(root) if root is not None else "", url=view.url, base=base)
    found = view.directory or _vite_directory(project, named=True)
    if found is None:
        if view.wanted:
            raise ProjectError(
                f"FRONTEND is on, and there is no vite.config.js in {project} or one level below it; name the command"
                " with FRONTEND_COMMAND, or the directory with FRONTEND_DIR."
            )
        return None
    return _vite(found, project, view)


def _vite(directory: Path, project: Path, view: FrontendView) -> FrontendPlan:
    """Vite itself, without a package manager: one process less, and it alone is meant."""
    tools = list(_tools(directory, project))
    program = next((os.path.join(tool, VITE) for tool in tools if os.path.isfile(os.path.join(tool, VITE))), None)
    if program is None:
        raise ProjectError(
            f"{directory} is a front end for Vite, which is not installed there; run `npm install` in it, or set"
            " FRONTEND_COMMAND."
        )
    arguments, environ = _arguments(directory)
    return FrontendPlan(
        VITE,
        (program, *arguments),
        cwd=str(directory),
        root=_root_of(directory),
        environ=tuple(environ.items()),
        tools=tuple(tools),
        files=tuple(_files(directory)),
        base=_base_of(directory, view),
    )


def _vite_directory(project: Path, *, named: bool) -> Path | None:
    """Where the configuration of Vite is: here, or one level below.

    Raises:
        ProjectError: in several places, and `named` says that one is needed.
    """
    if _is_front_end(project):
        return project
    below = [path for path in sorted(_directories(project)) if _is_front_end(path)]
    if len(below) > 1 and named:
        names = ", ".join(path.name for path in below)
        raise ProjectError(f"Several front ends are below {project}: {names}; say which with FRONTEND_DIR.")
    return below[0] if len(below) == 1 else None


def _directories(project: Path) -> Iterator[Path]:
    try:
        with os.scandir(project) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".") and entry.name not in _PASSED_OVER]
            yield from (Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return


def _is_front_end(directory: Path) -> bool:
    """Whether it has a configuration of Vite and a package.json that has Vite."""
    return _config_in(directory) is not None and VITE in _dependencies(_package(directory))


def _config_in(directory: Path) -> Path | None:
    return next((directory / name for name in _CONFIGS if (directory / name).is_file()), None)


def _package(directory: Path) -> dict[str, Any]:
    try:
        said = json.loads(_text(directory / "package.json"))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _dependencies(package: dict[str, Any]) -> set[str]:
    return {name for part in ("dependencies", "devDependencies") for name in _table(package.get(part))}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tools(directory: Path, project: Path) -> Iterable[str]:
    """The directories of installed programs, from `directory` up to the project's."""
    for place in (directory, *directory.parents):
        bin_directory = place / "node_modules" / ".bin"
        if bin_directory.is_dir():
            yield str(bin_directory)
        if place == project or not place.is_relative_to(project):
            return


def _arguments(directory: Path) -> tuple[list[str], dict[str, str]]:
    """What the project's own script gives to Vite, and the variables that it sets; nothing of several commands."""
    scripts = _table(_package(directory).get("scripts"))
    for name in _SCRIPTS:
        script = scripts.get(name)
        if not isinstance(script, str) or _NOT_ONE_COMMAND.search(script):
            continue
        try:
            words = shlex.split(script)
        except ValueError:
            continue
        if words[:1] == ["cross-env"]:
            del words[0]
        environ: dict[str, str] = {}
        while words and _ASSIGNMENT.fullmatch(words[0]):
            key, _, value = words.pop(0).partition("=")
            environ[key] = value
        if words[:1] == ["npx"]:
            del words[0]
        if words[:1] != [VITE] or words[1:2] in (["build"], ["preview"], ["optimize"]):
            continue
        # The browser is to be opened at Duck's address, if at all.
        return [word for word in words[1:] if word != "--open" and not word.startswith("--open=")], environ
    return [], {}


def _root_of(directory: Path) -> str:
    """The directory that the configuration calls `root`, as far as its text tells; else that of the configuration."""
    config = _config_in(directory)
    said = _ROOT.search(_text(config)) if config is not None else None
    if said is not None:
        parts = [text for _, text in _TEXTS.findall(said[1]) if text]
        if parts and (root := Path(os.path.normpath(directory.joinpath(*parts)))).is_dir():
            return str(root)
    return str(directory)


def _base_of(directory: Path, view: FrontendView) -> str:
    """The path in FRONTEND_URL, else what the configuration calls `base`; `/` where that is no text."""
    if view.url is not None:
        return parse_address(view.url).base
    config = _config_in(directory)
    said = _BASE.search(_text(config)) if config is not None else None
    return said[2] if said is not None else "/"


def _files(directory: Path) -> Iterator[str]:
    config = _config_in(directory)
    if config is not None:
        yield str(config)
    yield str(directory / "package.json")


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
