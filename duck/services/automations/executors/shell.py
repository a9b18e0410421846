"""Shell commands: each in a process group of its own, which ends with the run."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duck.services.automations.engine import Ended
from duck.services.automations.memory import WEIGH_S, excesses
from duck.services.automations.run import State
from duck.services.automations.tail import Tail, news
from duck.services.automations.target import directory_of
from duck.services.exit import ExitWatch, exit_sentence
from duck.services.lifeline import Lifeline
from duck.services.process_tree import kill_all, trees

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Printed
    from duck.services.automations.run import Run
    from duck.services.inbox import Inbox, Timer

_READ_BYTES: Final = 65_536
_MAX_EVENT: Final = 100_000
# Of one turn: a flood does not keep the dispatcher from its times.
_MOST_READS: Final = 4


class _Command:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        lifeline: Lifeline,
        declaration: Declaration,
        ended: Callable[[Ended], None],
    ):
        self.process = process
        self.lifeline = lifeline
        self.declaration = declaration
        self.ended = ended
        self.tail = Tail()
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.because: State | None = None
        self.excess = ""  # why it is ended by force
        self.timers: list[Timer] = []
        self.exit: ExitWatch | None = None


class ShellCommands:
    """An `Executor` for shell commands. On the inbox's thread.

    Args:
        root: where commands run that name no directory.
        most: how many at once.
        most_bytes: one that holds more memory, with all that it has started, is ended by force; None for none.
    """

    def __init__(self, inbox: Inbox, root: Path, most: int, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._weighing: Timer | None = None
        self._inbox = inbox
        self._root = root
        self._most = most
        self._commands: dict[int, _Command] = {}
        self._done: Callable[[], None] | None = None

    def room(self) -> Mapping[str, int]:
        """See `Executor`."""
        return {"shell": self._most - len(self._commands)}

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """See `Executor`."""
        details = declaration.details_table
        directory = directory_of(self._root, details)
        environ = {
            **os.environ,
            **{str(name): str(value) for name, value in details.get("env", {}).items()},
            "DUCK_SCHEDULED_FOR": run.planned.isoformat().replace("+00:00", "Z"),
            "DUCK_ATTEMPT": str(run.attempt),
            "DUCK_MISSED": str(run.missed),
            "DUCK_KEY": run.key,
            # A longer one the system refuses, and with it the command (execve(2), E2BIG).
            "DUCK_EVENT": run.event if len(run.event) <= _MAX_EVENT else "",
        }
        lifeline = Lifeline()
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", declaration.target],
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=[lifeline.descriptor],
            )
        except OSError as error:
            lifeline.untied()
            reason = f"it cannot be started in {directory}: {error.strerror}"
            self._inbox.post(lambda: ended(Ended(State.FAILED, reason)))
            return
        lifeline.tie(process.pid)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        command = _Command(process, lifeline, declaration, ended)
        self._commands[run.id] = command
        self._inbox.watch(process.stdout.fileno(), lambda: self._read(command))
        command.exit = ExitWatch(self._inbox, process.pid, process, partial(self._exited, run.id))
        if self._weighing is None and self._most_bytes is not None:
            self._weighing = self._inbox.call_later(WEIGH_S, self._weigh)
        if declaration.timeout_s is not None:
            command.timers.append(
                self._inbox.call_later(declaration.timeout_s, partial(self._interrupt, run.id, State.TIMED_OUT))
            )

    def printed(self) -> Mapping[int, Printed]:
        """See `Executor`."""
        return news({run_id: command.tail for run_id, command in self._commands.items()})

    def cancel(self, run_id: int) -> None:
        """See `Executor`."""
        self._interrupt(run_id, State.CANCELLED)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """See `Executor`."""
        self._done = done
        self._inbox.call_later(deadline_s, self.kill)
        self._inbox.post(self._check_stopped)

    def kill(self) -> None:
        """See `Executor`."""
        for command in self._commands.values():
            command.because = command.because or State.CANCELLED
        self._end_by_force(self._commands.values())

    def _weigh(self) -> None:
        """End what holds too much, while anything runs."""
        self._weighing = self._inbox.call_later(WEIGH_S, self._weigh) if self._commands else None
        commands = {command.process.pid: command for command in self._commands.values()}
        for pid, why in excesses(commands, self._most_bytes or 0).items():
            commands[pid].excess = why
            self._end_by_force([commands[pid]])

    def _interrupt(self, run_id: int, because: State) -> None:
        command = self._commands.get(run_id)
        if command is None or command.because is not None:
            return
        command.because = because
        self._signal(command, signal.SIGTERM)
        command.timers.append(
            self._inbox.call_later(command.declaration.grace_s, lambda: self._end_by_force([command]))
        )

    def _end_by_force(self, commands: Collection[_Command]) -> None:
        """Each with its group, and with what it has started that has left the group."""
        found = trees([command.process.pid for command in commands if command.process.returncode is None])
        for command in commands:
            self._signal(command, signal.SIGKILL)
        for tree in found.values():
            kill_all(tree[1:])

    def _signal(self, command: _Command, number: signal.Signals) -> None:
        if command.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(command.process.pid, number)

    def _read(self, command: _Command) -> None:
        """Take what was printed, or the end of it."""
        assert command.process.stdout is not None
        for _ in range(_MOST_READS):
            try:
                data = os.read(command.process.stdout.fileno(), _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._inbox.unwatch(command.process.stdout.fileno())
                return
            command.tail.add(command.decoder.decode(data))

    def _exited(self, run_id: int) -> None:
        command = self._commands.pop(run_id, None)
        if command is None:
            return
        # What it started ends with it; until it is reaped, its number cannot be another group's.
        self._signal(command, signal.SIGKILL)
        assert command.exit is not None and command.process.stdout is not None
        code = command.exit.reap()
        command.lifeline.close()
        self._read(command)
        self._inbox.unwatch(command.process.stdout.fileno())
        command.process.stdout.close()
        for timer in command.timers:
            timer.cancel()
        state, reason = State.FAILED, ""
        if code == 0:
            state = State.SUCCEEDED
        elif command.excess:
            reason = command.excess
        elif command.because is not None:
            state = command.because
            reason = f"not ended within {command.declaration.timeout_s:g} s" if state is State.TIMED_OUT else ""
        else:
            reason = f"exit code {code}" if code > 0 else exit_sentence("it", code).rstrip(".")
        ended = Ended(state, reason, code, str(command.tail), printed=command.tail.count)
        command.ended(ended)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if not self._commands and self._done is not None:
            done, self._done = self._done, None
            done()
