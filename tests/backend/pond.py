"""A backend with spares on a project of one application, whose files are changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.backend.conftest import BARE
from tests.backend.link_client import LinkClient
from tests.backend.test_process import Recorder

if TYPE_CHECKING:
    from duck.backend.django.version import Failure
    from duck.proxy.upstream import Generation
    from duck.services.inbox import Inbox
    from tests.backend.conftest import MakeProject

MakePond = Callable[..., "Pond"]

# What each step of a start leaves behind shows which of them have run again.
SETTINGS = (
    BARE
    + """
import os
INSTALLED_APPS.insert(0, 'pond')
MARK = 'one'
os.environ['LOADED_BY'] = str(os.getpid())
"""
)
MODELS = "MARK = 'one'\n"
VIEWS = """
import json, os, random, signal, sys
from django.conf import settings
from django.http import HttpResponse
from pond import models
MARK = 'one'
COUNTED = []
def state(request):
    from pond import late
    COUNTED.append(1)
    return HttpResponse(json.dumps({
        "pid": os.getpid(), "loaded_by": int(os.environ["LOADED_BY"]), "views": MARK, "models": models.MARK,
        "settings": settings.MARK, "late": late.MARK, "counted": len(COUNTED), "random": random.random(),
        "group": os.getpgrp(), "parent": os.getppid(), "extra": getattr(settings, "EXTRA", None),
    }))
def fault(request):
    os.kill(os.getpid(), getattr(signal, request.GET["signal"]))
"""
URLS = """
from django.urls import path
from pond import views
urlpatterns = [path("state", views.state), path("fault", views.fault)]
"""


class Pond(Recorder):
    """A backend on a project of one application, and what changes of its files lead to."""

    def __init__(self, inbox: Inbox, project: Path, directory: Path, **options: Any) -> None:
        super().__init__(inbox, project, directory, spares=True, **options)
        self.project = project
        self.checked: list[Failure | None] = []
        self.unmade: list[list[str]] = []
        self.backend._on_checked = self.checked.append
        self.backend.on_unmade = lambda event: self.unmade.append(list(event["changes"]))

    def write(self, path: str, text: str) -> str:
        """Write a file of the project, and let the clock of the file system go on."""
        target = self.project / path
        before = target.stat().st_mtime_ns if target.exists() else 0
        target.write_text(text)
        if target.stat().st_mtime_ns == before:
            os.utime(target, ns=(before + 1, before + 1))
        return str(target)

    def change(self, path: str, before: str, after: str) -> str:
        text = (self.project / path).read_text()
        assert before in text
        return self.write(path, text.replace(before, after))

    def replace(self, *changed: str) -> Generation:
        """Load what has changed, and let the old process go."""
        count = len(self.generations)
        self.backend.replace(changed=changed)
        self.until(lambda: len(self.generations) > count or self.failures)
        assert not self.failures, self.failures
        number = self.generations[-1].number
        self.backend.acknowledged(number)
        self.backend.left(number)
        self.until(lambda: len(self.pids()) == 1)
        return self.generations[-1]

    def state(self) -> dict[str, Any]:
        with LinkClient(self.generations[-1].pages[0].address) as client:
            return dict(json.loads(client.get("/state").body))

    @property
    def spares(self) -> dict[str, Any]:
        return dict(self.backend.snapshot()["spares"])

    @property
    def used(self) -> str | None:
        used: str | None = self.spares["used"]
        return used

    def spare(self, stage: str) -> int:
        """The process id of a spare, once it is there."""
        self.until(lambda: "pid" in self.spares["stages"][stage] or "cannot share" in str(self.spares["stages"][stage]))
        found = self.spares["stages"][stage]
        assert "pid" in found, found
        return int(found["pid"])


@contextmanager
def ponds(inbox: Inbox, run_directory: Path, make_project: MakeProject) -> Iterator[MakePond]:
    """A function that makes them; ended with the block."""
    made: list[Pond] = []

    def make(settings: str = "", files: dict[str, str] | None = None, name: str = "project", **options: Any) -> Pond:
        given = {
            "pond/__init__.py": "",
            "pond/models.py": MODELS,
            "pond/views.py": VIEWS,
            "pond/late.py": "MARK = 'one'\n",
            **(files or {}),
        }
        project = make_project(urls=options.pop("urls", URLS), settings=SETTINGS + settings, files=given, name=name)
        made.append(Pond(inbox, project, run_directory, **options))
        return made[-1]

    yield make
    for pond in made:
        if not pond.stopped:
            pond.backend.kill()
            pond.stop(0)
        assert pond.backend.spare_pids == []
