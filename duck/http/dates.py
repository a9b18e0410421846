"""Dates as HTTP writes them (RFC 9110 §5.6.7): whole seconds since 1970, UTC."""

from __future__ import annotations

import calendar
import re
import time
from typing import Final

_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH: Final = b"(?P<month>" + b"|".join(_MONTHS) + b")"
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

_IMF_FIXDATE: Final = re.compile(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" GMT"
)
_RFC_850: Final = re.compile(
    rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" GMT"
)
_ASCTIME: Final = re.compile(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) " + _MONTH + rb" (?P<day>\d\d| \d) " + _TIME + rb" (?P<year>\d{4})"
)


def render_date(seconds: int) -> bytes:
    """`seconds` since 1970 as an IMF-fixdate, the only form that is sent."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[weekday],
        day,
        _MONTHS[month - 1],
        year,
        hour,
        minute,
        second,
    )


def parse_date(value: bytes, *, this_year: int | None = None) -> int | None:
    """The seconds since 1970 that `value` names in any of the three forms, or None where it is none of them.

    Args:
        this_year: decides the century of a two-digit year: never more than 50 years ahead. Today's by default.
    """
    match = _IMF_FIXDATE.fullmatch(value) or _RFC_850.fullmatch(value) or _ASCTIME.fullmatch(value)
    if match is None:
        return None
    year = int(match["year"])
    if match.re is _RFC_850:
        if this_year is None:
            this_year = time.gmtime().tm_year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    month = _MONTHS.index(match["month"]) + 1
    day, hour, minute, second = (int(match[name]) for name in ("day", "hour", "minute", "second"))
    # A leap second (60) is allowed by the grammar. The day is checked for its month, since timegm checks nothing.
    if not (1900 <= year and hour < 24 and minute < 60 and second <= 60):
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))
