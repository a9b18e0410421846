"""Silence: what becomes of a run whose node says no more that it lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration


class Silent(NamedTuple):
    """A run of which nothing is heard.

    Attributes:
        node: which carries it out; empty while it waits.
        for_node: the only one that may; empty where any may.
        is_to_end: it was asked to end.
    """

    name: str
    node: str
    for_node: str
    attempt: int
    is_to_end: bool

    @classmethod
    def of(cls, row: Any) -> Silent:
        """Of a row of a run, columns by name."""
        return cls(row["name"], row["node"], row["for_node"], row["attempt"], bool(row["cancels"]))


def after_silence(silent: Silent, declarations: Mapping[str, Declaration]) -> tuple[float | None, str]:
    """After how many seconds it is tried again, None for never; and why it was lost.

    Args:
        declarations: by name, as this node knows them.
    """
    reason = f"its node {silent.node or silent.for_node} fell silent"
    declaration = declarations.get(silent.name)
    if declaration is None or silent.for_node or silent.is_to_end:
        return None, reason
    return declaration.after_crash(silent.attempt, reason)
