"""One run of an automation, in the project's process: what is called, with what around it, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import io
import logging
import os
import sys
from datetime import datetime
from importlib import import_module
from typing import Any, Callable, Dict, Iterator, List, Optional

from .declared import has_django
from .failure import message_of, text_of

# Longer messages the App takes for none, and of a longer output it keeps the end.
_MOST_REASON = 2_000
_MOST_TRACEBACK = 65_536


class Cancelled(BaseException):
    """Raised into a run that is to end; no `except Exception` of the project's takes it for a failure of its own."""


# Whose output a line is, where several runs share a process.
current_run: "contextvars.ContextVar[Optional[Callable[[str], None]]]" = contextvars.ContextVar("run", default=None)


class SharedStream(io.TextIOBase):
    """Standard output of a process with several runs: each run's goes to it, the rest where it went before."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        taken = current_run.get()
        if taken is None:
            self._before.write(text)
        else:
            taken(text)
        return len(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        self._before.flush()

    def isatty(self) -> bool:
        """See `io.TextIOBase`."""
        return False

    def fileno(self) -> int:
        """See `io.TextIOBase`."""
        number: int = self._before.fileno()
        return number


def carry_out(told: Dict[str, Any]) -> Dict[str, Any]:
    """Run what a `run` command tells of, in this thread; the facts of its `ended` event."""
    with _around():
        try:
            reason = _call(told)
        except BaseException as error:
            return _failure(error)
    return {"state": "succeeded", "reason": reason, "traceback": ""}


async def carry_out_async(told: Dict[str, Any], ended: Dict[str, Any]) -> None:
    """The same for a coroutine function, on the loop of this thread; the facts are put into `ended` when it ends.

    Raises:
        CancelledError: it was cancelled when it had ended.
    """
    try:
        target = resolve(told["target"])
        await target(*_arguments(target, told), **told["details"].get("kwargs", {}))
        ended.update(state="succeeded")
    except asyncio.CancelledError:
        pass
    except BaseException as error:
        ended.update(_failure(error))
    if has_django():
        from asgiref.sync import sync_to_async
        from django.db import close_old_connections

        await sync_to_async(close_old_connections)()


def _failure(error: BaseException) -> Dict[str, Any]:
    if isinstance(error, Cancelled):
        return {"state": "cancelled", "reason": "", "traceback": ""}
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return {"state": "succeeded", "reason": "", "traceback": ""}
    try:
        if isinstance(error, SystemExit):
            reason, text = f"SystemExit: {error.code}", ""
        else:
            reason, text = message_of(error), text_of(error)
    except Exception:  # of the project's own, whose texts cannot be had
        reason, text = type(error).__name__, ""
    if len(reason) > _MOST_REASON:
        reason = f"{reason[:_MOST_REASON]} [...]"
    return {"state": "failed", "reason": reason, "traceback": text[-_MOST_TRACEBACK:]}


def _call(told: Dict[str, Any]) -> str:
    """Call it; what there is to be said of how it ended."""
    kind, target, details = told["kind"], told["target"], told["details"]
    if kind == "command":
        from django.core.management import call_command

        call_command(target, *[str(argument) for argument in details.get("args", [])])
    elif kind == "task":
        task = resolve(target)
        if not callable(getattr(task, "enqueue", None)):
            raise TypeError(f"{target} is no task: give one that is decorated with @task")
        result = task.enqueue(*details.get("args", []), **details.get("kwargs", {}))
        return f"enqueued as {getattr(result, 'id', result)}"
    elif kind == "mail":
        _mail(target, details)
    else:
        function = resolve(target)
        result = function(*_arguments(function, told), **details.get("kwargs", {}))
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise TypeError(f"{target} is a generator, which runs nothing; take out its `yield`")
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))
    return ""


def _mail(subject: str, details: Dict[str, Any]) -> None:
    """Send an alert by the project's own settings of mail."""
    from django.core.mail import mail_admins, send_mail

    addresses = [each for each in details["to"] if each != "admins"]
    if addresses:
        send_mail(subject, details["text"], None, addresses)
    if "admins" in details["to"]:
        mail_admins(subject, details["text"])


async def _awaited(result: Any) -> Any:
    return await result


def resolve(dotted: str) -> Any:
    """The object named `package.module:name` or `package.module.name`."""
    module, separator, name = dotted.partition(":")
    if not separator:
        module, _, name = dotted.rpartition(".")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, type) and callable(getattr(found, "execute", None)):
        found = found()
    return found


def _arguments(function: Any, told: Dict[str, Any]) -> List[Any]:
    from duck.automation.calling import arguments

    details = told["details"]
    return arguments(function, _context(told), details.get("args", []), details.get("kwargs", {}))


def _context(told: Dict[str, Any]) -> Any:
    from duck.automation import Context

    said = told["context"]
    interval = said.get("interval")
    return Context(
        told["automation"],
        _moment(said["scheduled_for"]),
        interval=(_moment(interval[0]), _moment(interval[1])) if interval else None,
        missed=said.get("missed", 0),
        attempt=said.get("attempt", 1),
        key=said.get("key", ""),
        event=said.get("event") or {},
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@contextlib.contextmanager
def _around() -> Iterator[None]:
    """What a request has around it: fresh database connections, the project's language and zone."""
    if not has_django():
        yield
        return
    from django.db import close_old_connections, connections
    from django.utils import timezone, translation

    close_old_connections()
    timezone.deactivate()
    translation.deactivate()
    try:
        yield
    finally:
        # One that is left within a transaction would hold its locks for as long as this thread lives.
        for connection in connections.all():
            if connection.connection is not None and connection.in_atomic_block:
                connection.close()
        close_old_connections()


def log_to_output() -> None:
    """Have `ctx.log` written where the run's output goes, whatever the project's LOGGING makes of others."""
    logger = logging.getLogger("duck.automation")
    logger.setLevel(logging.DEBUG)
    handler = _OutputHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False


class _OutputHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + os.linesep)
            sys.stdout.flush()
        except Exception:
            self.handleError(record)
