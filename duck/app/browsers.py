"""Browsers: what the App says to the browsers that look at its pages, and does for them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from duck.app.front import Front
from duck.app.recorded import gather
from duck.http.ducksight.config import DuckSightConfig, Reply
from duck.settings import views
from duck.settings.ducksight import ducksight

if TYPE_CHECKING:
    from duck.app.front_processes import FrontProcesses
    from duck.http.ducksight.inspection import Tell
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

Command = Callable[[Mapping[str, Any], Reply], None]


class Browsers:
    """For the inbox's thread.

    Args:
        inbox: gives it once it is there.

    Attributes:
        token: what a browser has to know to be let in; empty before `begin`.
        commands: by name, called with the arguments and with what takes the answer: `ok` and `text`.
    """

    def __init__(self, settings: Settings, front: Front | FrontProcesses, inbox: Callable[[], Inbox]) -> None:
        self.token = ""
        self.commands: dict[str, Command] = {}
        self._settings = settings
        self._front = front
        self._inbox = inbox
        self._view = ducksight(settings)

    def begin(self, left: Mapping[str, Any]) -> None:
        """Take the token that the Duck before has `left`, so that open pages stay in touch; else a new one."""
        self.token = left.get("token") or secrets.token_urlsafe(24)

    def hand_over(self) -> dict[str, Any]:
        """For `begin` of the next Duck in this process."""
        return {"token": self.token}

    def config(self, *, use_django: bool) -> DuckSightConfig | None:
        """For the sites; None where there is no DuckSight."""
        if not self._view.enabled or not isinstance(self._front, Front):
            return None
        if not use_django and not views.sides(self._settings).debug:
            return None
        return DuckSightConfig(
            token=self.token,
            allowed=self._view.allowed,
            run=secrets.token_urlsafe(6),
            on_command=self._command,
            requests=self._view.requests,
            on_replay=self._front.tell_log,
            ask=self.ask,
        )

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell all of them (see `duck.http.ducksight.channel`)."""
        self._front.tell_browsers(message)

    def ask(self, question: Mapping[str, Any], tell: Tell) -> None:
        """Ask all sites for what they have recorded (see `duck.http.ducksight.inspection`). For any thread."""
        front = self._front
        assert isinstance(front, Front)
        self._inbox().post(lambda: gather(self._inbox(), front.sites(), question, tell))

    def _command(self, name: str, arguments: Mapping[str, Any], reply: Reply) -> None:
        """For any thread."""
        self._inbox().post(lambda: self._do(name, arguments, reply))

    def _do(self, name: str, arguments: Mapping[str, Any], reply: Reply) -> None:
        command = self.commands.get(name)
        if command is None:
            reply({"ok": False, "text": f"There is nothing here to {name}."})
            return
        try:
            command(arguments, reply)
        except Exception as error:
            logger.exception("%s, which a browser asked for, failed", name)
            reply({"ok": False, "text": f"{type(error).__name__}: {error}"})
