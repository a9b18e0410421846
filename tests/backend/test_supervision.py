"""Several processes of one project: each is replaced alone, when it dies, hangs, is worn out, or is stuck."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.alive import is_alive
from tests.backend.conftest import BARE, VIEWS
from tests.backend.link_client import LinkClient
from tests.backend.test_process import Recorder

if TYPE_CHECKING:
    from duck.backend.django.process import Failure
    from duck.proxy.upstream import Generation, Upstream
    from duck.services.inbox import Inbox
    from tests.backend.conftest import MakeProject

MakeBackend = Callable[..., Recorder]

MORE_VIEWS = """
import ctypes, os

def pid(request):
    return HttpResponse(str(os.getpid()))

def lock(request):
    ctypes.PyDLL(None).read(os.pipe()[0], ctypes.create_string_buffer(1), 1)  # keeps the interpreter's lock

def nap(request):
    time.sleep(float(request.GET["s"]))
    return HttpResponse("rested")

hoard = []

def leak(request):
    hoard.append(bytearray(80_000_000))
    return HttpResponse("more")

def health(request):
    return HttpResponse(request.scheme + " " + request.get_host(), status=200 if request.is_secure() else 500)

def ill(request):
    return HttpResponse(status=503)

urlpatterns += [path("pid", pid), path("lock", lock), path("nap", nap), path("leak", leak), path("health", health),
                path("ill", ill)]
"""


HOSTS = "ALLOWED_HOSTS = ['.example.org', 'localhost']\n"


@pytest.fixture
def make_backend(inbox: Inbox, run_directory: Path, warm_backends: None) -> Iterator[MakeBackend]:
    made: list[Recorder] = []

    def make(project: Path, **options: Any) -> Recorder:
        made.append(
            Recorder(
                inbox,
                project,
                run_directory,
                **{"mode": "serve", "heartbeat_s": 0.1, "allow_unapplied_migrations": True, **options},
            )
        )
        return made[-1]

    yield make
    for recorder in made:
        if not recorder.stopped:
            recorder.backend.kill()
            recorder.stop(0)


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(urls=VIEWS + MORE_VIEWS, settings=HOSTS + BARE)


def ask(upstream: Upstream, target: str) -> bytes:
    with LinkClient(upstream.address, upstream.secret) as client:
        return client.get(target).body


def pid_of(upstream: Upstream) -> int:
    return int(ask(upstream, "/pid"))


def send(upstream: Upstream, target: str) -> LinkClient:
    """A request that was sent and not waited for."""
    client = LinkClient(upstream.address, upstream.secret)
    client.wait_hello()
    client.send("GET", target)
    return client


def last(recorder: Recorder) -> Generation:
    return recorder.generations[-1]


def test_a_generation_has_all_of_its_processes(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=3)
    generation = recorder.start()
    assert len({pid_of(page) for page in generation.pages}) == 3
    entries = recorder.backend.snapshot()["processes"]
    assert [(entry["role"], entry["generation"], entry["state"], entry["slots"]) for entry in entries] == [
        ("pages", 1, "serving", 2)
    ] * 3
    assert generation.facts["pid"] == pid_of(generation.pages[0])
    recorder.stop()


def test_a_process_that_dies_is_replaced_alone(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=3)
    first = recorder.start()
    dead = first.pages[1]
    os.kill(pid_of(dead), signal.SIGKILL)
    recorder.until(lambda: len(recorder.generations) == 2)
    assert last(recorder).pages == (first.pages[0], first.pages[2])
    recorder.until(lambda: len(recorder.generations) == 3)
    pages = last(recorder).pages
    assert (pages[0], pages[2]) == (first.pages[0], first.pages[2])
    assert last(recorder).facts == first.facts
    assert [generation.number for generation in recorder.generations] == [1, 2, 3]
    assert ask(pages[1], "/hello") == b"hello"
    assert recorder.downs == 0
    assert len(recorder.pids()) == 3


def test_with_no_process_left_requests_wait(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=2)
    first = recorder.start()
    for page in first.pages:
        os.kill(pid_of(page), signal.SIGKILL)
    recorder.until(lambda: recorder.downs)
    assert recorder.backend.current is None
    recorder.until(lambda: len(last(recorder).pages) == 2)
    assert [ask(page, "/hello") for page in last(recorder).pages] == [b"hello"] * 2
    assert recorder.downs == 1
    assert recorder.failures == []


def test_a_reload_goes_on_while_a_process_of_the_old_version_dies(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=2)
    first = recorder.start()
    outcomes: list[Failure | None] = []
    recorder.backend.replace(outcomes.append)
    os.kill(pid_of(first.pages[0]), signal.SIGKILL)
    recorder.until(lambda: len(last(recorder).pages) == 2 and not set(last(recorder).pages) & set(first.pages))
    recorder.backend.acknowledged(last(recorder).number)
    assert outcomes == [None]
    numbers = [generation.number for generation in recorder.generations]
    assert numbers == sorted(set(numbers))
    assert not {page.address for page in last(recorder).pages} & {page.address for page in first.pages}
    assert len(last(recorder).pages) == 2
    recorder.backend.left(numbers[-1])
    recorder.until(lambda: len(recorder.pids()) == 2)


def test_a_process_that_was_replaced_is_stopped_when_nothing_is_in_flight_there(
    project: Path, make_backend: MakeBackend
) -> None:
    recorder = make_backend(project)
    first = recorder.start()
    recorder.backend.replace()
    recorder.until(lambda: len(recorder.generations) == 2)
    recorder.backend.acknowledged(2)
    # A request that was handed to it before, and that it has not read yet.
    with send(first.pages[0], "/nap?s=0.1") as late:
        assert late.read_answer().body == b"rested"
    assert ask(first.pages[0], "/hello") == b"hello"
    recorder.backend.left(1)  # of the generation before
    assert ask(first.pages[0], "/hello") == b"hello"
    recorder.backend.left(2)
    recorder.until(lambda: len(recorder.pids()) == 1)


def test_a_process_that_was_replaced_ends_at_its_deadline_whatever_is_in_flight(
    project: Path, make_backend: MakeBackend
) -> None:
    recorder = make_backend(project, stop_deadline_s=0.5)
    first = recorder.start()
    with send(first.pages[0], "/nap?s=60") as stuck:
        recorder.backend.replace()
        recorder.until(lambda: len(recorder.generations) == 2)
        recorder.backend.acknowledged(2)
        recorder.until(lambda: len(recorder.pids()) == 1)
        with pytest.raises((EOFError, ConnectionResetError)):
            stuck.read_answer()


def test_a_worn_process_is_replaced_before_it_ends(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=2, max_requests=20)
    first = recorder.start()
    worn = first.pages[0]
    slow = send(worn, "/nap?s=1")
    for _ in range(30):
        ask(worn, "/hello")
    recorder.until(lambda: len(recorder.generations) == 2)
    assert last(recorder).pages[1] == first.pages[1]
    assert last(recorder).pages[0] != worn
    recorder.backend.acknowledged(2)
    recorder.backend.left(2)
    recorder.until(lambda: len(recorder.pids()) == 2)
    assert slow.read_answer().body == b"rested"
    slow.socket.close()
    assert recorder.backend.restarts == 0
    assert recorder.downs == 0


def test_worn_processes_are_replaced_one_after_the_other(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=3, max_requests=10)
    first = recorder.start()
    for page in first.pages:
        for _ in range(15):
            ask(page, "/hello")
    recorder.until(lambda: len(recorder.generations) == 4)
    for before, after in zip(recorder.generations, recorder.generations[1:], strict=False):
        assert len(set(before.pages) - set(after.pages)) == 1
    assert not set(last(recorder).pages) & set(first.pages)


def test_a_process_that_holds_too_much_is_replaced(
    project: Path, make_backend: MakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recorder = make_backend(project, memory_limit_bytes=150_000_000)
    first = recorder.start()
    size = psutil.Process(first.facts["pid"]).memory_info().rss
    for _ in range(2 + (150_000_000 - size) // 80_000_000):
        ask(first.pages[0], "/leak")
    recorder.until(lambda: len(recorder.generations) == 2)
    assert "MEMORY_LIMIT" in caplog.text
    assert ask(last(recorder).pages[0], "/hello") == b"hello"


def test_a_hung_process_is_told_of_and_replaced(
    project: Path, make_backend: MakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = make_backend(project, workers=2, heartbeat_timeout_s=0.5)
    first = recorder.start()
    hung = pid_of(first.pages[1])
    with send(first.pages[1], "/lock"):
        recorder.until(lambda: len(recorder.generations) == 3)
    assert f"The Django process {hung} (pages) has not answered for 0.5 s" in caplog.text
    assert "in lock" in caplog.text
    recorder.until(lambda: not is_alive(hung))
    assert last(recorder).pages[0] == first.pages[0]
    assert ask(last(recorder).pages[1], "/hello") == b"hello"


def test_a_process_in_which_somebody_debugs_does_not_hang(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, heartbeat_timeout_s=0.2)
    first = recorder.start()
    (member,) = recorder.backend._versions.serving()
    member.process.is_debugging = True
    os.kill(first.facts["pid"], signal.SIGSTOP)
    end = time.monotonic() + 1
    recorder.until(lambda: time.monotonic() > end)
    os.kill(first.facts["pid"], signal.SIGCONT)
    member.process.is_debugging = False
    assert ask(first.pages[0], "/hello") == b"hello"
    assert len(recorder.generations) == 1


def test_a_stuck_view_costs_its_process_and_nobody_else_anything(
    project: Path, make_backend: MakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = make_backend(project, view_deadline_s=0.5, stop_deadline_s=1.5)
    first = recorder.start()
    stuck = send(first.pages[0], "/nap?s=60&secret=1")
    recorder.until(lambda: len(recorder.generations) == 2)
    other = send(first.pages[0], "/nap?s=0.3")
    assert "GET /nap" in caplog.text
    assert "secret" not in caplog.text
    assert "in nap" in caplog.text
    recorder.backend.acknowledged(2)
    assert other.read_answer().body == b"rested"
    recorder.until(lambda: len(recorder.pids()) == 1)
    with pytest.raises((EOFError, ConnectionResetError)):
        stuck.read_answer()
    for client in (stuck, other):
        client.socket.close()
    assert caplog.text.count("GET /nap") == 1


def test_a_process_tells_how_it_is(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project)
    first = recorder.start()

    def entry() -> dict[str, Any]:
        told: dict[str, Any] = recorder.backend.snapshot()["processes"][0]
        return told

    for _ in range(3):
        ask(first.pages[0], "/hello")
    with send(first.pages[0], "/nap?s=1") as client:
        recorder.until(lambda: entry().get("busy") == 1 and entry()["oldest_view_s"] > 0.2)
        assert entry()["requests"] == 4
        assert entry()["threads"] == entry()["slots"] == 2
        client.read_answer()
    recorder.until(lambda: entry()["busy"] == 0)


OTHER_ASGI = """
from django.core.asgi import get_asgi_application
django = get_asgi_application()

async def application(scope, receive, send):
    if scope["type"] != "lifespan":
        await django(scope, receive, send)
"""


@pytest.mark.parametrize(("layer", "count"), [("channels.layers.InMemoryChannelLayer", 1), ("channels_redis.Layer", 2)])
def test_processes_that_would_have_to_share_their_memory_are_one(
    make_project: MakeProject, make_backend: MakeBackend, layer: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings = (
        f"CHANNEL_LAYERS = {{'default': {{'BACKEND': {layer!r}}}}}\nASGI_APPLICATION = 'mysite.asgi.application'\n"
    )
    project = make_project(urls=VIEWS + MORE_VIEWS, settings=settings + BARE, files={"mysite/asgi.py": OTHER_ASGI})
    recorder = make_backend(project, workers=2, health_path="/health")
    generation = recorder.start()
    assert [page.protocol for page in generation.pages] == ["http"] * count
    assert generation.sockets == generation.pages
    assert caplog.text.count("channel layer lives in memory") == (count == 1)
    recorder.until(lambda: recorder.backend.snapshot()["processes"][-1].get("requests") == 1)


# -- a new version is tried first -------------------------------------------------------------------------------------


def replaced(recorder: Recorder) -> Failure | None:
    """The outcome of a replacement."""
    outcomes: list[Failure | None] = []
    recorder.backend.replace(outcomes.append)
    recorder.until(lambda: outcomes)
    assert len(outcomes) == 1
    return outcomes[0]


def test_a_version_that_fails_is_told_and_changes_nothing(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=2)
    first = recorder.start()
    urls = project / "mysite" / "urls.py"
    good = urls.read_text()
    urls.write_text("1 / 0")
    failure = replaced(recorder)
    assert failure is not None and "ZeroDivisionError" in failure.message
    assert ask(first.pages[0], "/hello") == b"hello"
    recorder.until(lambda: len(recorder.pids()) == 2)
    assert recorder.backend._restart is None
    urls.write_text(good)
    assert replaced(recorder) is None
    assert recorder.backend.snapshot()["failure"] is None


def test_a_start_that_is_given_up_is_told(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project)
    recorder.start()
    outcomes: list[Failure | None] = []
    recorder.backend.replace(outcomes.append)
    assert replaced(recorder) is None
    assert [failure and failure.stage for failure in outcomes] == ["replaced"]
    recorder.backend.replace(outcomes.append)
    recorder.stop()
    assert [failure and failure.stage for failure in outcomes] == ["replaced", "stop"]
    recorder.backend.replace(outcomes.append)
    assert [failure and failure.stage for failure in outcomes] == ["replaced", "stop", "stop"]


def test_errors_of_the_system_checks_refuse_a_version(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project)
    recorder.start()
    with open(project / "mysite" / "settings.py", "a") as file:
        file.write("\nSTATIC_URL = 'no-slash'\n")
    failure = replaced(recorder)
    assert failure is not None and failure.stage == "checks"


def test_missing_migrations_refuse_a_version_unless_they_are_allowed(
    make_project: MakeProject, make_backend: MakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    settings = HOSTS + BARE + "INSTALLED_APPS = ['django.contrib.contenttypes']\n"
    project = make_project(urls=VIEWS + MORE_VIEWS, settings=settings)
    recorder = make_backend(project, allow_unapplied_migrations=False)
    first = recorder.start()  # of nothing that serves a missing migration is told only
    assert "migrations have not been applied (" in caplog.text
    failure = replaced(recorder)
    assert failure is not None
    assert "run `manage.py migrate`" in failure.message
    assert ask(first.pages[0], "/hello") == b"hello"
    recorder.stop()
    recorder = make_backend(project)
    recorder.start()
    assert replaced(recorder) is None


def test_a_version_that_may_not_be_served_is_refused(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, workers=2, refuse=lambda facts: "DEBUG is on." if facts["debug"] else "")
    recorder.backend.start()
    recorder.until(lambda: recorder.failures)
    assert (recorder.failures[0].stage, recorder.failures[0].message) == ("refused", "DEBUG is on.")
    assert not recorder.generations


@pytest.mark.parametrize("use_tcp", [False, True])
def test_the_health_path_is_asked_of_each_new_process(project: Path, make_backend: MakeBackend, use_tcp: bool) -> None:
    recorder = make_backend(project, workers=2, health_path="/health", use_tcp=use_tcp)
    first = recorder.start()
    assert [pid_of(page) > 0 for page in first.pages] == [True, True]


@pytest.mark.parametrize(("path", "why"), [("/ill", "answered 503"), ("/boom", "answered 500"), ("/none", "404")])
def test_a_bad_health_refuses_a_version(project: Path, make_backend: MakeBackend, path: str, why: str) -> None:
    recorder = make_backend(project, health_path=path)
    recorder.backend.start()
    recorder.until(lambda: recorder.failures)
    assert recorder.failures[0].stage == "health"
    assert why in recorder.failures[0].message
    recorder.until(lambda: len(recorder.failures) > 1)  # a first start is tried again


def test_a_health_path_that_hangs_refuses_a_version_in_time(project: Path, make_backend: MakeBackend) -> None:
    recorder = make_backend(project, health_path="/nap?s=60", start_deadline_s=4)
    began = time.monotonic()
    recorder.backend.start()
    recorder.until(lambda: recorder.failures)
    assert time.monotonic() - began < 10
    assert "/nap?s=60" in recorder.failures[0].message
    recorder.stop(0)


def test_no_thread_and_no_descriptor_is_left(project: Path, make_backend: MakeBackend) -> None:
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    recorder = make_backend(project, workers=2, health_path="/health")
    first = recorder.start()
    os.kill(pid_of(first.pages[0]), signal.SIGKILL)
    recorder.until(lambda: len(recorder.generations) == 3)
    recorder.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("duck-health")]
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before)
