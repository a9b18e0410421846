"""What a worker tells of a project's places, and what it reads again without being replaced; on one real project."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.conftest import change_project
from tests.backend.link_client import Worker

SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
TEMPLATES[0]["DIRS"] = ["templates", BASE_DIR / "more"]
TEMPLATES.append({"BACKEND": "mysite.other.Engine", "DIRS": [], "APP_DIRS": False, "OPTIONS": {}, "NAME": "other"})
STATICFILES_DIRS = [BASE_DIR / "assets", ("lib", BASE_DIR / "vendored")]
LOCALE_PATHS = [BASE_DIR / "texts"]
LANGUAGE_CODE = "de"
STATIC_ROOT = BASE_DIR / "collected"
"""

OTHER_ENGINE = """
from django.template.backends.base import BaseEngine

class Engine(BaseEngine):
    app_dirname = "other"

    def __init__(self, params):
        params.pop("OPTIONS")
        super().__init__({**params, "DIRS": ["others"]})
"""

URLS = """
import linked, mapped, shop.shared
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.urls import path
from django.utils.translation import gettext

urlpatterns = [
    path("page", lambda request: HttpResponse(render_to_string("page.html"))),
    path("text", lambda request: HttpResponse(gettext("Hello"))),
]
"""

# As pip and setuptools leave it for packages that are installed editable.
FINDER = """
import sys
from importlib.machinery import PathFinder

MAPPING = {{"mapped": {path!r}}}

class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in MAPPING:
            return PathFinder.find_spec(fullname, [MAPPING[fullname].rpartition("/")[0]])

def install():
    sys.meta_path.append(_EditableFinder)
"""

MANAGE = """
import site, sys
site.addsitedir({site!r})
from os import environ
def main():
    environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
if __name__ == "__main__":
    main()
"""


def write_catalogue(path: Path, text: str) -> None:
    """A compiled catalogue (gettext's .mo) in which "Hello" is `text`."""
    pairs = [(b"", b"Content-Type: text/plain; charset=UTF-8\n"), (b"Hello", text.encode())]
    path.parent.mkdir(parents=True, exist_ok=True)
    at, strings, tables = 28 + 16 * len(pairs), b"", []
    for column in (0, 1):
        for pair in pairs:
            tables += [len(pair[column]), at + len(strings)]
            strings += pair[column] + b"\0"
    path.write_bytes(struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
                     + struct.pack(f"<{len(tables)}I", *tables) + strings)  # fmt: skip


@pytest.fixture(scope="module")
def project(stock_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("places")
    project = Path(shutil.copytree(stock_project, directory / "src" / "project"))
    files = {
        "mysite/other.py": OTHER_ENGINE,
        "shop/__init__.py": "",
        "shop/templates/shop/a.html": "",
        "shop/static/shop/a.css": "",
        "templates/page.html": "one",
    }
    change_project(project, URLS, SETTINGS, files)
    write_catalogue(project / "texts" / "de" / "LC_MESSAGES" / "django.mo", "eins")
    for name in ("more", "assets", "vendored"):
        (project / name).mkdir()
    installed = directory / "lib" / "site-packages"
    (installed / "plain").mkdir(parents=True)
    for path in ("src/mapped-dist/mapped", "src/linked-dist/src/linked", "src/shared"):
        (directory / path).mkdir(parents=True)
        (directory / path / "__init__.py").touch()
    (project / "shop" / "shared").symlink_to(directory / "src" / "shared")
    (installed / "__editable__.linked-1.0.pth").write_text(f"{directory}/src/linked-dist/src\n")
    (installed / "__editable___mapped_1_0_finder.py").write_text(
        FINDER.format(path=f"{directory}/src/mapped-dist/mapped")
    )
    (installed / "__editable__.mapped-1.0.pth").write_text(
        "import __editable___mapped_1_0_finder; __editable___mapped_1_0_finder.install()\n"
    )
    # One that holds the project itself: what lies beside the project there is not watched with it.
    (installed / "whole.pth").write_text(f"{directory}/src\n")
    (project / "manage.py").write_text(MANAGE.format(site=str(installed)))
    return project


@pytest.fixture(scope="module")
def worker(project: Path) -> Iterator[Worker]:
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(project, sockets) as worker:
        worker.wait_ready()
        yield worker
    shutil.rmtree(sockets)


def test_templates_static_files_and_translations_of_the_project_are_told(worker: Worker, project: Path) -> None:
    facts = worker.ready
    templates = {str(project / name) for name in ("templates", "more", "others", "shop/templates")}
    assert templates <= set(facts["template_dirs"])
    assert facts["static_dirs"] == [
        ["", str(project / "assets")],
        ["lib", str(project / "vendored")],
        ["", str(project / "shop" / "static")],
    ]
    assert {str(project / "texts"), str(project / "shop" / "locale")} <= set(facts["locale_dirs"])


def test_what_installed_packages_bring_is_left_out(worker: Worker) -> None:
    told = [*worker.ready["template_dirs"], *worker.ready["locale_dirs"], *worker.ready["extra_roots"]]
    assert not [path for path in told if "site-packages" in path]


def test_packages_installed_editable_are_told_and_nothing_that_holds_the_project(worker: Worker, project: Path) -> None:
    source = project.parent
    names = ("linked-dist/src", "mapped-dist/mapped", "shared")  # the last by a link in the project
    assert worker.ready["extra_roots"] == [str(source / name) for name in names]


def refreshed(worker: Worker, *what: str) -> None:
    worker.command("refresh", what=list(what), number=7)
    event = worker.event()
    assert (event["event"], event["number"], event["problem"]) == ("refreshed", 7, "")


def test_templates_are_read_again_when_asked(worker: Worker, project: Path) -> None:
    with worker.client() as client:
        assert client.get("/page").body == b"one"
        (project / "templates" / "page.html").write_text("two")
        assert client.get("/page").body == b"one"  # Django keeps them
        refreshed(worker, "templates")
        assert client.get("/page").body == b"two"


def test_translations_are_read_again_when_asked(worker: Worker, project: Path) -> None:
    with worker.client() as client:
        assert client.get("/text").body == b"eins"
        write_catalogue(project / "texts" / "de" / "LC_MESSAGES" / "django.mo", "zwei")
        assert client.get("/text").body == b"eins"
        refreshed(worker, "templates", "translations")
        assert client.get("/text").body == b"zwei"
