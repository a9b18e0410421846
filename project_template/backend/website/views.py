"""Django's views."""

import os
import platform
import shlex
import sys

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.shortcuts import render


def welcome(request):
    """The first page of a new project: what answers which URL."""
    # Duck's part of the processes that it starts is loaded under this name.
    through_duck = "_duck_worker" in sys.modules
    # The interpreter that has this project's packages need not be the one that `python` means in a terminal.
    python = [sys.executable, str(settings.BASE_DIR / "manage.py")] if settings.DEBUG else ["python", "manage.py"]
    return render(
        request,
        "welcome.html",
        {
            "django_version": django.get_version(),
            "python_version": platform.python_version(),
            "process_id": os.getpid(),
            "interface": "WSGI" if isinstance(request, WSGIRequest) else "ASGI",
            "through_duck": through_duck,
            "address": request.build_absolute_uri("/"),
            "account_command": shlex.join([*python, "createsuperuser"]),
            "client": request.META.get("REMOTE_ADDR") or "a Unix socket",
        },
    )


def echo(request):
    """A page with a WebSocket, which website/asgi.py answers."""
    return render(request, "echo.html")
