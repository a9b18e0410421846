"""Python looks for garbage while a project serves as it would without Duck, and seldom while it is loaded."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.backend.pond import MODELS, MakePond

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject, MakeWorker
    from tests.backend.link_client import Worker

URLS = """
import gc, json
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
def state(request):
    for _ in range(5):
        gc.collect(0)
    return HttpResponse(json.dumps({
        "loaded": settings.LOOKS, "now": gc.get_threshold(), "enabled": gc.isenabled(), "frozen": gc.get_freeze_count(),
        "young": sum(len(gc.get_objects(generation)) for generation in (0, 1)), "all": len(gc.get_objects()),
    }))
urlpatterns = [path("state", state)]
"""
LOOKS = "import gc\nLOOKS = gc.get_threshold()[0]\n"


def state(worker: Worker) -> dict[str, Any]:
    with worker.client() as client:
        return dict(json.loads(client.get("/state").body))


@pytest.mark.parametrize("mode", ["runserver", "serve"])
def test_it_is_looked_seldom_while_a_project_is_loaded_and_as_ever_once_it_serves(
    make_project: MakeProject, make_worker: MakeWorker, mode: str
) -> None:
    import gc

    settings = LOOKS + "ALLOWED_HOSTS = ['*']\n"
    told = state(make_worker(make_project(urls=URLS, settings=settings), mode=mode).wait_ready())
    assert told["loaded"] > 50_000
    assert (tuple(told["now"]), told["enabled"], told["frozen"]) == (gc.get_threshold(), True, 0)
    # What was loaded is none of what is looked through first.
    assert told["all"] > 20_000 > 4 * told["young"]


def test_what_a_project_sets_is_left_so(make_project: MakeProject, make_worker: MakeWorker) -> None:
    settings = LOOKS + "gc.set_threshold(5000, 7, 9)\ngc.disable()\n"
    told = state(make_worker(make_project(urls=URLS, settings=settings)).wait_ready())
    assert (told["now"], told["enabled"]) == ([5000, 7, 9], False)


@pytest.mark.skipif(sys.platform != "linux", reason="spares are copies of processes, on Linux alone")
def test_garbage_that_was_not_looked_for_keeps_no_project_from_being_copied(make_pond: MakePond) -> None:
    code = "import socket\nclass Pair:\n    pass\npair = Pair()\n"
    code += "pair.self, pair.ends = pair, socket.socketpair()\ndel pair\n"
    pond = make_pond(files={"pond/models.py": MODELS + code})
    pond.start()
    pond.spare("urls")
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    assert pond.used == "setup"
    assert pond.state()["views"] == "two"
