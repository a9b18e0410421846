"""The WSGI side of the link: threads that each serve one slot at a time. Hot code.

    thread:  take -> serve its slot (see slot) -> take

A thread that waits, waits for a connection that asks (see slots) or in `recv`; a request that has been taken is never
queued behind another.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type, Union

from ....wire.link import LinkError
from .environ import Environ, Environs, FileWrapper
from .link_end import FrontGone
from .slot import Slot
from .slots import Slots, backlog

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Address = Union[str, List[Any]]


class WSGIServer:
    """Serves `application` on a listening socket with a fixed number of threads.

    `find(name)` gives the absolute path of a static file or None; `is_quick(result)` says whether `result.close()` is
    known to do no work of the project's; `slot_class` may tell more than answers.
    """

    def __init__(
        self,
        listener: socket.socket,
        application: Application,
        *,
        threads: int,
        secret: str = "",
        find: Optional[Callable[[str], Optional[bytes]]] = None,
        is_quick: Optional[Callable[[Any], bool]] = None,
        slot_class: Type[Slot] = Slot,
    ) -> None:
        self.application = application
        self.find = find
        self.is_quick: Callable[[Any], bool] = is_quick or (lambda result: False)
        self.stopping = False
        self.views_us = 0  # CPU time of all views; without a lock: what is lost now and then does no harm
        self.environs = Environs(base_environ())
        self._taking = Slots(listener, threads, secret)
        self._count = threads
        self._slot_class = slot_class
        self._slots: "set[Slot]" = set()

    def start(self) -> None:
        """Start the threads: daemons, so that a view that hangs cannot keep the process from its end."""
        self._taking.start()
        for number in range(1, self._count + 1):
            threading.Thread(target=self._work, name=f"duck-django-{number}", daemon=True).start()

    def vitals(self, view_deadline_s: float) -> Dict[str, Any]:
        """How this process is; a view that sent nothing for `view_deadline_s` seconds (0: for ever) is told of once."""
        now = time.monotonic()
        slots = tuple(self._slots)
        ages = [now - slot.began for slot in slots if slot.busy]
        told: Dict[str, Any] = {
            "requests": self._taking.requests + sum(slot.requests for slot in slots),
            "busy": len(ages),
            "oldest_view_s": round(max(ages), 3) if ages else 0.0,
            "threads": self._count,
        }
        stuck = [slot.describe(now) for slot in slots if view_deadline_s and slot.is_stuck(now - view_deadline_s)]
        if stuck:
            told["stuck"] = stuck
        return told

    def stop(self, deadline_s: float, abandon: Callable[[], bool] = lambda: False) -> bool:
        """Take no more, finish what runs; whether all was finished in `deadline_s` seconds.

        `abandon` is asked meanwhile whether to give up at once.
        """
        self.stopping = True
        self._taking.close()
        for slot in tuple(self._slots):
            slot.refuse_more()
        deadline = time.monotonic() + deadline_s
        # Polled, so that the hot path needs no lock; a stop may take some milliseconds. Idle is believed at the second
        # look: a request that was just read is marked an instant later.
        idle_looks = 0
        while idle_looks < 2:
            idle_looks = 0 if any(slot.busy for slot in tuple(self._slots)) else idle_looks + 1
            if idle_looks == 0 and (time.monotonic() > deadline or abandon()):
                return False
            time.sleep(0.01)
        return True

    def _work(self) -> None:
        while True:
            grant = self._taking.take()
            if grant is None:
                return
            slot = self._slot_class(self, grant)
            self._slots.add(slot)
            try:
                with grant.connection:
                    slot.serve()
            except (FrontGone, OSError):
                pass
            except LinkError as error:
                sys.stderr.write(f"Duck's front sent what is no request: {error}\n")
            finally:
                self._slots.discard(slot)
                self._taking.gave_back(grant)


def base_environ() -> Environ:
    """What every request's environ has."""
    return {
        "SERVER_SOFTWARE": "duck",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
    }


def listen(address: Address, slots: int) -> Tuple[socket.socket, Address]:
    """A listening socket on a Unix path or a host and port, and the address it got; for so many slots."""
    if isinstance(address, str):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        bound: Address = address
    else:
        listener = socket.create_server((address[0], address[1]))
        bound = list(listener.getsockname()[:2])
    listener.listen(backlog(slots))
    return listener, bound
