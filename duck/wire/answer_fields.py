"""Fields that a site adds to every answer, or takes out of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead


class AnswerFields:
    """What `apply` does to heads of answers.

    Args:
        added: fields for answers that do not have them.
        removed: names, in lower case, of fields that are not passed on.
    """

    __slots__ = ("_added", "_removed")

    def __init__(self, added: Fields = [], removed: Iterable[bytes] = ()) -> None:  # noqa: B006 - never changed
        self._added = [(name.lower(), (name, value)) for name, value in added]
        self._removed = frozenset(removed)

    def __bool__(self) -> bool:
        return bool(self._added or self._removed)

    def apply(self, head: ResponseHead) -> ResponseHead:
        """`head`, or a changed copy of it."""
        fields = head.fields
        names = {name.lower() for name, _ in fields}
        more = [pair for name, pair in self._added if name not in names]
        if not more and names.isdisjoint(self._removed):
            return head
        head = head.copy()
        head.fields = [pair for pair in fields if pair[0].lower() not in self._removed] + more
        return head


def encoded(fields: Iterable[tuple[str, str]]) -> Fields:
    """Fields of settings as they are sent."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields]
