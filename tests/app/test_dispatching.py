"""The dispatcher of automations inside `duck runserver` and `duck serve`, in front of real projects."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest

from duck.services.automations.declaration import read_declaration
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.run import Cause, Run, State
from duck.services.instance import running_instances
from duck.services.ipc import ControlError, call
from tests.alive import is_alive
from tests.app.conftest import DEADLINE_S, Duck, variables
from tests.cli.here import run_here
from tests.waiting import wait_until

Start = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]

SERVE = {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", **({"DUCK_USER": "root"} if os.geteuid() == 0 else {})}

# Of an installed application. A run says in a file when it began and ended.
JOBS = """
import os, time
from django.conf import settings
from duck.automation import automation, cron, every

print("jobs are loaded")

def note(text):
    with open(os.path.join(str(settings.BASE_DIR), "ran"), "a") as file:
        file.write(text + "\\n")

@automation(every("1s"), overlap="allow")
def tick(ctx):
    note(f"tick {ctx.key}")

@automation(cron("30 2 * * *"))
def nightly():
    note("nightly")

@automation()
def long():
    note("long begins")
    while not os.path.exists(os.path.join(str(settings.BASE_DIR), "go-on")):
        time.sleep(0.02)
    note("long ends")
"""


def make_shop(project: Path) -> Path:
    """Give a project an application that declares automations."""
    application = project / "jobs"
    application.mkdir()
    (application / "__init__.py").touch()
    (application / "automations.py").write_text(JOBS)
    with open(project / "site1" / "settings.py", "a") as file:
        file.write('INSTALLED_APPS += ["jobs"]\n')
    return project


@pytest.fixture
def shop(project: Path) -> Path:
    return make_shop(project)


class Site:
    """What a Duck and its store tell of a project."""

    def __init__(self, environ: dict[str, str], project: Path) -> None:
        self._run_directory = Path(environ["XDG_RUNTIME_DIR"]) / "duck"
        self._state = Path(environ["XDG_STATE_HOME"]) / "duck"
        self._environ = environ
        self.project = project

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a short `duck` command comes to."""
        return run_here(self.project, arguments, self._environ)

    def status(self) -> dict[str, Any]:
        """What it tells of itself; `processes` are none before it is there."""
        found = running_instances(self._run_directory)
        try:
            told = call(found[0].control, "status", deadline_s=DEADLINE_S) if found else {}
        except ControlError:
            told = {}  # it is about to be there, or is starting again
        return {"processes": [], **told}

    def dispatchers(self) -> dict[int, str]:
        """State of the dispatcher processes, by process id."""
        return {one["pid"]: one["state"] for one in self.status()["processes"] if one["role"] == "automations"}

    def dispatcher(self) -> int:
        """The one that runs."""
        wait_until(lambda: list(self.dispatchers().values()) == ["running"])
        return next(iter(self.dispatchers()))

    def runs(self, name: str) -> list[Run]:
        with self._store() as store:
            return store.runs(name, limit=10_000)

    def run(self, name: str, **table: str) -> None:
        """Have it run, as `duck automations run` does."""
        with self._store() as store:
            store.enqueue(read_declaration(name, table, "test", ZoneInfo("UTC")), store.now(), Cause.HAND)

    @contextmanager
    def _store(self) -> Iterator[LocalEngine]:
        (path,) = (self._state / "automations").glob("*.sqlite3")
        engine = LocalEngine(path)
        yield engine
        engine.close()

    def begin_long(self) -> None:
        """Have `long` run, up to where it waits for the file `go-on`."""
        self.dispatcher()
        (self.project / "go-on").unlink(missing_ok=True)
        before = self.ran().count("long begins")
        self.run("long", call="jobs.automations:long")
        wait_until(lambda: self.ran().count("long begins") > before)

    def let_go_on(self) -> None:
        (self.project / "go-on").touch()

    def ran(self) -> list[str]:
        try:
            return (self.project / "ran").read_text().splitlines()
        except FileNotFoundError:
            return []


@pytest.fixture
def site(environ: dict[str, str], shop: Path) -> Site:
    return Site(environ, shop)


def below(pid: int) -> list[int]:
    """The processes below `pid`, and itself."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


@contextmanager
def site_of_class(made_project: Path, factory: pytest.TempPathFactory, **environ: str) -> Iterator[Site]:
    """For a Duck that several tests share."""
    where = factory.mktemp("served")
    project = make_shop(Path(shutil.copytree(made_project, where / "project")))
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as run_dir:
        yield Site(variables(Path(run_dir), where / "state") | SERVE | environ, project)


@contextmanager
def serving(site: Site, *arguments: str) -> Iterator[Duck]:
    duck = Duck([sys.executable, "-m", "duck", "serve", *arguments], site.project, site._environ)
    yield duck
    duck.close()


class TestServe:
    """One Duck for all of these; each leaves it with a dispatcher that runs."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        with site_of_class(made_project, tmp_path_factory) as site:
            yield site

    @pytest.fixture(scope="class")
    @classmethod
    def duck(cls, site: Site) -> Iterator[Duck]:
        with serving(site, "--port", "0", "--workers", "1", "--django-workers", "1") as duck:
            assert duck.get().text == "one"
            yield duck

    def test_what_an_application_declares_is_run_by_one_process(self, duck: Duck, site: Site) -> None:
        assert "Automations: 3, next tick " in duck.wait_for("Automations: ")
        wait_until(lambda: any(line.startswith("tick ") for line in site.ran()))
        pid = site.dispatcher()
        assert psutil.Process(pid).ppid() == duck.pid
        told = site.status()["automations"]
        assert (told["state"], told["automations"], told["store"], told["restarts"]) == ("running", 3, "reachable", 0)
        assert told["next"].startswith("tick at ") and told["node"].endswith(f":{pid}")
        assert duck.wait_for("The automation tick (run ")
        assert "automations | jobs are loaded\n" in duck.text  # what a run prints is kept with it

    def test_one_that_is_killed_is_replaced_and_no_time_is_lost_or_run_twice(self, duck: Duck, site: Site) -> None:
        restarts = site.status()["automations"]["restarts"]
        for _ in range(2):
            pid, before = site.dispatcher(), len(site.ran())
            wait_until(lambda before=before: len(site.ran()) > before + 1)  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: pid not in site.dispatchers())  # type: ignore[misc]
            assert site.dispatcher() != pid
        assert "was ended by SIGKILL. Another one is started" in duck.text
        assert duck.get().text == "one" and site.status()["automations"]["restarts"] == restarts + 2
        before = len(site.ran())
        wait_until(lambda: len(site.ran()) > before)
        ran = [line for line in site.ran() if line.startswith("tick ")]
        assert len(set(ran)) == len(ran), "a planned time was run twice"
        planned = sorted(run.planned for run in site.runs("tick"))
        assert len(planned) == len(set(planned)) == (planned[-1] - planned[0]).total_seconds() + 1

    def test_a_reload_takes_up_what_has_changed_and_lets_runs_end(self, duck: Duck, site: Site) -> None:
        pid = site.dispatcher()
        site.begin_long()
        text = JOBS.replace('note(f"tick {ctx.key}")', 'note("new")').replace('cron("30 2 * * *")', 'every("6h")')
        (site.project / "jobs" / "automations.py").write_text(text)
        (site.project / "duck.toml").write_text('[automations.more]\nshell = "true"\n')
        assert site.ask("reload").returncode == 0
        wait_until(lambda: "new" in site.ran() and site.status()["automations"]["automations"] == 4)
        assert site.dispatcher() == pid and "long ends" not in site.ran()
        site.let_go_on()
        wait_until(lambda: site.runs("long")[0].state == State.SUCCEEDED)

    def test_a_new_duck_in_the_same_process_has_a_dispatcher_of_its_own(self, duck: Duck, site: Site) -> None:
        pid = site.dispatcher()
        site.begin_long()
        done = site.ask("reload", "--self")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: sorted(site.dispatchers().values()) == ["leaving", "running"])
        assert site.dispatchers()[pid] == "leaving"
        site.let_go_on()
        wait_until(lambda: site.runs("long")[0].state == State.SUCCEEDED)
        assert site.dispatcher() != pid

    def test_a_stop_lets_a_run_end_and_begins_no_other(self, duck: Duck, site: Site) -> None:
        """The last: then there is none."""
        site.begin_long()
        family = below(duck.pid)
        duck.signal(signal.SIGTERM)
        duck.wait_for("Stopping; finishing what runs.")
        site.let_go_on()
        assert duck.wait() == 128 + signal.SIGTERM
        assert site.runs("long")[0].state == State.SUCCEEDED
        assert not any(map(is_alive, family))


def test_an_app_that_is_killed_leaves_nothing(start: Start, shop: Path, site: Site) -> None:
    (shop / "duck.toml").write_text(
        '[automations.shell]\nshell = "sleep 63 & echo $! $$ > shell; wait"\non = "start"\n'
    )
    duck = start(shop, command="serve", **SERVE)
    site.begin_long()
    shell = shop / "shell"
    wait_until(lambda: shell.exists() and shell.read_text().endswith("\n"))
    family = [*below(duck.pid), *map(int, shell.read_text().split())]
    duck.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, family)))


class TestRunserver:
    def test_they_are_run_and_loaded_again_with_the_code(self, start: Start, shop: Path, site: Site) -> None:
        (shop / "duck.toml").write_text('log_level = "info"\n')
        duck = start(shop)
        pid = site.dispatcher()
        wait_until(lambda: any(line.startswith("tick ") for line in site.ran()))
        site.begin_long()
        (shop / "jobs" / "automations.py").write_text(JOBS.replace('note(f"tick {ctx.key}")', 'note("new")'))
        wait_until(lambda: "new" in site.ran())
        assert site.dispatcher() == pid and "long ends" not in site.ran()
        # Duck itself is started again for its own settings; runs go on meanwhile.
        (shop / "duck.toml").write_text('[automations.more]\nshell = "true"\n')
        duck.wait_for("Automations: 4")
        wait_until(lambda: site.dispatchers().get(pid) == "leaving")
        site.let_go_on()
        wait_until(lambda: site.runs("long")[0].state == State.SUCCEEDED)
        assert site.dispatcher() != pid
        duck.signal(signal.SIGINT)
        assert duck.wait() == 128 + signal.SIGINT

    def test_a_project_that_serves_others_elsewhere_runs_none_here_unless_asked_to(
        self, start: Start, shop: Path, site: Site
    ) -> None:
        settings = shop / "site1" / "settings.py"
        settings.write_text(
            settings.read_text().replace("DEBUG = True", "DEBUG = False").replace("HOSTS = []", "HOSTS = ['*']")
        )
        duck = start(shop, "--no-reload")
        duck.wait_for("The automations of this project are not run: DEBUG is off in site1.settings")
        assert duck.get().text == "one" and "automations" not in site.status()
        duck.signal(signal.SIGINT)
        duck.wait()
        start(shop, "--automations", "--no-reload")
        site.dispatcher()

    def test_they_can_be_turned_off(self, start: Start, shop: Path, site: Site) -> None:
        duck = start(shop, "--no-automations", "--no-reload")
        duck.wait_for("is ready after")
        assert duck.get().text == "one" and "automations" not in site.status()

    def test_what_cannot_be_imported_is_told_and_pages_are_served(self, start: Start, shop: Path, site: Site) -> None:
        (shop / "jobs" / "automations.py").write_text("import nowhere_to_be_found\n")
        duck = start(shop)
        duck.wait_for("jobs.automations cannot be imported: No module named 'nowhere_to_be_found'")
        assert duck.get().text == "one"
        wait_until(lambda: "automations" not in site.status())
        # Mended, it is run without anybody starting anything again.
        (shop / "jobs" / "automations.py").write_text(JOBS)
        site.dispatcher()

    def test_a_project_without_any_has_no_such_process(
        self, start: Start, project: Path, environ: dict[str, str]
    ) -> None:
        duck = start(project)
        duck.wait_for("is ready after")
        assert duck.get().text == "one"
        told = Site(environ, project).status()
        assert "automations" not in told and {one["role"] for one in told["processes"]} == {"app", "django pages"}
        assert "utomations" not in duck.text


class TestAlone:
    """`duck serve --automations-only`."""

    def test_it_runs_reloads_and_stops_with_no_front(self, start: Start, shop: Path, site: Site) -> None:
        duck = start(shop, "--automations-only", "--admin-listen", "http://127.0.0.1:0", command="serve", **SERVE)
        duck.wait_for("runs automations, and listens nowhere")
        pid = site.dispatcher()
        told = site.status()
        assert (told["state"], told["addresses"], told["front"]) == ("running", [], {})
        assert {one["role"] for one in told["processes"]} == {"app", "automations"}
        wait_until(lambda: any(line.startswith("tick ") for line in site.ran()))
        admin = duck.wait_for("/readyz and /metrics").split()[1].removesuffix("/readyz")
        assert httpx.get(f"{admin}/readyz", trust_env=False).status_code == 200
        figures = httpx.get(f"{admin}/metrics", trust_env=False).text
        assert 'duck_automation_runs_total{name="tick",outcome="succeeded"}' in figures
        assert 'duck_processes{role="automations"} 1.0' in figures
        assert re.search(r"^duck_automation_start_delay_seconds_count [1-9]", figures, re.MULTILINE)
        assert 'duck_automation_seconds_since_success{name="tick"}' in figures
        site.begin_long()
        (shop / "jobs" / "automations.py").write_text(JOBS.replace('note(f"tick {ctx.key}")', 'note("new")'))
        done = site.ask("reload")
        assert done.stdout.startswith("The automations are there after "), done.stderr
        wait_until(lambda: "new" in site.ran())
        assert site.dispatcher() == pid
        assert site.ask("reload", "--self").returncode == 0
        wait_until(lambda: sorted(site.dispatchers().values()) == ["leaving", "running"])
        site.let_go_on()
        wait_until(lambda: site.runs("long")[0].state == State.SUCCEEDED)
        assert site.ask("stop").returncode == 0
        assert duck.wait() == 0

    def test_a_dispatcher_class_that_is_none_is_told_once_and_shown(self, start: Start, shop: Path, site: Site) -> None:
        duck = start(shop, "--automations-only", command="serve", **SERVE, DUCK_AUTOMATION_DISPATCHER="nowhere.Own")
        duck.wait_for("Automations cannot be run: ")
        wait_until(lambda: site.dispatchers() == {})
        sentence = "AUTOMATION_DISPATCHER is nowhere.Own, which cannot be imported: ModuleNotFoundError"
        assert sentence in site.status()["automations"]["failure"] and duck.text.count(sentence) == 1

    def test_with_automations_turned_off_it_is_refused(self, ask: Ask, shop: Path) -> None:
        done = ask(shop, "serve", "--automations-only", "--no-automations", **SERVE)
        assert done.returncode == 1
        assert done.stderr == (
            "duck: command line --automations: RUN_AUTOMATIONS is off, and --automations-only runs nothing else; leave"
            " one of them out.\n"
        )


class TestAloneAndWrong:
    """The same where something goes wrong: one Duck for all; each leaves it with a dispatcher that runs."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        deadlines = ("DUCK_SHUTDOWN_TIMEOUT", "DUCK_STREAMS_CLOSE_TIMEOUT", "DUCK_SOCKETS_CLOSE_TIMEOUT")
        given = {**dict.fromkeys(deadlines, "0.5"), "DUCK_HEARTBEAT_TIMEOUT": "4"}
        with site_of_class(made_project, tmp_path_factory, **given) as site:
            yield site

    @pytest.fixture(scope="class")
    @classmethod
    def duck(cls, site: Site) -> Iterator[Duck]:
        with serving(site, "--automations-only") as duck:
            yield duck

    def test_a_project_that_cannot_be_loaded_says_why_and_is_run_once_it_can_be(self, duck: Duck, site: Site) -> None:
        site.dispatcher()
        settings = site.project / "site1" / "settings.py"
        text = settings.read_text()
        settings.write_text("1 / 0\n" + text)
        done = site.ask("reload")
        assert done.returncode == 1 and "The automations could not be loaded again: ZeroDivisionError" in done.stderr
        before = len(site.ran())
        settings.write_text(text)
        wait_until(lambda: len(site.ran()) > before)  # by itself, a few seconds later at most

    def test_a_dispatcher_that_hangs_says_where_and_is_replaced(self, duck: Duck, site: Site) -> None:
        pid = site.dispatcher()
        os.kill(pid, signal.SIGSTOP)
        duck.wait_for("The dispatcher of automations hangs; it is ended.")
        wait_until(lambda: not is_alive(pid))
        assert site.dispatcher() != pid

    def test_a_run_that_outlasts_the_deadline_of_a_stop_is_cut_and_told(self, duck: Duck, site: Site) -> None:
        """The last: then there is none."""
        site.begin_long()
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM
        (run,) = site.runs("long")
        assert (run.state, run.reason) == (State.CANCELLED, "ended by force")
