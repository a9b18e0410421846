"""Runs of automations in a real project's processes: what they are given, how they end, and how they are ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psutil
import pytest

from duck.app.alert_mail import JobMail
from duck.backend.django.child import EXITED, READY
from duck.backend.django.discover import find_interpreter, find_project
from duck.backend.django.job_memory import MemoryBound
from duck.backend.django.job_project import JobProject
from duck.backend.django.jobs import DjangoJobs
from duck.exceptions import ProjectError
from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.run import Cause, Run, State
from duck.services.inbox import Inbox
from tests.alive import is_alive
from tests.environments import environment
from tests.waiting import DEADLINE_S, serve_until

if TYPE_CHECKING:
    from duck.services.automations.engine import Ended

AUTOMATIONS = '''
import asyncio, os, signal, subprocess, sys, time

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from duck.automation import Automation, AutomationTrigger, automation, cron, every

@automation(cron("30 2 * * *", tz="Europe/Berlin"), timeout="20m", retry=3)
def nightly(ctx):
    """Counts users."""
    print("users", User.objects.count())
    ctx.log.info("for %s, attempt %d, key %s", ctx.scheduled_for.isoformat(), ctx.attempt, ctx.key)
    print("interval", *(moment.isoformat() for moment in ctx.interval))
    print("main thread", __import__("threading").current_thread() is __import__("threading").main_thread())
    ducks = sorted(name for name in sys.modules if name.split(".")[0] == "duck")
    print("zone", timezone.get_current_timezone_name(), "duck", ducks)

@automation()
def plain():
    print("plain", os.getpid())

@automation()
def unended():
    print("no end of line", end="")

@automation()
def blank():
    print("a")
    print()

@automation()
def yields():
    print("never")
    yield 1

@automation(every("1h"))
async def waits(ctx):
    print("waiting", flush=True)
    await asyncio.sleep(60)

@automation()
async def started_at_once():
    pass

@automation()
def fails():
    print("about to fail")
    raise KeyError("quack")

@automation()
def leaves():
    sys.exit(3)

@automation()
def dies():
    os.kill(os.getpid(), signal.SIGKILL)

@automation()
def hangs():
    print("hanging", flush=True)
    time.sleep(60)

@automation()
def naps():
    print("napping", flush=True)
    while True:
        time.sleep(0.05)  # between two of these a thread hears that it is to end

@automation()
def unblocks():
    os.set_blocking(1, False)

@automation()
def blocking():
    print(os.get_blocking(1))

@automation()
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    print("deaf", flush=True)
    while True:
        time.sleep(60)

@automation()
def swells():
    globals().setdefault("kept", []).append(b"x" * 150_000_000)
    print("swollen", os.getpid())

@automation()
def leaks():
    kept = []
    while True:
        kept.append(b"x" * 20_000_000)
        time.sleep(0.02)

@automation()
def leaks_elsewhere():
    program = "kept = []\\nwhile True: kept.append(b'x' * 20_000_000); __import__('time').sleep(0.02)"
    subprocess.run([sys.executable, "-c", program])

@automation()
def leaves_behind():
    left, meant = (subprocess.Popen(["sleep", "60"], start_new_session=own) for own in (False, True))
    print(os.getpid(), left.pid, meant.pid)

@automation()
def tracked():
    from multiprocessing import resource_tracker
    resource_tracker.ensure_running()
    print("tracked", os.getpid())

@automation()
def closes_output():
    print("before", os.getpid())
    sys.stdout.close()
    os.close(2)

@automation()
def redirects_output():
    print("before", os.getpid(), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = open(os.devnull, "w")
    print("unseen")

@automation()
def screams():
    raise ValueError("x" * 3_000_000)

class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("not that")

@automation()
def unspeakable():
    raise Unspeakable

@automation()
def floods():
    for number in range(200_000):
        print("line", number)

@automation()
def half_done():
    with transaction.atomic():
        User.objects.create(username="half")
        raise ValueError("in the middle")

@automation(run_in="thread")
def in_thread(ctx):
    print("in a thread of", os.getpid())
    time.sleep(0.2)
    print("done", ctx.name)

class Full(AutomationTrigger):
    def check_trigger(self):
        return True

class Report(Automation):
    def execute(self):
        print("reported")

class celery_task:
    delay = staticmethod(print)

report = Report(name="report", schedules=-1, interval=3600)
once = Report(name="once")
'''


pytestmark = pytest.mark.usefixtures("warm_backends")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with automations and a migrated database."""
    directory = tmp_path_factory.mktemp("jobs") / "site"
    directory.mkdir()
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], cwd=directory, check=True)
    (directory / "automations.py").write_text(AUTOMATIONS)
    with open(directory / "shop" / "settings.py", "a") as settings:
        settings.write(
            'TIME_ZONE = "Europe/Berlin"\n'
            'AUTOMATIONS = {"clean": {"command": "clearsessions", "every": "1d"},'
            ' "automations.once": {"trigger": "automations.Full"}}\n'
        )
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=directory, check=True)
    return directory


class Works:
    """Jobs on an inbox that the test serves."""

    def __init__(
        self, root: Path, python: str = sys.executable, own: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.inbox = Inbox()
        self.found: list[dict[str, Any]] = []
        self.failures: list[tuple[str, str]] = []
        self.printed: list[str] = []
        project = find_project(root, None)
        environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        of = JobProject(
            project,
            find_interpreter(project, python, environ),
            None,
            self.inbox,
            on_failed=lambda message, traceback: self.failures.append((message, traceback)),
            on_output=self.printed.append,
            on_declared=self.found.append,
            own=own or {},
        )
        self.jobs = DjangoJobs(of, **{"processes": 2, "threads": 4, "recycle": 100, **options})
        self.number = 0

    def serve(self, until: Callable[[], object], within_s: float = DEADLINE_S) -> None:
        told = "it did not come to that"
        serve_until(self.inbox, until, within_s, lambda: f"{told}; {self.failures} {self.printed}")

    def declaration(self, call: str, **table: Any) -> Declaration:
        return read_declaration(call, {"call": f"automations:{call}", **table}, "test", ZoneInfo("UTC"))

    def begin(self, declaration: Declaration) -> tuple[Run, list[Ended]]:
        self.number += 1
        planned = datetime(2026, 5, 1, 0, 30, tzinfo=UTC)
        run = Run(self.number, declaration.name, "r", planned, Cause.SCHEDULE, State.RUNNING, attempt=2, node="a")
        ended: list[Ended] = []
        self.jobs.start(run, declaration, ended.append)
        return run, ended

    def close(self) -> None:
        self.jobs.kill()
        self.serve(lambda: not self.jobs.pids)
        self.inbox.close()

    def run(self, call: str, **table: Any) -> Ended:
        _, ended = self.begin(self.declaration(call, **table))
        self.serve(lambda: ended)
        assert len(ended) == 1
        return ended[0]

    def printing(self, call: str) -> Callable[[], bool]:
        return lambda: any(call in str(job.tail) for job in self.jobs._jobs.values())


@pytest.fixture(scope="module")
def works(root: Path, warm_backends: None) -> Iterator[Works]:
    made = Works(root)
    made.jobs.begin()
    made.serve(lambda: made.found)
    yield made
    made.close()


@pytest.fixture
def cold(root: Path) -> Iterator[Works]:
    """Of this test alone; it has no process yet."""
    made = Works(root)
    yield made
    made.close()


def test_what_a_project_declares_is_told(works: Works, root: Path) -> None:
    found = works.found[0]
    assert found["zone"] == "Europe/Berlin" and found["problems"] == []
    assert found["failed"] == []
    declared = {each["name"]: each for each in found["declared"]}
    assert declared["nightly"]["table"] == {
        "cron": "30 2 * * *",
        "tz": "Europe/Berlin",
        "timeout": "20m",
        "retry": 3,
        "call": "automations:nightly",
        "description": "Counts users.",
    }
    assert declared["nightly"]["origin"].endswith("automations.py:9")
    assert declared["waits"]["table"]["run_in"] == "loop"
    assert declared["report"]["table"] == {"every": 3600, "call": "automations:report", "run_in": "thread"}
    settings = root / "shop" / "settings.py"
    line = next(number for number, text in enumerate(settings.read_text().splitlines(), 1) if '"clean"' in text)
    assert declared["clean"] == {
        "name": "clean",
        "table": {"command": "clearsessions", "every": "1d"},
        "origin": f"{settings}:{line}",
    }
    assert declared["once"]["table"] == {
        "on": "condition",
        "name": "automations.Full",
        "call": "automations:once",
        "run_in": "thread",
    }
    for each in declared.values():
        read_declaration(each["name"], each["table"], each["origin"], ZoneInfo(found["zone"]))


def test_output_that_ends_within_a_line_ends_its_run(works: Works) -> None:
    ended = works.run("unended")
    assert (ended.state, ended.output) == (State.SUCCEEDED, "no end of line\n")
    assert works.run("blank").output == "a\n\n"
    assert works.run("unended", run_in="thread").output == "no end of line"


def test_a_generator_that_nobody_iterates_is_a_failure(works: Works) -> None:
    ended = works.run("yields")
    assert ended.state is State.FAILED
    assert ended.reason == "TypeError: automations:yields is a generator, which runs nothing; take out its `yield`"


def test_hundreds_that_are_due_at_one_moment_all_run(works: Works) -> None:
    declaration = works.declaration("started_at_once", run_in="loop")
    runs = [works.begin(declaration)[1] for _ in range(500)]
    works.serve(lambda: all(runs))
    assert {ended.state for run in runs for ended in run} == {State.SUCCEEDED}


def test_what_is_not_there_is_a_problem_with_its_automation(root: Path) -> None:
    """A signal, a sender, a condition and a target of settings; those of code are looked for in the same way."""
    (root / "later.py").write_text(
        "import sys\nfrom functools import cache\n\n@cache\ndef mail(): ...\n\ndef nightly(): ...\n\n"
        "class Report:\n    def run(self): ...\n\nif sys:\n    weekly = nightly\n\nraise SystemExit('imported')\n"
    )
    (root / "broken.py").write_text("def job(:\n")
    (root / "open.py").write_text("from later import *\n")

    def named(automation: str, **table: Any) -> dict[str, Any]:
        return {"name": automation, "table": table, "origin": "duck.toml"}

    saved = {"on": "signal", "name": "django.db.models.signals.post_save"}
    works = Works(
        root,
        own={
            "events": [
                named("right", any_of=[{**saved, "sender": "auth.User"}, {"every": "1d"}]),
                named("sender", trigger={**saved, "sender": "shop.Order"}, **{"except": {}}),
                named("signal", any_of=[{"on": "signal", "name": "shop.signals.paid"}]),
                named("none", on="signal", name="django.db.models.Model"),
                named("condition", on="condition", name="automations.nightly"),
            ],
            "targets": [
                named("good", call="automations.nightly"),
                named("later", call="wsgiref.validate.validator"),  # there, and not imported for it
                *(named(name, call=f"later.{name}") for name in ("mail", "nightly", "weekly", "Report")),
                named("method", call="later:Report.run"),
                named("may-be", call="open.anything"),
                named("task", task="later.mail"),
                named("command", command="clearsessions"),
                named("mistyped", command="clearsesions"),
                named("with-args", command="clearsessions --v"),
                named("module", call="shop.jobs.nightly"),
                named("submodule", call="shop.setings.nightly"),
                named("of-a-class", call="later.Report.run"),
                named("function", call="automations.nigthly"),
                named("not-imported", call="later.nigthly"),
                named("constant", call="automations.__name__"),
                named("broken", call="broken.job"),
                named("no-task", task="later.nightly"),
                named("no-task-either", task="automations.nightly"),
                named("of-celery", task="automations.celery_task"),
                named("no-task-there", task="later.send"),
            ],
        },
    )
    works.jobs.begin()
    works.serve(lambda: works.found)
    told = {each.split("'")[1]: each.partition("' ")[2] for each in works.found[0]["problems"]}
    assert all(each.startswith("duck.toml: the automation '") for each in works.found[0]["problems"])
    assert told == {
        "sender": "waits for a signal that is not there: there is no model and no class shop.Order; give one such as"
        " shop.Order.",
        "signal": "waits for a signal that is not there: ModuleNotFoundError: No module named 'shop.signals'.",
        "none": "waits for a signal that is not there: django.db.models has no signal Model.",
        "condition": "waits for a condition that is not there: automations.nightly has no check_trigger(); give an"
        " AutomationTrigger.",
        "mistyped": "cannot be run: there is no command 'clearsesions'; give 'clearsessions', if you mean that.",
        "with-args": "cannot be run: there is no command 'clearsessions --v'; give 'clearsessions', and the rest in"
        " args.",
        "module": "cannot be run: there is no module 'shop.jobs'; give the dotted name of what can be imported.",
        "submodule": "cannot be run: there is no module 'shop.setings'; give \"shop.settings.nightly\", if you mean"
        " that.",
        "of-a-class": "cannot be run: there is no module 'later.Report'; give \"later:Report.run\", if Report is a"
        " class of later.",
        "function": "cannot be run: automations has no 'nigthly'; give \"automations.nightly\", if you mean that.",
        "not-imported": "cannot be run: later has no 'nigthly'; give \"later.nightly\", if you mean that.",
        "constant": "cannot be run: automations.__name__ cannot be called; give the dotted name of a function.",
        "broken": f"cannot be run: SyntaxError: invalid syntax ({root}/broken.py, line 1).",
        "no-task": "cannot be run: later.nightly is no task; decorate it with @task, or give it by `call`.",
        "no-task-either": "cannot be run: automations.nightly is no task of django_tasks; decorate it with @task, or"
        " give it by `call`.",
        "of-celery": "cannot be run: automations.celery_task is no task of django_tasks; Celery's are put into their"
        ' queue by call = "automations:celery_task.delay".',
        "no-task-there": "cannot be run: later has no 'send'; give what is there, or write it.",
    }
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()


def test_a_run_has_django_and_its_context(works: Works) -> None:
    ended = works.run("nightly", cron="30 2 * * *")
    assert (ended.state, ended.reason) == (State.SUCCEEDED, "")
    assert ended.output.splitlines() == [
        "users 0",
        "INFO for 2026-05-01T00:30:00+00:00, attempt 2, key nightly:2026-05-01T00:30:00Z",
        "interval 2026-04-30T02:30:00+00:00 2026-05-01T00:30:00+00:00",
        "main thread True",
        "zone Europe/Berlin duck ['duck', 'duck.automation', 'duck.automation.automation', 'duck.automation.calling', "
        "'duck.automation.context', 'duck.automation.trigger']",
    ]


def test_a_command_and_an_object_are_run(works: Works) -> None:
    command = read_declaration("c", {"command": "check", "args": ["--tag", "models"]}, "test", ZoneInfo("UTC"))
    _, ended = works.begin(command)
    works.serve(lambda: ended)
    assert ended[0].state == State.SUCCEEDED and "no issues" in ended[0].output
    assert "reported" in works.run("report").output


def test_processes_are_warm_and_used_again(works: Works) -> None:
    assert works.run("plain").output == works.run("plain").output


def test_one_that_fails_says_why(works: Works) -> None:
    ended = works.run("fails")
    assert (ended.state, ended.reason) == (State.FAILED, "KeyError: 'quack'")
    assert ended.output.startswith("about to fail\nTraceback (most recent call last):")
    assert 'automations.py", line ' in ended.output and "_duck_worker" not in ended.output
    assert works.run("leaves").reason == "SystemExit: 3"
    assert works.run("plain").state == State.SUCCEEDED


def test_one_that_is_killed_is_told_and_the_next_has_a_new_process(works: Works) -> None:
    ended = works.run("dies")
    assert (ended.state, ended.reason) == (State.FAILED, "its process was ended by SIGKILL")
    assert works.run("plain").state == State.SUCCEEDED


def test_a_transaction_that_was_left_is_rolled_back(works: Works) -> None:
    assert works.run("half_done").state == State.FAILED
    assert "users 0" in works.run("nightly", cron="30 2 * * *").output


def test_of_a_flood_the_end_is_kept(works: Works) -> None:
    ended = works.run("floods")
    assert ended.state == State.SUCCEEDED
    assert ended.output.startswith("[...]\n") and ended.output.endswith("line 199999\n")
    assert len(ended.output) <= 16_500


@pytest.mark.parametrize("call", ["closes_output", "redirects_output"])
def test_one_may_close_its_output_or_have_it_go_elsewhere(works: Works, call: str) -> None:
    ended = works.run(call)
    assert (ended.state, ended.output.split()[0]) == (State.SUCCEEDED, "before")
    pid = ended.output.split()[1]
    assert works.run("plain").output == f"plain {pid}\n", "the next one prints as ever, in the same process"


@pytest.mark.parametrize("lane", ["process", "thread"])
def test_one_that_fails_with_a_text_of_megabytes_or_none_at_all_is_told(works: Works, lane: str) -> None:
    ended = works.run("screams", run_in=lane)
    assert ended.state is State.FAILED and len(ended.reason) < 2100
    assert ended.reason.startswith("ValueError: xxx") and ended.reason.endswith("x [...]")
    assert ended.output.startswith("[...]\n")
    ended = works.run("unspeakable", run_in=lane)
    assert (ended.state, ended.reason) == (State.FAILED, "Unspeakable")


def test_the_line_at_the_end_of_an_output_ends_no_run_that_goes_on(works: Works) -> None:
    """A job could print it; and how a run has ended may be told long after it, where the machine is busy."""
    run, ended = works.begin(works.declaration("hangs"))
    works.serve(works.printing("hanging"))
    (host,) = (host for host in works.jobs._hosts if run.id in host.jobs)
    works.jobs._printed(host, f"\0duck ended {run.id}\n")
    passed: list[int] = []
    works.inbox.call_later(1.2, lambda: passed.append(1))
    works.serve(lambda: passed)
    assert not ended
    works.jobs.cancel(run.id)
    works.serve(lambda: ended)
    assert ended[0].state is State.CANCELLED


def test_a_process_that_the_system_refuses_is_tried_again(cold: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DjangoJobs._spawn.__globals__["JobHost"]

    def refused(*arguments: Any, **more: Any) -> None:
        monkeypatch.setitem(DjangoJobs._spawn.__globals__, "JobHost", real)
        raise ProjectError("no process can be started: Too many open files")

    monkeypatch.setitem(DjangoJobs._spawn.__globals__, "_SPAWN_AGAIN_S", 0.1)
    monkeypatch.setitem(DjangoJobs._spawn.__globals__, "JobHost", refused)
    assert cold.run("started_at_once", run_in="thread").state is State.SUCCEEDED
    assert "Too many open files" in cold.failures[0][0]


def test_however_many_runs_wait_for_one_it_is_tried_once_in_a_while(
    cold: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **more: Any) -> None:
        raise ProjectError("no process can be started: Too many open files")

    monkeypatch.setitem(DjangoJobs._spawn.__globals__, "_SPAWN_AGAIN_S", 0.2)
    monkeypatch.setitem(DjangoJobs._spawn.__globals__, "JobHost", refused)
    waiting = cold.declaration("started_at_once", run_in="thread")
    for _ in range(5):
        cold.begin(waiting)
    # Five fail as they come; so do five at each time that it is tried again, and no more than that.
    over: list[int] = []
    cold.inbox.call_later(1.5, lambda: over.append(1))
    cold.serve(lambda: over)
    assert 10 <= len(cold.failures) <= 45


def test_a_run_that_has_its_output_not_wait_leaves_that_to_nobody(works: Works) -> None:
    assert works.run("unblocks").state is State.SUCCEEDED
    assert works.run("blocking").output == "True\n"


class TestEnding:
    def test_at_its_deadline_it_is_asked_to_end(self, works: Works) -> None:
        ended = works.run("hangs", timeout=0.3)
        assert (ended.state, ended.reason) == (State.TIMED_OUT, "not ended within 0.3 s")
        assert ended.code is None and "hanging" in ended.output

    def test_one_that_does_not_hear_is_ended_by_force_with_its_children(self, works: Works) -> None:
        _, ended = works.begin(works.declaration("deaf", timeout=2, grace=0.3))
        works.serve(works.printing("deaf"))
        children = [child for pid in works.jobs.pids for child in psutil.Process(pid).children(recursive=True)]
        assert len(children) > 1
        works.serve(lambda: ended)
        assert (ended[0].state, ended[0].code) == (State.TIMED_OUT, -9)
        works.serve(lambda: not any(is_alive(child.pid) for child in children))

    def test_a_coroutine_is_cancelled(self, works: Works) -> None:
        run, ended = works.begin(works.declaration("waits", run_in="loop"))
        works.serve(works.printing("waiting"))
        works.jobs.cancel(run.id)
        works.serve(lambda: ended)
        assert (ended[0].state, ended[0].output) == (State.CANCELLED, "waiting\n")

    @pytest.mark.parametrize("lane", ["process", "thread", "loop"])
    def test_one_that_is_cancelled_as_it_begins_does_not(self, works: Works, lane: str) -> None:
        call = {"process": "hangs", "thread": "naps", "loop": "waits"}[lane]
        _, over = works.begin(works.declaration("started_at_once", run_in=lane))
        works.serve(lambda: over)
        run, ended = works.begin(works.declaration(call, run_in=lane, grace="20s"))
        works.jobs.cancel(run.id)
        works.serve(lambda: ended)
        assert (ended[0].state, ended[0].code, ended[0].reason) == (State.CANCELLED, None, "")
        assert ended[0].output.strip() in ("", "hanging", "napping", "waiting")

    def test_a_thread_that_does_not_hear_goes_on_until_others_of_its_process_have_ended(self, works: Works) -> None:
        run, other = works.begin(works.declaration("waits", run_in="loop"))
        works.serve(works.printing("waiting"))
        ended = works.run("hangs", run_in="thread", timeout=0.3, grace=0.3)
        assert ended.state == State.TIMED_OUT
        told = "It did not end when it was asked to, and goes on until the others of its process have.\n"
        assert ended.output.endswith(told)
        (old,) = (host for host in works.jobs._hosts if run.id in host.jobs)
        before = old.pid
        assert works.run("in_thread", run_in="thread").output.split()[4] != str(before), "new ones have a new process"
        assert is_alive(before) and not other
        works.jobs.cancel(run.id)
        works.serve(lambda: other and old.state is EXITED)

    def test_what_a_run_leaves_behind_ends_with_it_unless_it_has_a_session_of_its_own(self, works: Works) -> None:
        ended = works.run("leaves_behind")
        own, left, meant = map(int, ended.output.split("\n")[0].split())
        try:
            assert ended.state is State.SUCCEEDED
            assert ended.output.split("\n")[1:] == ["It left processes behind, which end with it: 1.", ""]
            works.serve(lambda: not is_alive(left) and not is_alive(own))
            assert is_alive(meant)
        finally:
            os.kill(meant, signal.SIGKILL)

    def test_what_multiprocessing_keeps_for_itself_is_not_left_behind(self, works: Works) -> None:
        first, second = works.run("tracked"), works.run("tracked")
        assert first.output == second.output and first.output.startswith("tracked ")


def test_threads_share_a_process_and_each_has_its_own_output(works: Works) -> None:
    declaration = works.declaration("in_thread", run_in="thread")
    runs = [works.begin(declaration) for _ in range(3)]
    works.serve(lambda: all(ended for _, ended in runs))
    outputs = {ended[0].output for _, ended in runs}
    assert len(outputs) == 1
    assert outputs.pop().splitlines()[1] == "done in_thread"


def test_there_is_room_for_so_many(works: Works) -> None:
    assert works.jobs.room()["process"] == 2
    run, ended = works.begin(works.declaration("hangs"))
    assert works.jobs.room()["process"] == 1
    works.jobs.cancel(run.id)
    works.serve(lambda: ended)
    assert works.jobs.room()["process"] == 2


def test_a_process_is_recycled_and_all_end_at_a_stop(root: Path) -> None:
    works = Works(root, recycle=1, processes=1)
    works.jobs.begin()
    works.serve(lambda: works.found)
    assert works.run("plain").output != works.run("plain").output
    _run, ended = works.begin(works.declaration("hangs"))
    works.serve(works.printing("hanging"))
    done: list[int] = []
    works.jobs.stop(0.2, lambda: done.append(1))
    works.serve(lambda: done)
    assert ended[0].state == State.CANCELLED and works.jobs.pids == []
    works.inbox.close()


def test_a_process_that_holds_much_is_recycled_and_one_that_leaks_on_is_ended(root: Path) -> None:
    works = Works(root, processes=1, memory=MemoryBound(180_000_000, 400_000_000))
    works.jobs.begin()
    works.serve(lambda: works.found)
    assert works.run("plain").output == works.run("plain").output, "what it holds is no reason"
    pid = works.run("swells").output.split()[1]
    assert pid not in works.run("plain").output
    ended = works.run("leaks")
    assert (ended.state, ended.code) == (State.FAILED, -9)
    assert re.fullmatch(r"its process held \d+ MB, of 400 MB allowed \(AUTOMATION_MEMORY\)", ended.reason)
    ended = works.run("leaks_elsewhere")
    assert (ended.state, ended.code) == (State.FAILED, -9)
    assert re.fullmatch(r"its processes held \d+ MB, of 400 MB allowed \(AUTOMATION_MEMORY\)", ended.reason)
    assert works.run("plain").state is State.SUCCEEDED
    works.close()


def test_thousands_that_are_declared_in_code_are_all_told(root: Path) -> None:
    (root / "shop" / "automations.py").write_text(
        "from duck.automation import automation, cron\n"
        "def declare(number):\n"
        '    def job(): "Does what it does, again and again, day after day, for whoever has asked for it."\n'
        "    job.__name__ = job.__qualname__ = f'job_with_a_name_that_is_long_{number}'\n"
        "    globals()[job.__name__] = automation(cron('30 2 * * *', tz='Europe/Berlin'))(job)\n"
        "for number in range(5000):\n    declare(number)\n"
    )
    works = Works(root)
    works.jobs.begin()
    works.serve(lambda: works.found)
    (root / "shop" / "automations.py").unlink()
    assert sum(each["name"].startswith("job_with") for each in works.found[0]["declared"]) == 5000
    assert works.run("plain").state is State.SUCCEEDED
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()


def test_a_module_that_raises_is_told_and_the_others_are_there(root: Path) -> None:
    (root / "shop" / "automations.py").write_text("raise RuntimeError('no')\n")
    works = Works(root)
    works.jobs.begin()
    works.serve(lambda: works.found)
    (root / "shop" / "automations.py").unlink()
    (failed,) = works.found[0]["failed"]
    assert (failed["origin"], failed["message"]) == ("shop.automations", "RuntimeError: no")
    assert len(works.found[0]["declared"]) > 5
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()


def test_a_project_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", str(tmp_path)], check=True)
    (tmp_path / "shop" / "settings.py").write_text("1 / 0\n")
    works = Works(tmp_path)
    works.jobs.begin()
    works.serve(lambda: works.failures)
    assert works.failures[0][0] == "ZeroDivisionError: division by zero"
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()


def test_what_waits_while_the_project_is_loaded_again_begins_as_it_is_declared_then(root: Path) -> None:
    works = Works(root)
    works.jobs.begin()
    works.serve(lambda: works.found)
    works.jobs.reload()
    _, gone = works.begin(works.declaration("renamed"))
    before, after = works.declaration("fails"), works.declaration("blank")
    _, kept = works.begin(replace(before, name="job"))
    works.jobs.keep_to([replace(after, name="job")])
    works.serve(lambda: gone and kept)
    assert (gone[0].state, gone[0].reason) == (State.CANCELLED, "it was declared no more when it was to begin")
    assert (kept[0].state, kept[0].output) == (State.SUCCEEDED, "a\n\n")
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()


def test_one_that_is_killed_while_it_loads_the_project_is_told(root: Path) -> None:
    (root / "shop" / "automations.py").write_text("import os; os.kill(os.getpid(), 9)\n")
    works = Works(root)
    works.jobs.begin()
    works.serve(lambda: works.failures)
    (root / "shop" / "automations.py").unlink()
    assert works.failures == [("The process that loads the project was ended by SIGKILL.", "")]
    works.jobs.reload()
    works.serve(lambda: works.found)
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    assert len(works.failures) == 1
    works.inbox.close()


def test_a_project_whose_python_is_older_and_has_nothing_of_duck_has_duck_automation(root: Path) -> None:
    works = Works(root, environment("3.10", ("Django==4.2.*",)))
    works.jobs.begin()
    works.serve(lambda: works.found)
    assert works.found[0]["failed"] == []
    ended = works.run("nightly", cron="30 2 * * *")
    assert ended.state == State.SUCCEEDED, ended
    assert "'duck', 'duck.automation', 'duck.automation.automation'" in ended.output
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()


class TestWarm:
    def test_what_is_declared_has_a_process_before_its_time_and_after_the_end_of_one(self, root: Path) -> None:
        works = Works(root, recycle=1)
        works.jobs.begin()
        works.serve(lambda: works.found)
        works.jobs.warm({"process", "loop"})

        def lanes() -> list[str]:
            return sorted(host.lane for host in works.jobs._hosts if host.state is READY and not host.retires)

        works.serve(lambda: lanes() == ["process", "shared"])
        first = set(works.jobs.pids)
        assert works.run("plain").state is State.SUCCEEDED
        works.serve(lambda: lanes() == ["process", "shared"])
        assert len(first & set(works.jobs.pids)) == 1, "the one that was used is replaced"
        shared = works.jobs._shared
        assert shared is not None
        shared.kill()
        works.serve(lambda: shared.state is EXITED and lanes() == ["process", "shared"])
        works.jobs.kill()
        works.jobs.stop(0.0, lambda: None)
        works.serve(lambda: not works.jobs.pids)
        works.inbox.close()


def test_an_alert_is_mailed_by_the_projects_own_settings(root: Path, tmp_path: Path) -> None:
    with open(root / "shop" / "settings.py", "a") as settings:
        settings.write(
            f'EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"\nEMAIL_FILE_PATH = {str(tmp_path)!r}\n'
            'DEFAULT_FROM_EMAIL = "shop@example.org"\nADMINS = [("Ada", "ada@example.org")]\n'
        )
    works = Works(root)
    works.jobs.begin()
    works.serve(lambda: works.found)
    sent: list[str] = []
    mail = JobMail(works.jobs, sent.append)
    mail.send("[Duck] nightly failed:\nBcc: x@y", "It failed.\n", ["ops@example.org", "admins"])
    works.serve(lambda: sent)
    assert sent == [""]
    mails = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "Subject: [Duck] nightly failed: Bcc: x@y\n" in mails and "\nBcc:" not in mails
    assert "From: shop@example.org\nTo: ops@example.org\n" in mails and "To: ada@example.org\n" in mails
    assert "It failed." in mails
    with open(root / "shop" / "settings.py", "a") as settings:
        settings.write('EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"\nEMAIL_PORT = 1\n')
    works.jobs.renew()
    JobMail(works.jobs, sent.append).send("subject", "text", ["ops@example.org"])
    works.serve(lambda: len(sent) == 2)
    assert "ConnectionRefusedError" in sent[1]
    works.jobs.kill()
    works.serve(lambda: not works.jobs.pids)
    works.inbox.close()
