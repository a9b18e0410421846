"""`duck runserver` in front of a real Django project: start, stop, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.alive import still_alive
from tests.app.conftest import DEADLINE_S, Duck, shared_duck
from tests.reports import report as report_of
from tests.waiting import wait_until

Start = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]
Report = Callable[[Path], dict[str, Any]]


class TestServing:
    """The project as `startproject` makes it."""

    @pytest.fixture
    def project(self, own_whole_project: Path) -> Path:
        return own_whole_project

    def test_a_request_during_the_start_waits_the_banner_says_what_runs_and_nothing_is_written_into_the_project(
        self, start: Start, project: Path, tmp_path: Path, run_dir: Path
    ) -> None:
        """And a Unix socket can be listened on, and an active environment without Django is told of."""

        def listing() -> dict[str, float]:
            found = (path for path in project.rglob("*") if path.name != "db.sqlite3")
            return {str(path): path.stat().st_mtime for path in found}

        before = listing()
        (tmp_path / "empty").mkdir()
        path = run_dir / "web.sock"
        listen = ("--listen", "http://localhost:0", "--listen", f"unix:{path}")
        duck = start(project, *listen, VIRTUAL_ENV=str(tmp_path / "empty"))
        assert duck.get().text == "one"  # sent as soon as the address is known
        duck.wait_for("is ready after")
        assert duck.get("/static/admin/css/base.css").status_code == 200
        text = duck.text
        assert f"Duck {duck.pid}" in text
        assert sys.executable in text
        assert str(project) in text
        assert "Ctrl-C" in text
        assert "duck stop" in text
        assert f"Django {duck.get('/pid').text}" in text
        duck.get("/?x=1")
        assert " 200 GET /?x=1" in duck.wait_for("GET /?x=1")
        line = duck.wait_for("was passed over")
        assert line.startswith(f"Warning: {tmp_path / 'empty'} (from VIRTUAL_ENV) was passed over: no Python is in it;")
        assert f"{sys.executable} is taken instead." in line
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=60) as client:
            assert client.get("http://localhost/").text == "one"
        duck.signal(signal.SIGTERM)
        duck.wait()
        assert not path.exists()
        assert listing() == before

    def test_a_static_file_asked_for_while_django_starts_or_starts_again_is_found(
        self, start: Start, project: Path, until_watched: Callable[[Path, int], None]
    ) -> None:
        duck = start(project)
        path = "/static/admin/css/base.css"
        assert duck.get(path).status_code == 200  # sent as soon as the address is known
        until_watched(project, 1)
        answers: list[int] = []
        for version in range(3):
            (project / "site1" / "version.py").write_text(f'import time\ntime.sleep(0.3)\nVERSION = "{version}"\n')
            end = time.monotonic() + DEADLINE_S
            while True:
                answers.append(duck.get(path).status_code)
                if duck.get().text == str(version):
                    break
                assert time.monotonic() < end
        assert set(answers) == {200}


class TestRefused:
    def test_a_busy_port_is_one_sentence_with_who_holds_it_and_nothing_is_started(
        self, start: Start, project: Path, run_dir: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            duck = start(project, "--address", "127.0.0.1", "--port", str(port))
            assert duck.wait() == 1
        assert str(port) in duck.text
        assert f"process id {os.getpid()}" in duck.text
        assert "Traceback" not in duck.text
        assert "Django" not in duck.text
        assert list((run_dir / "duck").iterdir()) == []

    def test_no_project_is_one_sentence(self, start: Start, tmp_path: Path) -> None:
        duck = start(tmp_path)
        assert duck.wait() == 1
        assert "manage.py" in duck.text
        assert "Traceback" not in duck.text


class TestConsole:
    """Whatever becomes of the streams, the project is served, and the end is in order."""

    def serves_and_ends(self, ask_here: Ask, report: Report, project: Path, process: subprocess.Popen[bytes]) -> None:
        wait_until(lambda: report(project).get("state") == "running")
        url = report(project)["addresses"][0]
        assert httpx.get(f"{url}/prints", trust_env=False, timeout=60).text == "printed"
        assert ask_here(project, "stop").returncode == 0
        assert process.wait(10) == 0

    @pytest.fixture
    def printing(self, project: Path) -> Path:
        """A project that writes with each request and at its end."""
        urls = project / "site1" / "urls.py"
        urls.write_text(
            "import atexit\n"
            + urls.read_text()
            + "def prints(request):\n    print('said')\n    return HttpResponse('printed')\n"
            + "urlpatterns.append(path('prints', prints))\natexit.register(print, 'at the end')\n"
        )
        return project

    def test_a_reader_that_has_gone_is_nobodys_loss(
        self, ask_here: Ask, report: Report, printing: Path, environ: dict[str, str]
    ) -> None:
        command = [sys.executable, "-m", "duck", "runserver", "--port", "0", "--no-reload"]
        process = subprocess.Popen(
            command,
            cwd=printing,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        self.serves_and_ends(ask_here, report, printing, process)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
    @pytest.mark.parametrize("style", ["text", "json"])
    def test_a_full_disk_is_nobodys_loss(
        self, ask_here: Ask, report: Report, printing: Path, environ: dict[str, str], style: str
    ) -> None:
        command = [sys.executable, "-m", "duck", "runserver", "--port", "0", "--no-reload"]
        with open("/dev/full", "wb") as full:
            process = subprocess.Popen(
                command, cwd=printing, env=environ | {"DUCK_LOG_FORMAT": style}, stdin=full, stdout=full, stderr=full
            )
        self.serves_and_ends(ask_here, report, printing, process)

    def test_closed_streams_are_nobodys_loss(
        self, ask_here: Ask, report: Report, printing: Path, environ: dict[str, str]
    ) -> None:
        command = f"exec {sys.executable} -m duck runserver --port 0 --no-reload <&- >&- 2>&-"
        process = subprocess.Popen(["/bin/sh", "-c", command], cwd=printing, env=environ)
        self.serves_and_ends(ask_here, report, printing, process)


class TestControl:
    def test_status_shows_every_process_and_stop_returns_when_all_has_ended(
        self, start: Start, ask: Ask, project: Path
    ) -> None:
        duck = start(project)
        duck.wait_for("is ready after")
        duck.get()
        done = ask(project, "status", "--json")
        assert done.returncode == 0, done.stderr
        (report,) = json.loads(done.stdout)["instances"]
        assert report["state"] == "running"
        assert report["addresses"] == [duck.url]
        assert report["front"]["requests"] == 1
        assert report["django"]["settings"] == "site1.settings"
        assert report["django"]["interpreter"] == sys.executable
        app, django = report["processes"]
        assert (app["role"], app["pid"]) == ("app", duck.pid)
        assert (django["role"], django["generation"]) == ("django pages", 1)
        assert django["pid"] == int(duck.get("/pid").text)
        assert all(process["memory_bytes"] > 1_000_000 and process["uptime_s"] > 0 for process in (app, django))
        children = duck.children()
        done = ask(project, "stop", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["stopped"][0]["pid"] == duck.pid
        assert not still_alive(children, 1.0)
        assert duck.wait() == 0

    def test_stop_is_bounded_where_django_stands_still(
        self, start: Start, ask_here: Ask, project: Path, tmp_path: Path
    ) -> None:
        duck = start(project, DUCK_SHUTDOWN_TIMEOUT="1")
        duck.wait_for("is ready after")
        django = psutil.Process(int(duck.get("/pid").text))
        url = httpx.URL(duck.url)
        with socket.create_connection((url.host, url.port or 80)) as client:
            client.sendall(f"GET /slow?s=30&began={tmp_path}/began HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            wait_until((tmp_path / "began").exists)
            django.suspend()
            began = time.monotonic()
            assert ask_here(project, "stop").returncode == 0
            assert time.monotonic() - began < 20  # 1, and 1.5 until it is killed; the view alone takes 30
        assert not still_alive([django], 1.0)

    def test_a_second_duck_that_took_the_place_meanwhile_is_told_of_and_a_directory_cleaned_away_is_made_again(
        self, start: Start, ask_here: Ask, project: Path, run_dir: Path
    ) -> None:
        first = start(project)
        first.wait_for("is ready after")
        first.signal(signal.SIGSTOP)
        shutil.rmtree(run_dir / "duck")
        second = start(project)
        second.wait_for("is ready after")
        first.signal(signal.SIGCONT)
        line = first.wait_for("`duck status` and `duck stop` fail")
        assert f"process id {second.pid}" in line
        assert first.get().text == second.get().text == "one"
        first.signal(signal.SIGTERM)
        assert first.wait() == 143
        (report,) = json.loads(ask_here(project, "status", "--json").stdout)["instances"]
        assert report["pid"] == second.pid
        before = second.get("/pid").text
        shutil.rmtree(run_dir / "duck")
        second.wait_for("was cleaned away; it is made again")
        second.wait_for("is ready after", times=2)
        assert second.get("/pid").text != before  # its sockets had gone, too
        (report,) = json.loads(ask_here(project, "status", "--json").stdout)["instances"]
        assert report["pid"] == second.pid
        assert report["addresses"] == [second.url]
        third = start(project)
        assert third.wait() == 1
        assert f"process id {second.pid}" in third.text
        assert ask_here(project, "stop").returncode == 0
        assert second.wait() == 0
        assert list((run_dir / "duck").iterdir()) == []

    def test_where_none_runs_that_is_said_with_its_own_exit_status(self, ask_here: Ask, project: Path) -> None:
        assert ask_here(project, "status").returncode == 3
        assert ask_here(project, "stop").returncode == 3


class TestBroken:
    def test_a_project_that_cannot_be_imported_is_shown_and_mended_by_a_change(
        self, start: Start, report: Report, project: Path
    ) -> None:
        version = project / "site1" / "version.py"
        version.write_text("VERSION = undefined_name\n")
        duck = start(project, "--no-reload")
        duck.wait_for("Django could not be started")
        assert "undefined_name" in duck.text
        assert "Traceback" in duck.text
        assert "a change of site1/version.py, " in duck.wait_for("Duck keeps running")
        answer = duck.get()
        assert answer.status_code == 503
        assert "undefined_name" in answer.text
        page = httpx.get(duck.url, headers={"Accept": "text/html"}, trust_env=False, timeout=60)
        assert "as soon as Django runs" in page.text
        assert "connect-src 'self'" in page.headers["content-security-policy"]
        assert httpx.get(f"{duck.url}/.duck/ready", trust_env=False, timeout=60).status_code == 503
        assert report(project)["state"] == "broken"
        version.write_text('VERSION = "mended"\n')
        duck.wait_for("is ready after")
        assert duck.get().text == "mended"
        duck.wait_for("200 GET /")
        assert "/.duck/ready" not in duck.text

    def test_a_syntax_error_at_the_start_is_mended_by_a_change_too(
        self, start: Start, project: Path, until_watched: Callable[[Path, int], None]
    ) -> None:
        version = project / "site1" / "version.py"
        version.write_text("VERSION = (\n")
        duck = start(project)
        duck.wait_for("Django could not be started")
        until_watched(project, 2)
        version.write_text('VERSION = "mended"\n')
        duck.wait_for("is ready after")
        assert duck.get().text == "mended"
        # One change is one start, whoever has noticed it first.
        time.sleep(0.5)
        assert duck.text.count("Django again.") == 1

    def test_the_end_does_not_wait_for_a_project_that_hangs_while_it_loads(self, start: Start, project: Path) -> None:
        settings = project / "site1" / "settings.py"
        settings.write_text(settings.read_text() + "import time\ntime.sleep(60)\n")
        duck = start(project, DUCK_SHUTDOWN_TIMEOUT="60")
        url = httpx.URL(duck.url)
        with socket.create_connection((url.host, url.port or 80)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
            began = time.monotonic()
            duck.signal(signal.SIGINT)
            assert duck.wait() == 130
            assert time.monotonic() - began < 30


class TestReload:
    """One Duck for all of these; each leaves it with a version that serves."""

    @pytest.fixture(scope="class")
    @classmethod
    def duck(cls, made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duck]:
        where = tmp_path_factory.mktemp("reloading")
        project = Path(shutil.copytree(made_project, where / "project"))
        with shared_duck(project, where) as duck:
            duck.wait_for("is ready after")
            run_dir = Path(duck.environ["XDG_RUNTIME_DIR"])
            wait_until(lambda: report_of(run_dir, project).get("reload", {}).get("directories", 0) >= 2)
            yield duck

    def change(self, duck: Duck, text: str) -> None:
        (duck.cwd / "site1" / "version.py").write_text(text)

    def serves(self, duck: Duck, version: str) -> None:
        """Change it to this version, and wait until it serves."""
        self.change(duck, f"VERSION = {version!r}\n")
        wait_until(lambda: duck.get().text == version)

    def test_a_changed_file_is_served_by_a_new_process_without_a_failed_request(self, duck: Duck) -> None:
        seen: list[str] = []
        before, pid = duck.get().text, duck.get("/pid").text
        self.change(duck, 'VERSION = "changed"\n')
        end = time.monotonic() + DEADLINE_S
        with httpx.Client(base_url=duck.url, timeout=DEADLINE_S, trust_env=False) as client:
            while not seen or seen[-1] != "changed":
                assert time.monotonic() < end
                answer = client.get("/")
                assert answer.status_code == 200
                seen.append(answer.text)
        assert set(seen) <= {before, "changed"}
        assert duck.get("/pid").text != pid

    def test_a_syntax_error_is_told_and_what_runs_keeps_running(self, duck: Duck) -> None:
        before, pid = duck.get().text, duck.get("/pid").text
        told = duck.text.count("keeps running")
        self.change(duck, "VERSION = (\n")
        assert "version.py:1" in duck.wait_for("keeps running", times=told + 1)
        assert duck.get().text == before
        assert duck.get("/pid").text == pid
        self.serves(duck, "without the error")

    def test_a_version_that_cannot_be_imported_leaves_the_old_one_serving(self, duck: Duck) -> None:
        before, told = duck.get().text, duck.text.count("What ran before keeps running")
        self.change(duck, "import not_there\n")
        duck.wait_for("What ran before keeps running", times=told + 1)
        assert duck.get().text == before
        self.serves(duck, "imported")

    def test_a_check_that_fails_after_a_change_is_told_while_the_change_serves(self, duck: Duck) -> None:
        check = "from django.core import checks\n@checks.register\ndef pond(app_configs, **more):\n"
        check += "    return [checks.Error('the pond is dry')]\n"
        self.change(duck, f'VERSION = "checked"\n{check}')
        wait_until(lambda: duck.get().text == "checked")
        duck.wait_for("What was written serves all the same")
        duck.wait_for("the pond is dry")
        spares = report_of(Path(duck.environ["XDG_RUNTIME_DIR"]), duck.cwd)["django"]["spares"]
        assert spares["used"] == "setup"
        assert psutil.pid_exists(spares["stages"]["setup"]["pid"])
        self.serves(duck, "unchecked")

    def test_a_process_that_is_killed_is_started_again(self, duck: Duck) -> None:
        pid = int(duck.get("/pid").text)
        psutil.Process(pid).kill()
        wait_until(lambda: int(duck.get("/pid").text) != pid)


class TestDjangoThatRunsAlready:
    def test_it_is_fronted_and_left_alone(self, start: Start, report: Report, project: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
        with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as django:
            try:

                def listens() -> bool:
                    with socket.socket() as probe:
                        return probe.connect_ex(("127.0.0.1", port)) == 0

                wait_until(listens)
                duck = start(project, DUCK_DJANGO_ADDR=f"127.0.0.1:{port}")
                assert f"all URLs go to 127.0.0.1:{port}, which" in duck.wait_for("neither starts nor stops")
                assert duck.get("/pid").text == str(django.pid)
                assert duck.children() == []
                assert report(project)["django"]["address"] == f"127.0.0.1:{port}"
                duck.signal(signal.SIGTERM)
                assert duck.wait() == 143
                assert django.poll() is None
            finally:
                django.kill()

    def test_one_that_does_not_answer_is_said_at_once(self, start: Start, project: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        duck = start(project, DUCK_DJANGO_ADDR=f"127.0.0.1:{port}")
        began = time.monotonic()
        assert duck.get().status_code == 502
        assert time.monotonic() - began < 15.0
        assert f"Django at 127.0.0.1:{port} cannot be reached" in duck.wait_for("cannot be reached")
