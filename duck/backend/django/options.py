"""How a project is run: the part of Duck's settings that its processes need."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BackendOptions:
    """How the project is run.

    Attributes:
        run_directory: existing directory of mode 0700 for the processes' sockets; its path is short.
        mode: `runserver` (manage.py is run) or `serve` (the entry module is imported).
        workers: processes for pages.
        threads: of each WSGI process.
        start_deadline_s: until a version is ready; a debugger's prompt stops the clock.
        stop_deadline_s: for what is in flight in a process that was replaced.
        bundle: directory that holds the ASGI server for projects that have none, or None.
        use_tcp: loopback ports and a secret instead of Unix sockets.
        max_requests: after about so many a process is replaced; 0 for never.
        memory_limit_bytes: with so much resident memory it is replaced; 0 for any.
        heartbeat_s: between two questions how a process is.
        heartbeat_timeout_s: one that has not answered for so long hangs, and is killed; 0 for never.
        view_deadline_s: a view that has sent nothing for so long costs its process, 0 for never.
        health_path: asked of each process of a new version before that is used; None for nothing.
        allow_unapplied_migrations: a new version may take over although migrations are missing.
        spares: whether starts leave copies of themselves behind, for a quick replacement.
        has_frontend: a front-end server is at the same addresses.
        events: directory in which signals are told to automations, empty for none.
        refuse: why a project that tells these facts is not to be served, in a sentence; empty where it is.
    """

    run_directory: str
    settings: str | None = None
    mode: str = "runserver"
    workers: int = 1
    threads: int = 16
    start_deadline_s: float = 60.0
    stop_deadline_s: float = 30.0
    bundle: str | None = None
    wsgi: str | None = None
    asgi: str | None = None
    prefix: str = ""
    use_tcp: bool = not hasattr(socket, "AF_UNIX")
    max_requests: int = 0
    memory_limit_bytes: int = 0
    heartbeat_s: float = 2.0
    heartbeat_timeout_s: float = 30.0
    view_deadline_s: float = 0.0
    health_path: str | None = None
    allow_unapplied_migrations: bool = False
    spares: bool = False
    has_frontend: bool = False
    events: str = ""
    refuse: Callable[[Mapping[str, Any]], str] = lambda facts: ""
