"""Where the time of one exchange went. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Timing:
    """Parts of an exchange in seconds; they add up to `total`. None where nobody has measured that part.

    Attributes:
        receive: until the request's body was there.
        wait: for a free thread of Django's, or for Django to start.
        django: in Django, its database and templates aside.
        database, template: within Django.
        send: from the answer's head to its last byte, taken by the client.
        front: all else: Duck itself, its own views, and what lies between it and Django.
        total: until all was over; of a tunnel, until it was open.
    """

    receive: float
    front: float
    wait: float
    django: float
    database: float | None
    template: float | None
    send: float
    total: float

    def millis(self) -> dict[str, float | None]:
        """The parts by their names, in milliseconds."""
        return {
            f"{name}_ms": None if seconds is None else round(seconds * 1000, 3)
            for name, seconds in asdict(self).items()
        }


def split(
    *,
    total: float,
    received: float = 0.0,
    waited: float = 0.0,
    upstream: float = 0.0,
    sent: float = 0.0,
    in_django: float | None = None,
    database: float | None = None,
    template: float | None = None,
) -> Timing:
    """The parts, none below zero, from durations that may overlap and were read from several clocks; all in seconds.

    Args:
        upstream: from the request's start on its way to a backend to the answer's head.
        in_django: what the backend says it has taken, database and templates included, until its answer's end; None
            where it does not say, and then all of `upstream` counts as Django's.
    """
    left = max(total, 0.0)

    def take(seconds: float) -> float:
        nonlocal left
        part = min(max(seconds, 0.0), left)
        left -= part
        return part

    # In this order: of a stream Django makes more while it is sent, and that is Django's; and a request that was held
    # before its body was read has waited, and not been received for so long.
    both = max(upstream, 0.0) + max(sent, 0.0)
    spent = take(upstream if in_django is None else min(in_django, both))
    send = take(min(sent, both - spent))
    wait = take(waited)
    receive = take(received)
    in_database = None if database is None else min(max(database, 0.0), spent)
    in_template = None if template is None else min(max(template, 0.0), spent - (in_database or 0.0))
    django = spent - (in_database or 0.0) - (in_template or 0.0)
    return Timing(receive, left, wait, django, in_database, in_template, send, max(total, 0.0))
