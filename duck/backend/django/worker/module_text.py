"""What a module would hold, read from its text: nothing is imported for it but the packages around it."""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from typing import Dict, Iterator, Optional

# What may put names into a module that its text does not show.
_HIDDEN = frozenset({"globals", "setattr", "exec", "vars", "locals"})

Bound = Dict[str, Optional[ast.AST]]


def is_module(name: str) -> bool:
    """Whether there is a module of that name; raises what a package around it raises for another reason."""
    package = name.rpartition(".")[0]
    if package:
        spec = find_spec(package) if is_module(package) else None
        if spec is None or spec.submodule_search_locations is None:
            return False  # what is looked for in a module that is no package would have it imported
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return False
        raise  # a package around it lacks something else


@lru_cache(maxsize=256)
def names_of(module: str) -> Optional[Bound]:
    """What the module binds at its top level: functions and classes by name, None for anything else.

    None in all where its text does not tell: there is none, or it may bind more than can be read.

    Raises:
        SyntaxError: it is no Python.
    """
    spec = find_spec(module)
    read = getattr(spec.loader, "get_source", None) if spec is not None else None
    if spec is None or read is None or not (spec.origin or "").endswith(".py"):
        return None
    tree = ast.parse(read(module) or "", spec.origin or module)
    found: Bound = {}
    for node in _of_scope(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name == "__getattr__":
                return None
            found[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == "*":
                    return None
                found[alias.asname or alias.name.partition(".")[0]] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = None
        elif isinstance(node, ast.Attribute) and node.attr == "modules":
            return None  # another object may take its place in sys.modules
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _HIDDEN:
            return None
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            found.update(dict.fromkeys(inner.names))
    return found


def _of_scope(node: ast.AST) -> Iterator[ast.AST]:
    """All that is done as the module is imported, without the bodies of functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _of_scope(child)
