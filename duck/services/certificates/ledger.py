"""What was asked of an authority in the last week, and which of its limits that comes near.

Let's Encrypt's limits (https://letsencrypt.org/docs/rate-limits/) are counted here before it counts them: who runs into
one waits for hours or days. Of other authorities they are not known, and nothing is held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from duck.services.certificates.private_file import read_json, write_json
from duck.services.certificates.schedule import DAY, HOUR

ORDERED: Final = "ordered"
ISSUED: Final = "issued"
UNPROVED: Final = "unproved"

_WEEK_S: Final = 7 * DAY
_MAX_ENTRIES: Final = 4000


@dataclass(frozen=True)
class Event:
    """One thing that an authority was asked for: `what` is `ordered`, `issued` or `unproved`."""

    at: float
    what: str
    name: str


@dataclass(frozen=True)
class Bound:
    """A limit that is reached: the sentence, and when it is not any more."""

    sentence: str
    until: float


class Ledger:
    """The events of one account, in a file; who writes it holds the lease."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Event]:
        """Every event that is remembered, oldest first."""
        return [
            Event(float(entry[0]), str(entry[1]), str(entry[2]))
            for entry in read_json(self._path).get("events", ())
            if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], int | float)
        ]

    def add(self, *events: Event) -> None:
        """Remember `events`, and forget what is older than a week.

        Raises:
            CertificateError: it cannot be written.
        """
        newest = max(event.at for event in events)
        kept = [event for event in (*self.read(), *events) if event.at > newest - _WEEK_S][-_MAX_ENTRIES:]
        values: list[list[Any]] = [[event.at, event.what, event.name] for event in kept]
        write_json(self._path, {"events": values})


def has_known_limits(directory: str) -> bool:
    """Whether the limits of the authority at `directory` are those below."""
    return (urlsplit(directory).hostname or "") == "acme-v02.api.letsencrypt.org"


def reached(events: Sequence[Event], name: str, now: float, *, renews: bool = False) -> Bound | None:
    """The limit that an order for `name` would run into at `now`; None where there is room.

    What has been issued before (`renews`) does not count against the limit of a domain.
    """
    bounds = (
        (5, HOUR, UNPROVED, name, "{name} could not be proved {count} times within an hour"),
        (5, _WEEK_S, ISSUED, name, "{count} certificates for {name} were issued within a week"),
        (50, _WEEK_S, ISSUED, None, "{count} certificates for names of {domain} were issued within a week"),
        (300, 3 * HOUR, ORDERED, "", "{count} certificates were ordered within three hours"),
    )
    domain = registered_domain(name)
    for most, window_s, what, of, text in bounds:
        if of is None and renews:
            continue
        moments = [
            event.at
            for event in events
            if event.what == what
            and event.at > now - window_s
            and (of == "" or event.name == of or (of is None and registered_domain(event.name) == domain))
        ]
        if len(moments) >= most:
            sentence = text.format(name=name, count=len(moments), domain=domain)
            return Bound(f"{sentence}, which is as many as the authority allows", sorted(moments)[-most] + window_s)
    return None


def registered_domain(name: str) -> str:
    """The last two labels: below `co.uk` and the like it counts too many together, and so errs on the safe side."""
    return ".".join(name.removeprefix("*.").split(".")[-2:])
