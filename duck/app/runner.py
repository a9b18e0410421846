"""Runner: one run of an App, from its checks to its exit status, and the signals meanwhile."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from duck import logs
from duck.app import dispatcher_process, front_worker
from duck.app.inheritance import let_signals_in
from duck.settings import views

if TYPE_CHECKING:
    from duck.app.app import App


class Runner:
    """Runs `app`: on the caller's thread until it ends, or, with `disable_ipc_handler`, on a thread of its own."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._previous_handlers: dict[int, Any] = {}
        self._thread: threading.Thread | None = None

    def run(self, *, with_banner: bool) -> int:
        """The exit status: 0, or 128 and the number of the signal that ended it.

        Raises:
            DuckError: what kept it from starting; nothing stays open.
        """
        app = self._app
        if not logging.getLogger("duck").handlers:
            view = views.logs(app.settings)
            logs.configure(view.level, view.format)
        if front_worker.is_front_worker():
            app.set_process_name()
            return front_worker.serve(app, app.settings)
        if dispatcher_process.is_dispatcher():
            name_process("duck-automations")
            return dispatcher_process.serve(app.settings)
        try:
            if not app.no_checks:
                app.run_checks()
            app.set_process_name()
            app.lifecycle.prepare()
        except BaseException:
            app.lifecycle.abandon()
            app._forget()
            raise
        if app.disable_ipc_handler:
            return self._run_in_thread(with_banner)
        app.register_signals()
        try:
            app.lifecycle.start(with_banner=with_banner)
            app.handle_ipc_messages()
        except BaseException:
            app.lifecycle.abandon()
            raise
        finally:
            self._give_signals_back()
            app._forget()
        return app.lifecycle.finish()

    def take_signals(self, handler: Callable[[int, FrameType | None], None]) -> None:
        """Have `handler` called for SIGINT and SIGTERM, and for SIGHUP unless it is ignored, as `nohup` does."""
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._previous_handlers[number] = signal.signal(number, handler)
        let_signals_in()

    def _run_in_thread(self, with_banner: bool) -> int:
        """Serve on a thread that also spawns: the kernel ends a child with the thread that made it."""
        app = self._app
        started = threading.Event()
        failure: list[BaseException] = []

        def serve() -> None:
            try:
                app.lifecycle.start(with_banner=with_banner)
            except BaseException as error:
                failure.append(error)
                app.lifecycle.abandon()
                app._forget()
                return
            finally:
                started.set()
            try:
                app.handle_ipc_messages()
            finally:
                self._give_signals_back()
                app._forget()
                app.lifecycle.finish()

        self._thread = threading.Thread(target=serve, name="duck-app", daemon=True)
        self._thread.start()
        started.wait()
        if failure:
            self._thread.join()
            raise failure[0]
        app.register_signals()
        return 0

    def join(self, timeout_s: float) -> None:
        """Wait until what ran on a thread of its own is over, its settings forgotten included; on that one, at once."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _give_signals_back(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous_handlers.items():
                signal.signal(number, handler)
            self._previous_handlers.clear()


def name_process(name: str) -> None:
    """Show `name` as that of this process, where the system can (Linux: its first 15 bytes)."""
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return
    try:
        import ctypes

        pr_set_name = 15
        ctypes.CDLL(None).prctl(pr_set_name, name.encode()[:15], 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # a name is only for the eye
