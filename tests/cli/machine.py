"""Ducks started by their command line, on a machine of their own as far as the run directory goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duck
from tests.reports import report

ROOT = Path(duck.__file__).resolve().parents[1]


class Machine:
    """Directories of Ducks, and a run directory that they share."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("DUCK_")} | {
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(base),
            "XDG_STATE_HOME": str(base),
        }
        self.started: list[subprocess.Popen[str]] = []

    def directory(self, name: str) -> Path:
        path = self.base / name
        path.mkdir()
        return path

    def start(self, directory: Path, *arguments: str, until: str = "Stop") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "duck", "runserver", "-p", "0", "--no-reload", *arguments],
            cwd=directory,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if until in line:
                return process
        raise AssertionError(f"Duck ended with {process.wait()}: {''.join(said)}")

    def duck(self, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "duck", *arguments],
            cwd=cwd,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def until_known(self, directory: Path) -> None:
        """Wait for the control socket: the banner may come before it."""
        end = time.monotonic() + 10
        while not report(self.base, directory) and time.monotonic() < end:
            time.sleep(0.02)

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(15)
            assert process.stderr is not None
            process.stderr.close()
