"""What a site needs to know of DuckSight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duck.http.ducksight.inspection import Ask
    from duck.net.exchange import Exchange

# Takes the answer to a command; at once or later, on any thread.
Reply = Callable[[Mapping[str, Any]], None]


def _nobody(name: str, arguments: Mapping[str, Any], reply: Reply) -> None:
    reply({"ok": False, "text": "Nobody is here to do that."})


@dataclass(frozen=True)
class DuckSightConfig:
    """There is one where DuckSight is wanted, and none under `duck serve`.

    Attributes:
        token: what a browser has to know; random, of one run of Duck, and kept while it starts again in place.
        allowed: addresses and networks besides loopback from which it may be used, and host names besides `localhost`.
        editor: how a browser opens a file (see `app.editor.link_of`); empty for not at all.
        run: tells one start of Duck from the next.
        on_command: called with a browser's command, its arguments, and what takes the answer; for any thread.
        requests: how many of the last each site keeps; 0 for none.
        number: gives each request its number; the same for all sites.
        on_replay: told of each request that was sent again, when it has ended, on its loop; for the log.
        ask: asks all sites for what they have recorded (see `inspection`), for any thread; None for a site alone.
    """

    token: str
    allowed: tuple[str, ...] = ()
    editor: str = ""
    run: str = ""
    on_command: Callable[[str, Mapping[str, Any], Reply], None] = _nobody
    requests: int = 200
    number: Callable[[], int] = field(default_factory=lambda: count(1).__next__)
    on_replay: Callable[[Exchange], None] | None = None
    ask: Ask | None = None
