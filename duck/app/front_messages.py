"""What the App and a front worker process say to each other of Django, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from duck.proxy.upstream import Generation, upstream_from_values

if TYPE_CHECKING:
    from collections.abc import Mapping


def generation_to_values(generation: Generation) -> dict[str, Any]:
    """`generation` as JSON can carry it."""
    return asdict(generation)


def generation_from_values(values: Mapping[str, Any]) -> Generation:
    """The generation of these values, equal to the one that they were made from."""
    finder = values["finder"]
    return Generation(
        number=values["number"],
        pages=tuple(upstream_from_values(value) for value in values["pages"]),
        sockets=tuple(upstream_from_values(value) for value in values["sockets"]),
        facts=dict(values["facts"]),
        finder=None if finder is None else upstream_from_values(finder),
    )
