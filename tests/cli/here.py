"""Duck's commands in the process of the tests: what they say costs no interpreter, nor the imports of Duck."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from duck import settings
from duck.cli.main import run


def run_here(cwd: Path, arguments: tuple[str, ...], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What `duck ARGUMENTS` in `cwd` comes to; for commands that import nothing of a project into their own process.

    On a thread of its own: on the main one a command would take the alarm that bounds the test.
    """
    output, errors = io.StringIO(), io.StringIO()
    before, at = dict(os.environ), os.getcwd()
    try:
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            ThreadPoolExecutor(1, "duck command") as threads,
        ):
            code = threads.submit(run, arguments).result()
    finally:
        os.chdir(at)
        os.environ.clear()
        os.environ.update(before)
        settings.install(None)
    return subprocess.CompletedProcess(["duck", *arguments], code, output.getvalue(), errors.getvalue())
