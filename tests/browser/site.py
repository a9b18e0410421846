"""The Django project that a browser is sent to: pages, a form, an upload, events, a WebSocket, the admin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SETTINGS = """

DEBUG = False
ALLOWED_HOSTS = ["localhost"]
ASGI_APPLICATION = "website.asgi.application"
STATIC_ROOT = BASE_DIR / "collected"
STATICFILES_DIRS = [BASE_DIR / "assets"]
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_SSL_REDIRECT = True
# The one for real takes half a second of a processor for each password.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""

_URLS = '''
import time

from django.contrib import admin
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.csrf import csrf_protect

PAGE = """<!doctype html>
<html lang=en><title>Home</title><link rel=stylesheet href=/static/site.css>
<h1 id=title>Home</h1><p id=scheme>{scheme}</p><img src=/static/dot.svg alt=dot>
<form method=post action=/form enctype=multipart/form-data>
<input type=hidden name=csrfmiddlewaretoken value="{token}">
<input name=name id=name><input type=file name=file id=file><button id=send>Send</button></form></html>"""


def home(request):
    return HttpResponse(PAGE.format(scheme=request.scheme, token=get_token(request)))


@csrf_protect
def form(request):
    request.session["name"] = request.POST["name"]
    request.session["size"] = request.FILES["file"].size if "file" in request.FILES else 0
    return redirect("done")


def done(request):
    name, size = request.session["name"], request.session["size"]
    return HttpResponse(f"<title>Done</title><p id=name>{name}</p><p id=size>{size}</p>")


def number(request, number):
    return JsonResponse({"number": number, "secure": request.is_secure(), "padding": "x" * (number * 100)})


def events(request):
    def each():
        for number in range(5):
            yield f"id: {number}\\ndata: event {number}\\n\\n"
            time.sleep(0.05)

    return StreamingHttpResponse(each(), content_type="text/event-stream")


urlpatterns = [
    path("", home),
    path("form", form),
    path("done", done, name="done"),
    path("number/<int:number>", number),
    path("events", events),
    path("admin/", admin.site.urls),
]
'''

_ASGI = """\
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")


async def echo(scope, receive, send):
    while True:
        event = await receive()
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif event["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": scope["scheme"] + " " + event["text"]})
        else:
            return


class Protocols:
    def __init__(self, mapping):
        self.application_mapping = mapping

    async def __call__(self, scope, receive, send):
        await self.application_mapping[scope["type"]](scope, receive, send)


application = Protocols({"http": get_asgi_application(), "websocket": echo})
"""

# By one process: each would load the project again.
_FILL = """
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
User.objects.create_superuser("ada", "ada@example.test", "lovelace")
"""


def make_site(directory: Path) -> Path:
    """The project in `directory`: its database migrated, its static files collected, `ada` its administrator."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("DJANGO_SETTINGS_MODULE", None)

    def django(*arguments: str) -> None:
        command = [sys.executable, "-m", "django"] if arguments[0] == "startproject" else [sys.executable, "manage.py"]
        subprocess.run([*command, *arguments], cwd=directory, env=environ, check=True, capture_output=True)

    directory.mkdir(parents=True, exist_ok=True)
    django("startproject", "website", str(directory))
    with (directory / "website" / "settings.py").open("a") as settings:
        settings.write(_SETTINGS)
    (directory / "website" / "urls.py").write_text(_URLS)
    (directory / "website" / "asgi.py").write_text(_ASGI)
    assets = directory / "assets"
    assets.mkdir()
    (assets / "site.css").write_text("h1 { color: rgb(1, 2, 3); }\n")
    (assets / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n')
    django("shell", "-c", _FILL)
    return directory
