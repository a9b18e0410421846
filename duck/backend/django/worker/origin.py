"""Which modules hold what keeps this process from being copied, as far as their names lead to it.

Nobody notes who opens a descriptor, so it is looked for afterwards: from the names of each module to the objects behind
them, a few steps far. Only for a sentence: it may name none, or more than one where modules hand it on.
"""

from __future__ import annotations

import io
import select
import socket
import sys
import threading
import time
import types
from typing import Any, Callable, Dict, List, Sequence, Set

_LOOK_S = 0.1  # of each start in such a project
_ENOUGH = 2
_STEPS = 3
_MOST_ITEMS = 50
_MOST_OBJECTS = 10_000  # behind one module
_LEFT_OUT = ("_duck_worker", "__main__", *sys.stdlib_module_names)
_WITH_NUMBER = (socket.socket, select.epoll, io.FileIO, io.BufferedReader, io.BufferedWriter, io.TextIOWrapper)
# Of these a name leads nowhere, or to all there is.
_PLAIN = (
    str, bytes, int, float, bool, type(None), type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
    types.MethodType, property, staticmethod, classmethod,
)  # fmt: skip


def by_descriptor(number: int) -> List[str]:
    """Who holds an object with this descriptor."""

    def is_it(value: Any) -> bool:
        if issubclass(type(value), _WITH_NUMBER):
            return _number_of(value) == number
        # As connections of multiprocessing, and what wakes a reactor of Twisted's, keep theirs.
        held = _attributes(value)
        return any(type(held.get(name)) is int and held[name] == number for name in ("_handle", "i", "o", "fd", "_fd"))

    return _holders(is_it)


def by_semaphore() -> List[str]:
    """Who holds a lock between processes."""
    return _holders(lambda value: type(value).__name__ == "SemLock")


def by_thread(threads: Sequence[threading.Thread]) -> List[str]:
    """What the threads run."""
    found = {}
    for thread in threads:
        target = getattr(thread, "_target", None)
        name = getattr(target, "__module__", None) if target is not None else type(thread).__module__
        if name and name.partition(".")[0] not in _LEFT_OUT:
            found[name] = True
    return list(found)


def _holders(is_it: Callable[[Any], bool]) -> List[str]:
    end = time.monotonic() + _LOOK_S
    found = []
    # Those of the project have been imported last.
    for name, module in reversed(tuple(sys.modules.items())):
        # Not what is loaded when it is first looked at.
        if name.partition(".")[0] not in _LEFT_OUT and type(module) is types.ModuleType:
            if _leads(tuple(vars(module).values()), is_it, set(), _STEPS):
                found.append(name)
            if len(found) == _ENOUGH or time.monotonic() > end:
                break
    return found


def _leads(values: Sequence[Any], is_it: Callable[[Any], bool], seen: Set[int], steps: int) -> bool:
    """Whether something that is it can be reached from `values`."""
    for value in values:
        # By its type in all of this: `isinstance` would ask a lazy object of Django's for its class, and have it made.
        if issubclass(type(value), _PLAIN) or id(value) in seen or len(seen) >= _MOST_OBJECTS:
            continue
        seen.add(id(value))
        if is_it(value) or (steps and _leads(_below(value), is_it, seen, steps - 1)):
            return True
    return False


def _below(value: Any) -> Sequence[Any]:
    if type(value) is dict:
        return tuple(value.values())[:_MOST_ITEMS]
    if type(value) in (list, tuple, set, frozenset):
        return tuple(value)[:_MOST_ITEMS]
    return tuple(_attributes(value).values())


def _attributes(value: Any) -> Dict[str, Any]:
    """Those of an object itself, without asking it."""
    for kind in type(value).__mro__:
        found = kind.__dict__.get("__dict__")
        if found is not None:
            held = found.__get__(value) if type(found) is types.GetSetDescriptorType else None
            return held if type(held) is dict else {}
    return {}


def _number_of(value: Any) -> int:
    try:
        return int(value.fileno())
    except (OSError, ValueError):
        return -1
