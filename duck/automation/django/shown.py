"""How moments, spans and runs are shown to people."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone as django_timezone
from django.utils.formats import date_format

from .chart import Outcome
from .models import FOREVER, moment_of

if TYPE_CHECKING:
    from .models import Run


def zone() -> tzinfo:
    """Whose clocks this person is shown."""
    return django_timezone.get_current_timezone() if settings.USE_TZ else ZoneInfo(settings.TIME_ZONE)


DAY = "D j M Y, "


def shown(moment: datetime | None, where: tzinfo | None = None, day: str = DAY) -> str:
    """`Sat 28 Nov 2026, 10:37`, with seconds where there are some; nothing for None. `day` is how that is shown."""
    if moment is None:
        return ""
    local = moment.astimezone(where or zone())
    return date_format(local, day + ("H:i:s" if local.second else "H:i"))


def number_shown(number: int | None) -> str:
    """The same for what the store keeps."""
    return "" if number is None else shown(moment_of(number))


def paused_shown(paused_until: int | None) -> str:
    """Until when something is paused."""
    return "paused until it is resumed" if paused_until == FOREVER else f"paused until {number_shown(paused_until)}"


def read_local(text: str) -> datetime:
    """The moment that somebody gave as `2026-11-28T10:37`, by the clocks that he is shown.

    Raises:
        ValueError: it is none.
    """
    given = datetime.fromisoformat(text)
    return (given if given.tzinfo else given.replace(tzinfo=zone())).astimezone(timezone.utc)


def took_s(run: Run, now: int) -> float | None:
    """How many seconds a run took, or has taken; None where it has not begun, or waits for another try."""
    if run.started is None or (run.ended is None and run.state != "running"):
        return None
    return max(0.0, ((run.ended or now) - run.started) / 1e6)


def span_shown(seconds: float | None) -> str:
    """`340 ms`, `2.5 s`, `3 min`, `2 h`."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for most, size, unit in ((120, 1.0, "s"), (7200, 60.0, "min"), (172_800, 3600.0, "h")):
        if seconds < most:
            return f"{seconds / size:.1f} {unit}" if unit == "s" and seconds < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def outcome_of(run: Run, now: int) -> Outcome:
    """What the chart has of a run."""
    took = took_s(run, now)
    parts = [f"{number_shown(run.planned)}: {run.state}"]
    if took is not None and run.ended is not None:
        parts.append(f"after {span_shown(took)}")
    return Outcome(run.state, took, " ".join(parts) + (f" ({run.reason})" if run.reason else ""))
