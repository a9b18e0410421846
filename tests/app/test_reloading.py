"""`duck runserver` and files that are saved: each change costs what it must, in front of a real project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.app.conftest import ROOT, Duck
from tests.waiting import wait_until

SETTINGS = """
import os
for line in open(BASE_DIR / ".env"):
    name, _, value = line.strip().partition("=")
    os.environ[name] = value
COLOUR = os.environ["COLOUR"]
import json
SIZES = json.loads((BASE_DIR / "sizes.json").read_text())
TEMPLATES[0]["DIRS"] = [BASE_DIR.parent / "shared"]
STATICFILES_DIRS = [BASE_DIR / "assets"]
"""

URLS = """
import os
import lib
from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from site1.version import VERSION

urlpatterns = [
    path("", lambda request: HttpResponse(f"{VERSION} {settings.COLOUR} {lib.NAME}")),
    path("pid", lambda request: HttpResponse(str(os.getpid()))),
    path("sizes", lambda request: HttpResponse(str(settings.SIZES))),
    path("page", lambda request: render(request, "page.html")),
]
"""


class Site:
    """A project beside a directory of templates and a library, in front of which a Duck stands for all tests here."""

    def __init__(self, duck: Duck, directory: Path) -> None:
        self.duck = duck
        self.directory = directory
        self.project = directory / "project"
        self.ready = 1

    def save(self, name: str, text: str) -> None:
        """As most editors do."""
        path = self.directory / name
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(text)
        os.replace(temporary, path)

    def until(self, path: str, text: str) -> None:
        wait_until(lambda: self.duck.get(path).text == text)

    def wait_ready(self, more: int = 1) -> None:
        """Until Django has been loaded so many times more."""
        self.ready += more
        self.duck.wait_for("is ready after", times=self.ready)

    def until_watched(self) -> None:
        """The project's places are known, and watched, a moment after it is ready: until one outside of it is."""
        mark, last = self.directory / "shared" / "mark.html", self.directory / "shared" / "last.html"

        def seen() -> bool:
            mark.write_text(str(time.monotonic()))
            return mark.name in self.duck.text

        wait_until(seen)
        last.touch()  # what was told of before is over with this
        wait_until(lambda: last.name in self.duck.text)

    @property
    def pid(self) -> str:
        return self.duck.get("/pid").text


@pytest.fixture(scope="module")
def site(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("reloading")
    project = Path(shutil.copytree(made_project, directory / "project"))
    with (project / "site1" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (project / "site1" / "urls.py").write_text(URLS)
    (project / "site1" / "version.py").write_text("VERSION = 1\n")
    (project / ".env").write_text("COLOUR=red\n")
    (project / "sizes.json").write_text("[1]")
    for name in ("shared", "lib/lib", "project/assets"):
        (directory / name).mkdir(parents=True)
    (directory / "shared" / "page.html").write_text("one")
    (directory / "lib" / "lib" / "__init__.py").write_text("NAME = 'first'\n")
    (project / "assets" / "site.css").write_text("a {}\n")
    subprocess.run(["git", "init", "-q", "-b", "main", str(project)], check=True)
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as run:
        dropped = ("DUCK_", "DJANGO_", "RUNTIME_DIRECTORY", "STATE_DIRECTORY")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(dropped)} | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(directory / "lib")]),
            "XDG_RUNTIME_DIR": run,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        duck = Duck([sys.executable, "-m", "duck", "runserver", "--port", "0"], project, environ)
        made = Site(duck, directory)
        made.until("/", "1 red first")
        made.until_watched()
        yield made
        duck.close()


def unchanged(site: Site, change: Callable[[], None], said: str) -> None:
    """Django is the same process after `change`, of which is `said` that it was seen."""
    before = site.pid
    times = sum(said in line for line in site.duck.text.splitlines())
    change()
    site.duck.wait_for(said, times=times + 1)
    assert site.pid == before


def test_a_template_is_shown_by_the_process_that_runs(site: Site) -> None:
    assert site.duck.get("/page").text == "one"
    unchanged(site, lambda: site.save("shared/page.html", "two"), "Changed: ../shared/page.html.")
    site.until("/page", "two")


def test_a_style_sheet_is_served_by_the_process_that_runs(site: Site) -> None:
    unchanged(site, lambda: site.save("project/assets/site.css", "b {}\n"), "Changed: assets/site.css.")
    assert site.duck.get("/static/site.css").text == "b {}\n"


def test_code_is_loaded_by_a_new_process(site: Site) -> None:
    before = site.pid
    site.save("project/site1/version.py", "VERSION = 2\n")
    site.until("/", "2 red first")
    assert site.pid != before
    site.wait_ready()


def test_an_environment_file_is_read_by_a_new_process(site: Site) -> None:
    site.save("project/.env", "COLOUR=blue\n")
    wait_until(lambda: site.duck.get("/").text.split()[1] == "blue")
    site.wait_ready()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a start reads is known where spares are")
def test_a_file_that_the_settings_read_counts_whatever_its_name_is(site: Site) -> None:
    site.save("project/sizes.json", "[1, 2]")
    site.until("/sizes", "[1, 2]")
    site.wait_ready()


def test_a_library_that_is_worked_on_beside_the_project_counts_like_the_project(site: Site) -> None:
    site.save("lib/lib/__init__.py", "NAME = 'second'\n")
    wait_until(lambda: site.duck.get("/").text.split()[2] == "second")
    site.wait_ready()


def test_a_syntax_error_changes_nothing_until_it_is_mended(site: Site) -> None:
    before = site.pid
    site.save("project/site1/version.py", "VERSION = (\n")
    assert "version.py:1" in site.duck.wait_for("what runs keeps running")
    assert site.pid == before
    site.save("project/site1/version.py", "VERSION = 3\n")
    wait_until(lambda: site.duck.get("/").text.startswith("3 "))
    site.wait_ready()


def test_a_branch_that_is_switched_is_one_new_process(site: Site) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "gc.auto=0"]
        subprocess.run(["git", "-C", str(site.project), *who, *arguments], check=True, capture_output=True)

    site.save("project/site1/version.py", "VERSION = 3\n")
    wait_until(lambda: site.duck.get("/").text.startswith("3 "))
    site.wait_ready()
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    for number in range(200):
        (site.project / "site1" / f"m{number}.py").write_text("x = 1\n")
    site.save("project/site1/version.py", "VERSION = 4\n")
    wait_until(lambda: site.duck.get("/").text.startswith("4 "))
    site.wait_ready()
    git("add", ".")
    git("commit", "-qm", "two")
    times = site.duck.text.count("loading Django again")
    for branch, version in (("main", "3 "), ("other", "4 ")):
        git("checkout", "-q", branch)
        wait_until(lambda version=version: site.duck.get("/").text.startswith(version))  # type: ignore[misc]
        site.wait_ready()
        times += 1
        assert site.duck.text.count("loading Django again") == times
    assert "and 198 more; loading Django again" in site.duck.text
