"""Lifeline: has a process group that knows nothing of Duck end with this process, however that ends."""

from __future__ import annotations

import os
import signal
import sys


class Lifeline:
    """A pipe at whose end the kernel kills the group: when `close` is said, or this process is gone. Linux only.

    The group itself keeps the reading end open, which it inherits; nothing is ever written. (As
    `backend.django.worker.control.tie_group`, for what cannot ask for it by itself.)

    Attributes:
        descriptor: to be inherited by the group's leader.
    """

    def __init__(self) -> None:
        self.descriptor, self._ours = os.pipe()

    def tie(self, group: int) -> None:
        """The leader of `group` has been started; it has inherited `descriptor`."""
        if sys.platform.startswith("linux"):
            import fcntl

            try:
                fcntl.fcntl(self.descriptor, fcntl.F_SETOWN, -group)
                fcntl.fcntl(self.descriptor, fcntl.F_SETSIG, signal.SIGKILL)
                flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
                fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
            except OSError:
                pass  # it has ended already, or a sandbox whose kernel has no such request
        os.close(self.descriptor)

    def close(self) -> None:
        """End what is left of the group."""
        os.close(self._ours)

    def untied(self) -> None:
        """Nothing has been started."""
        os.close(self.descriptor)
        os.close(self._ours)
