"""How what an automation calls is called: with its context or without, at once or on a loop."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any


def arguments(
    function: Any, context: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> list[Any]:
    """The context, where the function takes an argument that is not said otherwise; then those that are.

    Args:
        args, kwargs: what the declaration says.
    """
    said = list(args)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return said
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    free = [each for each in positional if each.name not in (kwargs or {})]
    takes = len(free) > len(said) and (free[0].name in ("ctx", "context") or free[0].default is inspect.Parameter.empty)
    return [context, *said] if takes else said
