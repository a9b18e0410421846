"""What Django did for one answer, as its worker has counted it (backend.django.worker.measure); in development only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.wire.head import ResponseHead


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


def take_off(head: ResponseHead, seal: bytes) -> tuple[ResponseHead, Measure | None]:
    """`head` without the private field of a wrapped ASGI application, and what that has told; `head` may be shared.

    `seal` is the field's name in lower case, a colon, and the secret that its value begins with. A field of that name
    that was not sealed with it is the application's own, and stays.
    """
    name, _, secret = seal.partition(b":")
    for index, (said, value) in enumerate(head.fields):
        if said.lower() == name:
            parts = value.split(b" ")
            if parts[0] == secret and len(parts) == 5 and all(part.isdigit() and len(part) <= 10 for part in parts[1:]):
                head = head.copy()
                head.fields = [*head.fields[:index], *head.fields[index + 1 :]]
                queries, database_us, template_us, all_us = (int(part) for part in parts[1:])
                return head, measure_from_us(queries, database_us, template_us, all_us)
    return head, None
