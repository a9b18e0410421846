"""What a whole Duck tells automations; its own node and one beside it share what waits."""

from __future__ import annotations

import hashlib
import hmac
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
import pytest

from tests.app.conftest import ONE_OF_EACH, Duck
from tests.cli.here import run_here
from tests.waiting import wait_until

SECRET = "a-secret-of-this-test"

AUTOMATIONS = '''
import json, os
from pathlib import Path
from django.contrib.auth.models import User
from duck.automation import AutomationTrigger, any_of, automation, condition, every, on

def note(ctx, **more):
    with open("ran", "a") as file:
        file.write(json.dumps({"name": ctx.name, "event": ctx.event, **more}) + "\\n")

@automation(on("signal", name="django.db.models.signals.post_save", sender="auth.User"))
def saved(ctx):
    """Saves what it waits for: it must not begin again."""
    user = User.objects.get(pk=ctx.event["pk"])
    user.last_name = "seen"
    user.save()
    note(ctx, last_name=user.last_name)

@automation(on("signal", name="django.db.models.signals.post_save", sender="auth.User"))
def also_saved(ctx):
    User.objects.filter(pk=ctx.event["pk"]).first().save()
    note(ctx)

@automation(on("signal", name="site1.signals.paid"))
def paid(ctx):
    note(ctx)

@automation(on("signal", name="site1.signals.nothing"), run_in="thread")
def never(ctx):
    note(ctx)

@automation(on("deploy"))
def deployed(ctx):
    note(ctx, version=__import__("site1.version").version.VERSION)

@automation(on("webhook", path="/hooks/code", secret_env="HOOK_SECRET"))
def hooked(ctx):
    note(ctx)

@automation(on("file", path="in/*.csv"))
def came(ctx):
    note(ctx, text=Path(ctx.event["path"]).read_text())

class Flag(AutomationTrigger):
    def check_trigger(self):
        answer = os.path.exists("flag")
        with open("asked", "a") as file:
            file.write(f"{os.getpid()} {answer}\\n")
        return answer

class Broken(AutomationTrigger):
    def check_trigger(self):
        raise ValueError("broken for a reason")

@automation(condition(Flag))
def flagged(ctx):
    note(ctx)

@automation(any_of(condition(Broken), every("300d")))
def never_asked(ctx):
    note(ctx)
'''

URLS = """
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.urls import path
from site1.signals import paid
from site1.version import VERSION

def save(request):
    with transaction.atomic():
        user = User.objects.create(username=request.GET["name"])
    return HttpResponse(str(user.pk))

def give_up(request):
    try:
        with transaction.atomic():
            User.objects.create(username=request.GET["name"])
            raise ValueError("rolled back")
    except ValueError:
        return HttpResponse("rolled back")

def pay(request):
    paid.send(sender=None, amount=12, of={"buyer": User(pk=7)}, thing=object())
    return HttpResponse("paid")

urlpatterns = [
    path("", lambda request: HttpResponse(VERSION)),
    path("save", save),
    path("give_up", give_up),
    path("pay", pay),
    path("hooks/free", lambda request: HttpResponse("Django's own"))
]
"""

TOML = """
[automations.built]
shell = "echo built >> shell"
on = "webhook"
path = "/hooks/build"
secret_env = "HOOK_SECRET"
"""


class Site:
    """A project that is served, with a node beside it."""

    def __init__(
        self, root: Path, duck: Duck, node: Duck, ask: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        self.root = root
        self.duck = duck
        self.node = node
        self.ask = ask

    def ran(self, name: str) -> list[dict[str, Any]]:
        try:
            lines = (self.root / "ran").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [each for each in map(json.loads, lines) if each["name"] == name]

    def wait_for(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.ran(name)) >= count)
        return self.ran(name)

    def history(self, name: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.ask("automations", "history", name, "--json").stdout)["runs"]
        return runs

    def hook(self, path: str, body: bytes, secret: str = SECRET) -> httpx.Response:
        proof = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        fields = {"X-Hub-Signature-256": f"sha256={proof}", "Content-Type": "application/json"}
        return httpx.post(self.duck.url + path, content=body, headers=fields, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def site(whole_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("events")
    root = base / "site"
    shutil.copytree(whole_project, root)
    (root / "site1" / "urls.py").write_text(URLS)
    (root / "site1" / "signals.py").write_text(
        "from django.dispatch import Signal\npaid = Signal()\nnothing = Signal()\n"
    )
    (root / "automations.py").write_text(AUTOMATIONS)
    (root / "duck.toml").write_text(TOML)
    (root / "in").mkdir()
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=root, check=True)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DUCK_", "DJANGO_"))},
        "HOME": str(base),
        "XDG_RUNTIME_DIR": str(base),
        "XDG_STATE_HOME": str(base / "state"),
        "HOOK_SECRET": SECRET,
        "PYTHONUNBUFFERED": "1",
    }
    base.chmod(0o700)

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "duck", *arguments]

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_here(root, arguments, environ)

    user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
    node = Duck(command("automations", "run", "--node", "beside"), root, environ)
    node.wait_for("Automations: 10")
    duck = Duck(command("serve", "--port", "0"), root, {**environ, **ONE_OF_EACH, **user})
    made = Site(root, duck, node, ask)
    assert duck.get().text == "one"
    yield made
    for process in (made.duck, node):
        process.signal(signal.SIGTERM)
        process.wait()
        process.close()


def test_in_development_a_webhook_is_answered_though_no_node_runs_and_run_by_the_next(
    project: Path, start: Callable[..., Duck]
) -> None:
    (project / "duck.toml").write_text(TOML)
    duck = start(project, HOOK_SECRET=SECRET)
    assert duck.get().text == "one"
    url = duck.url + "/hooks/build"
    with httpx.Client(trust_env=False, timeout=60) as client:
        assert client.post(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post(url, headers={"Authorization": f"Bearer {SECRET}"}, content=b"x").status_code == 202
    start(project, "run", command="automations")
    wait_until(lambda: (project / "shell").exists() and (project / "shell").read_text())  # which comes after the file
    assert (project / "shell").read_text() == "built\n"


class TestSignals:
    def test_a_row_that_was_committed_is_told_once_and_a_job_that_saves_it_does_not_begin_again(
        self, site: Site
    ) -> None:
        pk = int(site.duck.get("/save?name=ada").text)
        assert site.duck.get("/give_up?name=nobody").text == "rolled back"
        saved = site.wait_for("saved", 2)
        also = site.wait_for("also_saved", 2)
        first, second = saved
        assert first["last_name"] == "seen"
        event = first["event"]
        assert event.pop("id") and event == {
            "signal": "django.db.models.signals.post_save",
            "sender": "auth.User",
            "model": "auth.User",
            "pk": pk,
            "created": True,
            "update_fields": None,
            "raw": False,
            "using": "default",
        }
        # Each has begun the other once by what it saved, and then it is over.
        assert (second["event"]["by"], second["event"]["created"]) == (["also_saved"], False)
        assert [each["event"].get("by") for each in also] == [None, ["saved"]]
        # What comes later is taken later: by then all that these could have begun has been.
        site.duck.get("/pay")
        site.wait_for("paid")
        assert (len(site.ran("saved")), len(site.ran("also_saved"))) == (2, 2)

    def test_a_signal_of_the_project_tells_plain_values(self, site: Site) -> None:
        before = len(site.ran("paid"))
        site.duck.get("/pay")
        event = site.wait_for("paid", before + 1)[before]["event"]
        assert event.pop("id") and event == {
            "signal": "site1.signals.paid",
            "sender": None,
            "amount": 12,
            "of": {"buyer": {"model": "auth.User", "pk": 7}},
            "thing": "builtins.object",
        }
        assert site.ran("never") == []


class TestWebhooks:
    def test_one_of_settings_and_one_of_code_are_answered_by_the_front_and_run(self, site: Site) -> None:
        told = site.hook("/hooks/code", b'{"ref": "main"}')
        assert told.status_code == 202
        (run,) = site.wait_for("hooked")
        assert run["event"]["id"] == told.json()["id"]
        assert (run["event"]["method"], run["event"]["body"]) == ("POST", {"ref": "main"})
        assert site.hook("/hooks/build", b"{}").status_code == 202
        wait_until(lambda: (site.root / "shell").exists())
        assert site.history("built")[0]["cause"] == "event"

    def test_others_are_refused_and_other_paths_are_djangos(self, site: Site) -> None:
        assert site.hook("/hooks/code", b"{}", "wrong").status_code == 401
        assert site.duck.get("/hooks/code").status_code == 405
        assert site.duck.get("/hooks/free").text == "Django's own"
        assert site.duck.get("/hooks/codes").status_code == 404

    def test_no_secret_is_printed_or_shown(self, site: Site) -> None:
        for command in (("list", "--json"), ("show", "built")):
            told = site.ask("automations", *command)
            assert SECRET not in told.stdout + told.stderr
        assert SECRET not in site.duck.text


class TestFiles:
    def test_one_that_comes_is_run_for(self, site: Site) -> None:
        (site.root / "in" / ".upload").write_text("a;b")
        (site.root / "in" / ".upload").rename(site.root / "in" / "one.csv")
        (run,) = site.wait_for("came")
        assert (run["event"]["path"], run["text"]) == (str(site.root / "in" / "one.csv"), "a;b")


class TestConditions:
    def test_one_that_comes_true_is_run_for_once_and_one_that_raises_is_in_nobodys_way(self, site: Site) -> None:
        (site.root / "flag").touch()
        (run,) = site.wait_for("flagged")
        assert run["event"]["condition"] == "automations:Flag"
        # Once the project is loaded again another process asks, which did not see that it was true before.
        before = {line.split()[0] for line in self.asked(site)}
        site.node.signal(signal.SIGHUP)
        wait_until(lambda: sum(line.split()[0] not in before for line in self.asked(site)) > 1)
        deployed = len(site.ran("deployed"))
        site.ask("automations", "event", "deploy", "--tell", "because=condition")
        site.wait_for("deployed", deployed + 1)
        assert len(site.ran("flagged")) == 1 and site.ran("never_asked") == []
        (site.root / "flag").unlink()
        wait_until(lambda: self.asked(site)[-1].endswith(" False"))
        (site.root / "flag").touch()
        site.wait_for("flagged", 2)

    def asked(self, site: Site) -> list[str]:
        return (site.root / "asked").read_text().splitlines()


class TestDeploy:
    def test_whoever_deploys_otherwise_says_so(self, site: Site) -> None:
        before = len(site.ran("deployed"))
        kept = json.loads(site.ask("automations", "event", "deploy", "--tell", "version=7", "--json").stdout)["id"]
        event = site.wait_for("deployed", before + 1)[before]["event"]
        assert event == {"reason": "told", "version": "7", "id": kept}
        assert site.ask("automations", "event", "deploy", "--tell", "x").returncode == 2

    def test_a_reload_of_django_and_one_of_duck_are_told(self, site: Site) -> None:
        before = len(site.ran("deployed"))
        done = site.ask("reload")
        assert done.returncode == 0, done.stderr
        assert site.wait_for("deployed", before + 1)[before]["event"]["reason"] == "reload"
        assert site.ask("reload", "--self").returncode == 0
        assert site.wait_for("deployed", before + 2)[before + 1]["event"]["reason"] == "duck"

    def test_a_start_with_other_code_is_told(self, site: Site) -> None:
        before = len(site.ran("deployed"))
        command, environ = site.duck.process.args, site.duck.environ
        site.duck.signal(signal.SIGTERM)
        site.duck.wait()
        site.duck.close()
        (site.root / "site1" / "version.py").write_text('VERSION = "two"\n')
        site.duck = Duck(command, site.root, environ)  # type: ignore[arg-type]
        assert site.duck.get().text == "two"
        assert site.wait_for("deployed", before + 1)[before]["event"]["reason"] == "start"
