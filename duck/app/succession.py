"""Succession: a Duck that becomes a new one by an exec, in the same process; or goes on, where that fails.

    serving ──replace──> exec ──> the new Duck: same process, same listeners, same lock, same children
       ^                   │
       └────it fails───────┘      nothing was given up before it: no connection, no child, no socket's file

The exec is tried last, from within a Duck that serves. What it needs is written down and closed to nobody until then:
everything that only this Duck has is closed by the kernel when the exec succeeds.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from duck.app import inheritance
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    import socket

    from duck.app.dispatching import Dispatching
    from duck.app.force_https import Redirect
    from duck.app.front_processes import FrontProcesses
    from duck.app.frontend import FrontEnd
    from duck.app.host import Host
    from duck.app.https import Https
    from duck.app.inheritance import Inheritance
    from duck.app.overview import Overview
    from duck.app.presence import Presence
    from duck.services.django import DjangoService

logger = logging.getLogger("duck.app")

_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.5


class Succession:
    """For the inbox's thread.

    Attributes:
        inherited: what the Duck before has left; None for a first one, and before `begin`.
        run: how many Ducks this process has been, this one included.
        failure: why this Duck was not replaced when that was last wanted, in a sentence; empty where nothing failed.
    """

    def __init__(self) -> None:
        self.inherited: Inheritance | None = None
        self.run = 1
        self.failure = ""

    def begin(self) -> None:
        """Take what the Duck before has left."""
        self.inherited = inheritance.take()
        self.run = self.inherited.run if self.inherited is not None else 1

    @property
    def has_children(self) -> bool:
        """Whether children of the Duck before go on."""
        return self.inherited is not None and self.inherited.has_children

    @property
    def lock(self) -> int | None:
        """The descriptor of the instance lock, held already."""
        return self.inherited.lock if self.inherited is not None else None

    def more(self, name: str) -> Mapping[str, Any]:
        """What the Duck before has left under `name`."""
        return self.inherited.more.get(name, {}) if self.inherited is not None else {}

    def replace(
        self,
        listeners: Sequence[socket.socket],
        presence: Presence,
        host: Host,
        fronts: FrontProcesses,
        django: DjangoService | None,
        overview: Overview,
        redirect: Redirect,
        https: Https,
        frontend: FrontEnd,
        automations: Dispatching,
    ) -> None:
        """Become a new Duck, to which all of this is handed over; returns only where that fails.

        Then everything is as before, and `failure` says why.
        """
        self.failure = ""
        handed: dict[str, Any] = {}
        try:
            handed |= {
                "fronts": fronts.hand_over(),
                "django": django.hand_over() if django is not None else None,
                "more": {
                    "overview": overview.hand_over(),
                    "redirect": {"listeners": redirect.hand_over()},
                    "https": https.hand_over(),
                    "frontend": frontend.hand_over(),
                    "automations": automations.hand_over(),
                },
            }
            inheritance.become_new(listeners, presence.fileno(), run=self.run, environ=host.hand_over(), **handed)
        except OSError as error:
            self.failure = _sentence(error)
            logger.error("%s This Duck serves on.", self.failure)
        except Exception as error:
            self.failure = f"Duck cannot be replaced: {type(error).__name__}: {error}."
            logger.exception("%s This Duck serves on.", self.failure)
        for descriptor in inheritance.descriptors_of(handed):
            os.set_inheritable(descriptor, False)

    def start_again(
        self,
        listeners: Sequence[socket.socket],
        presence: Presence,
        host: Host,
        redirect: Redirect,
        more: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        """Become a new Duck after all has ended but listeners and lock; a failure that may pass is waited for.

        Args:
            more: what else the next Duck finds by `more`.

        Raises:
            ApplicationError: it does not pass; who waits in the backlog is not served.
        """
        for left in range(_ATTEMPTS, 0, -1):
            try:
                left_behind = {**(more or {}), "redirect": {"listeners": redirect.hand_over()}}
                inheritance.become_new(
                    listeners, presence.fileno(), run=self.run, more=left_behind, environ=host.hand_over()
                )
            except OSError as error:
                if left == 1:
                    raise ApplicationError(_sentence(error)) from error
                if left == _ATTEMPTS:
                    logger.error("%s It is tried again.", _sentence(error))
            time.sleep(_PAUSE_S)
        raise AssertionError


def _sentence(error: OSError) -> str:
    return f"Duck cannot be replaced by running {sys.executable} again: {error.strerror or error}."
