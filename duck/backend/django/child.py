"""One Django process, as the App sees it: spawned, listened to, stopped, and gone.

    starting ──ready──> ready ──stop──> stopping ──exit──> exited
       └───────────────────┴──────exit─────────────────────^

It is spawned by exec from the App's main thread, leads its own process group, and holds one end of the control socket,
whose end of stream it takes for the App's death, and one of a pipe, at whose end the kernel kills the group.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from traceback import FrameSummary
from typing import TYPE_CHECKING, Any, ClassVar, Final

from duck.backend.django import stack
from duck.backend.django.handles import Ends, Handles, WorkerSpec
from duck.exceptions import ProjectError
from duck.services.exit import ExitWatch
from duck.services.incoming import Incoming
from duck.services.outgoing import Outgoing
from duck.services.plain_values import revived

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.django")

STARTING: Final = "starting"
READY: Final = "ready"
STOPPING: Final = "stopping"
EXITED: Final = "exited"

_STATES: Final = {state: state for state in (STARTING, READY, STOPPING, EXITED)}  # equal ones are the same

EXIT_FAILED: Final = 3  # backend.django.worker.failure: the failure has been reported

_READ_BYTES = 65_536
_MAX_LINE_BYTES = 65_536
_LAST_READS = 64  # of what it left in its output; a descendant that left its group may write on
_TERM_AFTER_S = 0.5  # after the deadline of a stop, which the process keeps by itself
_KILL_AFTER_S = 1.5
_STACK_AFTER_S = 0.25  # a signal is served at once, by a process that runs at all


class DjangoProcess:
    """One OS process. Everything is called, and calls back, on the inbox's thread.

    Attributes:
        max_message_bytes: what is longer on its control socket is no message.

    Callbacks:
        on_event(event): a message of its control socket (the contract of backend/django/worker), as a dictionary.
        on_output(text): a line of its stdout and stderr with its line end; without one while a debugger prompts, or
            where a line is longer than 64 KiB.
        on_exit(code): it is gone, and with it its group; all output was delivered before. Negative: the signal.
    """

    max_message_bytes: ClassVar[int] = 1 << 20

    def __init__(
        self,
        spec: WorkerSpec,
        handles: Handles,
        inbox: Inbox,
        on_event: Callable[[dict[str, Any]], None],
        on_output: Callable[[str], None],
        on_exit: Callable[[int], None],
        points: Mapping[str, Ends] | None = None,
    ) -> None:
        self.spec = spec
        self.state = STARTING
        self.started = handles.started
        self.ready: dict[str, Any] = {}
        self.is_debugging = False
        self._is_garbled = False
        self._inbox = inbox
        self._on_event = on_event
        self._on_output = on_output
        self._on_exit = on_exit
        self._line = b""
        self._timers: list[Timer] = []
        self._is_traceable = False
        self._asked = 0  # to refresh, the number of the last one
        self._unrefreshed: dict[int, Callable[[str], None]] = {}
        self.points: dict[str, Ends] = dict(points or {})  # for the spares that it has not left behind yet
        self.pid = handles.pid
        self._control = handles.control
        self._output = handles.output
        self._lifeline = handles.lifeline
        self._stack = handles.stack
        self._control.setblocking(False)
        self._outgoing = Outgoing(inbox, self._control)
        self._incoming = Incoming(inbox, self._control, self.max_message_bytes, self._take, self._garbled)
        os.set_blocking(self._output, False)
        os.set_blocking(self._stack, False)
        self._incoming.listen()
        inbox.watch(self._output, self._output_readable)
        self._exit = ExitWatch(inbox, self.pid, handles.process, self._exited)

    @classmethod
    def spawn(
        cls,
        spec: WorkerSpec,
        interpreter: Interpreter,
        inbox: Inbox,
        on_event: Callable[[dict[str, Any]], None],
        on_output: Callable[[str], None],
        on_exit: Callable[[int], None],
        points: Mapping[str, Ends] | None = None,
    ) -> DjangoProcess:
        """Start one, which leaves spares behind at `points`.

        Raises:
            ProjectError: the interpreter cannot be started; nobody has `points` then.
        """
        try:
            handles = Handles.spawn(
                interpreter,
                spec.cwd,
                "_DUCK_WORKER",
                asdict(spec),
                has_terminal=spec.mode == "runserver",
                points=points,
            )
        except ProjectError:
            for ends in (points or {}).values():
                ends.close()
            raise
        for ends in (points or {}).values():
            ends.close_theirs()
        return cls(spec, handles, inbox, on_event, on_output, on_exit, points)

    @classmethod
    def take_over(
        cls,
        values: Mapping[str, Any],
        inbox: Inbox,
        on_event: Callable[[dict[str, Any]], None],
        on_output: Callable[[str], None],
        on_exit: Callable[[int], None],
    ) -> DjangoProcess:
        """The process that this one had before it became a new Duck by an exec; `values` as `hand_over` gave them."""
        process = cls(
            revived(WorkerSpec, values["spec"]),
            Handles.from_values(values["handles"]),
            inbox,
            on_event,
            on_output,
            on_exit,
        )
        process.ready = values["ready"]
        process.state = _STATES[values["state"]]
        process._is_traceable = values["traceable"]
        process._line = values["line"].encode("latin-1")
        process._incoming.go_on(values["message"].encode("latin-1"))
        process._outgoing.go_on(values.get("unsent", "").encode("latin-1"))
        return process

    def hand_over(self) -> dict[str, Any]:
        """What the next Duck of this process needs; plain values, descriptors made to outlive the exec."""
        for descriptor in (self._control.fileno(), self._output, self._lifeline, self._stack):
            os.set_inheritable(descriptor, True)
        return {
            "spec": asdict(self.spec),
            "handles": {
                "pid": self.pid,
                "control": self._control.fileno(),
                "output": self._output,
                "lifeline": self._lifeline,
                "stack": self._stack,
                "started": self.started,
            },
            "ready": self.ready,
            "state": self.state,
            "traceable": self._is_traceable,
            "line": self._line.decode("latin-1"),
            "message": self._incoming.unread.decode("latin-1"),
            "unsent": self._outgoing.unsent.decode("latin-1"),
        }

    def command(self, name: str, *, descriptors: Sequence[int] = (), **facts: Any) -> bool:
        """Send a command, with `descriptors`; one that cannot take it is dying, as its exit will tell."""
        message = {"command": name, **facts}
        if descriptors:
            return self._outgoing.send_with(message, list(descriptors))
        return self._outgoing.send(message)

    def refresh(self, what: Sequence[str], done: Callable[[str], None]) -> None:
        """Have it read templates or translations again; `done` gets what was wrong, "" for nothing, unless it ends."""
        self._asked += 1
        self._unrefreshed[self._asked] = done
        self.command("refresh", what=list(what), number=self._asked)

    def stop(self, deadline_s: float) -> None:
        """End in order: take no more, finish what runs within `deadline_s` seconds; then TERM, then KILL.

        Said again, the new deadline counts when it is shorter.
        """
        if self.state is EXITED:
            return
        is_deaf = self.state is STARTING and bool(self.points)  # it has no thread yet that would listen
        self.state = STOPPING
        self.command("stop", deadline_s=deadline_s)
        if is_deaf and not self.is_debugging:
            self.kill()
        self._timers.append(self._inbox.call_later(deadline_s + _TERM_AFTER_S, self._terminate))
        self._timers.append(self._inbox.call_later(deadline_s + _KILL_AFTER_S, self.kill))

    def kill(self) -> None:
        """End the process and its group now."""
        self._signal_group(signal.SIGKILL)

    def close_points(self) -> None:
        """It leaves no more spares behind."""
        for ends in self.points.values():
            ends.close()
        self.points = {}

    def ask_stack(self, told: Callable[[list[FrameSummary]], None]) -> None:
        """Ask where its main thread stands; `told` is called soon, with no frames where it does not say."""
        if self._is_traceable and self.state is not EXITED:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, stack.SIGNAL)
        self._timers.append(self._inbox.call_later(_STACK_AFTER_S, lambda: told(self._read_stack())))

    def ask_stacks(self, told: Callable[[str], None]) -> None:
        """Ask where all of its threads stand; `told` is called soon, with no text where it does not say."""
        if self._is_traceable and self.state is not EXITED:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, stack.SIGNAL_OF_ALL)
        self._timers.append(self._inbox.call_later(_STACK_AFTER_S, lambda: told(self._read_stacks())))

    def _read_stack(self) -> list[FrameSummary]:
        return stack.parse_stack(self._read_stacks())

    def _read_stacks(self) -> str:
        try:
            return os.read(self._stack, _READ_BYTES).decode("utf-8", "replace")
        except BlockingIOError:
            return ""

    @property
    def uptime_s(self) -> float:
        """Seconds since it was spawned."""
        return time.monotonic() - self.started

    def _terminate(self) -> None:
        self._signal_group(signal.SIGTERM)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.state is EXITED:
            return  # its number may be another's by now
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    # -- control and output ---------------------------------------------------------------------------------------

    def _garbled(self) -> None:
        # The project shares the process, and may write to a descriptor that it closed before.
        if not self._is_garbled:
            self._is_garbled = True
            logger.warning("The Django process %d wrote to Duck's control socket what is no message.", self.pid)

    def _take(self, event: dict[str, Any]) -> None:
        name = event.get("event")
        if name is None:
            self._garbled()
            return
        if name in ("ready", "spare"):
            self.ready = event
            if self.state is STARTING:
                self.state = READY
        elif name == "debugger":
            self.is_debugging = bool(event.get("active"))
            if self.is_debugging and self._line:
                self._deliver_partial()
        elif name == "traceable":
            self._is_traceable = True
            return
        elif name == "refreshed":
            done = self._unrefreshed.pop(event.get("number", 0), None)
            if done is not None:
                done(str(event.get("problem", "")))
            return
        self._on_event(event)

    def _output_readable(self) -> None:
        if self.state is EXITED:
            return  # unwatched in the same turn of the inbox
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._inbox.unwatch(self._output)
            return
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._on_output(line.decode("utf-8", "replace") + "\n")
        if self._line and (self.is_debugging or len(self._line) > _MAX_LINE_BYTES):
            self._deliver_partial()

    def _deliver_partial(self) -> None:
        line, self._line = self._line, b""
        self._on_output(line.decode("utf-8", "replace"))

    # -- the exit -------------------------------------------------------------------------------------------------

    def _exited(self) -> None:
        if self.state is EXITED:
            return
        # Before the process is reaped its number, which is the group's, cannot be another's.
        self.kill()
        code = self._exit.reap()
        self._incoming.take_last()
        for _ in range(_LAST_READS):
            self._output_readable()
        if self._line:
            self._line += b"\n"
            self._deliver_partial()
        self.state = EXITED
        for timer in self._timers:
            timer.cancel()
        self._outgoing.close()
        self._incoming.close()
        self._inbox.unwatch(self._output)
        self._control.close()
        os.close(self._lifeline)
        os.close(self._output)
        os.close(self._stack)
        self.close_points()
        if isinstance(self.spec.address, str):
            for path in (self.spec.address, self.spec.address + "f"):  # "f": backend.django.worker.asgi
                with contextlib.suppress(OSError):
                    os.unlink(path)
        self._on_exit(code)
