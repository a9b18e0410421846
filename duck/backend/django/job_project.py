"""JobProject: the project that runs of automations are of, how its processes are started, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.services.inbox import Inbox


@dataclass(frozen=True)
class JobProject:
    """What `DjangoJobs`, `CeleryJobs` and `Conditions` are of.

    Attributes:
        settings: the settings module; None for the project's own.
        inbox: whose thread all of it is on.
        events: where signals are told of (see `worker.signals`); empty for nowhere.
        own: what Duck's own settings name to be looked up there (see `worker.declared`); as it is when a process is
            started.

    Callbacks:
        on_failed(message, traceback): the project cannot be loaded.
        on_output(text): what is printed outside of runs.
        on_declared(found): what the project declares (`declared`, `failed`, `zone`, `database`), each time that it
            was loaded for runs.
    """

    project: Project
    interpreter: Interpreter
    settings: str | None
    inbox: Inbox
    on_failed: Callable[[str, str], None]
    on_output: Callable[[str], None]
    on_declared: Callable[[dict[str, Any]], None] = lambda found: None
    events: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)
