"""What the App and a front worker process say to each other, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from duck.proxy.upstream import Generation, Upstream
from duck.services.plain_values import revived
from duck.settings import views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duck.settings.load import Settings

# How long a worker that ends waits for requests on connections that are kept alive: their clients, a balancer among
# them, learn of the end by its answer and not by a closed connection.
IDLE_S: Final = 2.0


def drain_orders(settings: Settings) -> dict[str, Any]:
    """How a front worker ends: arguments of `BaseServer.drain`."""
    return {**asdict(views.closing(settings)), "takes_backlog": False, "idle_s": IDLE_S}


def generation_to_values(generation: Generation) -> dict[str, Any]:
    """`generation` as JSON can carry it."""
    return asdict(generation)


def generation_from_values(values: Mapping[str, Any]) -> Generation:
    """The generation of these values, equal to the one that they were made from."""
    finder = values["finder"]
    return Generation(
        number=values["number"],
        pages=tuple(revived(Upstream, value) for value in values["pages"]),
        sockets=tuple(revived(Upstream, value) for value in values["sockets"]),
        facts=dict(values["facts"]),
        finder=None if finder is None else revived(Upstream, finder),
    )
