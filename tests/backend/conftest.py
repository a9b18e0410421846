"""Real Django projects, made by startproject, and workers started on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.backend.link_client import Worker

if TYPE_CHECKING:
    from duck.services.inbox import Inbox
    from tests.backend.pond import MakePond
    from tests.backend.warm import Warm

MakeProject = Callable[..., Path]
MakeWorker = Callable[..., Worker]

# Settings of a project that is loaded with a fifth less work: for tests that look at processes and not at applications.
BARE = "INSTALLED_APPS = []\nMIDDLEWARE = []\nTEMPLATES = []\n"
# And for it a middleware that says how long answers are: behind one whose length is not told comes what it has cost.
LENGTHS = "MIDDLEWARE = ['django.middleware.common.CommonMiddleware']\n"
VIEWS = """
import sys, threading, time
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

def hello(request):
    return HttpResponse("hello")

def meta(request):
    return JsonResponse({
        "meta": {k: v for k, v in request.META.items() if isinstance(v, str)},
        "secure": request.is_secure(), "uri": request.build_absolute_uri(), "host": request.get_host(),
        "path": request.path, "path_info": request.path_info, "get": request.GET.dict(), "cookies": request.COOKIES,
        "body": request.body.decode("latin-1"), "thread": threading.current_thread().name,
    })

def numbers(request):
    return StreamingHttpResponse(str(i) for i in range(3))

closed = []

def endless(request):
    def chunks():
        try:
            while True:
                yield b"x" * 10
                time.sleep(0.005)
        finally:
            closed.append("endless")
    return StreamingHttpResponse(chunks())

def broken_stream(request):
    def chunks():
        yield b"one"
        raise ValueError("in the middle")
    return StreamingHttpResponse(chunks())

def slow(request):
    time.sleep(0.3)
    return HttpResponse("slow")

together = threading.Barrier(3)

def meet(request):
    together.wait(20)
    return HttpResponse("met")

def file(request):
    return FileResponse(open(request.GET["path"], "rb"))

def what_closed(request):
    return JsonResponse({"closed": closed})

def late(request):
    class Late(HttpResponse):
        def close(self):
            super().close()
            time.sleep(0.1)
            closed.append("late")
    return Late("late")

def boom(request):
    raise ZeroDivisionError("in a view")

def leave(request):
    raise SystemExit(3)

def empty(request):
    return HttpResponse(status=int(request.GET["status"]))

urlpatterns = [
    path("hello", hello), path("meta", meta), path("numbers", numbers), path("endless", endless),
    path("broken", broken_stream), path("slow", slow), path("meet", meet), path("file", file),
    path("closed", what_closed), path("late", late), path("boom", boom), path("leave", leave), path("empty", empty),
    path("meta/<path:rest>", lambda request, rest: meta(request)),
]
"""


@pytest.fixture(scope="session")
def stock_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `django-admin startproject site` makes, to be copied."""
    directory = tmp_path_factory.mktemp("stock")
    start_project(sys.executable, directory)
    return directory


def start_project(python: str, directory: Path) -> Path:
    """Have the Django of `python` make a project named `mysite` in `directory`."""
    command = [python, "-m", "django", "startproject", "mysite", str(directory)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    subprocess.run(command, check=True, env=environ, capture_output=True)
    return directory


@pytest.fixture
def make_project(stock_project: Path, tmp_path: Path) -> MakeProject:
    """A function that makes a project: `urls` replaces mysite/urls.py, `settings` is appended, `files` are written."""

    def make(urls: str = "", settings: str = "", files: dict[str, str] | None = None, name: str = "project") -> Path:
        directory = tmp_path / name
        shutil.copytree(stock_project, directory)
        change_project(directory, urls, settings, files)
        return directory

    return make


def change_project(directory: Path, urls: str = "", settings: str = "", files: dict[str, str] | None = None) -> None:
    if urls:
        (directory / "mysite" / "urls.py").write_text(urls)
    if settings:
        with open(directory / "mysite" / "settings.py", "a") as file:
            file.write("\n" + settings)
    for path, text in (files or {}).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """A directory with a short path: a Unix socket's name has 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="duck-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make_warm_pond(
    inbox: Inbox, run_directory: Path, make_project: MakeProject, warm_backends: None
) -> Iterator[MakePond]:
    """As `make_pond`, of processes that are forked where Django has been imported."""
    from tests.backend.pond import ponds  # which takes from here

    with ponds(inbox, run_directory, make_project) as make:
        yield make


@pytest.fixture
def make_pond(
    inbox: Inbox, run_directory: Path, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakePond]:
    """A function that makes a project of one application and a backend with spares; all end with the test."""
    from tests.backend.pond import ponds

    monkeypatch.setattr("duck.backend.django.handles.subprocess", subprocess)
    with ponds(inbox, run_directory, make_project) as make:
        yield make


@pytest.fixture
def make_worker(run_directory: Path) -> Iterator[MakeWorker]:
    """A function that starts a worker on a project; all are ended with the test."""
    workers: list[Worker] = []

    def make(project: Path, **spec: Any) -> Worker:
        worker = Worker(project, run_directory, **spec)
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """A process that has imported Django, for all tests of a module."""
    from tests.backend.warm import Warm

    made = Warm()
    yield made
    made.close()


@pytest.fixture
def make_warm_worker(make_worker: MakeWorker, warm: Warm) -> MakeWorker:
    """As `make_worker`, of workers that are forked where Django has been imported."""
    return partial(make_worker, warm=warm)


@pytest.fixture(scope="module")
def warm_backends(warm: Warm) -> Iterator[None]:
    """Have the App's side fork there the processes whose Python is that of the tests."""

    def popen(command: list[str], **options: Any) -> Any:
        is_other = command[0] != sys.executable or "user" in options
        return subprocess.Popen(command, **options) if is_other else warm.popen(command, **options)

    with pytest.MonkeyPatch.context() as patch:
        replaced = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL)
        patch.setattr("duck.backend.django.handles.subprocess", replaced)
        yield


@pytest.fixture(scope="module")
def served(stock_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker on a project with the views above, for all tests of a module."""
    directory = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(stock_project, directory)
    change_project(directory, VIEWS)
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(directory, sockets, threads=3) as worker:
        worker.wait_ready()
        yield worker
    shutil.rmtree(sockets)
