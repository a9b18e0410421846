"""A new project, served by `duck runserver` as it is."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
from websockets.sync.client import connect

from duck.cli.makeproject import make_project
from tests.reports import report

if TYPE_CHECKING:
    from tests.cli.machine import Machine

ADD_USER = (
    "import django; django.setup();"
    "from django.contrib.auth.models import User; User.objects.create_superuser('donald', password='quack')"
)


def test_both_sides_the_admin_and_websockets_answer_at_once(machine: Machine) -> None:
    pond = make_project("pond", machine.base)
    machine.start(pond, until="is ready")
    status = report(machine.base, pond)
    url = status["addresses"][0]
    # The database was migrated by DJANGO_COMMANDS_ON_STARTUP.
    environ = machine.environ | {"DJANGO_SETTINGS_MODULE": "website.settings"}
    subprocess.run([sys.executable, "-c", ADD_USER], cwd=pond / "backend", env=environ, check=True, timeout=30)

    with httpx.Client(base_url=url, follow_redirects=True, trust_env=False, timeout=60) as client:
        page = client.get("/").text
        assert "Duck stands in front of it at <code>" + url + "/</code>" in page
        assert "through WSGI" in page
        assert f"{pond / 'backend' / 'manage.py'} createsuperuser</code>" in page
        assert "for 127.0.0.1" in page or "for ::1" in page
        assert "<h1>Hello you!</h1>" in client.get("/duck/hello/", params={"name": "you"}).text
        assert client.get("/duck/status.json").json()["answered_by"] == "duck"
        assert client.get("/static/admin/css/base.css").headers["content-type"].startswith("text/css")
        assert client.get("/duck/other/").status_code == 404
        login = client.get("/admin/")
        form = {"username": "donald", "password": "quack", "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        done = client.post(login.url, data=form, headers={"Origin": url})
        assert done.status_code == 200
        assert done.url.path == "/admin/"

    with connect(url.replace("http", "ws") + "/ws/echo/", proxy=None) as socket:
        socket.send("quack")
        assert socket.recv(timeout=5) == "quack"
        socket.send(b"\0" * 70_000)
        assert socket.recv(timeout=5) == b"\0" * 70_000
