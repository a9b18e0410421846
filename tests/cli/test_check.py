"""`duck check`: on real projects, each with one thing wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.environments import environment

Ask = Callable[..., subprocess.CompletedProcess[str]]

# Under root nobody may serve unnamed.
SERVE = ("--mode", "serve", *(("--user", "root") if os.geteuid() == 0 else ()))


class Check:
    """What one `duck check --json` said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        assert done.stdout, done.stderr
        self.said: dict[str, Any] = json.loads(done.stdout)

    def of(self, topic: str, level: str | None = None) -> str:
        """The sentences and details of the findings of one topic."""
        return "\n".join(
            "\n".join([finding["sentence"], *finding["details"]])
            for finding in self.said["findings"]
            if finding["topic"] == topic and level in (None, finding["level"])
        )

    def levels(self, topic: str) -> list[str]:
        return [finding["level"] for finding in self.said["findings"] if finding["topic"] == topic]

    @property
    def errors(self) -> list[str]:
        return [finding["sentence"] for finding in self.said["findings"] if finding["level"] == "error"]


@pytest.fixture
def check(ask_here: Ask, project: Path) -> Callable[..., Check]:
    """Of a Django project, which a process of its own imports."""
    return checking(ask_here, project)


@pytest.fixture
def check_apart(ask: Ask, project: Path) -> Callable[..., Check]:
    """By a process of its own: it becomes somebody else, or imports a Duck project."""
    return checking(ask, project)


def checking(ask: Ask, project: Path) -> Callable[..., Check]:
    def run(*arguments: str, cwd: Path = project, **environ: str) -> Check:
        port = [] if "--port" in arguments or "--listen" in arguments else ["--port", "0"]
        return Check(ask(cwd, "check", "--json", *port, *arguments, **environ))

    return run


def append(project: Path, text: str) -> None:
    with open(project / "site1" / "settings.py", "a") as file:
        file.write(text)


def manage(project: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=project, check=True, capture_output=True)


def tree(*directories: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for directory in directories for path in directory.rglob("*")}


class TestAProject:
    @pytest.fixture
    def project(self, own_whole_project: Path) -> Path:
        """As `startproject` makes it, with applications that have migrations."""
        return own_whole_project

    def test_that_is_well_is_left_as_it_was(self, check: Callable[..., Check], project: Path, run_dir: Path) -> None:
        manage(project, "check")
        before = tree(project, run_dir)
        found = check()
        assert found.code == 0, found.errors
        assert found.said["ok"] is True
        assert found.said["counts"]["error"] == 0
        assert f"{sys.executable} (from Duck's own environment) has Python 3." in found.of("interpreter")
        assert found.of("settings module") == "site1.settings was loaded, DEBUG on."
        assert found.of("entry") == "Duck's worker serves site1.wsgi.application; no WebSockets."
        assert found.of("system checks") == "Django's checks found nothing."
        assert "db.sqlite3 is not there, so 18 migrations are not applied; run `manage.py migrate`." in found.of(
            "migrations", "warning"
        )
        assert "about nine times" in found.of("cost under ASGI")
        assert tree(project, run_dir) == before

    def test_without_json_each_finding_is_a_line(self, ask: Ask, project: Path) -> None:
        done = ask(project, "check", "--port", "0")
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        assert f"ok      project: {project / 'manage.py'} is the project's." in lines
        assert lines[-1] == "no errors, 1 warning."
        assert "\x1b" not in done.stdout

    def test_that_is_not_there(self, check: Callable[..., Check], tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        found = check(cwd=tmp_path / "empty")
        assert found.code == 1
        assert "No manage.py is in" in found.of("project", "error")

    def test_whose_environment_was_passed_over(self, check: Callable[..., Check], tmp_path: Path) -> None:
        (tmp_path / "environment").mkdir()
        found = check(VIRTUAL_ENV=str(tmp_path / "environment"))
        assert "(from VIRTUAL_ENV) was passed over: no Python is in it" in found.of("interpreter", "warning")
        assert found.code == 0

    def test_whose_interpreter_is_none(self, check: Callable[..., Check]) -> None:
        found = check("--python", "/bin/true")
        assert found.code == 1
        assert "--python '/bin/true' cannot run the project" in found.of("interpreter", "error")

    @pytest.mark.parametrize("mode", [(), SERVE])
    def test_that_hangs_at_import_is_reported_with_the_line(
        self, check: Callable[..., Check], project: Path, mode: tuple[str, ...]
    ) -> None:
        lines = len((project / "site1" / "settings.py").read_text().splitlines())
        append(project, "import time\ntime.sleep(1000)\n")
        found = check("--timeout", "3", *mode)
        assert found.code == 1
        place = f"{project / 'site1' / 'settings.py'}:{lines + 2}"
        assert f"it was not done after 3 s and is still at {place}; see to that line" in found.of("settings", "error")

    def test_whose_settings_fail(self, check: Callable[..., Check], project: Path) -> None:
        append(project, "import no_such_thing\n")
        found = check()
        assert found.code == 1
        said = found.of("settings", "error")
        assert "No module named 'no_such_thing'" in said
        assert f"mend it at {project / 'site1' / 'settings.py'}:" in said

    def test_whose_urlconf_fails_says_it_once(self, check: Callable[..., Check], project: Path) -> None:
        (project / "site1" / "urls.py").write_text("1 / 0\n")
        found = check()
        assert len(found.errors) == 1
        assert "ZeroDivisionError: division by zero; mend it at" in found.errors[0]
        assert f"{project / 'site1' / 'urls.py'}:1" in found.errors[0]
        assert found.of("migrations")

    def test_that_leaves_at_import(self, check: Callable[..., Check], project: Path) -> None:
        append(project, "import os\nos._exit(7)\n")
        found = check()
        assert "ended by itself with exit code 7" in found.of("settings", "error")
        assert found.code == 1

    def test_whose_checks_fail_is_counted_and_shown(self, check: Callable[..., Check], project: Path) -> None:
        with open(project / "site1" / "urls.py", "a") as file:
            file.write(
                "from django.core import checks\n"
                "@checks.register\n"
                "def look(app_configs, **more):\n"
                "    return [checks.Error('no nest', hint='Build one.', id='pond.E001'),\n"
                "            checks.Warning('few reeds', id='pond.W001'), checks.Warning('wind', id='pond.W002')]\n"
            )
        append(project, "SILENCED_SYSTEM_CHECKS = ['pond.W002']\n")
        found = check()
        assert found.code == 1
        assert found.of("system checks", "error") == (
            "Django's checks found 1 error, 1 silenced; mend what they name, or silence it.\n"
            "(pond.E001) no nest Hint: Build one."
        )
        assert "found 1 warning" in found.of("system checks", "warning")
        assert "few reeds" in found.of("system checks", "warning")

    def test_whose_migrations_are_applied(self, check: Callable[..., Check], project: Path) -> None:
        manage(project, "migrate", "auth")
        found = check()
        assert found.of("migrations", "warning").startswith("4 migrations are not applied; run `manage.py migrate`.")
        assert "admin.0001_initial" in found.of("migrations")
        assert "5 " not in found.of("migrations", "ok")
        commanded = check(DUCK_DJANGO_COMMANDS_ON_STARTUP="migrate --noinput")
        assert commanded.of("migrations") == "DJANGO_COMMANDS_ON_STARTUP applies 4 migrations."
        manage(project, "migrate")
        assert check().of("migrations") == "All migrations are applied."

    def test_whose_database_is_down(self, check: Callable[..., Check], project: Path) -> None:
        append(project, "DATABASES['default']['NAME'] = BASE_DIR / 'site1'\n")  # a directory is no database
        found = check()
        assert found.code == 0
        assert "Whether migrations are applied cannot be known" in found.of("migrations", "warning")

    @pytest.mark.parametrize("mode", [(), SERVE])
    def test_of_the_oldest_python_and_django(self, check: Callable[..., Check], mode: tuple[str, ...]) -> None:
        found = check("--python", environment("3.10", ("Django==4.2.*",)), "--measure", *mode)
        assert found.code == 0, found.errors
        assert "has Python 3.10" in found.of("interpreter")
        assert found.of("migrations", "warning")
        assert "times as much" in found.of("cost under ASGI")


class TestWhoServes:
    def test_an_entry_that_answers_pages_by_itself_takes_all(self, check: Callable[..., Check], project: Path) -> None:
        (project / "site1" / "asgi.py").write_text("async def application(scope, receive, send):\n    pass\n")
        found = check()
        assert found.levels("entry") == ["warning"]
        assert found.of("entry").startswith(
            "All requests go through site1.asgi:application and uvicorn, since its ASGI entry answers pages by more"
        )

    def test_what_a_request_costs_is_measured_where_asked_for(self, check: Callable[..., Check]) -> None:
        said = check("--measure").of("cost under ASGI")
        assert said.startswith("/duck-check-asks-for-nothing/ (404) takes ")
        assert "a sketch, measured here" in said


class TestTheMachine:
    def test_all_that_is_wrong_with_the_settings_is_told(self, check: Callable[..., Check], project: Path) -> None:
        (project / "duck.toml").write_text('prot = 1\nmax_queue = "many"\n')
        found = check("--port", "http")
        assert found.code == 1
        assert len(found.errors) == 3
        assert "did you mean port?" in found.of("settings", "error")
        assert found.of("project", "ok")

    def test_a_port_that_is_taken_names_who_has_it(self, check: Callable[..., Check]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
            found = check("--address", "127.0.0.1", "--port", str(port))
        assert found.code == 1
        assert f"Port {port} on 127.0.0.1 is in use by " in found.of("address", "error")
        assert f"(process id {os.getpid()}); choose another with --port" in found.of("address", "error")

    def test_a_stale_socket_stays_where_it_is(self, check: Callable[..., Check], run_dir: Path) -> None:
        path = run_dir / "duck.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
        assert check("--listen", f"unix:{path}").of("address", "ok") == f"unix:{path} is free."
        assert path.exists()

    def test_directories_that_cannot_be_used(self, check: Callable[..., Check], project: Path, tmp_path: Path) -> None:
        state, nowhere = project / "state", tmp_path / "nowhere"
        found = check("--state-dir", str(state), "--listen", f"unix:{nowhere}/duck.sock", DUCK_SPOOL_DIR=str(nowhere))
        assert "lies in the project" in found.of("state directory", "error")
        assert "nowhere (SPOOL_DIR) is no directory; make it" in found.of("spool", "error")
        assert f"there is no directory {nowhere}; make it." in found.of("address", "error")
        assert len(found.errors) == 3
        assert not state.exists()

    def test_more_connections_than_descriptors(self, check_apart: Callable[..., Check]) -> None:
        found = check_apart(DUCK_MAX_CONNECTIONS="100000000")
        assert "and MAX_CONNECTIONS is 100000000; raise it" in found.of("descriptors", "warning")

    def test_a_duck_that_runs_already(
        self, check: Callable[..., Check], project: Path, start: Callable[..., Any]
    ) -> None:
        duck = start(project)
        duck.wait_for("is ready after")
        port = duck.url.rpartition(":")[2]
        found = check("--port", port)
        assert found.code == 0, found.errors
        assert f"with process id {duck.pid}, and a second start would be refused" in found.of("instance", "warning")
        assert found.of("address") == f"http://localhost:{port} is held by the Duck that runs."


class TestServe:
    @pytest.fixture(autouse=True)
    def production(self, project: Path) -> None:
        append(project, f"DEBUG = False\nALLOWED_HOSTS = ['example.org']\nSECRET_KEY = {os.urandom(40).hex()!r}\n")

    def test_static_files_have_to_be_collected(self, check: Callable[..., Check], project: Path) -> None:
        append(project, "INSTALLED_APPS += ['reeds']\n")
        (project / "reeds" / "static").mkdir(parents=True)
        (project / "reeds" / "__init__.py").touch()
        (project / "reeds" / "static" / "reed.txt").write_text("reed")
        found = check(*SERVE)
        assert "STATIC_ROOT is not set" in found.of("static files", "warning")
        append(project, "STATIC_ROOT = BASE_DIR / 'collected'\n")
        found = check(*SERVE)
        assert found.code == 1
        assert f"{project / 'collected'}, which is not there; run `manage.py collectstatic`." in found.of(
            "static files"
        )
        manage(project, "collectstatic", "--noinput")
        found = check(*SERVE)
        assert found.code == 0, found.errors
        assert found.of("static files", "ok").startswith(f"{project / 'collected'} holds all ")
        (project / "reeds" / "static" / "reed.txt").write_text("a longer reed")
        (project / "reeds" / "static" / "new.txt").write_text("new")
        said = check(*SERVE).of("static files", "warning")
        assert "with 1 file missing and 1 file of another size; run" in said
        assert said.splitlines()[1:] == ["new.txt", "reed.txt"]

    def test_a_site_that_is_well_has_no_warning_of_its_own(self, check: Callable[..., Check]) -> None:
        found = check(*SERVE, DUCK_TRUSTED_PROXIES="127.0.0.1")
        assert found.code == 0, found.errors
        assert found.of("SECRET_KEY") == "SECRET_KEY is long and random."
        assert found.of("ALLOWED_HOSTS") == "Hosts are example.org."
        assert found.of("proxies") == "Forwarded fields of 127.0.0.1/32 are believed."

    @pytest.mark.parametrize(
        ("settings", "environ", "warnings", "errors"),
        [
            ("ALLOWED_HOSTS = []", {}, {}, {"ALLOWED_HOSTS": "every request is answered with 400"}),
            (
                "ALLOWED_HOSTS = ['*']\nSECRET_KEY = 'django-insecure-' + 'a1b2c3' * 9",
                {},
                {
                    "ALLOWED_HOSTS": "name the site's hosts",
                    "SECRET_KEY": "can be forged",
                    "proxies": "set TRUSTED_PROXIES to 127.0.0.1.",
                },
                {},
            ),
            (
                "SECURE_SSL_REDIRECT = True",
                {"DUCK_DOMAIN": "example.com"},
                {"ALLOWED_HOSTS": "DOMAIN is example.com, which", "proxies": "redirected for ever"},
                {},
            ),
            (
                "DEBUG = True",
                {"DUCK_ADDRESS": "0.0.0.0", "DUCK_ALLOW_DEBUG": "yes", "DUCK_TRUSTED_PROXIES": "0.0.0.0/0"},
                {"DEBUG": "is reached from other machines", "proxies": "has everybody in it"},
                {},
            ),
            ("DEBUG = True", {"DUCK_ADDRESS": "0.0.0.0"}, {}, {"DEBUG": "or say --allow-debug."}),
            (
                "",
                {"DUCK_DOMAINS": "example.org,www.example.com", "DUCK_ADDRESS": "127.0.0.1"},
                {},
                {
                    "ALLOWED_HOSTS": "does not name www.example.com of DOMAINS, so no certificate is ordered for that;"
                    " add it there."
                },
            ),
        ],
    )
    def test_what_is_unsafe_is_named(
        self,
        check: Callable[..., Check],
        project: Path,
        settings: str,
        environ: dict[str, str],
        warnings: dict[str, str],
        errors: dict[str, str],
    ) -> None:
        append(project, settings + "\n")
        found = check(*SERVE, **environ)
        for level, said in (("warning", warnings), ("error", errors)):
            for topic, sentence in said.items():
                assert sentence in found.of(topic, level), found.said
        assert len(found.errors) == len(errors), found.errors
        assert found.code == bool(errors)

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_root_names_who_serves_and_that_user_reads_the_project(
        self, check_apart: Callable[..., Check], project: Path
    ) -> None:
        assert "views must not run as root" in check_apart("--mode", "serve").of("user", "error")
        project.chmod(0o700)
        found = check_apart("--mode", "serve", "--user", "nobody")
        assert found.code == 1
        assert "The user nobody may not" in found.of("permissions", "error")


class TestAServerThatRunsAlready:
    def test_is_asked_for_and_its_settings_are_named(self, check: Callable[..., Check], tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as backend:
            address = f"127.0.0.1:{backend.getsockname()[1]}"
            found = check(cwd=tmp_path, DUCK_DJANGO_ADDR=address)
            assert found.code == 0, found.errors
            assert f"A server answers at {address}" in found.of("backend")
            assert "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')" in found.of("backend")
        found = check(cwd=tmp_path, DUCK_DJANGO_ADDR=address)
        assert found.code == 1
        assert f"Nobody answers at {address}, which DJANGO_ADDR names" in found.of("backend", "error")


class TestADuckProject:
    @pytest.fixture
    def pond(self, tmp_path: Path) -> Path:
        directory = tmp_path / "pond"
        directory.mkdir()
        (directory / "main.py").write_text("from duck.app import App\nApp().run()\n")
        (directory / "settings.py").write_text("USE_DJANGO = False\n")
        (directory / "urls.py").write_text(
            "from duck.urls import path\nurlpatterns = [path('/', lambda request: 'x')]\n"
        )
        return directory

    def test_has_urlpatterns_of_its_own(self, check_apart: Callable[..., Check], pond: Path) -> None:
        found = check_apart(cwd=pond)
        assert found.code == 0, found.errors
        assert found.of("urlpatterns") == "Duck's own urlpatterns have 1 route."

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_is_not_run_by_root_in_production(
        self, check_apart: Callable[..., Check], pond: Path, tmp_path: Path
    ) -> None:
        (pond / "settings.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
        found = check_apart("--mode", "serve", "--user", "nobody", cwd=pond)
        assert found.code == 1
        assert "Root has started a Duck project" in found.of("user", "error")
        assert not (tmp_path / "ran").exists()

    def test_whose_urlpatterns_hang_is_reported_with_the_line(
        self, check_apart: Callable[..., Check], pond: Path
    ) -> None:
        (pond / "urls.py").write_text("import time\n\ntime.sleep(1000)\n")
        found = check_apart("--timeout", "1", cwd=pond)
        assert found.code == 1
        assert f"is still at {pond / 'urls.py'}:3; see to that line" in found.of("urlpatterns", "error")

    def test_whose_settings_hang_is_reported_with_the_line(self, check_apart: Callable[..., Check], pond: Path) -> None:
        (pond / "settings.py").write_text("import time\ntime.sleep(1000)\n")
        found = check_apart("--timeout", "1", cwd=pond)
        assert found.errors == [f"The settings were not read in 1 s; see to {pond / 'settings.py'}:2."]
