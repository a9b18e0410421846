"""Syntax: whether Python files can be compiled, found out before anything is stopped for them."""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_TIMEOUT_S: Final = 5.0
_COMPILE: Final = """
import json, sys, warnings
warnings.simplefilter("ignore")
for path in json.load(sys.stdin):
    try:
        with open(path, "rb") as file:
            source = file.read()
    except PermissionError:
        sys.exit(print(path))
    except OSError:
        continue
    try:
        compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        sys.exit(print(path))
"""


def syntax_error(path: str) -> SyntaxError | None:
    """Why the Python file at `path` cannot be compiled; None when it can, or is not there (any more).

    One that may not be read cannot be compiled either.
    """
    try:
        source = Path(path).read_bytes()
    except PermissionError as error:
        return SyntaxError(f"it cannot be read ({error.strerror})", (path, 1, None, None))
    except OSError:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    except ValueError as error:  # a NUL byte, before Python 3.12
        return SyntaxError(str(error), (path, 1, 1, ""))
    return None


def first_that_fails(python: str, paths: Sequence[str], environment: Mapping[str, str]) -> str:
    """The first of `paths` that the interpreter `python` cannot read and compile; empty where there is none.

    It has a few seconds for that; what it has not come to by then is taken for right. For any thread.
    """
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", _COMPILE],
            input=json.dumps(list(paths)),
            env=dict(environment),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.removesuffix("\n")
