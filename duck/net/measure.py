"""What Django did for one answer, as its worker has counted it (backend.django.worker.measure); in development only."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.wire.head import ResponseHead

_TOLD: Final = re.compile(rb"(\S+) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10})(?: ([0-9a-f]{32}))?")
_COUNTS: Final = struct.Struct("!IIII")  # as in a MEASURE frame (wire.link)


class Measure:
    """The cost of one request in its Django process; times in seconds, by the clock on the wall.

    Attributes:
        queries: statements that were sent to databases.
        database_s: how long these took to execute.
        template_s: in the rendering of templates, without the queries that it made.
        django_s: from the request's arrival at the application to the answer's end, all of the above included.
    """

    __slots__ = ("database_s", "django_s", "queries", "template_s")

    def __init__(self, queries: int, database_s: float, template_s: float, django_s: float) -> None:
        self.queries = queries
        self.database_s = database_s
        self.template_s = template_s
        self.django_s = django_s

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Measure) and (self.queries, self.database_s, self.template_s, self.django_s) == (
            other.queries,
            other.database_s,
            other.template_s,
            other.django_s,
        )

    def __repr__(self) -> str:
        return f"Measure({self.queries}, {self.database_s:g}, {self.template_s:g}, {self.django_s:g})"

    __hash__ = None  # type: ignore[assignment]


def measure_from_us(queries: int, database_us: int, template_us: int, all_us: int) -> Measure:
    """The measure that a worker told in microseconds."""
    return Measure(queries, database_us / 1e6, template_us / 1e6, all_us / 1e6)


def take_off(head: ResponseHead, seal: bytes) -> tuple[ResponseHead, Measure | None, bytes]:
    """`head` without the private field of a wrapped ASGI application, what that has told, and the mark of its `Tail`.

    `head` may be shared. `seal` is the field's name in lower case, a colon, and the secret that its value begins with.
    A field of that name that was not sealed with it is the application's own, and stays. Without a mark, which is empty
    then, nothing follows at the answer's end.
    """
    name, _, secret = seal.partition(b":")
    for index, (said, value) in enumerate(head.fields):
        if said.lower() == name:
            told = _TOLD.fullmatch(value)
            if told is None or told[1] != secret:
                continue
            mark = bytes.fromhex(told[6].decode("ascii")) if told[6] else b""
            queries, database_us, template_us, all_us = (int(told[number]) for number in range(2, 6))
            head = head.copy()
            head.fields = [*head.fields[:index], *head.fields[index + 1 :]]
            return head, measure_from_us(queries, database_us, template_us, all_us), mark
    return head, None, b""


class Tail:
    """Takes off the end of a streamed body what the answer has cost in all: a mark, which nobody can know before, and
    four numbers. Holds back only what may be the beginning of it.
    """

    __slots__ = ("_held", "_mark")

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What of the body can be passed on, now that `data` has come."""
        if self._held:
            data = self._held + data
        mark = self._mark
        at = data.find(mark)
        if at < 0:
            size = min(len(mark) - 1, len(data))
            while size and not data.endswith(mark[:size]):
                size -= 1
            at = len(data) - size
        self._held = data[at:]
        return data[:at]

    def end(self) -> tuple[bytes, Measure | None]:
        """The last of the body, and what the answer has cost; None where it was cut before it told."""
        held = self._held
        if len(held) != len(self._mark) + _COUNTS.size or not held.startswith(self._mark):
            return held, None
        queries, database_us, template_us, all_us = _COUNTS.unpack_from(held, len(self._mark))
        return b"", measure_from_us(queries, database_us, template_us, all_us)
