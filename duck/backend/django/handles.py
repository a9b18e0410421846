"""How a Django process is started: what it is told, and the descriptors through which it is watched and spoken to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django import stack
from duck.backend.django.discover import child_environment
from duck.exceptions import ProjectError

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter
    from duck.services.privileges import Account

WORKER: Final = Path(__file__).parent / "worker" / "__main__.py"


@dataclass(frozen=True)
class WorkerSpec:
    """What a Django process is told (see backend/django/worker/spec.py for each item)."""

    cwd: str
    manage: str | None
    address: str | tuple[str, int]
    role: str = "auto"
    mode: str = "runserver"
    threads: int = 16
    settings: str | None = None
    secret: str = ""
    identity_field: str = ""
    bundle: str | None = None
    wsgi: str | None = None
    asgi: str | None = None
    prefix: str = ""
    checks: str = ""
    deferred: bool = False
    frontend: bool = False
    events: str = ""


class Ends:
    """Both ends of what a process is watched and spoken to through, before it is there.

    Attributes:
        theirs: descriptors that the process is given, by the names that it knows them by.

    Raises:
        OSError: the system has no room for them.
    """

    def __init__(self) -> None:
        (self._output, output), (lifeline, self._lifeline), (self._stack, stack_fd) = pipes = _pipes(3)
        try:
            self._control, theirs = socket.socketpair()
        except OSError:
            _close(pipes)
            raise
        self.theirs: dict[str, int] = {
            "control_fd": theirs.detach(),
            "lifeline_fd": lifeline,
            "stack_fd": stack_fd,
            "output_fd": output,
        }

    def handles(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> Handles:
        """The process has come."""
        return Handles(pid, process, self._control, self._output, self._lifeline, self._stack, time.monotonic())

    def close_theirs(self) -> None:
        """The process has its ends; may be said again."""
        for descriptor in self.theirs.values():
            os.close(descriptor)
        self.theirs = {}

    def close(self) -> None:
        """No process has come: to one that comes still this is the App's death."""
        self.close_theirs()
        self._control.close()
        for descriptor in (self._output, self._lifeline, self._stack):
            os.close(descriptor)


def _pipes(count: int) -> list[tuple[int, int]]:
    """So many, or none."""
    made: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            made.append(os.pipe())  # noqa: PERF401 - those that were made are closed
    except OSError:
        _close(made)
        raise
    return made


def _close(pipes: Iterable[tuple[int, int]]) -> None:
    for pipe in pipes:
        for descriptor in pipe:
            os.close(descriptor)


@dataclass(frozen=True)
class Handles:
    """The ends of a process that this side holds: descriptors of its control socket, output, lifeline and stacks.

    Attributes:
        process: None for one that was taken over.
        started: when it was spawned (monotonic seconds).
    """

    pid: int
    process: subprocess.Popen[bytes] | None
    control: socket.socket
    output: int
    lifeline: int
    stack: int
    started: float

    @classmethod
    def spawn(
        cls,
        interpreter: Interpreter,
        cwd: str,
        variable: str,
        told: Mapping[str, Any],
        *,
        has_terminal: bool = False,
        account: Account | None = None,
        points: Mapping[str, Ends] | None = None,
        given: Mapping[str, int] | None = None,
    ) -> Handles:
        """Start the worker's program; it finds `told` and its ends of the descriptors in environment `variable`.

        `account` is who it becomes, where this process is still root; `points` are for the spares that it leaves,
        `given` more descriptors that it finds.

        Raises:
            ProjectError: the interpreter cannot be started.
        """
        try:
            ends = Ends()
        except OSError as error:
            raise ProjectError(f"{interpreter.path} cannot be started: {error.strerror}.") from error
        descriptors = {name: ends.theirs[name] for name in ("control_fd", "lifeline_fd", "stack_fd")}
        ahead = {stage: dict(point.theirs) for stage, point in (points or {}).items()}
        more = dict(given or {})
        environ = child_environment(os.environ, interpreter.path)
        said = {**told, **descriptors, **more, "points": ahead, "parent": os.getpid(), **stack.SIGNALS}
        environ[variable] = json.dumps(said)
        becomes: dict[str, Any] = {}
        if account is not None and not account.is_root and os.geteuid() == 0:
            becomes = {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
            environ |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
        try:
            process = subprocess.Popen(
                [interpreter.path, str(WORKER)],
                # A debugger's prompt reads from the App's terminal, once it was lent. What else asks something would
                # wait for ever, unseen behind what the others print.
                stdin=None if has_terminal else subprocess.DEVNULL,
                stdout=ends.theirs["output_fd"],
                stderr=ends.theirs["output_fd"],
                cwd=cwd,
                env=environ,
                pass_fds=[number for one in (descriptors, more, *ahead.values()) for number in one.values()],
                process_group=0,
                **becomes,
            )
        except OSError as error:
            ends.close()
            raise ProjectError(f"{interpreter.path} cannot be started: {error.strerror}.") from error
        finally:
            ends.close_theirs()
        return ends.handles(process.pid, process)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Handles:
        """Those that were handed over an exec, for this program alone from now on."""
        for name in ("control", "output", "lifeline", "stack"):
            os.set_inheritable(values[name], False)
        return cls(
            values["pid"],
            None,
            socket.socket(fileno=values["control"]),
            values["output"],
            values["lifeline"],
            values["stack"],
            values["started"],
        )
