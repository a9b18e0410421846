"""Where the servers are that tests start; Debian keeps those of PostgreSQL out of the PATH."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest


def find_program(name: str) -> str | None:
    """The path of a program, the newest where there are several versions of PostgreSQL."""
    found = shutil.which(name)
    if found is not None:
        return found
    return next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)


def need_program(name: str, package: str) -> str:
    """The path of a program; skips the test, with the package to install, where there is none."""
    found = find_program(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine (apt-get install {package})")
    return found


def free_port() -> int:
    """A port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
