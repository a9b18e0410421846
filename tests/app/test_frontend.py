"""`duck runserver` beside a front-end server: started, served at the same address, and gone with Duck."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets.sync.client

from tests.alive import is_alive, still_alive
from tests.app.conftest import DEADLINE_S, ROOT, Duck
from tests.waiting import wait_until

Start = Callable[..., Duck]

SERVER = ROOT / "tests" / "frontend_server.py"
COMMAND = f"{sys.executable} {SERVER}"

URLS = """
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

urlpatterns = [path("", lambda request: render(request, "page.html"))]
"""

PAGE = """{% load django_vite static %}
{% vite_hmr_client %}
{% vite_asset 'src/main.js' %}
<link rel="stylesheet" href="{% static 'site.css' %}">
"""

SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "django_vite"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "collected"
STATICFILES_DIRS = [BASE_DIR / "assets"]
DJANGO_VITE = {"default": {"dev_mode": True, "dev_server_port": 5999}}
"""


def make_front_end(project: Path, *, toml: str = "") -> Path:
    """Make `project` one whose pages have modules in `frontend`; returns that directory."""
    (project / "site1" / "urls.py").write_text(URLS)
    with (project / "site1" / "settings.py").open("a") as file:
        file.write(SETTINGS)
    (project / "templates").mkdir()
    (project / "templates" / "page.html").write_text(PAGE)
    (project / "assets").mkdir()
    (project / "assets" / "site.css").write_text("a {}")
    source = project / "frontend" / "src"
    source.mkdir(parents=True)
    (source / "main.js").write_text("import './name.js'")
    (project / "duck.toml").write_text(toml)
    return source.parent


def told(duck: Duck) -> dict[str, Any]:
    """What the server says of itself, by way of Duck."""
    found: dict[str, Any] = duck.get("/static/@vite/client").json()
    return found


@pytest.fixture(scope="module")
def served(whole_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duck]:
    """A project with a front end, served with its server; the directory of the latter is `cwd` of it."""
    where = tmp_path_factory.mktemp("front-end")
    project = Path(shutil.copytree(whole_project, where / "project"))
    make_front_end(project, toml=f'frontend_command = "{COMMAND}"\nfrontend_dir = "frontend"\n')
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DUCK_", "DJANGO_"))}
    environ = kept | {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(where), "XDG_STATE_HOME": str(where)}
    os.chmod(where, 0o700)
    duck = Duck([sys.executable, "-m", "duck", "runserver", "--port", "0", "--no-reload"], project, environ)
    try:
        duck.wait_for("is ready after")
        yield duck
    finally:
        duck.close()


class TestOneOrigin:
    def test_a_page_of_django_vite_has_paths_alone_and_each_is_answered(self, served: Duck) -> None:
        served.wait_for("frontend is ready after")
        page = served.get().text
        assert 'src="/static/@vite/client"' in page
        assert 'src="/static/src/main.js"' in page
        assert "5999" not in page
        module = {"Sec-Fetch-Dest": "script", "Sec-Fetch-Mode": "cors"}
        assert served.get("/static/src/main.js", headers=module).text == "served: import './name.js'"
        assert served.get("/static/site.css").text == "a {}"
        assert served.get("/static/admin/css/base.css").status_code == 200

    def test_what_it_prints_stands_in_the_console_and_the_banner_names_it(self, served: Duck) -> None:
        served.wait_for("frontend |   press h + enter")
        assert (
            served.wait_for("Front end  ").split(maxsplit=2)[2].startswith(f"{Path(sys.executable).name} {SERVER} in")
        )

    def test_its_socket_passes(self, served: Duck) -> None:
        url = served.url.replace("http:", "ws:") + "/static/?token=x"
        with websockets.sync.client.connect(url, subprotocols=["vite-hmr"], origin=served.url, proxy=None) as socket:  # type: ignore[list-item, arg-type]
            assert json.loads(socket.recv(DEADLINE_S)) == {
                "type": "connected",
                "origin": served.url,
                "path": "/static/?token=x",
            }

    def test_status_tells_of_it(self, served: Duck) -> None:
        told_of = subprocess.run(
            [sys.executable, "-m", "duck", "status", "--json"],
            cwd=served.cwd,
            env=served.environ,
            capture_output=True,
            check=True,
            timeout=DEADLINE_S,
        )
        report = json.loads(told_of.stdout)["instances"][0]
        assert report["frontend"]["state"] == "serving"
        assert report["frontend"]["url"].endswith("/static/")
        roles = {process["role"]: process["pid"] for process in report["processes"]}
        assert psutil.Process(told(served)["pid"]).ppid() == roles["front end"]

    def test_one_that_ends_is_started_again_and_who_asks_waits(self, served: Duck) -> None:
        before = told(served)["pid"]
        with pytest.raises(httpx.HTTPError):
            served.get("/static/@vite/quit").raise_for_status()
        assert told(served)["pid"] != before
        served.wait_for("frontend has ended: exit code 3. It is started again in")


@pytest.fixture
def duckling(tmp_path: Path) -> Path:
    """A Duck project without Django, and a front end beside it."""
    root = tmp_path / "duckling"
    (root / "frontend").mkdir(parents=True)
    (root / "main.py").write_text("from duck.app import App\n\napp = App()\n")
    (root / "urls.py").write_text("urlpatterns = []\n")
    return root


def set_command(duckling: Path, command: str) -> None:
    settings = f'USE_DJANGO = False\nFRONTEND_DIR = "frontend"\nFRONTEND_COMMAND = "{command}"\n'
    (duckling / "settings.py").write_text(settings)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_gone_with_duck_however_that_ends(start: Start, duckling: Path, number: int) -> None:
    set_command(duckling, f"{COMMAND} --stubborn" if number is signal.SIGKILL else COMMAND)
    duck = start(duckling, "--no-reload")
    processes = [psutil.Process(told(duck)["pid"])]
    processes.append(processes[0].parent())
    duck.signal(number)
    duck.wait()
    assert not still_alive(processes, DEADLINE_S)


def test_it_goes_on_while_duck_starts_again_unless_another_is_wanted(
    start: Start, duckling: Path, until_watched: Callable[[Path, int], None]
) -> None:
    set_command(duckling, COMMAND)
    duck = start(duckling)
    before = told(duck)["pid"]
    until_watched(duckling, 1)
    (duckling / "urls.py").write_text("urlpatterns = []  # other\n")
    duck.wait_for("listens at", times=2)
    assert told(duck)["pid"] == before
    until_watched(duckling, 1)
    set_command(duckling, f"{COMMAND} --child")
    duck.wait_for("listens at", times=3)
    wait_until(lambda: not is_alive(before))
    assert told(duck)["pid"] != before


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("no-such-npm run dev", (), "no-such-npm is not installed; install it"),
        ("", ("--frontend",), "FRONTEND is on, and there is no vite.config.js in"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    start: Start, duckling: Path, command: str, arguments: tuple[str, ...], sentence: str
) -> None:
    set_command(duckling, command)
    if not command:
        (duckling / "settings.py").write_text("USE_DJANGO = False\n")
    duck = start(duckling, "--no-reload", *arguments)
    duck.wait_for(sentence)
    assert duck.get("/absent").status_code == 404
    assert duck.text.count(sentence) == 1


def test_a_project_with_debug_off_has_none(start: Start, project: Path) -> None:
    make_front_end(project, toml=f'frontend_command = "{COMMAND}"\nfrontend_dir = "frontend"\n')
    settings = project / "site1" / "settings.py"
    settings.write_text(settings.read_text() + 'DEBUG = False\nALLOWED_HOSTS = ["*"]\n')
    settings.write_text(settings.read_text().replace('"dev_mode": True', '"dev_mode": False'))
    duck = start(project, "--no-reload")
    duck.wait_for("DEBUG is off, so that frontend is not served; it is ended.")
    assert duck.get("/static/@vite/client").status_code == 404
    wait_until(lambda: not any("frontend_server" in " ".join(one.cmdline()) for one in duck.children()))


@pytest.mark.parametrize("arguments", [(), ("--no-frontend",)], ids=["broken", "unwanted"])
def test_django_is_served_without_one(start: Start, project: Path, arguments: tuple[str, ...]) -> None:
    directory = make_front_end(project, toml=f'frontend_command = "{COMMAND}"\nfrontend_dir = "frontend"')
    (directory / "vite.config.js").write_text("broken")
    duck = start(project, "--no-reload", *arguments)
    duck.wait_for("is ready after")
    if arguments:
        assert "rontend" not in duck.text
    else:
        duck.wait_for("Error: it is broken. Django is served without it.")
        assert duck.get("/static/@vite/client").status_code == 502
    # Where none is wanted, the address in pages is whosever it was.
    assert ("5999" in duck.get().text) == bool(arguments)


def test_one_that_runs_already_is_used_and_left(start: Start, project: Path) -> None:
    directory = make_front_end(project)
    other = subprocess.Popen([sys.executable, str(SERVER)], cwd=directory, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        line = next(line for line in other.stdout if "Local" in line)
        port = line.partition("\x1b[1m")[2].partition("localhost:\x1b[1m")[2].partition("\x1b")[0]
        duck = start(project, "--no-reload", DUCK_FRONTEND_URL=f"http://localhost:{port}/static/")
        assert told(duck)["pid"] == other.pid
        duck.signal(signal.SIGTERM)
        duck.wait()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(DEADLINE_S)
        other.stdout.close()


@pytest.fixture(scope="module")
def vite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which npm has installed Vite."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("npm is not installed")
    directory = tmp_path_factory.mktemp("vite")
    package = {"private": True, "type": "module", "scripts": {"dev": "vite"}, "devDependencies": {"vite": "^5"}}
    (directory / "package.json").write_text(json.dumps(package))
    command = [npm, "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=50, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install vite: {done.stderr[:200]}")
    return directory


def test_vite_itself(start: Start, project: Path, vite: Path) -> None:
    directory = make_front_end(project)
    shutil.copytree(vite, directory, dirs_exist_ok=True, symlinks=True)
    (directory / "vite.config.js").write_text("export default { base: '/static/' }\n")
    (directory / "src" / "name.js").write_text("export const name = 'mallard'\n")
    (directory / "src" / "main.js").write_text(
        "import { name } from './name.js'\nimport.meta.hot.accept('./name.js', () => name)\n"
    )
    duck = start(project, "--no-reload")
    duck.wait_for("vite is ready after")
    module = {"Sec-Fetch-Dest": "script", "Sec-Fetch-Mode": "cors"}
    client = duck.get("/static/@vite/client").text
    main = duck.get("/static/src/main.js", headers=module).text
    assert 'from "/static/src/name.js"' in main
    duck.get("/static/src/name.js", headers=module)
    token = client.partition('const wsToken = "')[2].partition('"')[0]
    url = f"{duck.url.replace('http:', 'ws:')}/static/?token={token}"
    with websockets.sync.client.connect(url, subprotocols=["vite-hmr"], origin=duck.url, proxy=None) as socket:  # type: ignore[list-item, arg-type]
        assert json.loads(socket.recv(DEADLINE_S)) == {"type": "connected"}
        (directory / "src" / "name.js").write_text("export const name = 'teal'\n")
        while (message := json.loads(socket.recv(DEADLINE_S)))["type"] != "update":
            pass
        assert [update["acceptedPath"] for update in message["updates"]] == ["/src/name.js"]
