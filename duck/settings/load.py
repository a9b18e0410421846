"""Where the settings of a run come from: command line, environment, the project's own file, defaults; in this order.

Inside a Duck project the file is its settings module: SETTINGS_MODULE, or `settings.py` beside a `main.py` that makes
an `App`. Everywhere else it is `duck.toml` beside manage.py, if there is one.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from duck.exceptions import SettingsError
from duck.settings.schema import NAMES, RUNTIME_VARIABLES, SAME, SETTINGS, Setting

TOML_NAME = "duck.toml"
_MAKES_AN_APP = re.compile(r"^\s*(from duck[.\s]|import duck\b)", re.MULTILINE)


@dataclass(frozen=True)
class Origin:
    """Where one value was given.

    Attributes:
        source: `command line`, `environment`, `file` or `default`.
        where: the option, the variable, or `path:line`; `""` of a default.
    """

    source: str
    where: str = ""

    def __str__(self) -> str:
        return self.where if self.source == "file" else f"{self.source} {self.where}".rstrip()


class Settings(Mapping[str, Any]):
    """The value and origin of every setting; a mapping by name, aliases included.

    Running code takes what it needs from `duck.settings.views` and keeps no `Settings`.

    Attributes:
        project_dir: the absolute directory in which Duck was started.
        base_dir: the directory of the file, else `project_dir`; a Duck project's modules are imported from it.
        file: the settings module or duck.toml that was read, if any.
        is_duck_project: `file` is a Duck settings module, so Duck's own `urlpatterns` exist.
        warnings: sentences to show at the start.
    """

    def __init__(
        self,
        values: dict[str, Any],
        origins: dict[str, Origin],
        *,
        project_dir: Path,
        base_dir: Path,
        file: Path | None = None,
        is_duck_project: bool = False,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._values = values
        self._origins = origins
        self.project_dir = project_dir
        self.base_dir = base_dir
        self.file = file
        self.is_duck_project = is_duck_project
        self.warnings = warnings

    def __getitem__(self, name: str) -> Any:
        return self._values[NAMES[name].name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Settings of {self.file or self.project_dir}>"

    def origin(self, name: str) -> Origin:
        """Where the value of `name` was given."""
        return self._origins[NAMES[name].name]

    def is_given(self, name: str) -> bool:
        """Whether anybody gave `name`: its value is not the default that nobody asked for."""
        return self.origin(name).source != "default"

    def with_values(self, **values: Any) -> Settings:
        """The same with some values replaced, as by the constructor of an `App`; their origin is "command line".

        Raises:
            SettingsError: a name is unknown or a value wrong.
        """
        merged = self
        for name, raw in values.items():
            origin = Origin("command line", name)
            merged = merged.with_value(name, read_value(SETTINGS[name], raw, origin, self.project_dir), origin)
        return merged

    def with_value(self, name: str, value: Any, origin: Origin | None) -> Settings:
        """The same with one value replaced, which has been checked; None: nobody has given it."""
        return Settings(
            {**self._values, name: value},
            {**self._origins, name: origin or Origin("default")},
            project_dir=self.project_dir,
            base_dir=self.base_dir,
            file=self.file,
            is_duck_project=self.is_duck_project,
            warnings=self.warnings,
        )


def load(
    argv_values: Mapping[str, Any],
    environ: Mapping[str, str],
    project_dir: Path,
    problems: list[SettingsError] | None = None,
) -> Settings:
    """Gather the settings for a start in `project_dir`.

    Of a Duck project the settings module is run, once, and the project's directory put at the head of `sys.path`, as
    `python main.py` does.

    Args:
        argv_values: what options gave, by setting name; None and empty tuples mean "not given".
        environ: `DUCK_*` are looked at; an empty variable counts as absent, an unknown one makes a warning.
        problems: gets what is wrong with names and values, so that all of it can be told; a default stands in for each.

    Raises:
        SettingsError: one sentence: where, which value, what is right.
    """
    project_dir = project_dir.absolute()
    given = {name: (raw, _option_origin(NAMES[name])) for name, raw in argv_values.items() if raw not in (None, ())}
    variables, warnings = _read_environ(environ, problems)
    platform = _read_platform(environ)
    written, file, base_dir, is_duck_project = _read_file({**variables, **given}, project_dir, problems)
    if is_duck_project and str(base_dir) not in sys.path:
        sys.path.insert(0, str(base_dir))
    values, origins = {}, {}
    is_production = False
    for name, setting in SETTINGS.items():  # MODE is the first
        for source, base in (
            (given, project_dir),
            (variables, project_dir),
            (written, base_dir),
            (platform if is_production else {}, project_dir),
        ):
            if name in source:
                raw, origin = source[name]
                try:
                    values[name], origins[name] = read_value(setting, raw, origin, base), origin
                except SettingsError as error:
                    _tell(problems, error)
                break
        if name not in values:
            default = setting.default if setting.in_production is SAME or not is_production else setting.in_production
            values[name] = setting.kind.read(default, base_dir)
            origins[name] = Origin("default")
        if name == "MODE":
            is_production = values[name] == "serve"
    if values["BASE_DIR"] is None:
        values["BASE_DIR"] = base_dir
    _name_site(values, origins)
    return Settings(
        values,
        origins,
        project_dir=project_dir,
        base_dir=base_dir,
        file=file,
        is_duck_project=is_duck_project,
        warnings=tuple(warnings),
    )


def is_duck_project(directory: Path) -> bool:
    """Whether `directory` holds a `settings.py` beside a `main.py` that imports Duck."""
    try:
        text = (directory / "main.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(_MAKES_AN_APP.search(text)) and (directory / "settings.py").is_file()


_Given = dict[str, tuple[Any, Origin]]
_SOURCES = ("command line", "environment", "file", "default")


def _name_site(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """DOMAIN is the first of DOMAINS, where these were given and DOMAIN was not, or in a place that goes after."""
    name = next((name for name in values["DOMAINS"] if not name.startswith("*")), None)
    if name is not None and _SOURCES.index(origins["DOMAINS"].source) < _SOURCES.index(origins["DOMAIN"].source):
        values["DOMAIN"], origins["DOMAIN"] = name.strip("[]"), origins["DOMAINS"]


def _option_origin(setting: Setting) -> Origin:
    longest = max(setting.flags, key=len, default=setting.name)
    return Origin("command line", longest.partition("/")[0])


def _tell(problems: list[SettingsError] | None, error: SettingsError) -> None:
    """Have `error` told with the others, or raise it where nobody collects them."""
    if problems is None:
        raise error
    problems.append(error)


def _read_environ(environ: Mapping[str, str], problems: list[SettingsError] | None = None) -> tuple[_Given, list[str]]:
    given: _Given = {}
    warnings = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith("DUCK_") or not text or variable in RUNTIME_VARIABLES:
            continue
        name = variable.removeprefix("DUCK_")
        if name in NAMES:
            _add(given, name, text, Origin("environment", variable), problems)
        else:
            near = _near(name)
            hint = f"; did you mean DUCK_{near}?" if near else "."
            warnings.append(f"The environment variable {variable} is no setting of Duck and has no effect{hint}")
    return given, warnings


def _read_platform(environ: Mapping[str, str]) -> _Given:
    """What hosting platforms say of a service in variables that are not Duck's; counts under `serve`."""
    given: _Given = {}
    if environ.get("PORT"):
        origin = Origin("environment", "PORT")
        # Said by a platform that routes to this process from outside of its machine.
        given |= {"PORT": (environ["PORT"], origin), "ADDRESS": ("0.0.0.0", origin)}
    if environ.get("WEB_CONCURRENCY"):
        origin = Origin("environment", "WEB_CONCURRENCY")
        given |= {name: (environ["WEB_CONCURRENCY"], origin) for name in ("WORKERS", "DJANGO_WORKERS")}
    return given


def _read_file(
    given: _Given, project_dir: Path, problems: list[SettingsError] | None = None
) -> tuple[_Given, Path | None, Path, bool]:
    """What the project's file says, that file, the directory its paths start from, and whether it is a Duck project."""
    if "SETTINGS_MODULE" in given:
        raw, origin = given["SETTINGS_MODULE"]
        name = read_value(SETTINGS["SETTINGS_MODULE"], raw, origin, project_dir)
        return _read_module(*_find_module(name, origin, project_dir), problems)
    if is_duck_project(project_dir):
        return _read_module("settings", project_dir / "settings.py", project_dir, problems)
    named: Path | None = None
    if "DJANGO_PROJECT" in given:
        named = read_value(SETTINGS["DJANGO_PROJECT"], *given["DJANGO_PROJECT"], project_dir)
    file = toml_of(project_dir, named)
    try:
        file.stat()
    except PermissionError as error:
        raise SettingsError(f"{file} cannot be looked for: {error.strerror}; run Duck as a user who may.") from error
    except OSError:
        return {}, None, project_dir, False
    return read_toml(file, problems), file, file.parent, False


def toml_of(project_dir: Path, project: Path | None) -> Path:
    """Where duck.toml is, or would be, for a start in `project_dir`; `project` is DJANGO_PROJECT."""
    directory = project_dir
    if project is not None:
        directory = project if os.path.isdir(project) else project.parent
    elif not os.path.isfile(project_dir / "manage.py") and not os.path.isfile(project_dir / TOML_NAME):
        below = [manage.parent for manage in sorted(project_dir.glob("*/manage.py"))]
        directory = below[0] if len(below) == 1 else project_dir
    return directory / TOML_NAME


def read_toml(file: Path, problems: list[SettingsError] | None = None) -> _Given:
    try:
        text = file.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}.") from error
    given: _Given = {}
    for key, raw in table.items():
        line = next(
            (
                number
                for number, content in enumerate(text.splitlines(), 1)
                if re.match(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[\]=.]""", content)
            ),
            None,
        )
        name = key.replace("-", "_").upper()
        origin = Origin("file", f"{file}:{line}" if line else str(file))
        if name == "DUCK" and isinstance(raw, dict):
            raise SettingsError(f"{origin.where}: the settings stand at the top of duck.toml; leave [{key}] out.")
        if name not in NAMES or name in ("SETTINGS_MODULE", "BASE_DIR"):
            _tell(problems, _unknown(key, origin, lower=key.islower()))
            continue
        _add(given, name, raw, origin, problems)
    return given


def _find_module(name: str, origin: Origin, project_dir: Path) -> tuple[str, Path, Path]:
    """The importable name, file and import directory of a settings module given as dotted name or path."""
    if name.endswith(".py"):
        file = project_dir / name
        found: Path | None = file if file.is_file() else None
        name, root = file.stem, file.parent
    else:
        root = project_dir
        path = project_dir.joinpath(*name.split("."))
        found = next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
    if found is None:
        raise SettingsError(
            f"{origin.where}: there is no Duck settings module {name} in {root}; "
            "give its dotted name from this directory, or a path that ends in .py."
        )
    return name, found, root


def _read_module(
    name: str, file: Path, root: Path, problems: list[SettingsError] | None = None
) -> tuple[_Given, Path, Path, bool]:
    module = _run_module(name, file, root)
    try:
        lines = _assigned_lines(file.read_text(encoding="utf-8"))
    except OSError:
        lines = {}
    given: _Given = {}
    names = [key for key in vars(module) if key.isupper() and not key.startswith("_")]
    if "INSTALLED_APPS" in names:
        raise SettingsError(
            f"{file} is a Django settings module, not a Duck one: name it with --django-settings instead of --settings."
        )
    for key in names:
        origin = Origin("file", f"{file}:{lines[key]}" if key in lines else str(file))
        if key not in NAMES or key == "SETTINGS_MODULE":
            _tell(problems, _unknown(key, origin))
            continue
        _add(given, key, getattr(module, key), origin, problems)
    base_dir = root
    if "BASE_DIR" in given:
        raw, origin = given["BASE_DIR"]
        base_dir = read_value(SETTINGS["BASE_DIR"], raw, origin, root) or root
    return given, file, base_dir, True


def _run_module(name: str, file: Path, root: Path) -> ModuleType:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        line = _line_of(error, file)
        where = f"{file}:{line}" if line else str(file)
        raise SettingsError(f"{where} cannot be run: {type(error).__name__}: {_first_line(error)}.") from error
    return module


def _line_of(error: Exception, file: Path) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(file):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _first_line(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text.splitlines() or [""])[0].rstrip(".")


def _assigned_lines(source: str) -> dict[str, int]:
    """The line on which each name of a module is last assigned, outside functions and classes."""
    lines: dict[str, int] = {}
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines[node.id] = max(node.lineno, lines.get(node.id, 0))
        pending.extend(ast.iter_child_nodes(node))
    return lines


def _add(given: _Given, name: str, raw: Any, origin: Origin, problems: list[SettingsError] | None = None) -> None:
    canonical = NAMES[name].name
    if canonical in given:
        before = given[canonical][1].where
        _tell(
            problems,
            SettingsError(f"{origin.where}: {name} sets {canonical}, which is set already by {before}; keep one."),
        )
        return
    given[canonical] = raw, origin


def read_value(setting: Setting, raw: Any, origin: Origin, base: Path) -> Any:
    try:
        value = setting.kind.read(raw, base)
        if setting.check is not None:
            setting.check(value)
    except ValueError as error:
        # Several of one option come as a tuple, which nobody has written; what may hold a secret is not said again.
        plain = ", ".join(map(str, raw)) if isinstance(raw, tuple) else raw
        shown = "used as it is" if setting.secret else repr(plain)
        raise SettingsError(f"{origin.where}: {setting.name} cannot be {shown}: {error}.") from None
    return value


def _unknown(name: str, origin: Origin, *, lower: bool = False) -> SettingsError:
    near = _near(name.replace("-", "_").upper())
    if near:
        hint = f"did you mean {near.lower() if lower else near}?"
    else:
        hint = "`duck settings` lists them all, and names that begin with _ are yours."
    return SettingsError(f"{origin.where}: {name} is no setting of Duck; {hint}")


def _near(name: str) -> str | None:
    near = difflib.get_close_matches(name, NAMES, 1, 0.7)
    return near[0] if near else None
