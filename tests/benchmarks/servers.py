"""One server process with its children: started, waited for, measured, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class Missing(Exception):
    """A peer that this machine does not have; the text names it."""


class Failed(Exception):
    """A server that did not start or did not answer; the text holds the end of its output."""


class Server:
    """A process group of one command.

    Args:
        environment: what differs from this process's; None for what is not to be there.
        log: where its output goes; a file in `directory` by default.
        counted: whether its CPU time and memory belong to what is measured.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        directory: Path,
        *,
        environment: Mapping[str, str | None] | None = None,
        log: Path | None = None,
        counted: bool = True,
    ) -> None:
        self.name = name
        self.counted = counted
        self.log = log or directory / f"{name}-{id(self):x}.log"
        self._command = command
        self._directory = directory
        self._environment = changed(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started; it is started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it need not be ready yet."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, address: str | tuple[str, int]) -> None:
        """Until somebody accepts at `address`, a port or a path.

        Raises:
            Failed: the process ended, or the time is over.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not can_connect(address):
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} accepts nobody at {address} after {START_TIMEOUT_S:.0f} s\n{self.output()}")
            time.sleep(0.02)

    def check(self) -> None:
        """Raise Failed if it has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise Failed(f"{self.name} ended with {self._process.returncode}\n{self.output()}")

    def output(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text("utf-8", "replace")[-2000:]

    def stop(self) -> None:
        """End it and all that it started."""
        process = self._process
        if process is None:
            return
        family = self.family()
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL for the process alone: what it started has to end by itself, and is not ended here any more."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()

    def family(self) -> list[psutil.Process]:
        """The process and all below it."""
        if self._process is None:
            return []
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def changed(environment: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of this process with these changes; None takes a variable away."""
    return {name: value for name, value in {**os.environ, **environment}.items() if value is not None}


def cpu_seconds(family: list[psutil.Process]) -> float:
    """User and system time of these processes, children they have waited for included."""
    total = 0.0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_bytes(family: list[psutil.Process]) -> int:
    """Resident memory of these processes, added: what they share counts once for each."""
    total = 0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def reset_peaks(family: list[psutil.Process]) -> None:
    """Make `peak_bytes` start anew (Linux only: proc(5), clear_refs)."""
    for process in family:
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak_bytes(family: list[psutil.Process]) -> int:
    """The most that each of these processes had resident at any moment, added: never less than the real peak."""
    total = 0
    for process in family:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
    return total or resident_bytes(family)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def can_connect(address: str | tuple[str, int]) -> bool:
    """Whether somebody accepts there."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
