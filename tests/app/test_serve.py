"""`duck serve` in front of a real Django project: front worker processes, and what becomes of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.alive import is_alive
from tests.app.conftest import TRUST, Duck
from tests.waiting import wait_until

Serve = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def serve(start: Callable[..., Duck]) -> Serve:
    """Start `duck serve`; the admin address takes a free port."""

    def begin(project: Path, *arguments: str, **environ: str) -> Duck:
        # Root has to name who serves, and it may be root.
        user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        # Nobody has run `migrate` in the project.
        given = {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", **user, **environ}
        # One process of each kind, where a test does not ask for more.
        one = [
            text for option in ("--workers", "--django-workers") if option not in arguments for text in (option, "1")
        ]
        return start(project, *arguments, *one, command="serve", **given)

    return begin


@pytest.fixture
def status(report: Callable[[Path], dict[str, Any]], project: Path) -> Callable[[], dict[str, Any]]:
    return lambda: report(project)


def fronts(status: Callable[[], dict[str, Any]]) -> list[int]:
    """The process ids of the front workers that serve."""
    return [
        entry["pid"]
        for entry in status().get("processes", ())
        if entry["role"] == "front" and entry["state"] == "serving"
    ]


@contextmanager
def asking_slowly(duck: Duck, began: Path) -> Iterator[None]:
    """While the block runs a request has begun; it is answered all the same."""
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(duck.get(f"/slow?began={began}&s=1").text))
    asking.start()
    wait_until(began.exists)
    yield
    asking.join(20)
    assert answers == ["slow"]


def admin(duck: Duck) -> str:
    """The admin address, as the banner says it."""
    return duck.wait_for("  Health").split()[1].removesuffix("/readyz")


class TestFrontWorkers:
    def test_as_many_as_asked_for_serve_the_app_only_watches_and_one_that_is_killed_is_replaced(
        self, serve: Serve, project: Path, tmp_path: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        """And the admin address tells of life, readiness, figures and state; counts go on when workers are killed."""
        duck = serve(project, "--workers", "2", "--drain-delay", "2")
        assert duck.get().text == "one"
        url = admin(duck)
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code == 200)
        assert httpx.get(f"{url}/livez", timeout=60).text == "alive\n"
        assert httpx.get(f"{url}/status", timeout=60).json()["state"] == "running"
        text = httpx.get(f"{url}/metrics", timeout=60).text
        assert 'duck_requests_total{method="GET",status="2xx"} 1.0' in text
        wait_until(lambda: "duck_front_loops 2.0" in httpx.get(f"{url}/metrics", timeout=60).text)
        wait_until(lambda: len(fronts(status)) == 2)
        for pid in fronts(status):
            assert psutil.Process(pid).ppid() == duck.pid
        assert [duck.get().text for _ in range(2)] == ["one"] * 2
        line = 'duck_requests_total{method="GET",status="2xx"} '
        wait_until(lambda: f"{line}3.0" in httpx.get(f"{url}/metrics", timeout=60).text)
        killed = set(fronts(status))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        # Nobody who connects is refused.
        assert [duck.get().text for _ in range(5)] == ["one"] * 5
        wait_until(lambda: len(fronts(status)) == 2 and not killed & set(fronts(status)))
        assert "was ended by SIGKILL. Another one is started." in duck.text
        wait_until(lambda: f"{line}8.0" in httpx.get(f"{url}/metrics", timeout=60).text)
        # SIGTERM: the other of the two signals that stop is sent below.
        with self.stops(duck, signal.SIGTERM, tmp_path):
            # After it Duck is not ready while requests are still answered.
            wait_until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code == 503)
            assert httpx.get(f"{url}/readyz", timeout=60).text == "not ready: stopping\n"
            assert duck.get().text == "one"

    def test_one_that_hangs_says_where_and_is_replaced_and_one_that_is_told_to_end_finishes_what_it_began(
        self, serve: Serve, project: Path, tmp_path: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        duck = serve(project, DUCK_HEARTBEAT_TIMEOUT="4")
        assert duck.get().text == "one"
        wait_until(lambda: len(fronts(status)) == 1)
        (hanging,) = fronts(status)
        os.kill(hanging, signal.SIGSTOP)
        duck.wait_for("hangs; it is ended.")
        assert duck.get().text == "one"
        wait_until(lambda: not is_alive(hanging))
        wait_until(lambda: len(fronts(status)) == 1 and hanging not in fronts(status))
        (pid,) = fronts(status)
        with asking_slowly(duck, tmp_path / "began"):
            os.kill(pid, signal.SIGTERM)
        assert duck.get().text == "one"
        with self.stops(duck, signal.SIGINT, tmp_path):
            pass

    @contextmanager
    def stops(self, duck: Duck, number: signal.Signals, where: Path) -> Iterator[None]:
        """Told to stop before the block it finishes what runs, and leaves nobody."""
        family = duck.children()
        with asking_slowly(duck, where / "began-before-the-end"):
            duck.signal(number)
            yield
            assert duck.wait() == 128 + number
        assert not [process for process in family if process.is_running() and process.status() != "zombie"]

    def test_with_the_app_killed_nothing_is_left_and_the_next_start_works_at_once(
        self, serve: Serve, project: Path
    ) -> None:
        duck = serve(project, "--workers", "2", "--django-workers", "2")
        assert duck.get().text == "one"
        family = duck.children()
        assert len(family) == 4
        duck.signal(signal.SIGKILL)
        wait_until(lambda: not [one for one in family if one.is_running() and one.status() != "zombie"], 2.0)
        assert serve(project).get().text == "one"


class TestAdminAddress:
    def test_before_django_is_there_it_is_alive_and_not_ready(self, serve: Serve, project: Path) -> None:
        (project / "site1" / "version.py").write_text("import time; time.sleep(2)\nVERSION = 'late'\n")
        duck = serve(project)
        url = admin(duck)
        assert httpx.get(f"{url}/livez", timeout=60).status_code == 200
        answer = httpx.get(f"{url}/readyz", timeout=60)
        assert (answer.status_code, answer.text[:9]) == (503, "not ready")
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code == 200)


class TestDebug:
    """DEBUG is on in what `startproject` makes."""

    def test_it_is_refused_where_other_machines_can_connect(self, serve: Serve, project: Path) -> None:
        duck = serve(project, "--address", "0.0.0.0")
        assert duck.wait() == 1
        assert "DEBUG is on in site1.settings" in duck.text
        assert "or say --allow-debug" in duck.text
        assert "keeps running" not in duck.text
        assert "Traceback" not in duck.text

    def test_it_is_served_there_when_that_was_said(self, serve: Serve, project: Path) -> None:
        duck = serve(project, "--address", "0.0.0.0", "--allow-debug")
        port = duck.url.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=20, trust_env=False).text == "one"

    def test_a_reload_to_it_is_refused_and_the_old_code_serves_on(
        self, serve: Serve, project: Path, ask_here: Ask
    ) -> None:
        settings = project / "site1" / "settings.py"
        text = settings.read_text()
        settings.write_text(text.replace("DEBUG = True", "DEBUG = False").replace("HOSTS = []", "HOSTS = ['*']"))
        duck = serve(project, "--address", "0.0.0.0")
        url = f"http://127.0.0.1:{duck.url.rpartition(':')[2]}/"
        assert httpx.get(url, timeout=20, trust_env=False).text == "one"
        settings.write_text(text)
        result = ask_here(project, "reload")
        assert result.returncode == 1
        assert "DEBUG is on" in result.stderr
        assert httpx.get(url, timeout=20, trust_env=False).text == "one"


class TestDjangoProcesses:
    def test_as_many_as_asked_for_share_the_work_and_go_on_without_one_that_is_killed(
        self, serve: Serve, project: Path
    ) -> None:
        duck = serve(project, "--workers", "2", "--django-workers", "3", "--django-threads", "1")
        assert duck.get().text == "one"
        assert "3 Django with 1 threads each: up to 3 connections to a database" in duck.text
        with ThreadPoolExecutor(12) as pool:
            pids = set(pool.map(lambda _: duck.get("/pid").text, range(200)))
        assert len(pids) == 3
        # One that is killed is replaced while the others go on.
        with Asking(duck) as asking:
            killed, at = duck.get("/pid").text, time.monotonic()
            os.kill(int(killed), signal.SIGKILL)
            duck.wait_for("was ended by SIGKILL")
            wait_until(lambda: len(asking.answers) > 40)
            line = duck.wait_for("is ready after", times=2)
        assert set(asking.answers) == {(200, "one")}
        # What is told is the new one and its own start; the others have been there since Duck's.
        told = re.search(r"is ready after (\d+) ms in process (\d+):", line)
        assert told is not None, line
        assert told[2] not in pids
        assert int(told[1]) / 1000 < time.monotonic() - at

    def test_where_the_next_one_is_killed_as_it_starts_requests_wait_for_the_one_after(
        self, serve: Serve, project: Path, tmp_path: Path
    ) -> None:
        slow, starting = tmp_path / "slow", tmp_path / "starting"
        with (project / "site1" / "settings.py").open("a") as settings:
            settings.write(
                "\nimport os, pathlib, time\n"
                f"while pathlib.Path({str(slow)!r}).exists():\n"
                f"    pathlib.Path({str(starting)!r}).write_text(str(os.getpid()))\n"
                "    time.sleep(0.05)\n"
            )
        duck = serve(project)
        pid = int(duck.get("/pid").text)
        slow.touch()
        with ThreadPoolExecutor(4) as pool:
            for times in range(1, 4):
                os.kill(pid, signal.SIGKILL)
                duck.wait_for("was ended by SIGKILL", times=times)
                if times == 1:
                    asked = [pool.submit(httpx.get, duck.url, timeout=60, trust_env=False) for _ in range(4)]
                wait_until(lambda: starting.exists() and starting.read_text() not in ("", str(pid)))  # noqa: B023
                pid = int(starting.read_text())
            assert not any(one.done() for one in asked)
            slow.unlink()
            assert {one.result().text for one in asked} == {"one"}

    def test_one_that_has_served_enough_is_replaced_by_another(
        self, serve: Serve, project: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        duck = serve(project, "--max-requests", "50")
        first = duck.get("/pid").text
        answers = [duck.get("/pid") for _ in range(80)]
        assert {answer.status_code for answer in answers} == {200}
        wait_until(lambda: duck.get("/pid").text != first)

    def test_a_path_that_does_not_answer_well_keeps_new_code_out_and_a_view_that_takes_too_long_costs_its_process_alone(
        self, serve: Serve, project: Path, tmp_path: Path, ask_here: Ask
    ) -> None:
        # How long others may go on in the process that is replaced.
        ends = dict.fromkeys(("DUCK_SHUTDOWN_TIMEOUT", "DUCK_STREAMS_CLOSE_TIMEOUT", "DUCK_SOCKETS_CLOSE_TIMEOUT"), "2")
        duck = serve(project, "--health-path", "/health", "--view-timeout", "1", **ends)
        urls = project / "site1" / "urls.py"
        duck.wait_for("/health")
        urls.write_text(urls.read_text() + "urlpatterns.append(path('health', lambda request: HttpResponse('well')))\n")
        assert ask_here(project, "reload").returncode == 0
        assert duck.get("/health").text == "well"
        # A view that takes too long is told of.
        first = duck.get("/pid").text
        answers: list[int] = []
        path = f"{duck.url}/slow?began={tmp_path / 'began'}&s=60"
        stuck = threading.Thread(
            target=lambda: answers.append(httpx.get(path, timeout=40, trust_env=False).status_code)
        )
        stuck.start()
        line = duck.wait_for("/slow")
        assert "began" not in line  # a query may hold what is secret
        duck.wait_for("time.sleep")
        wait_until(lambda: duck.get("/pid").text != first)
        stuck.join(40)
        assert answers == [502]


class TestReload:
    def test_new_code_serves_when_the_command_returns_and_no_request_failed_meanwhile(
        self, serve: Serve, project: Path, ask: Ask, ask_here: Ask, status: Callable[[], dict[str, Any]]
    ) -> None:
        duck = serve(project, "--workers", "2")
        assert duck.get().text == "one"
        version = project / "site1" / "version.py"
        version.write_text('VERSION = "two"\n')
        with Asking(duck) as asking:
            result = ask(project, "reload")
            assert result.returncode == 0, result.stderr
            assert "Generation 2 serves after" in result.stdout
            assert duck.get().text == "two"
        assert set(asking.answers) <= {(200, "one"), (200, "two")}
        # SIGHUP does the same.
        version.write_text('VERSION = "three"\n')
        duck.signal(signal.SIGHUP)
        wait_until(lambda: duck.get().text == "three")
        assert duck.process.poll() is None
        # Code that cannot be imported changes nothing, and the command says why.
        wait_until(lambda: {duck.get().text for _ in range(10)} == {"three"})
        version.write_text("VERSION = no_such_name\n")
        with Asking(duck) as asking:
            result = ask_here(project, "reload")
        assert result.returncode == 1
        assert "what ran before serves on" in result.stderr
        assert "no_such_name" in result.stderr
        assert set(asking.answers) == {(200, "three")}
        version.write_text('VERSION = "four"\n')
        assert ask_here(project, "reload").returncode == 0
        assert duck.get().text == "four"
        self.replaces_itself(duck, project, ask_here, status)

    def replaces_itself(self, duck: Duck, project: Path, ask_here: Ask, status: Callable[[], dict[str, Any]]) -> None:
        """With the same process id and port, and no request failed meanwhile."""
        wait_until(lambda: len(fronts(status)) == 2)
        before = set(fronts(status))
        with Asking(duck) as asking:
            result = ask_here(project, "reload", "--self")
            assert result.returncode == 0, result.stderr + duck.text
            assert f"(process id {duck.pid})" in result.stdout
        assert set(asking.answers) == {(200, "four")}
        assert status()["run"] == 2
        wait_until(lambda: len(fronts(status)) == 2 and not before & set(fronts(status)))
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM

    def test_where_none_runs_the_command_says_so(self, project: Path, ask_here: Ask) -> None:
        result = ask_here(project, "reload")
        assert result.returncode == 3
        assert "No Duck runs" in result.stderr

    @pytest.mark.timeout(180)  # many commands, one after the other
    def test_where_the_exec_fails_this_duck_serves_on_and_the_command_says_why(
        self, project: Path, ask_here: Ask, status: Callable[[], dict[str, Any]], vanishing: Vanishing
    ) -> None:
        duck = vanishing.serve(project, "--workers", "1", "--django-workers", "1")
        assert duck.get().text == "one"
        wait_until(lambda: len(fronts(status)) == 1)
        before, family = set(fronts(status)), {process.pid for process in duck.children()}
        with Asking(duck) as asking:
            # The trial of the new Duck succeeds, and takes the interpreter away.
            result = ask_here(project, "reload", "--self")
            assert result.returncode == 1, result.stdout
            assert f"running {vanishing.python} again: No such file or directory." in result.stderr
            assert "What ran before serves on." in result.stderr
            assert status()["run"] == 1
        assert set(asking.answers) == {(200, "one")}
        assert set(fronts(status)) == before
        assert {process.pid for process in duck.children()} == family
        duck.wait_for("This Duck serves on.")
        assert not outliving(duck.pid)
        # It is told of what happens, as before, spawns, loads Django again, and is replaced once that is possible.
        (project / "site1" / "version.py").write_text('VERSION = "two"\n')
        vanishing.restore()
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(fronts(status)) == 1 and min(before) not in fronts(status))
        assert ask_here(project, "reload").returncode == 0
        assert duck.get().text == "two"
        vanishing.stays()
        result = ask_here(project, "reload", "--self")
        assert result.returncode == 0, result.stderr + duck.text
        assert status()["run"] == 2
        assert "not_replaced" not in status()
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM


def outliving(pid: int) -> list[str]:
    """What descriptors of a process would stay open over an exec, but its standard ones."""
    directory = Path(f"/proc/{pid}/fdinfo")
    found = []
    for entry in directory.iterdir() if directory.exists() else ():
        flags = next(line for line in entry.read_text().splitlines() if line.startswith("flags:"))
        if int(entry.name) > 2 and not int(flags.split()[1], 8) & os.O_CLOEXEC:
            found.append(f"{entry.name}: {os.readlink(f'/proc/{pid}/fd/{entry.name}')}")
    return found


class Vanishing:
    """An interpreter that each process on trial takes away."""

    def __init__(self, where: Path, start: Callable[[list[str], Path, dict[str, str]], Duck], environ: dict[str, str]):
        self.python = where / "bin" / "python"
        self._start = start
        self._site = where / "site"
        self.python.parent.mkdir()
        self._site.mkdir()
        if (Path(sys.prefix) / "pyvenv.cfg").exists():
            shutil.copy(Path(sys.prefix) / "pyvenv.cfg", where)
            for name in ("lib", "lib64"):
                if (Path(sys.prefix) / name).exists():
                    (where / name).symlink_to(Path(sys.prefix) / name)
        self.restore()
        (self._site / "sitecustomize.py").write_text(
            f"import os\nif '_DUCK_TRIAL' in os.environ:\n    os.unlink({str(self.python)!r})\n"
        )
        user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        paths = f"{self._site}{os.pathsep}{environ['PYTHONPATH']}"
        self._environ = {**environ, "DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", "PYTHONPATH": paths, **user}

    def serve(self, project: Path, *arguments: str) -> Duck:
        command = [str(self.python), "-m", "duck", "serve", "--port", "0", "--python", sys.executable]
        return self._start([*command, *arguments], project, self._environ)

    def restore(self) -> None:
        self.python.symlink_to(os.path.realpath(sys.executable))

    def stays(self) -> None:
        (self._site / "sitecustomize.py").unlink()


@pytest.fixture
def vanishing(tmp_path: Path, environ: dict[str, str]) -> Iterator[Vanishing]:
    started: list[Duck] = []

    def start(command: list[str], cwd: Path, variables: dict[str, str]) -> Duck:
        started.append(Duck(command, cwd, variables))
        return started[-1]

    where = tmp_path / "vanishing"
    where.mkdir()
    yield Vanishing(where, start, environ)
    for duck in started:
        duck.close()


class Asking:
    """Asks again and again, on one connection kept and on new ones, until it is left."""

    def __init__(self, duck: Duck) -> None:
        self.answers: list[tuple[int, str]] = []
        self._url = duck.url
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (True, False)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)
        assert len(self.answers) > 20

    def _ask(self, kept: bool) -> None:
        with httpx.Client(trust_env=False, timeout=60, verify=TRUST) as client:
            while not self._ended.wait(0.01):
                try:
                    new = {"trust_env": False, "timeout": 60, "verify": TRUST}
                    answer = client.get(self._url) if kept else httpx.get(self._url, **new)
                    self.answers.append((answer.status_code, answer.text))
                except httpx.HTTPError as error:
                    self.answers.append((0, repr(error)))


class TestSettings:
    def test_production_has_its_own_defaults(self, ask_here: Ask, project: Path) -> None:
        said = json.loads(ask_here(project, "settings", "--mode", "serve", "--json").stdout)
        assert said["ADDRESS"]["value"] == "127.0.0.1"
        assert said["SERVE_MEDIA"]["value"] is False
        assert said["AUTO_RELOAD"]["value"] is False
        assert said["WORKERS"]["value"] == "auto"
        plain = json.loads(ask_here(project, "settings", "--json").stdout)
        assert (plain["ADDRESS"]["value"], plain["SERVE_MEDIA"]["value"]) == ("localhost", True)

    def test_variables_of_hosting_platforms_count_only_in_production(self, ask_here: Ask, project: Path) -> None:
        environ = {"PORT": "5123", "WEB_CONCURRENCY": "3"}
        said = json.loads(ask_here(project, "settings", "--mode", "serve", "--json", **environ).stdout)
        assert (said["PORT"]["value"], said["PORT"]["origin"]) == (5123, {"source": "environment", "where": "PORT"})
        assert said["ADDRESS"]["value"] == "0.0.0.0"
        assert said["WORKERS"]["value"] == said["DJANGO_WORKERS"]["value"] == 3
        given = json.loads(ask_here(project, "settings", "--mode", "serve", "--json", "-p", "1", **environ).stdout)
        assert given["PORT"]["value"] == 1
        plain = json.loads(ask_here(project, "settings", "--json", **environ).stdout)
        assert plain["PORT"]["value"] == 8000
