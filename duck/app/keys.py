"""Keys: what `duck runserver` does when one is typed at its console."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Final

from duck import logs
from duck.services.keyboard import Keyboard
from duck.settings import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.app.lifecycle import Lifecycle

logger = logging.getLogger("duck.app")

# Key: what it does, for people.
KEYS: Final = {
    "r": "reload: load the code again",
    "o": "open the site in a browser",
    "c": "clear this console",
    "m": "migrate: run manage.py migrate, and load Django again",
    "h": "help: show these keys",
    "q": "quit",
}
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


class Keys:
    """For the inbox's thread. While a debugger has the terminal, keys are its own, and what is logged waits."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._keyboard = Keyboard(self.typed)
        self._actions: dict[str, Callable[[], None]] = {
            "r": self._reload,
            "o": self._open,
            "c": self._clear,
            "m": lifecycle.migration.begin,
            "h": self._help,
            "q": self._quit,
            "\n": lambda: logs.to_console("\n"),  # to set off what comes next
        }

    def start(self) -> bool:
        """Take keys, where there is a terminal; whether there is."""
        return self._keyboard.start(self._lifecycle.inbox)

    @property
    def are_taken(self) -> bool:
        """Whether there is a terminal that they come from."""
        return self._keyboard.is_reading

    def stop(self) -> None:
        """Take none any more, and leave the terminal as it was."""
        self._keyboard.stop()
        logs.release()

    def step_aside(self) -> None:
        """A debugger gets the terminal now."""
        self._keyboard.pause()
        logs.hold_back()

    def step_in(self) -> None:
        """The debugger has given it back."""
        logs.release()
        self._keyboard.resume()

    def typed(self, key: str) -> None:
        """Act on `key`; one without a meaning has none."""
        action = self._actions.get(key)
        if action is not None:
            action()

    # -- what they do ---------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        lifecycle = self._lifecycle
        django, reloads = lifecycle.django, lifecycle.reloads
        if lifecycle.ending.has_begun or reloads is None:
            return
        if lifecycle.settings.is_duck_project:
            logger.info("Restarting Duck if it can be loaded.")
            reloads.restart()
        elif django is None or django.root is None:
            logger.warning("There is nothing to reload: Django is not Duck's own here.")
        elif django.is_debugging:
            logger.warning("Somebody is at a debugger's prompt; leave it, and reload then.")
        else:
            logger.info("Loading Django again.")
            django.replace()

    def _open(self) -> None:
        url = next((one for one in self._lifecycle.addresses if "://" in one), "")
        if not url:
            logger.warning("A browser cannot open %s.", ", ".join(self._lifecycle.addresses) or "what is not there")
            return
        url += f"{views.listening(self._lifecycle.settings).prefix or ''}/"
        # Asking the system for its browsers starts programs, and some systems wait for these.
        threading.Thread(target=open_in_browser, args=(url,), name="duck-open", daemon=True).start()

    def _clear(self) -> None:
        if sys.stderr.isatty():
            logs.to_console(_CLEAR)

    def _help(self) -> None:
        lines = [f"  {key}  {what}" for key, what in KEYS.items()]
        logs.to_console("\n".join(["Keys:", *lines, ""]))

    def _quit(self) -> None:
        if self._lifecycle.ending.has_begun:
            self._lifecycle.ending.hurry()
        else:
            self._lifecycle.ending.approach(0, at_once=True)


def open_in_browser(url: str) -> None:
    """Have the desktop's browser show `url`; one that would take the terminal is none."""
    import webbrowser

    try:
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:  # lynx and its kin
            logger.info("Opening %s in a browser.", url)
            browser.open(url)  # what it returns tells only whether its program has ended already
            return
    except (webbrowser.Error, OSError):
        pass
    logger.warning("There is no browser here that could be opened; open %s by hand.", url)
