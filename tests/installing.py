"""Packages installed by uv, a tenth of pip's work, where it is to be had and knows all that pip is configured with.

uv gets pip's own configuration and looks at all indexes as pip does, so that the same versions come out.
Whoever asks has pip do it where the answer is no. Standard library only.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# An option of pip, and the variable of uv that says the same; uv takes several values with blanks between.
_VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "constraint": "UV_CONSTRAINT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_INDEX_URL",
    "timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
}
# These change nothing of what is installed, or from where.
_WITHOUT_WEIGHT = {
    "config-file",
    "disable-pip-version-check",
    "no-color",
    "no-input",
    "no-python-version-warning",
    "progress-bar",
    "quiet",
    "root-user-action",
    "verbose",
}
_SEPARATED_BY_COMMAS = {"find-links"}
# What pip itself obeys for `pip install`, the last one most.
_SECTIONS = ("global", "install", ":env:")


def install_by_uv(executable: str | Path, arguments: Sequence[str], python: str | Path = sys.executable) -> bool:
    """Whether uv has installed `arguments`, as `pip install` takes them, for the Python `executable`.

    Args:
        python: one that may have uv, and whose pip has the configuration.
    """
    variables = configured(str(python))
    if variables is None:
        return False
    command = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(executable)]
    command += ["--no-config", "--index-strategy", "unsafe-best-match", *arguments]
    return _succeeds(command, {**os.environ, **variables})


def get_uv(python: str | Path) -> bool:
    """Have pip install uv for `python`; whether it is there. It is never built: that takes a compiler for Rust."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    return _succeeds([*command, "--only-binary", ":all:", *project["dependency-groups"]["installer"]], dict(os.environ))


@cache
def configured(python: str) -> dict[str, str] | None:
    """uv's variables for what that Python's pip is configured with; None: something of it, uv cannot be told."""
    command = [python, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return None if done.returncode else translate(done.stdout)


def translate(text: str) -> dict[str, str] | None:
    """uv's variables for the answer of `pip config list`: lines such as `global.find-links='/opt/wheels'`."""
    options: dict[str, str] = {}
    lines = [line.partition("=") for line in text.splitlines() if line.strip()]
    for section in _SECTIONS:
        for name, _, value in lines:
            if name.startswith(f"{section}."):
                options[name.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    options = {name: value for name, value in options.items() if value and name not in _WITHOUT_WEIGHT}
    if not options.keys() <= _VARIABLES.keys():
        return None
    return {
        _VARIABLES[name]: ("," if name in _SEPARATED_BY_COMMAS else " ").join(value.split())
        for name, value in options.items()
    }


def _succeeds(command: Sequence[str], variables: dict[str, str]) -> bool:
    null = subprocess.DEVNULL
    return subprocess.call(command, env=variables, cwd=ROOT, stdin=null, stdout=null, stderr=null) == 0
