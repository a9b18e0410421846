"""New projects: made whole or not at all, with secrets of their own, and running."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

import duck
from duck.cli import makeproject as module
from duck.cli.makeproject import Kind, make_project, makeproject, template_directory
from duck.exceptions import ProjectError
from duck.settings.load import load
from duck.settings.schema import SETTINGS

ROOT = Path(duck.__file__).resolve().parents[1]


def run_python(source: str, cwd: Path) -> str:
    return run_script("-c", textwrap.dedent(source), cwd=cwd)


def run_script(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith(("DUCK_", "DJANGO_"))}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose database is migrated."""
    path = make_project("pond", tmp_path_factory.mktemp("projects"))
    run_script("manage.py", "migrate", "-v0", cwd=path / "backend")
    return path


def test_a_project_is_a_copy_of_the_template_with_its_words_filled_in(tmp_path: Path) -> None:
    path = make_project("pond", tmp_path / "new" / "place")
    made = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    template = {
        str(file.relative_to(template_directory()))
        for file in template_directory().rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert made == (template - {"gitignore"}) | {".gitignore"}
    assert "# pond\n" in (path / "README.md").read_text()
    assert "{{ name }}" in (path / "templates" / "hello.html").read_text()
    for file in path.rglob("*.py"):
        assert "{{" not in file.read_text(), file
    assert os.access(path / "backend" / "manage.py", os.X_OK)
    assert list(path.parent.iterdir()) == [path]


def test_every_project_has_secrets_of_its_own_and_the_template_none(tmp_path: Path) -> None:
    def keys(directory: Path) -> list[str]:
        files = (directory / "settings.py", directory / "backend" / "website" / "settings.py")
        lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("SECRET_KEY")]
        return [line.split('"')[-2] for line in lines]

    secrets = keys(make_project("one", tmp_path)) + keys(make_project("two", tmp_path))
    assert len(set(secrets)) == 4
    assert all(len(secret) >= 64 for secret in secrets)
    assert keys(template_directory()) == ["{{ duck_secret_key }}", "{{ django_secret_key }}"]


@pytest.mark.parametrize("kind", ["mini", "normal", "full"])
def test_the_settings_of_each_kind_can_be_loaded(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = make_project("pond", tmp_path, kind)
    assert (path / "automations.py").exists() is (kind != "mini")
    settings = load({}, {}, path)
    assert settings.is_duck_project
    assert settings["DJANGO_PROJECT"] == path / "backend"
    assert settings.warnings == ()
    sys.modules.pop("settings", None)
    text = (path / "settings.py").read_text()
    mentioned = sum(re.search(rf"^(# )?{name} = ", text, re.MULTILINE) is not None for name in SETTINGS)
    assert mentioned == (len(SETTINGS) - 2 if kind == "full" else 6)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1a", "use letters from a to z, digits and underscores"),
        ("a-b", "use letters"),
        ("../a", "use letters"),
        ("", "use letters"),
        ("énorme", "use letters"),
        ("class", "it is a keyword"),
        ("match", "it is a keyword"),
        ("django", "it would hide the module django"),
        ("test", "it would hide the module test"),
        ("json", "it would hide the module json"),
        ("click", "it would hide the module click"),
    ],
)
def test_a_bad_name_is_refused_and_nothing_made(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ProjectError, match=reason):
        make_project(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "pond").mkdir()
    with pytest.raises(ProjectError, match="exists already; choose another name or --dest"):
        make_project("pond", tmp_path)
    (tmp_path / "lake").symlink_to(tmp_path / "absent")
    with pytest.raises(ProjectError, match="exists already"):
        make_project("lake", tmp_path)
    assert list((tmp_path / "pond").iterdir()) == []


def test_no_half_made_project_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Path, "write_text", full)
    with pytest.raises(ProjectError, match="cannot be made: No space left on device"):
        make_project("pond", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(makeproject, ["pond", "--mini"])
    assert result.output == "Made pond, with secrets of its own. Serve it: cd pond && duck runserver\n"
    result = CliRunner().invoke(makeproject, ["pond", "-d", "x", "--json"])
    assert json.loads(result.output) == {"path": str(tmp_path / "x" / "pond"), "kind": "normal"}


def test_django_answers_its_pages_and_the_admin_asks_for_a_login(project: Path) -> None:
    output = run_python(
        """
        import os, sys, django
        os.environ["DJANGO_SETTINGS_MODULE"] = "website.settings"
        django.setup()
        from django.core.management import call_command
        from django.test import Client
        call_command("check", fail_level="WARNING")
        client = Client(headers={"host": "localhost"})
        page = client.get("/")
        assert b"Duck is not in front of it" in page.content, page.content
        assert b"through WSGI" in page.content
        sys.modules["_duck_worker"] = sys
        page = client.get("/")
        assert b"Duck stands in front of it at <code>http://localhost/</code>" in page.content
        assert b"/ws/echo/" in client.get("/echo/").content
        assert client.get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"
        from django.contrib.auth.models import User
        User.objects.create_superuser("donald", password="quack")
        done = client.post("/admin/login/?next=/admin/", {"username": "donald", "password": "quack"})
        assert done.headers["Location"] == "/admin/"
        assert client.get("/admin/").status_code == 200
        print("done")
        """,
        project / "backend",
    )
    assert output.endswith("done\n")


def test_websockets_are_echoed_at_one_path_and_refused_elsewhere(project: Path) -> None:
    output = run_python(
        """
        import asyncio, json
        from website.asgi import application
        from django.core.handlers.asgi import ASGIHandler
        assert type(application.application_mapping["http"]) is ASGIHandler

        def talk(path, *events):
            incoming, outgoing = list(events), []
            async def receive(): return incoming.pop(0)
            async def send(event): outgoing.append(event)
            asyncio.run(application({"type": "websocket", "path": path}, receive, send))
            return outgoing

        connect, leave = {"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}
        text, data = {"type": "websocket.receive", "text": "quack"}, {"type": "websocket.receive", "bytes": b"q"}
        assert talk("/ws/other/", connect) == [{"type": "websocket.close"}]
        assert talk("/ws/echo/", connect, text, data, leave) == [
            {"type": "websocket.accept"},
            {"type": "websocket.send", "text": "quack"},
            {"type": "websocket.send", "bytes": b"q"},
        ]
        print("done")
        """,
        project / "backend",
    )
    assert output == "done\n"


def test_duck_owns_the_urls_of_its_urlpatterns(project: Path) -> None:
    output = run_python(
        """
        import asyncio, sys
        sys.path.insert(0, ".")
        import urls, main
        from duck.http.routing import Resolver
        resolver = Resolver(urls.urlpatterns)
        print(resolver.owns("/duck/hello/"), resolver.owns("/duck/status.json"), resolver.owns("/"))
        print(main.app.settings["DJANGO_PROJECT"].name, main.app.port)
        """,
        project,
    )
    assert output == "True True False\nbackend 8000\n"


def test_its_scheduled_work_is_declared_and_runs(project: Path, tmp_path: Path) -> None:
    def automations(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "duck", "automations", *arguments]
        environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, timeout=120)

    (told,) = json.loads(automations("list", "--json").stdout)["automations"]
    assert (told["name"], told["when"]) == ("clear_sessions", "cron 30 3 * * *")
    assert told["description"] == "Delete the sessions that have expired from Django's database."
    run_script("backend/manage.py", "migrate", "-v0", cwd=project)
    done = automations("run", "clear_sessions", "--wait")
    assert done.returncode == 0 and "INFO planned for " in done.stdout, done.stderr


def test_the_command_to_go_there_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    done = CliRunner().invoke(makeproject, ["pond", "--dest", str(tmp_path / "my projects")])
    assert f"cd '{tmp_path}/my projects/pond' && duck runserver" in done.output


def test_two_kinds_at_once_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(makeproject, ["pond", "--mini", "--full", "--dest", str(tmp_path)])
    assert done.exit_code == 2
    assert "--mini and --full are two kinds of project; keep one of them." in done.output
    assert not (tmp_path / "pond").exists()
