"""The Django project that load is put on: each answer says which process made it, each request is noted when it enters.

    /pid /echo /sleep?s= /spin?s= /leak?mb= /noread /big?mb= /events?n=&every= /ws

A request that carries `X-Load-Id` is noted in `journal/<pid>` as it enters its process, with one `write`, which a
SIGKILL cannot take back: so it is known of a request without an answer which processes it was in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

JOURNAL = "journal"

_MANAGE = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""

_SETTINGS = """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "not-a-secret-of-anything"
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["things"]
MIDDLEWARE = ["site1.entering.note", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "site1.urls"
WSGI_APPLICATION = "site1.wsgi.application"
ASGI_APPLICATION = "site1.asgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATA_UPLOAD_MAX_MEMORY_SIZE = None
"""

_ENTERING = """\
import os
import time
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent.parent / "journal"
DIRECTORY.mkdir(exist_ok=True)
_file = os.open(DIRECTORY / str(os.getpid()), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def enter(load_id):
    if load_id:
        os.write(_file, f"{load_id} {time.monotonic():.6f}\\n".encode())


def note(get_response):
    def middleware(request):
        load_id = request.headers.get("X-Load-Id", "")
        enter(load_id)
        response = get_response(request)
        response.headers["X-Pid"] = str(os.getpid())
        response.headers["X-Load-Id"] = load_id
        return response

    return middleware
"""

_URLS = """\
import hashlib
import os
import time

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from site1.version import VERSION

MIB = 1 << 20
kept = []


def said(request, **more):
    return JsonResponse({"pid": os.getpid(), "id": request.headers.get("X-Load-Id", ""), "version": VERSION, **more})


def pid(request):
    return said(request)


def echo(request):
    body = request.body
    return said(request, length=len(body), sha1=hashlib.sha1(body).hexdigest())


def sleep(request):
    time.sleep(float(request.GET.get("s", "1")))
    return said(request)


def spin(request):
    end = time.monotonic() + float(request.GET.get("s", "1"))
    while time.monotonic() < end:
        pass
    return said(request)


def leak(request):
    kept.append(os.urandom(4096) * (int(request.GET.get("mb", "1")) * 256))
    return said(request, pieces=len(kept))


def noread(request):
    return said(request)


def big(request):
    return HttpResponse(b"0123456789abcdef" * (int(request.GET.get("mb", "1")) * MIB // 16), content_type="text/plain")


def events(request):
    count, every = int(request.GET.get("n", "10")), float(request.GET.get("every", "0.1"))

    def each():
        for number in range(count):
            yield f"data: {number} {os.getpid()}\\n\\n"
            time.sleep(every)

    return StreamingHttpResponse(each(), content_type="text/event-stream")


urlpatterns = [path(view.__name__, view) for view in (pid, echo, sleep, spin, leak, noread, big, events)]
"""

_WSGI = """\
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
application = get_wsgi_application()
"""

_ASGI = """\
import json
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
pages = get_asgi_application()

from site1.entering import enter  # noqa: E402


async def echo(scope, receive, send):
    names = {name: value for name, value in scope["headers"]}
    enter(names.get(b"x-load-id", b"").decode())
    while True:
        event = await receive()
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif event["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": json.dumps({"pid": os.getpid(), "text": event["text"]})})
        else:
            return


class Protocols:
    \"\"\"As ProtocolTypeRouter of Channels, which need not be installed.\"\"\"

    def __init__(self, mapping):
        self.application_mapping = mapping

    async def __call__(self, scope, receive, send):
        await self.application_mapping[scope["type"]](scope, receive, send)


application = Protocols({"http": pages, "websocket": echo})
"""

_MODELS = """\
from django.db import models


class Thing(models.Model):
    name = models.CharField(max_length=20)
"""

_MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Thing", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=20))]
        )
    ]
"""

# What a later version of the code brings, and nobody has applied.
LATER_MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("things", "0001_initial")]
    operations = [migrations.AddField("thing", "size", models.IntegerField(default=0))]
"""

_FILES = {
    "manage.py": _MANAGE,
    "site1/__init__.py": "",
    "site1/settings.py": _SETTINGS,
    "site1/entering.py": _ENTERING,
    "site1/urls.py": _URLS,
    "site1/wsgi.py": _WSGI,
    "site1/asgi.py": _ASGI,
    "site1/version.py": 'VERSION = "one"\n',
    "things/__init__.py": "",
    "things/models.py": _MODELS,
    "things/migrations/__init__.py": "",
    "things/migrations/0001_initial.py": _MIGRATION,
}


def make_project(directory: Path) -> Path:
    """Make it in `directory`, which need not exist, its database migrated; the directory."""
    for name, text in _FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=directory,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
    )
    return directory
