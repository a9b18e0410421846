"""Signals of Django that automations wait for: connected in each process of the project, where any do.

What nodes wait for stands in a file of theirs (`event_file.Wanted`), which is looked at when a process begins, and with
each question of the App how it is; so where nothing waits for a signal nothing is connected, and no request pays.

An event is kept once the transaction that it happened in is committed, so that the run sees the row.
"""

from __future__ import annotations

import contextvars
import datetime
import decimal
import enum
import sys
import threading
import uuid
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from .event_file import Wanted, put

if TYPE_CHECKING:
    from .control import Control

_MAX_TEXT = 1000
_MAX_ITEMS = 100
# What Django's signals carry, and is no news.
_LEFT_OUT = ("signal", "sender", "instance", "request", "model", "reverse", "apps", "plan", "stdout")

# The automations whose runs have led to what this thread or task does, the latest last.
chain: "contextvars.ContextVar[Tuple[str, ...]]" = contextvars.ContextVar("chain", default=())


class Signals:
    """Those of this process; for any thread.

    Attributes:
        whole: as `chain`, of all threads of this process: where it carries one run out at a time.
    """

    def __init__(self, directory: str) -> None:
        self.whole: Tuple[str, ...] = ()
        self._directory = directory
        self._wanted = Wanted(directory)
        self._connected: Dict[Tuple[str, str], Tuple[Any, Any, Callable[..., None]]] = {}
        self._lock = threading.Lock()
        self._said = ""

    def look(self) -> None:
        """Connect what is waited for since, disconnect what is not any more; raises nothing."""
        try:
            self._look()
        except Exception as error:
            self._say(f"Which signals automations wait for cannot be told: {type(error).__name__}: {error}")

    def _look(self) -> None:
        with self._lock:
            if not self._wanted.look():
                return
            wanted = {
                (str(each["name"]), str(each.get("sender", "")))
                for each in self._wanted.events
                if each.get("event") == "signal" and "name" in each
            }
            for key in [key for key in self._connected if key not in wanted]:
                signal, sender, receiver = self._connected.pop(key)
                signal.disconnect(receiver, sender=sender)
            for name, label in sorted(wanted - set(self._connected)):
                try:
                    self._connect(name, label)
                except Exception as error:
                    of = f" of {label}" if label else ""
                    self._say(f"An automation waits for the signal {name}{of}, which cannot be connected: {error}")

    def _connect(self, name: str, label: str) -> None:
        signal, sender = find_signal(name, label)
        receiver = partial(self._received, name, label)
        signal.connect(receiver, sender=sender, weak=False)
        self._connected[name, label] = (signal, sender, receiver)

    def _received(self, name: str, label: str, sender: Any = None, **more: Any) -> None:
        """What was sent goes on, whatever becomes of the event."""
        try:
            by = self.whole or chain.get()
            told = {"signal": name, **describe(sender, more)}
            if by:
                told["by"] = list(by)
            details = {"name": name, "sender": label} if label else {"name": name}
            _when_committed(more.get("using"), partial(self._keep, details, told))
        except Exception as error:
            self._say(f"The signal {name} is not told to automations: {type(error).__name__}: {error}")

    def _keep(self, details: Dict[str, str], told: Dict[str, Any]) -> None:
        try:
            put(self._directory, "signal", details, told)
            self._said = ""
        except OSError as error:
            self._say(f"The signal {details['name']} is not told to automations: {error}")

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            stream = sys.__stderr__ or sys.stderr
            stream.write(f"{sentence}\n")
            stream.flush()


def follow(directory: str, control: Control) -> Optional[Signals]:
    """Have this process tell of signals, now and whenever others are wanted; None where it is not to."""
    if not directory:
        return None
    signals = Signals(directory)
    signals.look()
    control.on_look = signals.look
    return signals


def find_signal(name: str, label: str) -> Tuple[Any, Any]:
    """The signal of that dotted name, and the sender that a declaration names; None for any.

    Raises:
        LookupError, ImportError: one of them is not there.
    """
    module, _, attribute = name.replace(":", ".").rpartition(".")
    signal = getattr(import_module(module), attribute, None)
    if not callable(getattr(signal, "connect", None)):
        raise LookupError(f"{module} has no signal {attribute}")
    return signal, find_sender(label) if label else None


def find_sender(label: str) -> Any:
    """The model `app.Model`, or else what is named by a dotted name.

    Raises:
        LookupError: there is none.
    """
    from django.apps import apps

    if label.count(".") == 1:
        try:
            return apps.get_model(label)
        except LookupError:
            pass
    module, _, attribute = label.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        raise LookupError(f"there is no model and no class {label}; give one such as shop.Order") from None


def describe(sender: Any, more: Dict[str, Any]) -> Dict[str, Any]:
    """What an automation is told: plain values alone, and of objects which they are."""
    told: Dict[str, Any] = {"sender": _named(sender)}
    instance = more.get("instance")
    if instance is not None:
        told["model"] = _named(type(instance))
        told["pk"] = plain(getattr(instance, "pk", None))
    for key, value in more.items():
        if key not in _LEFT_OUT:
            told[key] = plain(value)
    return told


def _named(of: Any) -> Optional[str]:
    """`shop.Order` for a model, the dotted name for another class."""
    if of is None:
        return None
    meta = getattr(of, "_meta", None)
    if meta is not None and hasattr(meta, "label"):
        return str(meta.label)
    if isinstance(of, type):
        return f"{of.__module__}.{of.__qualname__}"
    return str(of)[:_MAX_TEXT]


def plain(value: Any, depth: int = 0) -> Any:
    """`value` as JSON can carry it, bounded; of what it cannot, the name of its type, of models their key, too."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth)
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return str(value)[:_MAX_TEXT]
    if isinstance(value, (uuid.UUID, decimal.Decimal, datetime.date, datetime.time)):
        return str(value)
    if depth < 2:
        if isinstance(value, dict):
            items = list(value.items())[:_MAX_ITEMS]
            return {str(key)[:_MAX_TEXT]: plain(each, depth + 1) for key, each in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            found: List[Any] = [plain(each, depth + 1) for each in list(value)[:_MAX_ITEMS]]
            return sorted(found, key=str) if isinstance(value, (set, frozenset)) else found
    if hasattr(value, "_meta") and not isinstance(value, type):
        return {"model": _named(type(value)), "pk": plain(getattr(value, "pk", None), depth + 1)}
    return _named(value if isinstance(value, type) else type(value))


def _when_committed(using: Any, keep: Callable[[], None]) -> None:
    from django.db import connections, transaction

    alias = using if isinstance(using, str) and using in connections else "default"
    try:
        connection = transaction.get_connection(alias)
        is_within = connection.connection is not None and connection.in_atomic_block
    except Exception:
        is_within = False  # there is no database
    if is_within:
        transaction.on_commit(keep, using=alias, robust=True)
    else:
        keep()
