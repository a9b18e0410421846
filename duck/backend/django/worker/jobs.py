"""A job process: the project set up as for a management command, waiting for runs of automations.

    App -> process    run(run, automation, kind, target, details, context, lane)   cancel(run)   stop(deadline_s)
    process -> App    ready(declared, failed, zone, database)
                      started(run)   output(run, text)   ended(run, state, reason, traceback, left)

A process of the lane `process` carries one run out at a time, on its main thread: all that it prints is the run's.
One of the lanes `thread` and `loop` carries many.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from typing import Any, Dict, Optional, Set, Tuple

from .conditions import Conditions
from .control import Control, die_with_parent, tie_group
from .cycles import leave_alone, look_again
from .databases import default_database
from .declared import find_automations, has_django
from .failure import EXIT_FAILED, describe
from .job import Cancelled, SharedStream, carry_out, carry_out_async, current_run, log_to_output
from .job_output import JobOutput
from .launch import enter_directory, run_aside, set_up
from .left import end_left
from .problems import problems_of
from .signals import Signals, chain, follow
from .spec import Spec

VARIABLE = "_DUCK_JOBS"
_MAX_OUTPUT = 8192  # of one message
_CANCELLED = {"state": "cancelled", "reason": "", "traceback": ""}


class JobProcess:
    """This process."""

    def __init__(self, told: Dict[str, Any]) -> None:
        self.spec = Spec({**told, "address": ""})
        self._own = told["own"]
        self._is_plain = told["plain"]  # a Duck project that has no Django
        self._of_celery = told["celery"]
        self.is_shared = told["lane"] != "process"
        self.stage = "import"
        self.control = Control(self.spec.control_fd)
        self._runs: "queue.SimpleQueue[Optional[Dict[str, Any]]]" = queue.SimpleQueue()
        self._running = 0  # the run on the main thread that may be interrupted; 0 for none
        self._threads: Dict[int, threading.Thread] = {}
        self._tasks: Dict[int, Any] = {}
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._waiting: Set[int] = set()  # told, not begun, and wanted still
        self._lock = threading.Lock()
        self._signals: Optional[Signals] = None
        self._printing = JobOutput()
        self._conditions = Conditions(lambda name, is_true: self.control.send("condition", name=name, true=is_true))

    def run(self) -> int:
        """Serve until told to stop; the exit code."""
        leave_alone()
        try:
            enter_directory(self.spec)
            if self._is_plain:
                self._serve()
            else:
                run_aside(self.spec, self._serve)
        except BaseException as error:
            if self.stage != "serving":
                self.control.send("failed", **describe(error, self.stage, []))
                return EXIT_FAILED
            if not isinstance(error, (SystemExit, Cancelled)):
                raise
        return 0

    def _serve(self) -> None:
        found = self._load()
        look_again()
        if self._of_celery:
            self._carry(found)
            return
        log_to_output()
        if self.is_shared:
            sys.stdout = SharedStream(sys.stdout)
            sys.stderr = SharedStream(sys.stderr)
        else:
            signal.signal(signal.SIGTERM, self._terminated)
        self.control.on_stop = lambda deadline_s: self._runs.put(None)
        self.control.on_other = self._command
        self.stage = "serving"
        self.control.send("ready", **found)
        while True:
            told = self._runs.get()
            if told is None:
                return
            if self._signals is not None:
                self._signals.look()
            if self.is_shared:
                self._start_shared(told)
            else:
                self._run_alone(told)

    def _carry(self, found: Dict[str, Any]) -> None:
        """Have the project's Celery carry them out."""
        from .carrier import Carrier

        self.stage = "celery"
        carrier = Carrier(self.control, **self._of_celery)
        self.control.on_stop = lambda deadline_s: carrier.take(None)
        self.control.on_other = carrier.take
        self.stage = "serving"
        self.control.send("ready", **found)
        carrier.serve()

    def _load(self) -> Dict[str, Any]:
        """Load the project; the facts of the event `ready`."""
        if self._is_plain:
            self.stage = "automations"
            found = find_automations(self._own)
            return {"zone": None, "database": None, "problems": problems_of(found, self._own), **found}
        self.stage = "settings"
        set_up()
        from django.conf import settings
        from django.db import connections

        self.stage = "automations"
        found = find_automations(self._own)
        found["problems"] = problems_of(found, self._own)
        connections.close_all()
        self._signals = follow(self.spec.events, self.control)
        return {"zone": settings.TIME_ZONE if settings.USE_TZ else None, "database": default_database(), **found}

    def _command(self, command: Dict[str, Any]) -> None:
        """On the lifeline's thread."""
        if command.get("command") == "run":
            with self._lock:
                self._waiting.add(int(command["run"]))
            self._runs.put(command)
        elif command.get("command") == "cancel":
            self._cancel(int(command["run"]))
        elif command.get("command") == "ask":
            self._conditions.ask(command["conditions"], command["true"])

    def _is_wanted(self, run: int) -> bool:
        """Whether a run that begins now was not cancelled before."""
        with self._lock:
            wanted = run in self._waiting
            self._waiting.discard(run)
            return wanted

    # -- one at a time ----------------------------------------------------------------------------------------------

    def _run_alone(self, told: Dict[str, Any]) -> None:
        # The one before may have set another.
        signal.signal(signal.SIGTERM, self._terminated)
        self.control.send("started", run=told["run"])
        ended: Dict[str, Any] = dict(_CANCELLED)
        if self._signals is not None:
            self._signals.whole = chain_of(told)
        try:
            self._running = told["run"]
            if self._is_wanted(told["run"]):
                ended = carry_out(told)
            self._running = 0
        except Cancelled:
            pass
        if self._signals is not None:
            self._signals.whole = ()
        left = end_left()
        self._printing.end(told["run"])
        self.control.send("ended", run=told["run"], left=left, **ended)

    def _terminated(self, number: int, frame: Any) -> None:
        """On the main thread, between two of its instructions. A run is interrupted once, and nothing behind it is."""
        if self._running:
            self._running = 0
            raise Cancelled

    # -- many at a time ---------------------------------------------------------------------------------------------

    def _start_shared(self, told: Dict[str, Any]) -> None:
        if told["lane"] == "loop":
            self._start_on_loop(told)
        else:
            threading.Thread(target=self._see_to_thread, args=(told,), daemon=True).start()

    def _see_to_thread(self, told: Dict[str, Any]) -> None:
        """Have a run carried out in a thread of its own, and say how it ended.

        That one may be interrupted between any two of its instructions, those with which it ends too. This one is not,
        so that however it ends is told.
        """
        run = told["run"]
        self.control.send("started", run=run)
        ended: Dict[str, Any] = dict(_CANCELLED)
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run_in_thread, told, ended), daemon=True)
        with self._lock:
            self._threads[run] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no room for it
            ended.update(state="failed", reason=str(error))
        else:
            thread.join()
        with self._lock:
            self._threads.pop(run, None)
        self.control.send("ended", run=run, **ended)

    def _run_in_thread(self, told: Dict[str, Any], ended: Dict[str, Any]) -> None:
        run = told["run"]
        try:
            current_run.set(lambda text: self._output(run, text))
            chain.set(chain_of(told))
            if self._is_wanted(run):
                ended.update(carry_out(told))
            if has_django():
                from django.db import connections

                connections.close_all()
            with self._lock:
                self._threads.pop(run, None)
        except Cancelled:
            pass

    def _start_on_loop(self, told: Dict[str, Any]) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="duck-jobs-loop", daemon=True).start()
        run = told["run"]

        async def carry() -> None:
            current_run.set(lambda text: self._output(run, text))
            chain.set(chain_of(told))
            self.control.send("started", run=run)
            ended: Dict[str, Any] = dict(_CANCELLED)
            try:
                if self._is_wanted(run):
                    await carry_out_async(told, ended)
            except asyncio.CancelledError:
                pass  # while it was being closed
            with self._lock:
                self._tasks.pop(run, None)
            self.control.send("ended", run=run, **ended)

        with self._lock:  # it is not over before it is there to be cancelled
            self._tasks[run] = asyncio.run_coroutine_threadsafe(carry(), self._loop)

    def _output(self, run: int, text: str) -> None:
        for start in range(0, len(text), _MAX_OUTPUT):
            self.control.send("output", run=run, text=text[start : start + _MAX_OUTPUT])

    def _cancel(self, run: int) -> None:
        """On the lifeline's thread."""
        with self._lock:
            if run in self._waiting:
                self._waiting.discard(run)
                return
            task = self._tasks.get(run)
        if not self.is_shared:
            if self._running == run:  # else it is over, and what came after it is not meant
                os.kill(os.getpid(), signal.SIGTERM)
            return
        if task is not None:
            task.cancel()
            return
        with self._lock:
            thread = self._threads.pop(run, None)  # once: its number may be another thread's afterwards
            if thread is not None and thread.ident is not None:
                # Between two instructions of Python; what waits in the system is not reached.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled))


def chain_of(told: Dict[str, Any]) -> Tuple[str, ...]:
    """The automations whose runs have led to what this one does, itself the last: none of them is to begin again."""
    event = told["context"].get("event") or {}
    return tuple(dict.fromkeys([*map(str, event.get("by", ())), told["automation"]]))


def main() -> int:
    """Run as told by the environment; the exit code."""
    told = json.loads(os.environ.pop(VARIABLE))
    die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
    return JobProcess(told).run()
