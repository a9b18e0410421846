"""Runs of automations in a Celery worker: each attempt is begun once, says that it goes on, and how it ended.

    message ──begin──> running ──beats, each two seconds──> ended
       │                 └──a retry of Celery's own──> waiting ──begin──> running
       └──begun already, given up, or cancelled: ignored

The application `duck.automation.django` loads this in workers of a project that has it. A task of the project's is
carried out as what it is, under its own name behind `duck:`; a worker that has not loaded this knows no such task, and
leaves it alone, so that nothing is carried out unwatched. Everything else is carried out by the task `duck.automation`.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import current_app, shared_task
from celery.exceptions import Ignore, Retry, SoftTimeLimitExceeded

from duck.backend.django.worker.failure import message_of, text_of
from duck.backend.django.worker.job import SharedStream, carry_out, current_run
from duck.backend.django.worker.outside import Failed, ask_url, run_shell

from .django.executions import Executions, Key

logger = logging.getLogger("duck.automations")

# What tells a run's message from others; in its headers.
HEADER = "duck_run"
TASK = "duck.automation"
PREFIX = "duck:"
BEAT_S = 2.0
OUTPUT_CHARACTERS = 16_384
_MOST_UNSAID = 1000
_MOST_TOLD = 16


class Attempt:
    """One attempt that goes on in this process.

    Attributes:
        because: why it was asked to end: the state that it has then.
        ended: how it ended, while the database has not been told.
        printed: how many characters it has printed in all.
        told: of how many of them the database has been told.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self.key: Key = (int(told["run"]), int(told["attempt"]))
        timeout_s = told.get("timeout_s")
        self.timeout_s: float | None = timeout_s
        self.deadline = time.monotonic() + timeout_s if timeout_s is not None else None
        self.thread = threading.get_ident()
        self.is_main = threading.current_thread() is threading.main_thread()
        self.because = ""
        self.ended: tuple[str, str, str, int] | None = None
        self.facts: dict[str, Any] | None = None
        self.printed = 0
        self.told = 0
        self._output = ""
        self._is_cut = False

    def add(self, text: str) -> None:
        """It printed `text`."""
        self.printed += len(text)
        self._output += text
        if len(self._output) > 2 * OUTPUT_CHARACTERS:
            self._output = self._output[-OUTPUT_CHARACTERS:]
            self._is_cut = True

    @property
    def output(self) -> str:
        """The end of what it printed."""
        if len(self._output) <= OUTPUT_CHARACTERS and not self._is_cut:
            return self._output
        end = self._output[-OUTPUT_CHARACTERS:]
        return "[...]\n" + (end.partition("\n")[2] or end)


class Attempts:
    """Those of this process. Methods are for the threads that carry them out; one more thread beats for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Key, Attempt] = {}
        self._unsaid: dict[Key, Attempt] = {}
        self._changed = threading.Event()
        self._beater: threading.Thread | None = None

    def begin(self, attempt: Attempt, task: str, worker: str) -> bool:
        """Whether it is to be carried out here and now."""
        if attempt.key in self._open or not Executions().begin(attempt.key, task, worker):
            return False
        with self._lock:
            self._open[attempt.key] = attempt
            if self._beater is None:
                self._beater = threading.Thread(target=self._beat, name="duck-automations", daemon=True)
                self._beater.start()
        self._changed.set()
        return True

    def close(self, attempt: Attempt) -> None:
        """It is not interrupted any more; may be said again."""
        with self._lock:
            self._open.pop(attempt.key, None)

    def put_off(self, attempt: Attempt, seconds: float) -> None:
        """Celery will deliver it again."""
        try:
            Executions().wait(attempt.key, seconds)
        except Exception as error:
            logger.error("That the run %d is put off could not be kept: %s", attempt.key[0], error)

    def end(self, attempt: Attempt, state: str, reason: str) -> None:
        """It ended so; where the database is away, it is told later."""
        ended = (state, reason, attempt.output, attempt.printed)
        try:
            Executions().end(attempt.key, *ended)
        except Exception as error:
            logger.warning("How the run %d ended is kept until the database can be told: %s", attempt.key[0], error)
            attempt.ended = ended
            with self._lock:
                if len(self._unsaid) < _MOST_UNSAID:
                    self._unsaid[attempt.key] = attempt

    # -- the thread that beats --------------------------------------------------------------------------------------

    def _beat(self) -> None:
        from django.db import connections

        beaten = 0.0
        while True:
            with self._lock:
                attempts = [*self._open.values(), *self._unsaid.values()]
                if not attempts:
                    self._beater = None
                    break
            now = time.monotonic()
            try:
                if now >= beaten + BEAT_S:
                    beaten = now
                    self._say(attempts)
                for attempt in attempts:
                    if attempt.deadline is not None and now >= attempt.deadline:
                        self._interrupt(attempt, "timed out")
            except Exception:  # a worker whose runs nobody hears of any more would lose them all
                logger.exception("That runs of automations go on could not be said.")
            deadlines = [each.deadline for each in attempts if each.deadline is not None and not each.because]
            self._changed.wait(max(0.0, min([beaten + BEAT_S, *deadlines]) - time.monotonic()))
            self._changed.clear()
        connections.close_all()

    def _say(self, attempts: list[Attempt]) -> None:
        from django.db import connections

        executions = Executions()
        try:
            for attempt in attempts:
                if attempt.ended is not None:
                    executions.end(attempt.key, *attempt.ended)
                    with self._lock:
                        self._unsaid.pop(attempt.key, None)
            going_on = [attempt for attempt in attempts if attempt.ended is None]
            ends = executions.beat([attempt.key for attempt in going_on])
            # Floods last: of few at a time, and of each once in a while, so that the database has others' work to do.
            for attempt in sorted((each for each in going_on if each.printed != each.told), key=_told)[:_MOST_TOLD]:
                attempt.told = attempt.printed
                executions.print(attempt.key, attempt.output, attempt.told)
        except Exception as error:
            logger.warning("The database cannot be told that runs go on: %s", error)
            connections.close_all()
            return
        for attempt in going_on:
            if attempt.key in ends:
                self._interrupt(attempt, "cancelled")

    def _interrupt(self, attempt: Attempt, because: str) -> None:
        """Raise SoftTimeLimitExceeded in its thread, as Celery's own soft limit does."""
        with self._lock:
            if attempt.because or self._open.get(attempt.key) is not attempt:
                return
            attempt.because = because
            handler = signal.getsignal(signal.SIGUSR1) if hasattr(signal, "SIGUSR1") else None
            if attempt.is_main and getattr(handler, "__name__", "") == "soft_timeout_sighandler":
                os.kill(os.getpid(), signal.SIGUSR1)  # a process of a prefork pool: what waits in the system hears it
            else:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(attempt.thread), ctypes.py_object(SoftTimeLimitExceeded)
                )


def _told(attempt: Attempt) -> int:
    return attempt.told


attempts = Attempts()


def carried(task: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` of `task`, with what goes before and after it."""

    @functools.wraps(run)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        told = task.request.get(HEADER)
        if not isinstance(told, dict):
            return run(*args, **kwargs)
        attempt = Attempt(told)
        if not attempts.begin(attempt, str(task.request.id), str(task.request.hostname)):
            logger.info("%s[%s] was begun before, or is not wanted any more: ignored.", task.name, task.request.id)
            raise Ignore
        try:
            try:
                with _Printing(attempt):
                    result = run(*args, **kwargs)
            finally:
                attempts.close(attempt)
        except Retry as again:
            attempts.put_off(attempt, _seconds(again))
            raise
        except Ignore:
            attempts.end(attempt, "succeeded", "")
            raise
        except BaseException as error:
            attempts.close(attempt)
            if isinstance(error, RunFailed):
                _end(attempt, str(error))
            else:
                attempt.add(text_of(error))
                _end(attempt, message_of(error))
            raise
        attempts.end(attempt, "succeeded", str(result or "") if task.name == TASK else "")
        return result

    return wrapper


def _end(attempt: Attempt, reason: str) -> None:
    """It did not succeed."""
    state = "failed"
    if attempt.because:
        state, reason = attempt.because, ""
        if state == "timed out":
            reason = f"not ended within {attempt.timeout_s:g} s"
    attempts.end(attempt, state, reason)


def _seconds(again: Retry) -> float:
    when = again.when
    if when is None:
        return 0.0
    if isinstance(when, (int, float)):
        return max(0.0, float(when))
    from django.utils import timezone

    moment = when if when.tzinfo is not None else timezone.make_aware(when, timezone.get_default_timezone())
    return max(0.0, (moment - timezone.now()).total_seconds())


class RunFailed(Exception):
    """A run failed; what it raised is in its output."""


@shared_task(name=TASK, bind=True)  # type: ignore[untyped-decorator]
def carry(self: Any, told: dict[str, Any]) -> str:
    """What is no task of Celery's: a call, a command, a shell command, a URL, a task of django_tasks.

    What there is to be said of how it ended.
    """
    if told["kind"] in ("shell", "url"):
        try:
            (run_shell if told["kind"] == "shell" else ask_url)(told)
        except Failed as failed:
            raise RunFailed(str(failed)) from None
        except SoftTimeLimitExceeded as error:
            # Its output is the command's, or the answer; where Duck waited for that tells nobody anything.
            raise RunFailed(message_of(error)) from None
        return ""
    facts = carry_out(told)
    if facts["state"] != "succeeded":
        if facts["traceback"]:
            sys.stdout.write(facts["traceback"])
        raise RunFailed(facts["reason"])
    return str(facts["reason"])


# -- what it printed --------------------------------------------------------------------------------------------------


class _Printing:
    """What is printed and logged within is the attempt's."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._token: contextvars.Token[Any] | None = None

    def __enter__(self) -> None:
        if not isinstance(sys.stdout, SharedStream):
            sys.stdout = SharedStream(sys.stdout)
            sys.stderr = SharedStream(sys.stderr)
        for name in ("", "celery.task", "duck.automation"):
            found = logging.getLogger(name)
            if not any(isinstance(handler, _Lines) for handler in found.handlers):
                found.addHandler(_Lines())
        logging.getLogger("duck.automation").setLevel(logging.DEBUG)
        self._token = current_run.set(self._attempt.add)

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        current_run.reset(self._token)


class _Lines(logging.Handler):
    """Gives each record once to the attempt within which it was made."""

    def emit(self, record: logging.LogRecord) -> None:
        taken = current_run.get()
        if taken is not None and not hasattr(record, HEADER):
            setattr(record, HEADER, True)
            try:
                taken(f"{record.levelname} {self.format(record)}{os.linesep}")
            except Exception:
                self.handleError(record)


# -- the project's own tasks ------------------------------------------------------------------------------------------


def watch_tasks(app: Any) -> None:
    """Have a twin of each task, by another name, that is carried out for automations; may be said again."""
    app.finalize()
    for name, task in list(app.tasks.items()):
        if name.startswith(("celery.", PREFIX)) or PREFIX + name in app.tasks:
            continue
        if name == TASK:
            if not hasattr(task, "_duck_is_watched"):
                task.run = carried(task, task.run)
                task._duck_is_watched = True
            continue
        try:
            twin = type(task)
            twin = type(twin.__name__, (twin,), {"name": PREFIX + name, "__module__": twin.__module__})
            made = app.register_task(twin())
        except Exception as error:
            logger.warning("The task %s cannot be carried out for automations: %s", name, error)
            continue
        made.run = carried(made, made.run)


def watch_fresh() -> None:
    """The same in a process that was not forked from one where it was done."""
    app = current_app._get_current_object()
    if TASK in app.tasks and hasattr(app.tasks[TASK], "_duck_is_watched"):
        return
    from celery.app.trace import build_tracer

    watch_tasks(app)
    for name, task in list(app.tasks.items()):
        if name == TASK or name.startswith(PREFIX):
            task.__trace__ = build_tracer(name, task, app.loader, app=app)
