"""Runs for tests: an automation called as a job process calls it, here and now, by nobody's clock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from .calling import arguments
from .context import Context


class Ran:
    """What has been run.

    Attributes:
        result: what the last try has returned.
        error: what it has raised, None where it has not.
        attempt: which try it was, from 1.
        contexts: what each try was told.
    """

    __slots__ = ("attempt", "contexts", "error", "result")

    def __init__(self) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self.attempt = 0
        self.contexts: list[Context] = []

    @property
    def succeeded(self) -> bool:
        """Whether the last try has raised nothing."""
        return self.error is None


def run(
    name: str,
    target: Callable[..., Any],
    retry: int = 0,
    *,
    scheduled_for: datetime | str | None = None,
    interval: tuple[datetime, datetime] | None = None,
    missed: int = 0,
    attempt: int = 1,
    key: str | None = None,
    event: dict[str, Any] | None = None,
    raises: bool = True,
) -> Ran:
    """Call `target` with a context of these facts, again where it fails and `retry` says so, without a wait.

    It runs in this thread, with its database connections, so that a test's transaction is seen. Timeouts and overlaps
    are not looked at.

    Args:
        scheduled_for: the planned time, by default now; ISO 8601, in UTC where it names no offset.
        key: by default that of such a planned time.
        raises: raise what the last try has raised; else it is `Ran.error`.

    Raises:
        Exception: see `raises`.
        RuntimeError: it is a coroutine function, and a loop runs in this thread already.
    """
    planned = _moment(scheduled_for)
    ran = Ran()
    for number in range(attempt, max(attempt, retry + 1) + 1):
        context = Context(
            name,
            planned,
            interval=interval,
            missed=missed,
            attempt=number,
            key=key if key is not None else f"{name}:{planned.isoformat().replace('+00:00', 'Z')}",
            event=event,
        )
        ran.contexts.append(context)
        ran.attempt = number
        try:
            ran.result, ran.error = _call(target, context), None
        except Exception as error:
            ran.error = error
            continue
        break
    if ran.error is not None and raises:
        raise ran.error
    return ran


def _call(target: Callable[..., Any], context: Context) -> Any:
    given = arguments(target, context)
    if inspect.iscoroutinefunction(inspect.unwrap(target)):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return _on_a_loop(target, given)
        raise RuntimeError(f"{context.name} is a coroutine function and a loop runs here: await it with a Context")
    result = target(*given)
    if inspect.iscoroutine(result):  # of an `Automation`

        async def awaited() -> Any:
            return await result

        return _on_a_loop(awaited, [])
    return result


def _on_a_loop(target: Callable[..., Any], given: list[Any]) -> Any:
    """Run to its end; what it does in threads is done in this one where Django's library for that is there."""
    try:
        async_to_sync = import_module("asgiref.sync").async_to_sync
    except ImportError:
        return asyncio.run(target(*given))
    return async_to_sync(target)(*given)


def _moment(said: datetime | str | None) -> datetime:
    if said is None:
        return datetime.now(timezone.utc).replace(microsecond=0)
    moment = datetime.fromisoformat(said.replace("Z", "+00:00")) if isinstance(said, str) else said
    return moment.astimezone(timezone.utc) if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
