"""The App's side of the wall: processes spawned, supervised, replaced and ended, on a real inbox."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from duck.backend.django.discover import Interpreter, find_project
from duck.backend.django.process import BackendOptions, DjangoBackend, DjangoProcess, WorkerSpec
from duck.exceptions import ProjectError
from tests.alive import still_alive
from tests.backend.conftest import BARE, VIEWS
from tests.backend.link_client import TIMEOUT_S, LinkClient
from tests.waiting import serve_until

if TYPE_CHECKING:
    from duck.backend.django.process import Failure
    from duck.proxy.upstream import Generation
    from duck.services.inbox import Inbox
    from tests.backend.conftest import MakeProject

HERE = Interpreter(sys.executable, "the tests", "3.11", "5.2")


class Recorder:
    """A `DjangoBackend` and all that it called back."""

    def __init__(self, inbox: Inbox, project: Path, directory: Path, **options: Any) -> None:
        self.inbox = inbox
        self.generations: list[Generation] = []
        self.failures: list[Failure] = []
        self.downs = 0
        self.output: list[str] = []
        self.debugging: list[bool] = []
        self.stopped = False
        self.backend = DjangoBackend(
            find_project(project),
            options.pop("interpreter", HERE),
            BackendOptions(run_directory=str(directory), threads=2, **options),
            inbox,
            on_generation=self.generations.append,
            on_failed=self.failures.append,
            on_down=self.down,
            on_output=lambda text, title: self.output.append(text),
            on_debugger=self.debugging.append,
        )
        self.backend.on_looked = lambda event: self.output.append(str(event["text"]))

    def down(self) -> None:
        self.downs += 1

    def until(self, condition: Callable[[], object]) -> None:
        serve_until(self.inbox, condition)

    def start(self) -> Generation:
        self.backend.start()
        self.until(lambda: self.generations or self.failures)
        assert not self.failures, self.failures
        return self.generations[0]

    def stop(self, deadline_s: float = 5.0) -> None:
        def done() -> None:
            self.stopped = True

        self.backend.stop(deadline_s, done)
        self.until(lambda: self.stopped)
        assert self.backend.snapshot()["processes"] == []

    def pids(self) -> list[int]:
        return [entry["pid"] for entry in self.backend.snapshot()["processes"]]


@pytest.fixture
def make_backend(inbox: Inbox, run_directory: Path) -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def make(project: Path, **options: Any) -> Recorder:
        made.append(Recorder(inbox, project, run_directory, **options))
        return made[-1]

    yield make
    for recorder in made:
        if not recorder.stopped:
            recorder.backend.kill()
            recorder.stop(0)


def get(generation: Generation, target: str) -> bytes:
    address = generation.pages[0].address
    with LinkClient(address, generation.pages[0].secret) as client:
        return client.get(target).body


def test_one_process_reports_writes_and_ends(make_project: MakeProject, inbox: Inbox, run_directory: Path) -> None:
    code = "\nprint('from the project é')\nimport atexit\natexit.register(print, 'unfinished', end='')"
    project = make_project(urls=VIEWS + code, settings=BARE)
    events: list[dict[str, Any]] = []
    lines: list[str] = []
    codes: list[int] = []
    spec = WorkerSpec(cwd=str(project), manage=str(project / "manage.py"), address=str(run_directory / "s"), threads=1)
    process = DjangoProcess.spawn(spec, HERE, inbox, events.append, lines.append, codes.append)
    serve_until(inbox, lambda: len(events) == 2)
    assert [event["event"] for event in events] == ["looked", "ready"]
    assert process.state == "ready"
    assert os.getpgid(process.pid) == process.pid
    assert "from the project é\n" in lines
    process.stop(5)
    assert process.state == "stopping"
    serve_until(inbox, lambda: codes)
    assert codes == [0]
    assert process.state == "exited"
    assert lines[-1] == "unfinished\n"
    assert not (run_directory / "s").exists()
    process.kill()
    process.stop(1)


def test_what_a_project_writes_to_the_control_socket_is_told_once_and_passed_over(
    make_project: MakeProject, inbox: Inbox, run_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # All sockets that the process has before it serves: one is the control socket.
    settings = """import os, stat
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, b'\\xff\\xfe\\n[]\\n{}\\n1\\n"event"\\n' + b'x' * 2_000_000 + b'\\n')
    except OSError:
        pass
"""
    events: list[dict[str, Any]] = []
    codes: list[int] = []
    project = make_project(urls=VIEWS, settings=BARE + settings)
    spec = WorkerSpec(cwd=str(project), manage=str(project / "manage.py"), address=str(run_directory / "s"), threads=1)
    process = DjangoProcess.spawn(spec, HERE, inbox, events.append, lambda line: None, codes.append)
    serve_until(inbox, lambda: len(events) == 2)
    assert [event["event"] for event in events] == ["looked", "ready"]
    assert caplog.messages == [f"The Django process {process.pid} wrote to Duck's control socket what is no message."]
    process.stop(5)
    serve_until(inbox, lambda: codes)


def test_a_process_that_does_not_stop_is_killed(make_project: MakeProject, inbox: Inbox, run_directory: Path) -> None:
    settings = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport threading\n"
    settings += "threading.Thread(target=time.sleep, args=(60,)).start()\n"  # keeps the interpreter from its end
    project = make_project(urls=VIEWS, settings=BARE + settings)
    codes: list[int] = []
    events: list[dict[str, Any]] = []
    spec = WorkerSpec(cwd=str(project), manage=str(project / "manage.py"), address=str(run_directory / "s"), threads=1)
    process = DjangoProcess.spawn(spec, HERE, inbox, events.append, lambda line: None, codes.append)
    serve_until(inbox, lambda: len(events) == 2)
    process.stop(0.1)
    serve_until(inbox, lambda: codes)
    assert codes == [-signal.SIGKILL]


def test_an_interpreter_that_cannot_run_is_named(make_project: MakeProject, inbox: Inbox, run_directory: Path) -> None:
    project = make_project()
    spec = WorkerSpec(cwd=str(project), manage=None, address=str(run_directory / "s"))
    missing = Interpreter("/no/python", "", "", "")
    with pytest.raises(ProjectError, match="/no/python"):
        DjangoProcess.spawn(spec, missing, inbox, lambda event: None, lambda line: None, lambda code: None)


def test_the_project_is_started_and_stopped(make_project: MakeProject, make_backend: Callable[..., Recorder]) -> None:
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE))
    generation = recorder.start()
    assert generation.number == 1
    (pages,) = generation.pages
    assert (pages.protocol, pages.slots, pages.secret) == ("link", 2, "")
    assert generation.sockets == ()
    assert generation.facts["debug"] is True
    assert get(generation, "/hello") == b"hello"
    snapshot = recorder.backend.snapshot()
    assert snapshot["state"] == "serving"
    assert snapshot["generation"] == 1
    (entry,) = snapshot["processes"]
    assert entry["role"] == "pages"
    assert entry["pid"] == generation.facts["pid"]
    assert any("System check" in line for line in recorder.output)
    recorder.stop()
    assert recorder.failures == []
    assert recorder.downs == 0


def test_a_loopback_port_can_be_used(make_project: MakeProject, make_backend: Callable[..., Recorder]) -> None:
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE), use_tcp=True)
    generation = recorder.start()
    assert generation.pages[0].address[0] == "127.0.0.1"
    assert generation.pages[0].secret
    assert get(generation, "/hello") == b"hello"


def test_a_replacement_comes_up_before_the_old_one_goes(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    project = make_project(urls=VIEWS, settings=BARE)
    recorder = make_backend(project)
    first = recorder.start()
    urls = project / "mysite" / "urls.py"
    urls.write_text(VIEWS.replace('HttpResponse("hello")', 'HttpResponse("changed")'))
    recorder.backend.replace()
    assert get(first, "/hello") == b"hello"
    recorder.until(lambda: len(recorder.generations) == 2)
    second = recorder.generations[1]
    assert second.number == 2
    assert get(first, "/hello") == b"hello"
    assert get(second, "/hello") == b"changed"
    assert len(recorder.pids()) == 2
    recorder.backend.acknowledged(2)
    recorder.backend.left(2)
    recorder.until(lambda: len(recorder.pids()) == 1)
    assert get(second, "/hello") == b"changed"
    assert recorder.downs == 0


def test_a_replacement_that_fails_changes_nothing(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    project = make_project(urls=VIEWS, settings=BARE)
    recorder = make_backend(project)
    first = recorder.start()
    urls = project / "mysite" / "urls.py"
    urls.write_text("1 / 0")
    recorder.backend.replace()
    recorder.until(lambda: recorder.failures)
    (failure,) = recorder.failures
    assert "ZeroDivisionError" in failure.message
    assert str(urls) in failure.files
    assert get(first, "/hello") == b"hello"
    assert recorder.backend.snapshot()["failure"] == failure.message
    urls.write_text(VIEWS)
    recorder.backend.replace()
    recorder.until(lambda: len(recorder.generations) == 2)
    assert recorder.backend.snapshot()["failure"] is None


def test_a_first_start_that_fails_waits_for_a_change(
    make_project: MakeProject, make_backend: Callable[..., Recorder], inbox: Inbox
) -> None:
    project = make_project(urls="1 / 0", settings=BARE)
    recorder = make_backend(project)
    recorder.backend.start()
    recorder.until(lambda: recorder.failures and not recorder.pids())
    assert recorder.backend.snapshot()["state"] == "failed"
    (project / "mysite" / "urls.py").write_text(VIEWS)
    recorder.backend.replace()
    recorder.until(lambda: recorder.generations)
    assert get(recorder.generations[0], "/hello") == b"hello"


def test_replacing_what_is_still_coming_gives_it_up(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE))
    recorder.backend.start()
    recorder.backend.replace()
    recorder.until(lambda: recorder.generations)
    assert [generation.number for generation in recorder.generations] == [2]
    recorder.until(lambda: len(recorder.pids()) == 1)
    assert recorder.failures == []


def test_a_run_directory_that_was_cleaned_away_is_made_again(
    make_project: MakeProject, make_backend: Callable[..., Recorder], run_directory: Path
) -> None:
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE))
    recorder.start()
    shutil.rmtree(run_directory)
    recorder.backend.replace()
    recorder.until(lambda: len(recorder.generations) == 2 or recorder.failures)
    assert not recorder.failures, recorder.failures
    assert get(recorder.generations[1], "/")
    assert stat.S_IMODE(run_directory.stat().st_mode) == 0o700


def test_a_killed_process_is_started_again(make_project: MakeProject, make_backend: Callable[..., Recorder]) -> None:
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE))
    first = recorder.start()
    os.kill(first.facts["pid"], signal.SIGKILL)
    recorder.until(lambda: len(recorder.generations) == 2)
    assert recorder.downs == 1
    assert recorder.backend.restarts == 1
    assert get(recorder.generations[1], "/hello") == b"hello"
    assert recorder.pids() == [recorder.generations[1].facts["pid"]]


def test_a_process_that_dies_while_it_starts_is_tried_again(
    make_project: MakeProject, make_backend: Callable[..., Recorder], tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    settings = f"import os\nif not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w')\n    os._exit(9)\n"
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE + settings))
    recorder.backend.start()
    recorder.until(lambda: recorder.generations)
    (failure,) = recorder.failures
    assert failure.stage == "crash"
    assert "exit code 9" in failure.message


def test_a_database_that_is_not_there_yet_is_tried_again(
    make_project: MakeProject, make_backend: Callable[..., Recorder], tmp_path: Path
) -> None:
    directory = tmp_path / "database"
    settings = f"DATABASES['default']['NAME'] = {str(directory / 'db.sqlite3')!r}"
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE + settings))
    recorder.backend.start()
    recorder.until(lambda: recorder.failures)
    assert recorder.failures[0].stage == "checks"
    assert "OperationalError" in recorder.failures[0].message
    directory.mkdir()
    recorder.until(lambda: recorder.generations)


def test_a_start_that_takes_too_long_is_given_up(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    recorder = make_backend(make_project(settings="import time\ntime.sleep(60)"), start_deadline_s=0.3)
    recorder.backend.start()
    recorder.until(lambda: recorder.failures and not recorder.pids())
    assert recorder.failures[0].stage == "deadline"
    assert "DJANGO_SERVER_WAIT_TIME" in recorder.failures[0].message


@pytest.mark.parametrize(
    "hang",
    [
        "import time; time.sleep(60)",
        "import ctypes, os; ctypes.PyDLL(None).read(os.pipe()[0], bytes(1), 1)",  # holds the interpreter's lock
    ],
)
def test_a_start_that_hangs_is_told_with_the_line_of_the_project_it_stands_at(
    make_project: MakeProject, make_backend: Callable[..., Recorder], hang: str
) -> None:
    project = make_project(urls=f"print('hangs')\n\ndef forever():\n    {hang}\n\nforever()\n", settings=BARE)
    recorder = make_backend(project, start_deadline_s=6.0)  # a busy machine takes three to come there
    recorder.backend.start()
    recorder.until(lambda: recorder.failures and not recorder.pids())
    failure = recorder.failures[0]
    urls = next(project.rglob("urls.py"))
    assert failure.stage == "deadline"
    assert f"is still at {urls}:4;" in failure.message
    assert f'  File "{urls}", line 4, in forever\n    {hang}\n' in failure.traceback
    assert "_duck_worker" not in failure.traceback
    assert "frozen" not in failure.traceback
    assert failure.files[0] == str(urls)


def test_a_project_that_became_another_program_is_given_up_at_the_deadline(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    settings = "import os\nos.execv('/bin/sleep', ['sleep', '60'])"
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE + settings), start_deadline_s=2.0)
    recorder.backend.start()
    recorder.until(lambda: recorder.failures and not recorder.pids())
    assert recorder.failures[0].stage == "deadline"  # not a crash, after which it would be started again at once


def test_a_stop_while_starting_ends_everything(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    recorder = make_backend(make_project(settings="import time\ntime.sleep(60)"))
    recorder.backend.start()
    recorder.stop()
    assert recorder.generations == []


def test_what_the_project_started_ends_with_it(
    make_project: MakeProject, make_backend: Callable[..., Recorder]
) -> None:
    settings = "import subprocess\nprint('child', subprocess.Popen(['sleep', '60']).pid)"
    recorder = make_backend(make_project(urls=VIEWS, settings=BARE + settings))
    recorder.start()
    recorder.until(lambda: any(line.startswith("child ") for line in recorder.output))
    child = int(next(line for line in recorder.output if line.startswith("child ")).split()[1])
    recorder.stop()
    deadline = time.monotonic() + TIMEOUT_S
    while os.path.exists(f"/proc/{child}") and "(sleep) Z" not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


APP = """
import sys, threading
sys.path.insert(0, {root!r})
from duck.backend.django.child import DjangoProcess, WorkerSpec
from duck.services.inbox import Inbox
from duck.backend.django.discover import Interpreter
inbox = Inbox()
here = Interpreter(sys.executable, "the tests", "3.11", "5.2")
for _ in range(4):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
spec = WorkerSpec(cwd={project!r}, manage={project!r} + "/manage.py", address={address!r})
DjangoProcess.spawn(spec, here, inbox, print, lambda text: print(text, end="", flush=True), print)
inbox.run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel to kill the group")
def test_with_the_app_killed_what_a_busy_process_has_started_ends_too(
    make_project: MakeProject, tmp_path: Path
) -> None:
    # The regular expression keeps the interpreter's lock for hours: no other thread of the process can act.
    settings = "import os, re, subprocess\nCHILD = subprocess.Popen(['sleep', '60']).pid\n"
    settings += "print('family', os.getpid(), CHILD, flush=True)\nre.match(r'(a+)+$', 'a' * 60 + 'b')\n"
    root = str(Path(__file__).parents[2])
    source = APP.format(
        root=root, project=str(make_project(urls=VIEWS, settings=BARE + settings)), address=str(tmp_path / "s")
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        told = next(line for line in app.stdout if line.startswith("family"))
        family = [psutil.Process(int(pid)) for pid in told.split()[1:]]
        assert len(family) == 2
        app.kill()
        app.wait()
        assert still_alive(family, 5) == []
