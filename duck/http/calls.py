"""Calling what users have written, where it can do no harm: coroutines on the loop, all else in a thread.

The loop that runs a view is the one that carries every connection of its worker, so nothing that may block runs there.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Final

VIEW_THREADS: Final = 32


@cache
def view_threads() -> ThreadPoolExecutor:
    """The threads that run users' plain functions.

    Not the loop's default executor: that one does Duck's own blocking work, for which a view may be waiting.
    """
    return ThreadPoolExecutor(VIEW_THREADS, thread_name_prefix="duck-view")


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function` called in one of `view_threads`, with the caller's context variables."""
    context = contextvars.copy_context()
    work = partial(context.run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(view_threads(), work)


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of `function`: awaited when it is a coroutine function, called in a thread when it is not."""
    if is_async(function):
        result = function(*args, **kwargs)
    else:
        result = await in_thread(function, *args, **kwargs)
    return await result if isinstance(result, Awaitable) else result


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` only makes a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


async def iterate(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    """The items of `items`, each step of a plain one in a thread; the iterator is closed at the end, early ones too."""
    if isinstance(items, AsyncIterable):
        walker = items.__aiter__()
        try:
            async for item in walker:
                yield item
        finally:
            aclose = getattr(walker, "aclose", None)
            if aclose is not None:
                await aclose()
        return
    iterator = iter(items)
    end = object()
    try:
        while (item := await in_thread(next, iterator, end)) is not end:
            yield item
    finally:
        close = getattr(iterator, "close", None) or getattr(items, "close", None)
        if close is not None:
            await in_thread(close)
