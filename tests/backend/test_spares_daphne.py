"""A project with Daphne among its applications, which makes a loop, and installs a reactor, as it is imported."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from duck.backend.django.discover import Interpreter
from tests.backend.conftest import LENGTHS
from tests.backend.pond import MODELS, URLS, VIEWS, MakePond, Pond
from tests.backend.test_worker_asgi import echo, fetch
from tests.environments import environment

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="spares are copies of processes, on Linux alone"),
    pytest.mark.timeout(180),  # the first time an environment is made
]
DAPHNE = ("channels", "daphne", "Django>=5.2,<5.3")

SETTINGS = """
INSTALLED_APPS.insert(0, "daphne")
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""
ASGI = """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_application = get_asgi_application()
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.generic.websocket import WebsocketConsumer
from django.urls import path

class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data)

application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter([path("echo", Echo.as_asgi())])})
"""


def state_of(pond: Pond) -> dict[str, Any]:
    """As the view says, once a consumer has answered as well."""
    worker: Any = SimpleNamespace(ready={"address": pond.generations[-1].pages[0].address})
    identity = f"{pond.backend._starts.launcher.secret} http 127.0.0.1 1 localhost 80"
    status, told = fetch(worker, "/state", identity)
    assert status == 200, told
    assert echo(worker, "hi", identity) == "hi"
    return dict(json.loads(told))


def test_it_goes_on_from_a_spare_and_serves(make_pond: MakePond) -> None:
    python = environment("3.11", DAPHNE)
    pond = make_pond(
        SETTINGS + LENGTHS,
        {"mysite/asgi.py": ASGI, "pond/models.py": MODELS, "pond/views.py": VIEWS},
        urls=URLS,
        interpreter=Interpreter(python, "the tests", "3.11", "5.2"),
    )
    pond.start()
    assert pond.generations[0].facts["asgi_server"].startswith("daphne")
    first = state_of(pond)
    for mark in ("two", "three", "four"):
        pond.spare("urls")
        before = (pond.project / "pond" / "views.py").read_text()
        pond.replace(pond.write("pond/views.py", before.replace("MARK = ", f"MARK = '{mark}' or ", 1)))
        assert pond.used == "setup"
        told = state_of(pond)
        assert (told["views"], told["loaded_by"]) == (mark, first["pid"])
    pond.spare("urls")
    pond.replace(pond.write("pond/late.py", "MARK = 'two'\n"))
    assert (pond.used, state_of(pond)["late"]) == ("urls", "two")
