"""What one process of Duck's gives another, or the next Duck of the same: frozen dataclasses through JSON.

`dataclasses.asdict` takes one apart, JSON carries it and knows no tuples, `revived` makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


def revived(kind: type[Value], values: Mapping[str, Any]) -> Value:
    """The `kind` of these values, equal to the one that they were made from: arrays are tuples again, at any depth.

    For classes of texts, numbers and tuples of them: what has a dataclass, a list or a path in it is its owner's to
    revive.
    """
    return kind(**{name: _with_tuples(value) for name, value in values.items()})


def _with_tuples(value: Any) -> Any:
    return tuple(_with_tuples(one) for one in value) if isinstance(value, list | tuple) else value
