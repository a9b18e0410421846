"""Channels: where alerts go, as AUTOMATION_ALERTS says. What it says of a webhook is a secret, and never printed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

_KEYS: Final = ("webhook", "mail", "log")
_ADDRESS: Final = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+")


@dataclass(frozen=True, slots=True)
class Channel:
    """One place, or several under one name.

    Attributes:
        webhook: a URL that gets each alert by POST; empty for none.
        mail: addresses; `("admins",)` for those of ADMINS in Django's settings.
        log: whether it is written to Duck's own log, as an error.
    """

    name: str
    webhook: str = field(default="", repr=False)
    mail: tuple[str, ...] = ()
    log: bool = False


def read_channel(name: str, table: Any) -> Channel:
    """The channel that a table of AUTOMATION_ALERTS declares.

    Raises:
        ValueError: it cannot be read; the text says what is right, and nothing of a webhook.
    """
    if not isinstance(table, Mapping) or not table:
        raise ValueError('give a table such as {webhook = "https://..."}, {mail = ["ops@example.org"]} or {log = true}')
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"{key} is not known: give {', '.join(_KEYS)}")
    mail = table.get("mail", ())
    mail = (mail,) if isinstance(mail, str) else mail
    if not isinstance(mail, list | tuple) or not all(
        isinstance(each, str) and (each == "admins" or _ADDRESS.fullmatch(each)) for each in mail
    ):
        raise ValueError('mail has to be a list of addresses, or "admins" for ADMINS of Django\'s settings')
    log = table.get("log", False)
    if not isinstance(log, bool):
        raise ValueError("log has to be true or false")
    return Channel(name, _url(table.get("webhook", "")), tuple(mail), log)


def _url(said: Any) -> str:
    if said == "":
        return ""
    right = "webhook has to be a URL that begins with https:// or http://"
    if not isinstance(said, str) or re.search(r"[\s\x00-\x1f]", said):
        raise ValueError(right)
    try:
        parts = urlsplit(said)
        parts.port  # noqa: B018 - it is read when it is asked for
    except ValueError:
        raise ValueError(right) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(right)
    return said
