"""Presence: how others find this Duck, its instance lock and its control socket.

Both lie in the run directory, which cleaners of temporary directories and the end of a login session may take away.
Then a second Duck would start beside this one, and `duck status` and `duck stop` would not find it: so both are looked
for every few seconds, and made again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duck.exceptions import DuckError
from duck.services.instance import Instance
from duck.services.ipc import ControlServer
from duck.services.state import run_directory

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer
    from duck.services.ipc import Request

logger = logging.getLogger("duck.app")

LOOK_S: Final = 2.0


class Presence:
    """The instance lock from `take` on, the control socket from `open` on; both until `close`.

    Args:
        on_restored: called after files have been made again that were gone.
    """

    def __init__(self, on_restored: Callable[[], None]) -> None:
        self._on_restored = on_restored
        self._instance: Instance | None = None
        self._control: ControlServer | None = None
        self._commands: Mapping[str, Callable[[Request], None]] = {}
        self._inbox: Inbox | None = None
        self._timer: Timer | None = None
        self._is_told = False

    def take(
        self,
        *,
        project: Path,
        settings: str,
        name: str,
        started: float,
        inherited: int | None,
        keeps_directory: bool = False,
    ) -> None:
        """Be the one Duck of this project, settings module and name.

        Raises:
            AlreadyRunning: another is.
        """
        self._instance = Instance.acquire(
            run_directory(),
            project=project,
            settings=settings,
            name=name,
            started=started,
            inherited=inherited,
            keeps_directory=keeps_directory,
        )

    def publish(self, addresses: Sequence[str]) -> None:
        """Say where it listens."""
        assert self._instance is not None
        self._instance.publish(addresses)

    def open(self, inbox: Inbox, commands: Mapping[str, Callable[[Request], None]]) -> None:
        """Take commands, on the thread of `inbox`."""
        self._inbox = inbox
        self._commands = commands
        self._listen()
        self._timer = inbox.call_later(LOOK_S, self._look)

    @property
    def directory(self) -> Path:
        """Of mode 0700, for the sockets of this run."""
        assert self._instance is not None
        return self._instance.directory

    def fileno(self) -> int:
        """The descriptor that holds the lock."""
        assert self._instance is not None
        return self._instance.fileno()

    def close(self, *, keep_lock: bool) -> None:
        """Take no more commands, and let the next Duck in, unless the lock is for the Duck that this one becomes."""
        if self._timer is not None:
            self._timer.cancel()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._instance is not None and not keep_lock:
            self._instance.release()

    def _listen(self) -> None:
        assert self._inbox is not None and self._instance is not None
        self._control = ControlServer(self._inbox, self._instance.info.control, self._commands)
        self._control.start()

    def _look(self) -> None:
        assert self._inbox is not None and self._instance is not None
        self._timer = self._inbox.call_later(LOOK_S, self._look)
        if self._instance.is_whole and Path(self._instance.info.control).is_socket():
            return
        try:
            self._instance.restore()
            if self._control is not None:
                self._control.close()
            self._listen()
        except DuckError as error:
            if not self._is_told:
                self._is_told = True
                logger.error("%s is damaged, so that `duck status` and `duck stop` fail: %s", self.directory, error)
            return
        logger.warning("%s was cleaned away; it is made again.", self.directory)
        self._is_told = False
        self._on_restored()
