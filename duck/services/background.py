"""Background workers: one event loop and one pool of threads for whoever has none of its own.

Duck's own requests need neither; they are for synchronous code that has to run a coroutine (a WSGI view), and for
blocking calls that must not hold up a loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """An asyncio loop on a thread of its own. For any thread."""

    def __init__(self, name: str = "duck-background") -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether `submit` would be answered."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Run the loop; nothing happens where it runs already."""
        with self._lock:
            if self.running:
                return
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._serve, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` there; its result or error is the future's."""
        loop = self._loop
        if loop is None:
            coroutine.close()
            raise RuntimeError("the background loop is not running; call start_background_workers first")
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def stop(self, deadline_s: float = 5.0) -> None:
        """Cancel what runs there, end the loop and wait for its thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(deadline_s)

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


class BackgroundWorkers:
    """The loop and the pool of one application; each is started when it is first asked for.

    Attributes:
        futures: by name, the last future submitted under it.
    """

    def __init__(self, threads: int = 8) -> None:
        self.loop = BackgroundLoop()
        self.futures: dict[str, Future[Any]] = {}
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def start_pool(self) -> None:
        """Make the pool; its threads start as they are needed."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="duck-pool")

    def submit(self, name: str, function: Callable[[], T]) -> Future[T]:
        """Run `function` on a thread of the pool, and remember its future under `name`."""
        self.start_pool()
        assert self._pool is not None
        future = self._pool.submit(function)
        self.futures[name] = future
        return future

    def stop(self, *, wait: bool = True) -> None:
        """Take no more; what has not begun is cancelled, what runs is waited for where `wait` says so."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=wait, cancel_futures=True)
        self.loop.stop()
