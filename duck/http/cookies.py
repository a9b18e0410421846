"""Cookies: the `Cookie` field taken apart, and `Set-Cookie` lines made (RFC 6265)."""

from __future__ import annotations

import http.cookies
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Final, Literal

SameSite = Literal["Lax", "Strict", "None"]

EXPIRED: Final = "Thu, 01 Jan 1970 00:00:00 GMT"


def parse_cookies(value: str) -> dict[str, str]:
    """The cookies of a `Cookie` field, as browsers mean them: split at `;`, first `=` counts, the last of a name wins.

    Not the stdlib's strict parser: one cookie it dislikes makes it drop all others.
    """
    cookies: dict[str, str] = {}
    for chunk in value.split(";"):
        name, equals, text = chunk.partition("=")
        if not equals:
            name, text = "", name
        name, text = name.strip(), text.strip()
        if name or text:
            cookies[name] = _unquote(text)
    return cookies


def render_cookie(
    name: str,
    value: str,
    *,
    max_age: float | timedelta | None = None,
    expires: datetime | str | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "Lax",
) -> str:
    """One `Set-Cookie` value.

    Args:
        max_age: seconds; gives `Expires` too, which is all that old clients read.
        expires: an aware or UTC moment, or text as it is to be sent.

    Raises:
        ValueError: a name or attribute that cannot be in a cookie.
    """
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    try:
        jar[name] = value
    except http.cookies.CookieError as error:
        raise ValueError(f"{name!r} cannot be the name of a cookie; use letters, digits, - and _") from error
    morsel = jar[name]
    if max_age is not None:
        seconds = int(max_age.total_seconds() if isinstance(max_age, timedelta) else max_age)
        morsel["max-age"] = seconds
        morsel["expires"] = formatdate(time.time() + seconds, usegmt=True) if seconds > 0 else EXPIRED
    if isinstance(expires, datetime):
        moment = expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
        morsel["expires"] = formatdate(moment.timestamp(), usegmt=True)
    elif expires is not None:
        morsel["expires"] = expires
    for attribute, text in (("path", path), ("domain", domain), ("samesite", samesite)):
        if text:
            if ";" in text or not text.isprintable():
                raise ValueError(f"the {attribute} of cookie {name!r} cannot be {text!r}")
            morsel[attribute] = text
    # Browsers drop SameSite=None cookies that are not Secure.
    if secure or samesite == "None":
        morsel["secure"] = True
    if httponly:
        morsel["httponly"] = True
    return morsel.OutputString()


def _unquote(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    return jar.value_decode(text)[0]
