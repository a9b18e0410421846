"""What a Django process is told when it is started: one JSON object in the environment, taken out of it at once."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, FrozenSet, List, Optional, Union

VARIABLE = "_DUCK_WORKER"


class Spec:
    """How this process was asked to run.

    Attributes:
        manage: path of manage.py, or None for a project without one.
        cwd: working directory, and first on the path when there is no manage.py.
        settings: settings module, or None: then manage.py and the environment say.
        role: `pages`, `sockets`, or `auto`: this process decides which of them it is.
        mode: `runserver` runs manage.py; `serve` imports the WSGI or ASGI module, as gunicorn would.
        threads: requests served at once.
        address: path of the Unix socket to listen on, or host and port (0: any).
        secret: proves the front on TCP, and the identity under ASGI.
        identity_field: name, lower case, of the private field with the client's identity (ASGI only).
        control_fd: this process's end of the control socket.
        lifeline_fd: the reading end of a pipe whose other end closes with the App; -1 when there is none.
        bundle: directory of the ASGI server that Duck brings, or None.
        wsgi, asgi: dotted names that override the project's settings.
        prefix: path prefix under which the project is served, `""` for none.
        parent: process id of the App; 0 when not told.
        libraries_know: in a copy of that spare the variables that were kept from packages; None elsewhere.
        text: all of this, as it came.
        environ: the variables, as the process was given them.
        frontend: a front-end development server is at the same addresses.
        survey: what to look at instead of serving (see survey.py), or None.
        checks: what to check before serving in mode `serve`: `strict`, `lenient` (a missing migration is told of), or
            nothing.
        stack_signal, stack_fd: where this process stands is written there on that signal; 0 and -1 for never.
        stacks_signal: the same for all of its threads.
        points: where a spare is to be left behind (see spare.py), and its descriptors.
        libraries_fd: what a spare of packages imports is written there (see libraries.py); -1 for others.
        deferred: in mode `runserver` the checks may come after it is ready, where there is a spare to run them.
        events: directory in which signals are told to automations, empty for none.
    """

    __slots__ = (
        "address",
        "asgi",
        "bundle",
        "checks",
        "control_fd",
        "cwd",
        "deferred",
        "environ",
        "events",
        "frontend",
        "identity_field",
        "libraries_fd",
        "libraries_know",
        "lifeline_fd",
        "manage",
        "mode",
        "parent",
        "points",
        "prefix",
        "role",
        "secret",
        "settings",
        "stack_fd",
        "stack_signal",
        "stacks_signal",
        "survey",
        "text",
        "threads",
        "wsgi",
    )

    def __init__(self, values: Dict[str, Any], text: str = "") -> None:
        self.environ = dict(os.environ)
        self.libraries_know: Optional[FrozenSet[str]] = None
        self.tell(values, text)

    def tell(self, values: Dict[str, Any], text: str = "") -> None:
        """Be what `values` say: again, in a process that was copied from a spare."""
        self.text = text
        self.manage: Optional[str] = values.get("manage")
        self.cwd: str = values["cwd"]
        self.settings: Optional[str] = values.get("settings")
        self.role: str = values.get("role", "auto")
        self.mode: str = values.get("mode", "runserver")
        self.threads: int = values.get("threads", 4)
        self.address: Union[str, List[Any]] = values["address"]
        self.secret: str = values.get("secret", "")
        self.identity_field: str = values.get("identity_field", "")
        self.control_fd: int = values.get("control_fd", -1)
        self.lifeline_fd: int = values.get("lifeline_fd", -1)
        self.bundle: Optional[str] = values.get("bundle")
        self.wsgi: Optional[str] = values.get("wsgi")
        self.asgi: Optional[str] = values.get("asgi")
        self.prefix: str = values.get("prefix", "").rstrip("/")
        self.parent: int = values.get("parent", 0)
        self.stack_signal: int = values.get("stack_signal", 0)
        self.stacks_signal: int = values.get("stacks_signal", 0)
        self.checks: str = values.get("checks", "")
        self.frontend: bool = values.get("frontend", False)
        self.stack_fd: int = values.get("stack_fd", -1)
        self.survey: Optional[Dict[str, Any]] = values.get("survey")
        self.points: Dict[str, Dict[str, int]] = values.get("points", {})
        self.libraries_fd: int = values.get("libraries_fd", -1)
        self.deferred: bool = values.get("deferred", False)
        self.events: str = values.get("events", "")


def take_spec() -> Spec:
    """The spec from the environment variable or the only argument; neither is visible to the project afterwards."""
    text = os.environ.pop(VARIABLE, None)
    if text is None and len(sys.argv) == 2:
        text = sys.argv[1]
    if not text:
        raise SystemExit("This file is started by Duck; run `duck runserver` instead.")
    return Spec(json.loads(text), text)
