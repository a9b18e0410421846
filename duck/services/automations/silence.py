"""Silence: what becomes of a run whose node says no more that it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration


def after_silence(
    declaration: Declaration | None, *, node: str, for_node: str, attempt: int, is_to_end: bool
) -> tuple[float | None, str]:
    """After how many seconds it is tried again, None for never; and why it was lost.

    Args:
        declaration: as this node knows it; None where it does not.
        node: which carries it out; empty while it waits.
        for_node: the only one that may; empty where any may.
        is_to_end: it was asked to end.
    """
    reason = f"its node {node or for_node} fell silent"
    if declaration is None or for_node or is_to_end:
        return None, reason
    return declaration.after_crash(attempt, reason)
