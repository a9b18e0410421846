"""How the front and the processes of one project find each other: the address and the secret of each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.backend.django.handles import WorkerSpec
from duck.backend.django.version import PAGES
from duck.proxy.upstream import Upstream
from duck.services.state import private_directory

if TYPE_CHECKING:
    from duck.backend.django.discover import Project
    from duck.backend.django.options import BackendOptions
    from duck.backend.django.version import Place, Version

IDENTITY_FIELD: Final = "x-duck-identity"
MEASURE_FIELD: Final = "x-duck-measure"  # backend.django.worker.measured


class Launcher:
    """Says what a new process is told, and how one that is ready is reached.

    Attributes:
        spawned: how many processes were told something; none has the address of another.
        secret: of this run.
    """

    def __init__(self, project: Project, options: BackendOptions) -> None:
        self.spawned = 0
        self.secret = secrets.token_hex(16)
        self._project = project
        self._options = options

    def hand_over(self) -> dict[str, Any]:
        """What the next Duck of this process needs, so that its processes are reached as those of this one are."""
        return {"spawned": self.spawned, "secret": self.secret}

    def take_over(self, values: Mapping[str, Any]) -> None:
        """Go on as the Duck before, `values` as `hand_over` gave them."""
        self.spawned, self.secret = values["spawned"], values["secret"]

    def spec(self, version: Version, place: Place, checks: str) -> WorkerSpec:
        """What a process for `place` is told.

        Raises:
            ApplicationError: the directory of the sockets cannot be made.
        """
        options = self._options
        self.spawned += 1
        address: str | tuple[str, int] = ("127.0.0.1", 0)
        if not options.use_tcp:
            # Cleaners of temporary directories may have taken it away.
            private_directory(Path(options.run_directory))
            address = os.path.join(options.run_directory, f"django-{self.spawned}-{place.role}.sock")
        decides = place.role == PAGES and (place.index == 0 or version.facts.get("protocol") == "http")
        return WorkerSpec(
            cwd=str(self._project.root),
            manage=str(self._project.manage),
            address=address,
            role="auto" if decides else place.role,
            mode=options.mode,
            threads=options.threads,
            settings=options.settings,
            secret=self.secret,
            identity_field=IDENTITY_FIELD,
            bundle=options.bundle,
            wsgi=options.wsgi,
            asgi=options.asgi,
            prefix=options.prefix,
            checks=checks,
            deferred=options.mode == "runserver" and not version.is_fresh,
            frontend=options.has_frontend,
            events=options.events,
        )

    def libraries_spec(self) -> WorkerSpec:
        """What the spare of packages is told; its copies are told anew."""
        project, options = self._project, self._options
        return WorkerSpec(str(project.root), str(project.manage), ("", 0), mode=options.mode, settings=options.settings)

    def upstream(self, place: Place, facts: Mapping[str, Any]) -> Upstream:
        """How the process at `place`, which told `facts`, is reached."""
        address = facts["address"]
        protocol = facts["protocol"]
        return Upstream(
            protocol,
            address if isinstance(address, str) else (address[0], address[1]),
            facts["slots"],
            f"django {place.role} {facts['pid']}",
            secret=self.secret if protocol == "http" or not isinstance(address, str) else "",
            identity_field=IDENTITY_FIELD if protocol == "http" else "",
            measure_field=MEASURE_FIELD if protocol == "http" and facts.get("measures") else "",
        )

    def finder(self, place: Place, facts: Mapping[str, Any]) -> Upstream | None:
        """Who is asked there where static files lie, beside a server that has no such question; None for nobody."""
        address = facts.get("finder")
        if place.role != PAGES or not address:
            return None
        return Upstream(
            "link",
            address if isinstance(address, str) else (address[0], address[1]),
            1,
            f"django finder {facts['pid']}",
            secret="" if isinstance(address, str) else self.secret,
        )
