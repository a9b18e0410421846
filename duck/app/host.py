"""Host: what the system around an App in production gives it, wants to hear, and takes away: rights, sockets, orphans.

as root:   who serves? -> listeners bound -> what was made is given away -> root dropped, for good
then:      the project is looked for, imported and started; nothing of it ever runs as root
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duck
from duck.exceptions import ApplicationError
from duck.services.privileges import acting_as, adapt, drop, give, obstacles, serving_account
from duck.services.reaper import Reaper
from duck.services.state import make_for, state_directory
from duck.services.systemd import Notifier, Watchdog, take_sockets
from duck.settings import views

if TYPE_CHECKING:
    from duck.services.inbox import Inbox
    from duck.services.privileges import Account
    from duck.services.systemd import InheritedSocket
    from duck.settings.load import Settings

_HTTP_NAME = "http"
_ADMIN_NAME = "admin"  # FileDescriptorName= of the socket unit for health and figures

logger = logging.getLogger("duck.app")


class Host:
    """Of one run; does nothing but for `duck serve`.

    Attributes:
        sockets: descriptors that systemd opened for the site; None where it opened none.
        redirect_sockets: those of them that plain HTTP is redirected at: named `http`, or on port 80.
        admin_sockets: the same for health and figures.
    """

    def __init__(self, settings: Settings) -> None:
        self.sockets: list[int] | None = None
        self.redirect_sockets: list[int] | None = None
        self.admin_sockets: list[int] | None = None
        self._settings = settings
        self._serves = views.production(settings).serves
        self._account: Account | None = None
        self._notifier = Notifier("")
        self._watchdog: Watchdog | None = None
        self._reaper: Reaper | None = None

    def begin(self) -> None:
        """Before anything is bound: find out who serves, and what was handed in.

        Raises:
            ApplicationError: root has not said who serves, or that user could not read what it has to.
        """
        if not self._serves:
            return
        self._notifier = Notifier.take(os.environ)
        opened = take_sockets(os.environ)
        https = views.https(self._settings)
        redirect = [one.fd for one in opened if https.enabled and https.redirect and _is_for_redirect(one)]
        site = [one.fd for one in opened if one.name != _ADMIN_NAME and one.fd not in redirect]
        self.redirect_sockets = redirect or None
        admin = [one.fd for one in opened if one.name == _ADMIN_NAME]
        self.sockets, self.admin_sockets = site or None, admin or None
        self._account = account = serving_account(views.production(self._settings).user)
        if account is None:
            return
        needed = {
            "the project": self._settings["DJANGO_PROJECT"] or self._settings.project_dir,
            "Python": sys.executable,
            "Duck": Path(duck.__file__).parent,
        }
        found = obstacles(account, needed)
        if found:
            raise ApplicationError(" ".join(found))
        adapt(account, os.environ)

    @property
    def is_root(self) -> bool:
        """Whether rights are to be dropped, for which all has to be bound before anything else is done."""
        return self._account is not None and not self._account.is_root and os.geteuid() == 0

    def drop(self, bound: Sequence[str]) -> None:
        """After all is bound: become who serves; `bound` are the paths of Unix sockets.

        Raises:
            ApplicationError: the system does not let it.
        """
        if self._account is None:
            return
        kept = [
            entry
            for variable in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY")
            for entry in os.environ.get(variable, "").split(":")
            if os.path.isabs(entry)
        ]
        if self._settings["STATE_DIR"] is not None:
            kept.append(str(self._settings["STATE_DIR"]))
        give(self._account, [*bound, *kept])
        self._give_state()
        drop(self._account)

    def _give_state(self) -> None:
        """A place for what lasts, where the user who is to serve has none that it may write to."""
        account = self._account
        if account is None or account.is_root or os.geteuid() != 0 or not self._needs_state():
            return
        try:
            with acting_as(account):
                state_directory(self._settings["STATE_DIR"], make=False)
        except ApplicationError:
            if self._settings["STATE_DIR"] is not None or os.environ.get("STATE_DIRECTORY"):
                raise
            logger.info("What lasts of %s is kept in %s.", account.name, make_for(account.uid, account.gid))

    def _needs_state(self) -> bool:
        """Whether there are certificates to keep, or automations, as far as can be told before the project is run."""
        settings = self._settings
        if views.certificates(settings).domains or (settings["RUN_AUTOMATIONS"] and settings["AUTOMATIONS"]):
            return True
        named = settings["DJANGO_PROJECT"] or settings.project_dir
        root = named if named.is_dir() else named.parent
        return bool(settings["RUN_AUTOMATIONS"]) and any(
            next(root.glob(f"{below}automations.py"), None) is not None for below in ("", "*/", "*/*/")
        )

    def start(
        self, inbox: Inbox, is_ours: Callable[[int], bool], is_well: Callable[[], bool], *, takes_orphans: bool
    ) -> None:
        """Tell systemd that this process lives, and reap what the kernel gives it, or what it asks for."""
        if takes_orphans:
            self._reaper = Reaper(inbox, is_ours)
            self._reaper.start()
        if not self._serves:
            return
        self._watchdog = Watchdog(inbox, self._notifier, is_well)
        self._watchdog.start()
        if Reaper.is_needed():
            self._reaper = Reaper(inbox, is_ours)
            self._reaper.start()

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self._notifier.ready(status)

    def reloading(self) -> None:
        """A reload begins."""
        self._notifier.reloading()

    def stopping(self) -> None:
        """The end has begun."""
        self._notifier.stopping()

    def hand_over(self) -> Mapping[str, str]:
        """The variables by which the Duck that this process becomes can speak to systemd."""
        return self._notifier.hand_over()

    def stop(self) -> None:
        """Tell and reap no more."""
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._reaper is not None:
            self._reaper.stop()


def _is_for_redirect(opened: InheritedSocket) -> bool:
    if opened.name == _HTTP_NAME:
        return True
    with socket.socket(fileno=os.dup(opened.fd)) as copy:
        where = copy.getsockname()
    return opened.name != _ADMIN_NAME and isinstance(where, tuple) and where[1] == 80
