"""The link to a store in the project's database: a process of the project's interpreter, asked one thing after another.

It is started when it is first needed, and anew, after a while, when it has ended or has not answered in time. What the
project prints there is read while an answer is waited for.

Who has more to do than to wait (`attend`) waits for seconds only, and hears when there is something to be had:

    asked ──answer──> told
      └─10 s─> late ──answer──> kept for who asks the same again, or of no use; the next are waited for longer
                 └─15 s in all─> ended, and started anew: nothing is waited for meanwhile

A store that has answered late is waited for 15 s for a while: what takes several questions would never be done else.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.handles import Handles
from duck.backend.django.store_question import LateAnswers, Question, TimedOut, understood
from duck.exceptions import ProjectError, StoreError
from duck.services.exit import exit_sentence

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.services.inbox import Inbox, Timer

START_S: Final = 60.0
# Less than the time after which others give up a node that has said nothing.
CALL_S: Final = 15.0
# So long waits who has more to do, for one answer; a run that has lasted too long is ended so much later.
PATIENCE_S: Final = 10.0
# A store that has answered late is given its time for so long since.
_SLOW_S: Final = 60.0
_FIRST_AGAIN_S: Final = 0.5
_MOST_AGAIN_S: Final = 15.0
_CLOSE_S: Final = 2.0
_MAX_BYTES: Final = 256 << 20
_READ_BYTES: Final = 1 << 18
_KEPT: Final = 2000


class StoreProcess:
    """A `StoreLink` (duck.services.automations.engines.django). For one thread.

    Args:
        call_s, start_s: an answer, and the first sign of life, come within so many seconds.
        on_output(text): what the project printed.
    """

    def __init__(
        self,
        project: Project,
        interpreter: Interpreter,
        settings: str | None,
        *,
        call_s: float = CALL_S,
        start_s: float = START_S,
        on_output: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.generation = 0
        self._project = project
        self._interpreter = interpreter
        self._settings = settings
        self._call_s = call_s
        self._start_s = start_s
        self._on_output = on_output
        self._printed = ""
        self._handles: Handles | None = None
        self._peer: socket.socket | None = None
        self._unread = bytearray()
        self._is_ready = False
        self._started = 0.0
        self._not_before = 0.0
        self._wait_s = 0.0
        self._why = ""
        self._late: Question | None = None
        self._answers = LateAnswers()
        self._patience_s: float | None = None
        self._slow_until = 0.0
        self._inbox: Inbox | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._watched: list[int] = []
        self._timer: Timer | None = None

    @property
    def pid(self) -> int | None:
        """The process, where there is one."""
        return self._handles.pid if self._handles is not None else None

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the store answers (backend/django/worker/store.py): `result`, `now` and `read`.

        Raises:
            StoreError: it refuses, has ended, or has not answered in time; in the last two cases it may have done it.
        """
        asked = json.dumps([name, arguments]).encode()
        kept = self._answers.take(asked, time.monotonic())
        if kept is not None:
            return understood(kept)
        self._bring_up()
        if self._late is not None:
            answer = self._settle(asked)
            if answer is not None:
                return understood(answer)
        now = time.monotonic()
        question = Question(name, asked, now, now + self._call_s)
        deadline = question.deadline
        if self._patience_s is not None and now >= self._slow_until:
            deadline = min(deadline, now + self._patience_s)
        try:
            answer = self._exchange(question, deadline)
        except TimedOut:
            if deadline == question.deadline:
                self._fail_late()
            self._late = question
            self._watch(question.deadline)
            raise StoreError(
                f"The project's database has not answered within {self._patience_s:g} s; it is waited for still."
            ) from None
        self._answered(question)
        return understood(answer)

    def attend(self, inbox: Inbox, on_change: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
        """Wait for `patience_s` at most from now on, for who serves `inbox` on this thread; `on_change` is called there
        when it is worth to ask again.
        """
        self._inbox, self._on_change, self._patience_s = inbox, on_change, patience_s

    def close(self) -> None:
        """End the process."""
        self._end(_CLOSE_S)

    # -- the process ----------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        """Have a process that is ready.

        Raises:
            StoreError: there is none yet, or it cannot be.
        """
        now = time.monotonic()
        if self._handles is None:
            if now < self._not_before:
                raise StoreError(self._why)
            self._spawn()
        if not self._is_ready:
            # The first one is waited for; of one that is started anew there is more to do meanwhile.
            patience_s = self._start_s if self.generation == 1 else self._call_s
            if self._patience_s is not None:
                patience_s = 0.0
            self._begin(min(now + patience_s, self._started + self._start_s))

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        manage = str(self._project.manage) if self._project.manage is not None else None
        told = {"manage": manage, "cwd": str(self._project.root), "settings": self._settings}
        try:
            self._handles = Handles.spawn(
                self._interpreter, str(self._project.root), "_DUCK_STORE", told, given={"store_fd": theirs.fileno()}
            )
        except ProjectError as error:
            ours.close()
            self._again(str(error))
            raise StoreError(str(error)) from error
        finally:
            theirs.close()
        self.generation += 1
        self._peer = ours
        self._peer.setblocking(False)
        os.set_blocking(self._handles.output, False)
        self._unread.clear()
        self._printed = ""
        self._is_ready = False
        self._started = time.monotonic()

    def _begin(self, deadline: float) -> None:
        """Wait for its first word.

        Raises:
            StoreError: it has ended, it said that it cannot, or it has said nothing yet.
        """
        try:
            answer = self._receive(deadline)
        except TimedOut:
            if time.monotonic() < self._started + self._start_s:
                self._watch(self._started + self._start_s)
                raise StoreError("The process that asks the project's database is being started.") from None
            self._fail(f"The project was not loaded for its store of automations within {self._start_s:g} s.")
        if "failed" in answer:
            self._fail(f"The project cannot be loaded for its store of automations: {answer['failed']}.")
        self._unwatch()
        self._is_ready = True

    def _settle(self, asked: bytes) -> dict[str, Any] | None:
        """Have the answer to what was asked before, without waiting; it is returned to who asks the same.

        Raises:
            StoreError: it is not there yet, or will not come.
        """
        late = self._late
        assert late is not None
        try:
            answer = self._exchange(late, 0.0)
        except TimedOut:
            if time.monotonic() >= late.deadline:
                self._fail_late()
            self._watch(late.deadline)
            raise StoreError("The project's database has not answered yet.") from None
        self._late = None
        self._unwatch()
        self._answered(late)
        if late.asked == asked:
            return answer
        self._answers.keep(late, answer, time.monotonic())
        return None

    def _answered(self, question: Question) -> None:
        """It works; whether it is slow at that."""
        self._wait_s = 0.0
        now = time.monotonic()
        if self._patience_s is not None and now - question.since > self._patience_s:
            self._slow_until = now + _SLOW_S

    # -- while it is not waited for ---------------------------------------------------------------------------------

    def _watch(self, deadline: float) -> None:
        """Hear when an answer begins to come, and when it is too late for one; what is printed meanwhile is taken."""
        self._unwatch()
        if self._inbox is None or self._peer is None or self._handles is None:
            return
        handles = self._handles
        self._watched = [self._peer.fileno(), handles.output]
        self._inbox.watch(self._watched[0], self._changed)
        self._inbox.watch(self._watched[1], lambda: self._printing(handles))
        self._timer = self._inbox.call_later(max(0.0, deadline - time.monotonic()), self._changed)

    def _printing(self, handles: Handles) -> None:
        if not self._drain(handles) and self._inbox is not None:
            self._inbox.unwatch(handles.output)  # its end, which the peer tells of as well

    def _changed(self) -> None:
        self._unwatch()
        self._on_change()

    def _unwatch(self) -> None:
        if self._inbox is not None:
            for descriptor in self._watched:
                self._inbox.unwatch(descriptor)
        self._watched = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail_late(self) -> None:
        """It does not answer.

        Raises:
            StoreError: always.
        """
        self._fail(f"The project's database has not answered within {self._call_s:g} s.")

    def _fail(self, why: str) -> None:
        """It is of no more use.

        Raises:
            StoreError: always, with `why`.
        """
        self._end(0.0)
        self._again(why)
        raise StoreError(why)

    def _again(self, why: str) -> None:
        self._why = why
        self._wait_s = min(max(2 * self._wait_s, _FIRST_AGAIN_S), _MOST_AGAIN_S)
        self._not_before = time.monotonic() + self._wait_s
        if self._inbox is not None:
            self._timer = self._inbox.call_later(self._wait_s, self._changed)

    def _end(self, patience_s: float) -> int:
        """End the process within so many seconds, by force after that; its exit code."""
        self._unwatch()
        self._late = None
        handles, peer = self._handles, self._peer
        self._handles = self._peer = None
        if handles is None or peer is None:
            return 0
        assert handles.process is not None
        peer.close()
        deadline = time.monotonic() + patience_s
        while handles.process.poll() is None and time.monotonic() < deadline:
            self._drain(handles)
            time.sleep(0.01)
        if handles.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(handles.pid, signal.SIGKILL)
        code = handles.process.wait()
        self._drain(handles)
        handles.control.close()
        for descriptor in (handles.lifeline, handles.output, handles.stack):
            os.close(descriptor)
        return code

    # -- bytes ----------------------------------------------------------------------------------------------------

    def _exchange(self, question: Question, deadline: float) -> dict[str, Any]:
        """Send what is still to be sent of it, and receive the answer.

        Raises:
            TimedOut: not by then; it may be gone on with.
            StoreError: the process has ended.
        """
        assert self._peer is not None
        while question.left:
            try:
                question.left = question.left[self._peer.send(question.left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError:
                self._gone()
        return self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        """The next message.

        Raises:
            TimedOut: not in time.
            StoreError: it has ended.
        """
        assert self._peer is not None
        while True:
            if len(self._unread) >= 4:
                (size,) = struct.unpack_from("!I", self._unread)
                if size > _MAX_BYTES:
                    self._fail("The process that asks the project's database says what is no message.")
                if len(self._unread) >= 4 + size:
                    message = json.loads(self._unread[4 : 4 + size])
                    del self._unread[: 4 + size]
                    assert isinstance(message, dict)
                    return message
            try:
                data = self._peer.recv(_READ_BYTES)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            except OSError:
                data = b""
            if not data:
                self._gone()
            self._unread += data

    def _wait(self, event: int, deadline: float) -> None:
        """Until the peer can be read or written; what is printed meanwhile is taken, so that nobody waits for that.

        Raises:
            TimedOut: not by then.
        """
        assert self._peer is not None and self._handles is not None
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimedOut
        poll = select.poll()
        poll.register(self._peer, event)
        poll.register(self._handles.output, select.POLLIN)
        for descriptor, events in poll.poll(left_s * 1000):
            if descriptor == self._handles.output and not self._drain(self._handles) and events & select.POLLHUP:
                # Nobody holds its other end: the peer will tell of the process's end.
                poll.unregister(self._handles.output)
                poll.poll(max(0.0, deadline - time.monotonic()) * 1000)

    def _drain(self, handles: Handles) -> bool:
        """Take what was printed, as far as it has come; whether there was something."""
        try:
            data = os.read(handles.output, _READ_BYTES)
        except OSError:
            return False
        text = data.decode("utf-8", "replace")
        self._printed = (self._printed + text)[-_KEPT:]
        if text:
            self._on_output(text)
        return bool(text)

    def _gone(self) -> None:
        """The process has ended.

        Raises:
            StoreError: always.
        """
        code = self._end(_CLOSE_S)
        lines = self._printed.split("\n")
        line = next((line for line in reversed(lines) if line.strip()), "")
        last = f" It printed last: {line.strip()}" if line else ""
        why = exit_sentence("The process that asks the project's database", code) + last
        self._again(why)
        raise StoreError(why)
