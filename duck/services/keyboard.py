"""Single keys, as they are typed at the terminal: without Enter, and without being shown.

    off ──start──> reading <──resume, SIGCONT in the foreground──> away ──stop──> off
                      └──────────────pause, SIGTSTP──────────────────^

The terminal's modes are as they were in every state but `reading`. A process in the background neither reads nor sets
modes: the kernel would stop it. Where standard input is no terminal nothing happens at all.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.terminal import is_in_foreground, untroubled

if sys.platform != "win32":
    import termios

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

_READ_BYTES: Final = 1024
_LFLAG: Final = 3  # of what tcgetattr gives
_CC: Final = 6
# Arrows and function keys (ECMA-48 §5.4, §8.3), and Alt with a key.
_ESCAPES: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
_MOST_AT_ONCE: Final = 3


class Keyboard:
    """The terminal at `descriptor`; for the inbox's thread, which is the main thread, else nothing is read.

    `on_key(key)` is told of one character, in lower case, and of Enter, where it was typed alone, as a line feed.
    Arrows and their kin are none, and neither is what was pasted: more than three keys at once.
    """

    def __init__(self, on_key: Callable[[str], None], descriptor: int = 0) -> None:
        self._inbox: Inbox | None = None
        self._on_key = on_key
        self._descriptor = descriptor
        self._modes: list[Any] | None = None  # as they were; None while they are
        self._our_modes: list[Any] = []  # while keys are read
        self._is_on = False
        self._is_paused = False
        self._handlers: dict[int, Any] = {}

    @property
    def is_reading(self) -> bool:
        """Whether keys come."""
        return self._modes is not None

    def start(self, inbox: Inbox) -> bool:
        """Read keys from now on, whenever in the foreground; whether there is a terminal that has any."""
        if self._is_on or sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return self._is_on
        try:
            if not os.isatty(self._descriptor):
                return False
            termios.tcgetattr(self._descriptor)
        except (OSError, termios.error):
            return False
        self._is_on = True
        self._inbox = inbox
        atexit.register(self.stop)
        for number, handler in ((signal.SIGTSTP, self._asked_to_stop), (signal.SIGCONT, self._continued)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, handler)
        self._enter()
        return True

    def stop(self) -> None:
        """Leave the terminal as it was found, for good; may be said again."""
        if not self._is_on:
            return
        self._is_on = False
        self._leave()
        atexit.unregister(self.stop)
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        self._handlers.clear()

    def pause(self) -> None:
        """Somebody else has the terminal now."""
        self._is_paused = True
        self._leave()

    def resume(self) -> None:
        """It is ours again."""
        self._is_paused = False
        self._enter()

    # -- modes ----------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        if not self._is_on or self._is_paused or self._modes is not None or not is_in_foreground(self._descriptor):
            return
        with untroubled():
            try:
                modes = termios.tcgetattr(self._descriptor)
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, _for_keys(modes))
                self._our_modes = termios.tcgetattr(self._descriptor)
            except termios.error:
                return  # hung up
        self._modes = modes
        assert self._inbox is not None
        self._inbox.watch(self._descriptor, self._readable)

    def _leave(self, *, restore: bool = True) -> None:
        modes, self._modes = self._modes, None
        if modes is None or self._inbox is None:
            return
        self._inbox.unwatch(self._descriptor)
        if restore:
            with untroubled():
                try:
                    termios.tcsetattr(self._descriptor, termios.TCSADRAIN, modes)
                except termios.error:
                    pass

    # -- keys -----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._modes is None:
            return  # unwatched in the same turn of the inbox
        if not is_in_foreground(self._descriptor):
            self._leave(restore=False)  # whoever has the terminal has set it as he likes
            return
        try:
            with untroubled():
                data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.stop()
            return
        for key in keys_in(data.decode("utf-8", "replace")):
            self._on_key(key)

    # -- job control ----------------------------------------------------------------------------------------------

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._inbox is not None:
            self._inbox.post(self._suspend)

    def _suspend(self) -> None:
        """Ctrl-Z: stop, with the terminal as it was; go on here when continued."""
        self._leave()
        own = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, own)
        self._enter()

    def _continued(self, number: int, frame: FrameType | None) -> None:
        if self._inbox is not None:
            self._inbox.post(self._look)

    def _look(self) -> None:
        """Continued: after Ctrl-Z or a SIGSTOP, in the foreground or not, and a shell may have set modes meanwhile."""
        if self._modes is not None and not self._has_our_modes():
            self._leave(restore=False)
        self._enter()

    def _has_our_modes(self) -> bool:
        """Whether the terminal is ours, and as we have set it."""
        try:
            return is_in_foreground(self._descriptor) and termios.tcgetattr(self._descriptor) == self._our_modes
        except termios.error:
            return False


def keys_in(text: str) -> str:
    """The keys that were typed as `text`, in lower case; none where it was pasted."""
    keys = _ESCAPES.sub("", text).replace("\r", "\n").lower()
    kept = keys.replace("\n", "")
    if len(kept) > _MOST_AT_ONCE:
        return ""
    return kept or keys[:1]


def _for_keys(modes: list[Any]) -> list[Any]:
    """`modes` with each key delivered at once and not echoed; Ctrl-C and Ctrl-Z mean what they do."""
    changed = list(modes)
    changed[_LFLAG] = modes[_LFLAG] & ~(termios.ICANON | termios.ECHO)
    changed[_CC] = list(modes[_CC])
    changed[_CC][termios.VMIN] = 1
    changed[_CC][termios.VTIME] = 0
    return changed
