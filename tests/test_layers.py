"""The arrows between packages, read from every import in the source: those within functions and for types included.

wire <- net <- proxy <- http <- services, backend <- app <- cli        (an arrow points at what is imported)
ground: exceptions, settings, meta, logs, automation
doors: contrib, urls, shortcuts, views, testing, utils
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "duck"
WORKER = PACKAGE / "backend" / "django" / "worker"
LINK = PACKAGE / "wire" / "link.py"

LAYERS = {"wire": 0, "net": 1, "proxy": 2, "http": 3, "services": 4, "backend": 4, "app": 5, "cli": 6, "__main__": 7}
GROUND = {"exceptions", "settings", "meta", "logs", "automation"}
# They hand names of any floor out, to users; nothing of Duck's own goes through them.
DOORS = {"contrib", "urls", "shortcuts", "views", "testing", "utils"}
# A module whose public path is fixed elsewhere than on its floor.
FLOORS = {"duck.utils.xsocket": "http", "duck.automation.celery": "backend"}

# What decides knows no socket, no loop and no clock.
IO_MODULES = {"asyncio", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time", "uvloop"}
# What is slow or belongs to the control plane stays out of a request's way (docs/explanation/dependencies.md).
OFF_THE_REQUEST_PATH = {"click", "django", "httpx", "prometheus_client", "psutil", "watchdog"}
# What the project's own interpreter may have, asked for when it is needed; asgiref it has, for Django needs it.
ASKED_FOR = {
    "asgiref",
    "celery",
    "channels",
    "configurations",
    "daphne",
    "debugpy",
    "hypercorn",
    "IPython",
    "ipdb",
    "twisted",
    "uvicorn",
}


class Import:
    """One imported module: its absolute dotted name, and where."""

    def __init__(self, name: str, path: Path, line: int, *, in_function: bool, relative: bool) -> None:
        self.name = name
        self.top = name.partition(".")[0]
        self.where = f"{path.relative_to(ROOT)}:{line}"
        self.in_function = in_function
        self.relative = relative


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[Import]:
    """Every import of `path`; `from package import module` counts as the module where there is one."""
    package = path.parent.relative_to(ROOT).parts

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, path, child.lineno, in_function=inside, relative=False)
            elif isinstance(child, ast.ImportFrom):
                base = list(package[: len(package) - child.level + 1]) if child.level else []
                base += child.module.split(".") if child.module else []
                for alias in child.names:
                    name = ".".join([*base, alias.name])
                    name = name if is_module(name) else ".".join(base)
                    yield Import(name, path, child.lineno, in_function=inside, relative=bool(child.level))
            else:
                yield from visit(child, inside)

    yield from visit(ast.parse(path.read_text("utf-8"), str(path)), False)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def floor(module: str) -> str:
    """The package below `duck` whose floor `module` is of; empty for `duck` itself, which holds the version."""
    parts = module.split(".")
    return FLOORS.get(module) or (parts[1] if len(parts) > 1 else "")


def is_allowed(importer: str, imported: str) -> bool:
    """Whether a module of the floor `importer` may import one of the floor `imported`."""
    if imported in ("", importer):
        return True
    if importer in DOORS:
        return True
    if imported in GROUND:
        return importer != "wire" or imported == "exceptions"
    if importer in GROUND or imported in DOORS:
        return False
    return LAYERS[imported] <= LAYERS[importer]


def test_every_package_has_a_floor() -> None:
    known = {*LAYERS, *GROUND, *DOORS, "", "__init__"}
    tops = {floor(module_name(path)) for path in sources()}
    assert tops <= known, f"say on which floor these are, in {__name__}: {sorted(tops - known)}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("net", "wire", True),
        ("wire", "net", False),
        ("wire", "exceptions", True),
        ("wire", "settings", False),
        ("services", "backend", True),
        ("backend", "services", True),
        ("http", "app", False),
        ("settings", "http", False),
        ("cli", "app", True),
        ("app", "shortcuts", False),
        ("shortcuts", "http", True),
    ],
)
def test_an_arrow_points_to_the_left(importer: str, imported: str, allowed: bool) -> None:
    assert is_allowed(importer, imported) is allowed


def test_every_import_points_to_the_left() -> None:
    wrong = []
    for path in sources():
        if path.is_relative_to(WORKER):
            continue
        importer = floor(module_name(path))
        wrong += [
            f"{found.where}: {importer} must not import {found.name}"
            for found in imports(path)
            if found.top == "duck" and not is_allowed(importer, floor(found.name))
        ]
    assert not wrong, "\n".join(wrong)


def test_what_decides_imports_no_input_or_output() -> None:
    wrong = [
        f"{found.where}: wire must not import {found.name}"
        for path in (PACKAGE / "wire").rglob("*.py")
        for found in imports(path)
        if found.top in IO_MODULES
    ]
    assert not wrong, "\n".join(wrong)


def test_the_request_path_imports_nothing_of_the_control_plane() -> None:
    wrong = [
        f"{found.where}: must not import {found.name}"
        for layer in ("wire", "net", "proxy", "http")
        for path in (PACKAGE / layer).rglob("*.py")
        for found in imports(path)
        if found.top in OFF_THE_REQUEST_PATH
    ]
    assert not wrong, "\n".join(wrong)


def test_the_link_is_of_the_standard_library_alone() -> None:
    wrong = [f"{found.where}: {found.name}" for found in imports(LINK) if found.top not in sys.stdlib_module_names]
    assert not wrong, "\n".join(wrong)


def test_the_worker_imports_only_what_the_projects_interpreter_has() -> None:
    allowed = {*sys.stdlib_module_names, "django", "_duck_worker"}
    wrong = []
    for path in sorted(WORKER.rglob("*.py")):
        for found in imports(path):
            # Relative, so that it holds under the worker's private name; the link is the one file both sides share.
            within = found.relative and f"{found.name}.".startswith(("duck.backend.django.worker.", "duck.wire.link."))
            asked_for = found.in_function and (
                found.top in ASKED_FOR or f"{found.name}.".startswith("duck.automation.")
            )
            if not (within or asked_for or found.top in allowed):
                wrong.append(f"{found.where}: the worker must not import {found.name}")
    assert not wrong, "\n".join(wrong)


def test_what_a_project_declares_automations_with_is_of_the_standard_library_alone() -> None:
    """`duck.automation` is loaded in the project's interpreter, which has nothing else of Duck.

    Its application for INSTALLED_APPS has Django; what that loads in workers of Celery has Duck as well.
    """
    wrong = [
        f"{found.where}: {found.name}"
        for path in sorted((PACKAGE / "automation").rglob("*.py"))
        if path != PACKAGE / "automation" / "celery.py"
        for found in imports(path)
        if found.top not in sys.stdlib_module_names
        and not (found.top in ("django", "celery") and path.is_relative_to(PACKAGE / "automation" / "django"))
        and not (found.relative and f"{found.name}.".startswith("duck.automation."))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_imported_with_a_star() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert not wrong, "\n".join(wrong)
