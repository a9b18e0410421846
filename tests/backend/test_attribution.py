"""Where a warning and a line of the log come from is said on the console of who develops."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.backend.django.version import Place
from duck.backend.django.worker import attribution, measure
from tests.backend.conftest import change_project
from tests.backend.link_client import Worker

URLS = """
import logging, sys, threading, warnings
from django.http import HttpResponse
from django.urls import path

logger = logging.getLogger("shop")
warnings.warn("at the import", FutureWarning)

def warned(request):
    warnings.warn("use\\nthe other one", UserWarning)
    return HttpResponse("warned")

def logged(request):
    logger.warning("Cart %d is empty.\\nReally.", 7)
    logger.warning('{"cart": 7}')
    return HttpResponse("logged")

def behind(request):
    thread = threading.Thread(target=logger.warning, args=("From a thread.",))
    thread.start()
    thread.join()
    return HttpResponse("behind")

urlpatterns = [path(view.__name__, view) for view in (warned, logged, behind)]
"""
SETTINGS = """
import warnings
warnings.warn("in the settings", FutureWarning)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "plain"},
        "file": {"class": "logging.FileHandler", "filename": BASE_DIR / "shop.log", "formatter": "plain"},
    },
    "loggers": {"shop": {"handlers": ["console", "file"]}},
}
"""


@pytest.fixture(scope="module")
def worker(stock_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Path]]:
    directory = tmp_path_factory.mktemp("attributed") / "project"
    shutil.copytree(stock_project, directory)
    change_project(directory, URLS, SETTINGS)
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(directory, sockets, threads=2) as worker:
        worker.wait_ready()
        with worker.client() as client:
            for target in ("/warned", "/logged", "/behind", "/missing"):
                client.get(target)
        worker.wait_text("Not Found: /missing")
        yield worker, directory
    shutil.rmtree(sockets)


def test_a_warning_has_its_place_below_the_project_and_its_request(worker: tuple[Worker, Path]) -> None:
    text = worker[0].text()
    assert re.search(r"^warning: mysite/urls\.py:\d+: UserWarning: use the other one \(GET /warned\)$", text, re.M)


def test_one_of_the_start_has_no_request(worker: tuple[Worker, Path]) -> None:
    lines = worker[0].text().splitlines()
    for place, said in (("mysite/settings.py", "in the settings"), ("mysite/urls.py", "at the import")):
        assert [line for line in lines if re.fullmatch(rf"warning: {place}:\d+: FutureWarning: {said}", line)], lines


def test_a_log_line_has_its_request_behind_its_first_line_on_the_console_alone(worker: tuple[Worker, Path]) -> None:
    text, directory = worker[0].text(), worker[1]
    assert "WARNING Cart 7 is empty. (GET /logged)\nReally.\n" in text
    assert (directory / "shop.log").read_text().startswith("WARNING Cart 7 is empty.\nReally.\n")


def test_one_that_names_its_request_says_it_once_and_one_of_a_thread_of_its_own_says_none(
    worker: tuple[Worker, Path],
) -> None:
    lines = worker[0].text().splitlines()
    assert "Not Found: /missing" in lines
    assert "WARNING From a thread." in lines


@pytest.fixture
def in_request() -> Iterator[None]:
    token = measure.current.set(measure.Tally(lambda: "GET /cart/"))
    yield
    measure.current.reset(token)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Empty.", "Empty. (GET /cart/)"),
        ("Empty.\nAll of it.", "Empty. (GET /cart/)\nAll of it."),
        ("Not Found: /cart/", "Not Found: /cart/"),
        ('{"message": "Empty."}', '{"message": "Empty."}'),
        ("", ""),
        ("\nodd", "\nodd"),
    ],
)
def test_lines_for_programs_and_those_that_name_it_stay_as_they_are(in_request: None, text: str, shown: str) -> None:
    assert attribution.attributed(text) == shown


def test_without_a_request_nothing_is_said() -> None:
    assert attribution.attributed("Empty.") == "Empty."
    assert attribution.request_now() == ""


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/srv/site/shop/views.py", "shop/views.py"),
        ("/srv/site/.venv/lib/python3.12/site-packages/django/x.py", "django/x.py"),
        ("/usr/lib/python3.12/ast.py", "/usr/lib/python3.12/ast.py"),
        ("<string>", "<string>"),
    ],
)
def test_a_place_is_shown_as_short_as_it_is_clear(path: str, shown: str) -> None:
    line = attribution.described("hm", UserWarning, path, 7, os.path.join("/srv/site", ""))
    assert line == f"warning: {shown}:7: UserWarning: hm"


@pytest.mark.parametrize(
    ("role", "index", "title"), [("pages", 0, ""), ("pages", 1, "2"), ("pages", 2, "3"), ("sockets", 0, "sockets")]
)
def test_a_process_is_named_where_it_is_not_the_one_for_pages(role: str, index: int, title: str) -> None:
    assert Place(role, index).title == title
