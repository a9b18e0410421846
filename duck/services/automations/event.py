"""Events: what a table with `on` waits for, and whether something that happened is it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duck.services.automations.schedule import Exclusion

# Needed and possible details of each.
EVENTS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "start": ((), ()),
    "automation": (("name",), ("outcome",)),
    "deploy": ((), ()),
    "signal": (("name",), ("sender",)),
    "file": (("path",), ()),
    "webhook": (("path",), ("secret", "secret_env", "secret_file")),
    "condition": (("name",), ()),
}
OUTCOMES: Final = ("succeeded", "failed", "ended")
SECRETS: Final = ("secret", "secret_env", "secret_file")
DETAILS: Final = tuple(dict.fromkeys(key for needed, possible in EVENTS.values() for key in (*needed, *possible)))
# Of one that tells something with each, a second is not the first again.
TELLING: Final = ("signal", "file", "webhook")
_SHORTEST_SECRET: Final = 16
_DOTTED: Final = re.compile(r"[A-Za-z_][\w.]*[.:][A-Za-z_]\w*")
_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens.

    Attributes:
        details: what the table says of it, by name; what happens has to say the same.
        secret: of a webhook: which of SECRETS it is given by, and what is said there.
        exclusions: when it does not count.
    """

    name: str
    details: tuple[tuple[str, str], ...] = ()
    secret: tuple[str, str] | None = field(default=None, repr=False)
    exclusions: tuple[Exclusion, ...] = ()

    def is_met(self, event: str, details: Mapping[str, str], now: datetime) -> bool:
        """Whether what happened `now` is this."""
        return (
            self.name == event
            and all(details.get(key) == value for key, value in self.details)
            and all(exclusion.holds(now) is None for exclusion in self.exclusions)
        )

    def excluding(self, exclusion: Exclusion) -> Event:
        """The same but for some times."""
        return replace(self, exclusions=(*self.exclusions, exclusion))

    def wanted(self) -> dict[str, Any]:
        """As those are told who could tell of it (see `EventSpool.want`); a secret in the open is part of it."""
        secret = dict([self.secret]) if self.secret is not None else {}
        return {"event": self.name, **dict(self.details), **secret}


def read_event(table: Mapping[str, Any]) -> Event:
    """The event of a table with `on`.

    Raises:
        ValueError: it cannot be read; the text names the key, its value and what is right.
    """
    name = table["on"]
    if not isinstance(name, str) or name not in EVENTS:
        raise ValueError(f"on is {name!r}: give one of {', '.join(EVENTS)}")
    needed, possible = EVENTS[name]
    details = {}
    for key in (*needed, *possible):
        if key not in table:
            if key in needed:
                raise ValueError(f'on = "{name}" needs {key}')
            continue
        said = table[key]
        if not isinstance(said, str) or not said:
            raise ValueError(f"{key} is no text" if key == "secret" else f"{key} is {said!r}: give a text")
        details[key] = said
    if name == "automation" and details.setdefault("outcome", OUTCOMES[0]) not in OUTCOMES:
        raise ValueError(f"outcome is {details['outcome']!r}: give one of {', '.join(OUTCOMES)}")
    if name in ("signal", "condition") and not _DOTTED.fullmatch(details["name"]):
        example = "django.db.models.signals.post_save" if name == "signal" else "shop.triggers.LowStock"
        raise ValueError(f'name is "{details["name"]}": give a dotted name such as "{example}"')
    secret = _secret(details) if name == "webhook" else None
    return Event(name, tuple(sorted(details.items())), secret)


def _secret(details: dict[str, str]) -> tuple[str, str]:
    """Take it out of a webhook's details."""
    path = details["path"]
    if not _PATH.fullmatch(path) or path.startswith("/.duck"):
        raise ValueError(f'path is "{path}": give a path such as "/hooks/build", of letters, digits, `_`, `-`, `.`')
    given = [(key, details.pop(key)) for key in SECRETS if key in details]
    if len(given) != 1:
        what = " and ".join(key for key, _ in given) + " are given" if given else "it has no secret"
        raise ValueError(f"{what}, and without one anybody could start it: give one of {', '.join(SECRETS)}")
    if given[0][0] == "secret" and len(given[0][1]) < _SHORTEST_SECRET:
        raise ValueError(f"secret is too short: give {_SHORTEST_SECRET} characters or more, better by secret_env")
    return given[0]


def without_secrets(table: Any) -> Any:
    """A trigger's table as it may be shown."""
    if isinstance(table, Mapping):
        return {key: without_secrets(value) for key, value in table.items() if key != "secret"}
    if isinstance(table, list | tuple):
        return [without_secrets(each) for each in table]
    return table
