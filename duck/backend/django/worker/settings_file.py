"""Where in the project's settings an entry of a setting stands: read from their text, since values do not say it."""

from __future__ import annotations

import ast
import os
import sys
from typing import Any, Callable, Dict, Iterator, List, Tuple


def entries_of(setting: str, value: Any) -> Callable[[str], str]:
    """A function from the name of an entry of `setting`, a dictionary, to its file and line, `settings.py:12`.

    The file is that of the settings module, or the one that it has the dictionary from. Where no line can be told, as
    of a dictionary that is put together by code, it is the file alone, and without a file it is `setting` of the
    settings.
    """
    files = _files(setting, value)
    lines: Dict[str, str] = {}
    for file in files:
        for name, line in entries_in(setting, file):
            lines.setdefault(name, f"{file}:{line}")
    whole = next(iter(files), f"{setting} of the settings")
    return lambda name: lines.get(name, whole)


def _files(setting: str, value: Any) -> List[str]:
    """Those whose module holds this very value, that of the settings first."""
    own = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    found = []
    for _, module in sorted(sys.modules.items(), key=lambda each: each[0] != own):
        held = getattr(module, "__dict__", {})  # no attribute is asked for, which might import something
        file = held.get("__file__")
        if isinstance(file, str) and file.endswith(".py") and held.get(setting) is value:
            found.append(os.path.abspath(file))
    return list(dict.fromkeys(found))


def entries_in(setting: str, file: str) -> Iterator[Tuple[str, int]]:
    """Names and lines of what a module puts into the dictionary `setting`; nothing where it is no Python."""
    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read(), file)
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id == setting and isinstance(node.value, ast.Dict):
                for key in node.value.keys:
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield key.value, key.lineno
            elif (
                isinstance(target, ast.Subscript)
                and isinstance(target.value, ast.Name)
                and target.value.id == setting
                and isinstance(target.slice, ast.Constant)
                and isinstance(target.slice.value, str)
            ):
                yield target.slice.value, target.lineno
