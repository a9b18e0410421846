"""Service: what the App starts, asks for its state, and stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Service(Protocol):
    """Belongs to the App's inbox: every call is made on its thread, and returns at once.

    Attributes:
        name: as logs and `duck status` say it.
    """

    name: str

    def start(self) -> None:
        """Begin; what cannot begin raises a DuckError."""

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """End in order within `deadline_s` seconds, by force after that; `done` is called once, on the inbox.

        Said again with a shorter deadline, the shorter one counts.
        """

    def status(self) -> Mapping[str, Any]:
        """Plain values for `duck status`."""
