"""`duck routes`: what it says is what a site does."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import Duck, variables

Ask = Callable[..., subprocess.CompletedProcess[str]]
Routes = Callable[..., Any]

SERVE = ("--mode", "serve", *(("--user", "root") if os.geteuid() == 0 else ()))

URLS = """
from functools import partial
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views import View

def pond(request, **given):
    return HttpResponse("pond")

class Reeds(View):
    def get(self, request):
        return HttpResponse("reeds")

below = ([path("<int:number>/", pond, name="one"), re_path(r"^deep/$", partial(pond, depth=3))], "ponds")
urlpatterns = [
    path("", pond, name="home"),
    path("reeds/", Reeds.as_view(), name="reeds"),
    path("ponds/", include(below, namespace="big")),
]
"""


def make_site(project: Path) -> Path:
    (project / "site1" / "urls.py").write_text(URLS)
    (project / "reeds" / "static").mkdir(parents=True)
    (project / "reeds" / "__init__.py").touch()
    (project / "reeds" / "static" / "reed.txt").write_text("reed")
    (project / "uploads").mkdir()
    (project / "uploads" / "a.txt").write_text("a")
    with open(project / "site1" / "settings.py", "a") as file:
        file.write("INSTALLED_APPS += ['reeds']\nMEDIA_ROOT = BASE_DIR / 'uploads'\nMEDIA_URL = '/media/'\n")
    return project


@pytest.fixture(scope="module")
def site(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, which none of them alters."""
    return make_site(Path(shutil.copytree(made_project, tmp_path_factory.mktemp("site") / "project")))


@pytest.fixture
def own_site(project: Path) -> Path:
    return make_site(project)


@pytest.fixture(scope="module")
def duck(site: Path) -> Iterator[Duck]:
    """It serves the site."""
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as run_dir:
        command = [sys.executable, "-m", "duck", "runserver", "--port", "0", "--no-reload"]
        duck = Duck(command, site, variables(Path(run_dir), Path(run_dir) / "state"))
        duck.wait_for("is ready after")
        yield duck
        duck.close()


@pytest.fixture
def routes(ask_here: Ask, site: Path) -> Routes:
    return telling(ask_here, site)


def telling(ask: Ask, site: Path) -> Routes:
    def run(*arguments: str, cwd: Path = site, **environ: str) -> Any:
        done = ask(cwd, "routes", "--json", *arguments, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


class TestTheTable:
    def test_is_flat_and_in_the_order_in_which_it_is_tried(self, routes: Routes, site: Path) -> None:
        table = routes()["routes"]
        assert [(row["side"], row["pattern"], row["name"], row["view"]) for row in table] == [
            ("static", "/static/…", None, "the finders"),
            ("media", "/media/…", None, str(site / "uploads")),
            ("reserved", "/.duck/…", None, "Duck's own"),
            ("django", "/", "home", "site1.urls.pond"),
            ("django", "/reeds/", "reeds", "site1.urls.Reeds"),
            ("django", "/ponds/<int:number>/", "big:one", "site1.urls.pond"),
            ("django", "/ponds/deep/$", None, "site1.urls.pond"),
        ]

    def test_in_production_is_another(self, routes: Routes) -> None:
        assert {row["side"] for row in routes(*SERVE)["routes"]} == {"static", "django"}

    def test_has_the_prefix(self, routes: Routes) -> None:
        patterns = [row["pattern"] for row in routes("--prefix", "/shop")["routes"]]
        assert "/shop/reeds/" in patterns
        assert "/shop/static/…" in patterns

    def test_is_aligned_for_people(self, ask: Ask, site: Path) -> None:
        lines = ask(site, "routes").stdout.splitlines()
        assert lines[0] == "answered by  pattern               name     view"
        assert lines[5] == "django       /reeds/               reeds    site1.urls.Reeds"


@pytest.mark.parametrize(
    ("path", "side", "view", "reason"),
    [
        ("/", "django", "site1.urls.pond", "/ matches, called home."),
        ("/ponds/7/?page=2", "django", "site1.urls.pond", "/ponds/<int:number>/ matches, called big:one."),
        ("http://localhost:8000/reeds/#top", "django", "site1.urls.Reeds", "/reeds/ matches, called reeds."),
        ("/%72eeds/", "django", "site1.urls.Reeds", "/reeds/ matches, called reeds."),
        ("/ponds/x/../7/", "django", "", "No pattern matches"),
        ("/reeds", "django", "", "with a slash behind it one does"),
        ("/nothing/", "django", "", "No pattern matches: Django answers 404"),
        ("/static/reed.txt", "static", "reeds/static/reed.txt", "STATIC_URL is /static/, and the file is there."),
        ("/%73tatic/reed.txt", "static", "reeds/static/reed.txt", "STATIC_URL is /static/, and the file is there."),
        ("/media/a.txt", "media", "uploads/a.txt", "MEDIA_URL is /media/, and the file is there."),
        ("/.duck/ready", "reserved", "Duck's own", "In development"),
    ],
)
def test_one_path_has_one_answer_with_its_reason_and_that_is_served(
    routes: Routes, duck: Duck, path: str, side: str, view: str, reason: str
) -> None:
    said = routes(path)
    assert said["side"] == side
    assert said["view"].endswith(view) if view else said["view"] == ""
    assert reason in said["reason"]
    if side != "reserved" and path.startswith("/"):
        assert (status_of(duck, path) == 200) == bool(said["view"])


def status_of(duck: Duck, path: str) -> int:
    """Not by httpx, which resolves the dots itself."""
    connection = http.client.HTTPConnection("localhost", int(duck.url.rpartition(":")[2]), timeout=20)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_file_that_is_not_there_goes_on_to_the_views(routes: Routes, duck: Duck) -> None:
    said = routes("/static/nope.css")
    assert said["side"] == "django"
    assert said["view"] == "" and status_of(duck, "/static/nope.css") == 404
    assert said["passed"] == [
        "STATIC_URL is /static/, and there is no file nope.css in the finders: it goes on to the views."
    ]
    assert "no name that may be served" in routes("/static/.hidden")["passed"][0]


def test_beside_the_prefix_nobody_answers(routes: Routes) -> None:
    assert routes("/reeds/", "--prefix", "/shop")["side"] == "nobody"
    said = routes("/shop/reeds/", "--prefix", "/shop")
    assert (said["view"], said["reason"]) == ("site1.urls.Reeds", "/shop/reeds/ matches, called reeds.")


def test_a_project_that_cannot_be_loaded_is_one_sentence(ask: Ask, own_site: Path) -> None:
    (own_site / "site1" / "urls.py").write_text("1 / 0\n")
    done = ask(own_site, "routes")
    assert done.returncode == 1
    assert "cannot be told: ZeroDivisionError: division by zero; mend it at" in done.stderr
    assert len(done.stderr.splitlines()) == 1


class TestADuckProject:
    @pytest.fixture
    def routes(self, ask: Ask, site: Path) -> Routes:
        """By a process of its own: it imports the Duck project."""
        return telling(ask, site)

    @pytest.fixture
    def pond(self, site: Path, tmp_path: Path) -> Path:
        directory = tmp_path / "pond"
        directory.mkdir()
        (directory / "main.py").write_text("from duck.app import App\nApp().run()\n")
        (directory / "settings.py").write_text(
            f"DJANGO_PROJECT = {str(site)!r}\nDJANGO_SIDE_URLS = ['/own/secret']\nDUCK_EXPLICIT_URLS = ['/duck/.*']\n"
        )
        (directory / "urls.py").write_text(
            "from duck.urls import path\n"
            "def own(request, name):\n    return 'own'\n"
            "urlpatterns = [path('/own/<name>', own, name='own', methods=['GET'])]\n"
        )
        return directory

    def test_lists_its_own_routes_before_those_of_django(self, routes: Routes, pond: Path) -> None:
        table = routes(cwd=pond)["routes"]
        assert [row["side"] for row in table] == ["static", "media", "reserved", "duck", *["django"] * 4]
        assert table[3] == {
            "side": "duck",
            "pattern": "/own/<name>",
            "name": "own",
            "view": "urls.own",
            "methods": ["GET", "HEAD"],
        }

    @pytest.mark.parametrize(
        ("path", "side", "view", "reason"),
        [
            ("/own/7", "duck", "urls.own", "/own/<name> of Duck's urlpatterns matches."),
            ("/own/secret", "django", "", "DJANGO_SIDE_URLS says that it is Django's; no pattern matches"),
            ("/duck/x", "duck", "", "DUCK_EXPLICIT_URLS says that it is Duck's, and none of Duck's urlpatterns"),
            ("/reeds/", "django", "site1.urls.Reeds", "None of Duck's urlpatterns matches; /reeds/ matches"),
        ],
    )
    def test_decides_as_its_settings_say(
        self, routes: Routes, pond: Path, path: str, side: str, view: str, reason: str
    ) -> None:
        said = routes(path, cwd=pond)
        assert (said["side"], said["view"]) == (side, view)
        assert said["reason"].startswith(reason)

    def test_that_hangs_is_reported_with_the_line(self, ask: Ask, pond: Path) -> None:
        (pond / "urls.py").write_text("import time\ntime.sleep(1000)\n")
        done = ask(pond, "routes", "--timeout", "1")
        assert done.returncode == 1
        assert f"is still at {pond / 'urls.py'}:2; see to that line" in done.stderr


def test_a_front_end_has_its_own_paths_and_modules(ask_here: Ask, own_site: Path) -> None:
    source = own_site / "frontend" / "src"
    source.mkdir(parents=True)
    (source / "main.ts").touch()
    tools = source.parent / "node_modules" / ".bin"
    tools.mkdir(parents=True)
    (tools / "vite").touch(0o755)
    (source.parent / "package.json").write_text('{"devDependencies": {"vite": "^5"}}')
    (source.parent / "vite.config.ts").write_text("export default { base: '/static/' }")

    def asked(path: str, *arguments: str) -> Any:
        return json.loads(ask_here(own_site, "routes", "--json", path, *arguments, DUCK_FRONTEND_PATHS="/ws").stdout)

    assert asked("/static/@vite/client")["side"] == "frontend"
    assert asked("/ws")["side"] == "frontend"
    found = asked("/static/src/main.ts")
    assert (found["side"], found["view"]) == ("frontend", "vite")
    assert found["reason"] == f"Asked for as a module it is the source file of that name in {source.parent}."
    assert asked("/static/a b.ts")["side"] == "django"
    assert asked("/static/@vite/client", *SERVE)["side"] == "django"
    assert asked("/static/@vite/client", "--no-frontend")["side"] == "django"
    rows = json.loads(ask_here(own_site, "routes", "--json").stdout)["routes"]
    assert [row["pattern"] for row in rows if row["side"] == "frontend"] == [
        "/static/@vite/…",
        f"/static/…, modules in {source.parent}",
    ]
