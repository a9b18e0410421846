"""The Django project that every Django server runs: `startproject`, four stock middlewares, DEBUG off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MEGABYTE = 1 << 20
DOWNLOAD_BYTES = 100 * MEGABYTE

SETTINGS = """

DEBUG = False
ALLOWED_HOSTS = ["*"]
# The admin asks for middlewares that are not among the four.
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "collected"
"""

URLS = """\
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

CHUNK = b"x" * 65536


def hello(request):
    return HttpResponse("Hello, World!")


@csrf_exempt
def upload(request):
    size = 0
    while chunk := request.read(65536):
        size += len(chunk)
    return HttpResponse(str(size))


def download(request):
    return StreamingHttpResponse((CHUNK for _ in range({chunks})), headers={{"Content-Length": str({size})}})


urlpatterns = [path("", hello), path("upload", upload), path("download", download)]
"""


def make_site(directory: Path) -> Path:
    """Make the project in `directory`; its path. `static/1k.css` and `static/1m.css` are collected."""
    site = directory / "site"
    site.mkdir()
    django = [sys.executable, "-m", "django", "startproject", "bench", str(site)]
    subprocess.run(django, check=True, capture_output=True)
    with (site / "bench" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (site / "bench" / "urls.py").write_text(URLS.format(chunks=DOWNLOAD_BYTES // 65536, size=DOWNLOAD_BYTES))
    collected = site / "collected"
    collected.mkdir()
    (collected / "1k.css").write_bytes(b"/* 1 KB */" + b" " * 1014)
    (collected / "1m.css").write_bytes(b"/* 1 MB */" + b" " * (MEGABYTE - 10))
    return site
