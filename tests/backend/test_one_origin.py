"""The addresses that django-vite writes, beside a front end that Duck serves."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

ASKED = """
import json, sys
from django.conf import settings
told = json.loads(sys.argv[1])
settings.configure(
    DEBUG=told["debug"], INSTALLED_APPS=told["apps"], STATIC_URL="/static/", STATIC_ROOT="/nowhere",
    DJANGO_VITE=told["vite"],
)
import django
django.setup()
from duck.backend.django.worker.frontend import one_origin
said = [one_origin(), one_origin()][0]
urls = []
if told["apps"]:
    from django_vite.core.asset_loader import DjangoViteAssetLoader
    for name in told["vite"]:
        urls.append(DjangoViteAssetLoader.instance()._apps[name].get_dev_server_url("src/a.js"))
print(json.dumps([said, urls]))
"""


def ask(vite: dict[str, Any], *, debug: bool = True, apps: tuple[str, ...] = ("django_vite",)) -> tuple[Any, Any]:
    told = json.dumps({"vite": vite, "debug": debug, "apps": apps})
    done = subprocess.run([sys.executable, "-c", ASKED, told], capture_output=True, text=True, timeout=50, check=True)
    said, urls = json.loads(done.stdout)
    return said, urls


@pytest.mark.parametrize(
    "where", [{}, {"dev_server_protocol": "https", "dev_server_host": "vite", "dev_server_port": 1}]
)
def test_they_are_paths_whatever_server_is_named(where: dict[str, Any]) -> None:
    assert ask({"default": {"dev_mode": True, **where}}) == ([], ["/static/src/a.js"])


def test_of_two_applications_of_one_server_all_are_paths() -> None:
    vite = {"default": {"dev_mode": True}, "other": {"dev_mode": True, "static_url_prefix": "other"}}
    assert ask(vite) == ([], ["/static/src/a.js", "/static/other/src/a.js"])


def test_those_of_several_servers_stay_and_that_is_said() -> None:
    vite = {"default": {"dev_mode": True}, "other": {"dev_mode": True, "dev_server_port": 5174}}
    said, urls = ask(vite)
    assert urls == ["http://localhost:5173/static/src/a.js", "http://localhost:5174/static/src/a.js"]
    assert said == [
        "django-vite has several development servers (http://localhost:5173, http://localhost:5174); their URLs stay as"
        " they are."
    ]


def test_without_debug_or_django_vite_nothing_is_touched() -> None:
    assert ask({"default": {"dev_mode": True}}, debug=False) == ([], ["http://localhost:5173/static/src/a.js"])
    assert ask({}, apps=()) == ([], [])
