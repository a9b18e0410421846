"""What a request can be sent to: values that the App makes and posts to every worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Upstream:
    """One backend process or server.

    Attributes:
        protocol: `link` for Duck's own Django worker, `http` for an HTTP/1.1 server.
        address: path of a Unix socket, or host and port.
        slots: requests it works on at once; for `http` the most connections kept to it.
        name: as logs and error pages say it.
        secret: of a link over TCP: proves the front to the worker. Of `http` to a process that Duck started: the value
            that goes before the identity in the field `identity_field`. Empty where there is none.
        patient: a request waits for it to come back when it cannot be reached: Duck started it and will start it again.
        identity_field: name (lower case) of the private field that carries the client's identity to a wrapped ASGI
            application; empty for servers that Duck did not start.
        measure_field: name (lower case) of the private field that carries what an answer has cost, sealed by `secret`;
            empty for a server that tells nothing of it.
    """

    protocol: Literal["link", "http"]
    address: str | tuple[str, int]
    slots: int
    name: str
    secret: str = ""
    identity_field: str = ""
    patient: bool = True
    measure_field: str = ""


@dataclass(frozen=True)
class QueueLimits:
    """How long requests wait for a connection to an upstream, and how many.

    Attributes:
        max_queue: requests that wait for one upstream; more are refused.
        queue_timeout_s: until a request that waits is refused.
        connect_timeout_s: until a connection that is dialled is given up.
    """

    max_queue: int = 1024
    queue_timeout_s: float = 30.0
    connect_timeout_s: float = 5.0


@dataclass(frozen=True)
class Generation:
    """The Django processes of one version of the project; immutable, numbered from 1.

    Attributes:
        pages: who answers plain requests.
        sockets: who answers upgrades; empty where nobody can, then they are plain requests.
        facts: what the worker told about the project when it was ready (see backend/django/worker).
        finder: a link that is asked only where static files lie; None where a link among `pages` can be asked.
    """

    number: int
    pages: tuple[Upstream, ...]
    sockets: tuple[Upstream, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    finder: Upstream | None = None
