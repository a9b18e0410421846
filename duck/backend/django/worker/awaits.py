"""Where a task of an event loop stands: what it awaits, task by task, and what threads work on meanwhile.

    task ──awaits──> coroutine ──awaits──> coroutine ──awaits──> another task ... or a future that a thread will set

Which task another one waits for is nowhere said; it is known for what is awaited alone or gathered, and else looked for
in the variables of what awaits it. So a task may be missing here, or named without being to blame. Variables are
looked at by their type alone: a lazy object of Django's would ask the database who it is.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
import traceback
from types import FrameType
from typing import Any, Iterable, Iterator, List

_MAX_TASKS = 8
_MAX_MEMBERS = 64  # of a collection that is looked through for tasks
_MAX_THREADS = 16
_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBRARY = sysconfig.get_path("stdlib") + os.sep
_PACKAGES = os.sep + "site-packages" + os.sep


def stack_of_task(task: "asyncio.Task[Any]") -> str:
    """The frames of `task`, the innermost last, then those of the tasks that it seems to wait for. On its loop."""
    seen: List["asyncio.Task[Any]"] = []
    waiting = [task]
    lines: List[str] = []
    while waiting and len(seen) < _MAX_TASKS:
        one = waiting.pop(0)
        if one in seen or one.done():
            continue
        seen.append(one)
        frames = list(_frames(one.get_coro()))
        shown = _format(frame for frame in frames if not frame.f_code.co_filename.startswith(_HERE))
        if shown and len(seen) > 1:
            lines.append(f"{one.get_name()}, which it waits for, stands at:\n")
        lines += shown
        waiting += _awaited(one, frames)
    return "".join(lines)


def stacks_of_threads() -> str:
    """The frames of all other threads that work on something of the project's, the innermost last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines: List[str] = []
    count = 0
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident():
            continue
        frames = list(_outwards(frame))[::-1]
        if not any(_is_of_project(one.f_code.co_filename) for one in frames):
            continue  # it waits for work, or is Duck's own
        count += 1
        if count > _MAX_THREADS:
            break
        lines.append(f"The thread {names.get(ident, ident)} stands at:\n")
        lines += _format(frames)
    return "".join(lines)


def _frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of a coroutine, and of what it awaits."""
    while awaited is not None:
        for frame_name, next_name in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
            frame = getattr(awaited, frame_name, None)
            if frame is not None:
                yield frame
                awaited = getattr(awaited, next_name, None)
                break
        else:
            return


def _awaited(task: "asyncio.Task[Any]", frames: Iterable[FrameType]) -> List["asyncio.Task[Any]"]:
    """Tasks that `task`, which has these frames, seems to wait for."""
    waiter = getattr(task, "_fut_waiter", None)
    found: List[Any] = [waiter, *(getattr(waiter, "_children", None) or ())]
    for frame in frames:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == "TaskGroup":
                value = getattr(value, "_tasks", ())
            if type(value) in (list, tuple, set, frozenset):
                found += value if len(value) <= _MAX_MEMBERS else ()
            else:
                found.append(value)
    return [one for one in found if issubclass(type(one), asyncio.Task)]


def _outwards(frame: Any) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_of_project(path: str) -> bool:
    if path.startswith((_HERE, "<frozen ")):
        return False
    return _PACKAGES in path or not path.startswith(_LIBRARY)


def _format(frames: Iterable[FrameType]) -> List[str]:
    return traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames).format()
