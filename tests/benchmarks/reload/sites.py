"""The two sites whose files are edited: one of `startproject`, one of `wagtail start`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from tests.benchmarks.servers import Missing
from tests.environments import Absent, made
from tests.projects.recipes import Project, Tool, make

PYTHON: Final = "3.12"
REQUIREMENTS: Final = (
    "wagtail>=7",
    "Django>=5.2,<5.3",
    "granian[reload]>=2,<3",
    "uvicorn[standard]>=0.30",
    "django-browser-reload>=1.18",
)
PLAIN: Final = "startproject"
WAGTAIL: Final = "wagtail"

VIEWS = """\
from django.http import HttpResponse
from django.shortcuts import render

TEXT = "view 0 ;"


def echo(request, response):
    response["X-Load-Id"] = request.headers.get("X-Load-Id", "")
    return response


def view(request):
    return echo(request, HttpResponse(TEXT, content_type="text/plain"))


def page(request):
    return echo(request, render(request, "probe/page.html"))
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head><title>Page</title></head>
<body><p>template 0 ;</p></body>
</html>
"""

URLS = """

from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from probe import views as probe  # noqa: E402

TEXT = "urls 0 ;"


def numbered(request):
    return probe.echo(request, HttpResponse(TEXT, content_type="text/plain"))


urlpatterns = [
    path("probe/view", probe.view),
    path("probe/page", probe.page),
    path("probe/urls", numbered),
    *urlpatterns,
]
"""

ASGI = """\
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")
application = get_asgi_application()
"""


def startproject(tool: Tool) -> None:
    """`django-admin startproject`, its database migrated."""
    tool.startproject("mysite", ".")
    tool.manage("migrate", "-v0")


def wagtail(tool: Tool) -> None:
    """`wagtail start`, its database migrated."""
    tool.run("wagtail", "start", "mysite", ".")
    tool.manage("migrate", "-v0")


RECIPES: Final = {PLAIN: startproject, WAGTAIL: wagtail}


def make_sites() -> dict[str, Project]:
    """Both, by name; made once and kept.

    Raises:
        Missing: their environment cannot be had.
    """
    try:
        made(PYTHON, REQUIREMENTS)
    except Absent as why:
        raise Missing(str(why)) from None
    return {name: make(recipe, PYTHON, *REQUIREMENTS) for name, recipe in RECIPES.items()}


def make_plain(directory: Path) -> Path:
    """The site of `startproject` in `directory`, by the Django of this interpreter."""
    directory.mkdir()
    startproject(Tool(sys.executable, directory, {}))
    return directory


def copy(project: Path, directory: Path) -> Path:
    """A copy of a site for one server, with what is edited and asked for: an app with a view and a template, and a view
    in the URLconf itself; and with the ASGI entry, which `wagtail start` leaves out.
    """
    shutil.copytree(project, directory, symlinks=True)
    site = Tool(sys.executable, directory, {})
    split = (directory / "mysite" / "settings").is_dir()
    site.install("probe", settings="mysite/settings/base.py" if split else "mysite/settings.py")
    site.write("probe/__init__.py", "")
    site.write("probe/views.py", VIEWS)
    site.write("probe/templates/probe/page.html", PAGE)
    site.append("mysite/urls.py", URLS)
    site.write("mysite/asgi.py", ASGI.format(settings="mysite.settings.dev" if split else "mysite.settings"))
    return directory


def fill(directory: Path, files: int) -> None:
    """Add a tree of so many files, 20 in each directory: one of eight is Python, as much are templates and styles."""
    endings = ("py", "html", "css", "js", "json", "md", "svg", "txt")
    for number in range(files):
        below = directory / "tree" / f"part{number // 400}" / f"piece{number // 20 % 20}"
        if number % 20 == 0:
            below.mkdir(parents=True)
        (below / f"file{number % 20}.{endings[number % len(endings)]}").write_text("")
