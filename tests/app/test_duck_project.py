"""A Duck project: its own views, with and without Django behind them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.app.conftest import ROOT, Duck
from tests.waiting import wait_until

Start = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]
Watched = Callable[[Path, int], None]

MAIN = """
from duck.app import App

class Mine(App):
    def on_app_start(self):
        print("mine has started", flush=True)

app = Mine(port=0)

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def duck_project(tmp_path: Path) -> Path:
    root = tmp_path / "duckling"
    root.mkdir()
    (root / "main.py").write_text(MAIN)
    (root / "settings.py").write_text("DEBUG = True\nUSE_DJANGO = False\n")
    (root / "urls.py").write_text(
        'from duck.urls import path\nurlpatterns = [path("/hello", lambda request: "from duck one")]\n'
    )
    return root


def answers(duck: Duck) -> None:
    """As both ways to start it have it."""
    duck.wait_for("mine has started")
    assert duck.get("/hello").text == "from duck one"
    assert duck.get("/other").status_code == 404


def test_main_py_starts_it_as_duck_runserver_does_below(environ: dict[str, str], duck_project: Path) -> None:
    duck = Duck([sys.executable, "main.py"], duck_project, environ)
    try:
        answers(duck)
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 143
    finally:
        duck.close()


def test_in_production_its_views_run_in_every_worker_and_its_app_in_one_process(
    start: Start, duck_project: Path, project: Path
) -> None:
    (duck_project / "main.py").write_text(MAIN.replace("port=0", 'addr="127.0.0.1"'))
    (duck_project / "urls.py").write_text(
        "import os\nfrom duck.urls import path\nurlpatterns = [path('/own', lambda request: str(os.getpid()))]\n"
    )
    user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
    arguments = ("--django", str(project), "--use-django", "--workers", "2", "--django-workers", "1")
    duck = start(duck_project, *arguments, command="serve", **user)
    duck.wait_for("is ready after")
    assert duck.get("/").text == "one"
    children = {str(child.pid) for child in duck.children()}
    pids: set[str] = set()

    def both() -> bool:
        pids.add(duck.get("/own").text)
        return len(pids) == 2

    wait_until(both)
    assert pids < children
    assert duck.text.count("mine has started") == 1
    duck.signal(signal.SIGTERM)
    assert duck.wait() == 143


def test_a_body_that_a_view_of_ducks_own_reads_counts_in_the_spool(start: Start, duck_project: Path) -> None:
    (duck_project / "urls.py").write_text(
        'from duck.urls import path\nurlpatterns = [path("/size", lambda request: str(len(request.body)))]\n'
    )
    duck = start(duck_project, DUCK_MAX_SPOOL_BYTES="3000000")
    duck.wait_for("mine has started")
    for size, status in ((2_000_000, 200), (4_000_000, 503), (2_000_000, 200)):
        answer = httpx.post(duck.url + "/size", content=b"x" * size, timeout=20, trust_env=False)
        assert answer.status_code == status
        assert status != 200 or answer.text == str(size)
    assert "raise MAX_SPOOL_BYTES" in duck.text


@pytest.mark.parametrize(
    ("base", "kind", "setting"),
    [
        ("AsyncHttpProxyHandler", "async def", "ASYNC_PROXY_HANDLER"),
        ("HttpProxyHandler", "def", "PROXY_HANDLER"),
    ],
)
def test_a_proxy_handler_of_the_project_asks_django(
    start: Start, duck_project: Path, project: Path, base: str, kind: str, setting: str
) -> None:
    (duck_project / "asking.py").write_text(
        f"from duck.http.core.proxyhandler import {base}\n\n"
        f"class Asking({base}):\n"
        f"    {kind} get_response(self, request):\n"
        f"        response = {'await ' if kind.startswith('async') else ''}super().get_response(request)\n"
        "        response.headers['X-Asked'] = request.path\n"
        "        return response\n"
    )
    (duck_project / "settings.py").write_text(f"DEBUG = True\n{setting} = 'asking.Asking'\n")
    duck = start(duck_project, "--django", str(project), "--use-django", "--no-reload")
    duck.wait_for("is ready after")
    assert duck.get("/hello").text == "from duck one"
    answer = duck.get("/pid")
    assert answer.text.isdigit()
    assert answer.headers["x-asked"] == "/pid"


def test_a_change_that_cannot_be_loaded_leaves_what_runs_running_and_another_restarts_it_with_the_same_process_and_port(
    start: Start, duck_project: Path, until_watched: Watched
) -> None:
    duck = start(duck_project)
    answers(duck)
    url = duck.url
    until_watched(duck_project, 1)
    (duck_project / "urls.py").write_text("import not_there\n")
    duck.wait_for("what runs keeps running")
    duck.wait_for("not_there")
    assert duck.get("/hello").text == "from duck one"
    (duck_project / "urls.py").write_text(
        'from duck.urls import path\nurlpatterns = [path("/hello", lambda request: "from duck two")]\n'
    )
    end = time.monotonic() + 90  # of a machine that has other things to do
    seen: list[str] = []
    while not seen or seen[-1] != "from duck two":
        assert time.monotonic() < end, duck.text
        seen.append(httpx.get(f"{url}/hello", timeout=90, trust_env=False).text)  # nobody is refused
    duck.wait_for("mine has started", times=2)
    assert duck.process.poll() is None
    duck.signal(signal.SIGTERM)
    assert duck.wait() == 143


def test_views_of_both_sides_answer_and_what_belongs_to_a_start_is_not_done_again_after_a_change_of_ducks_own_files(
    start: Start, duck_project: Path, own_whole_project: Path, until_watched: Watched
) -> None:
    project = own_whole_project  # with migrations that are not applied
    settings = 'DEBUG = True\nDJANGO_COMMANDS_ON_STARTUP = ["check --tag urls"]\n'
    (duck_project / "settings.py").write_text(settings)
    duck = start(duck_project, "--django", str(project), "--use-django")
    duck.wait_for("is ready after")
    assert duck.get("/hello").text == "from duck one"
    assert duck.get("/").text == "one"
    until_watched(duck_project, 1)
    (duck_project / "urls.py").write_text(
        'from duck.urls import path\nurlpatterns = [path("/hello", lambda request: "from duck two")]\n'
    )
    duck.wait_for("is ready after", times=2)
    assert duck.get("/hello").text == "from duck two"
    assert duck.text.count("Running manage.py check --tag urls.") == 1
    assert duck.text.count("Performing system checks") == duck.text.count("unapplied migration(s)") == 1
    # Others than those that have run do run, and checks that say something else are heard.
    until_watched(duck_project, 1)
    with (project / "site1" / "settings.py").open("a") as file:
        file.write("\nSTATICFILES_DIRS = ['/not/there']\n")
    (duck_project / "settings.py").write_text(settings.replace("urls", "models"))
    duck.wait_for("Running manage.py check --tag models.")
    duck.wait_for("staticfiles.W004")
    assert duck.text.count("Performing system checks") == 2


# A file, the line that is put at its end, and what is said of it.
IMPORTED = "What URLPATTERNS_MODULE names cannot be imported; mend {urls}:3: "
FAULTS = [
    ("settings.py", "MIDDLEWARES = ['not_there.Middleware']", "not_there.Middleware"),
    ("settings.py", "ASGI = 'not_there.ASGI'", "No module named 'not_there'"),
    ("urls.py", "1 / 0", f": {IMPORTED}ZeroDivisionError: division by zero.\n"),
    ("urls.py", "x = (", f": {IMPORTED}SyntaxError: '(' was never closed.\n"),
    ("urls.py", "urlpatterns = 5", "TypeError: "),
    ("urls.py", "raise SystemExit('on purpose')", "SystemExit: on purpose"),
]


@pytest.mark.parametrize(
    ("reload", "faults"), [("--reload", FAULTS), ("--no-reload", [])], ids=["--reload", "--no-reload"]
)
def test_whatever_cannot_be_loaded_is_shown_and_mended_by_a_change(
    start: Start, ask: Ask, duck_project: Path, reload: str, faults: list[tuple[str, str, str]]
) -> None:
    whole = {name: (duck_project / name).read_text() for name in ("settings.py", "urls.py")}
    (duck_project / "urls.py").write_text("import views\n" + whole["urls.py"])
    (duck_project / "views.py").write_text("def view():\n    return undefined_name\n\nview()\n")
    duck = start(duck_project, reload)
    duck.wait_for("a change of views.py or urls.py or settings.py starts it again")
    assert "Traceback" in duck.text
    assert f'File "{duck_project / "views.py"}", line 2, in view' in duck.text
    assert str(ROOT / "duck") not in duck.text
    answer = httpx.get(f"{duck.url}/hello", headers={"Accept": "text/html"}, trust_env=False, timeout=60)
    assert answer.status_code == 503
    assert "The Duck project could not be loaded" in answer.text
    assert "undefined_name" in answer.text
    (report,) = json.loads(ask(duck_project, "status", "--json").stdout)["instances"]
    assert report["state"] == "broken"
    assert "undefined_name" in report["failure"]
    # Another fault in another file, then none.
    (duck_project / "views.py").write_text("import further\n")
    (duck_project / "further.py").write_text("x = (\n")
    duck.wait_for("The Duck project could not be loaded", times=2)
    duck.wait_for("a change of further.py or views.py or urls.py starts it again")
    assert "was never closed" in duck.get("/hello").text
    for times, (file, line, said) in enumerate(faults, 3):
        # The next fault before the one before it is mended: it is never whole in between.
        (duck_project / file).write_text(f"{whole[file]}{line}\n")
        for name in whole.keys() - {file}:
            if (duck_project / name).read_text() != whole[name]:
                (duck_project / name).write_text(whole[name])
        told = duck.wait_for("The Duck project could not be loaded: ", times=times)
        assert said.format(urls=duck_project / "urls.py") in told
        duck.wait_for("starts it again", times=times)
        assert duck.get("/hello").status_code == 503
    if faults:
        (duck_project / "urls.py").write_text(whole["urls.py"])
    else:
        (duck_project / "further.py").write_text("")
    duck.wait_for("mine has started")
    assert duck.get("/hello").text == "from duck one"
    duck.signal(signal.SIGTERM)
    assert duck.wait() == 143


def test_django_is_not_started_for_a_duck_project_that_cannot_be_loaded(
    start: Start, duck_project: Path, project: Path
) -> None:
    (duck_project / "urls.py").write_text("import not_there\n")
    duck = start(duck_project, "--django", str(project), "--use-django")
    duck.wait_for("Duck keeps running")
    assert duck.children() == []
    (duck_project / "urls.py").write_text("urlpatterns = []\n")
    duck.wait_for("is ready after")
    assert duck.get("/").text == "one"


def test_a_main_py_that_fails_is_told_without_the_frames_of_duck(start: Start, duck_project: Path) -> None:
    (duck_project / "main.py").write_text("from duck.app import App\n1 / 0\n")
    duck = start(duck_project)
    assert duck.wait() == 1
    assert f'File "{duck_project / "main.py"}", line ' in duck.text
    assert duck.text.endswith("main.py cannot be run: ZeroDivisionError: division by zero.\n")
    assert str(ROOT / "duck") not in duck.text


def test_main_py_tells_of_a_broken_module_with_its_place_as_well(environ: dict[str, str], duck_project: Path) -> None:
    urls = duck_project / "urls.py"
    urls.write_text("1 / 0\n")
    duck = Duck([sys.executable, "main.py"], duck_project, environ)
    try:
        place = f": What URLPATTERNS_MODULE names cannot be imported; mend {urls}:1: "
        line = duck.wait_for("could not be loaded: ")
        assert line.endswith(f"{place}ZeroDivisionError: division by zero.\n")
        duck.wait_for("Duck keeps running")
        duck.wait_for("starts it again")
        urls.write_text("x = (\n")
        line = duck.wait_for("could not be loaded: ", times=2)
        assert line.endswith(f"{place}SyntaxError: '(' was never closed.\n")
        duck.wait_for("Duck keeps running", times=2)
        duck.signal(signal.SIGINT)
        assert duck.wait() == 130
    finally:
        duck.close()
