"""Keys typed at the console of `duck runserver`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.terminal import Console
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A program that stands for a browser, and writes down what it was asked to show."""
    program = tmp_path / "browser"
    program.write_text('#!/bin/sh\nprintf %s "$1" > "$0.opened"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def console(project: Path, environ: dict[str, str], browser: Path, request: pytest.FixtureRequest) -> Iterator[Console]:
    """A Duck at a terminal; BROWSER ends with what the test's parameter says."""
    command = [sys.executable, "-m", "duck", "runserver", "--port", "0", "--no-reload"]
    more = {"NO_COLOR": "1", "TERM": "dumb", "BROWSER": f"{browser} %s{getattr(request, 'param', ' &')}"}
    console = Console(command, project, environ | more)
    yield console
    console.close()


def test_each_key_does_what_its_help_says(console: Console, browser: Path) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("Keys       r reload, o open, m migrate, c clear, h help, q quit")
    console.wait_for("is ready after")
    assert not console.is_cooked

    console.type("h")
    console.wait_for("Keys:")
    console.wait_for("  m  migrate: run manage.py migrate, and load Django again")
    console.wait_for("  q  quit")
    console.type("R\r")  # in upper case, and with Enter, as other tools have it
    console.wait_for("Loading Django again.")
    console.wait_for("is ready after")
    console.type("m")
    console.wait_for("Running manage.py migrate --noinput.")
    console.wait_for("manage.py | ")
    console.wait_for("Migrations are applied; loading Django again.")
    console.wait_for("is ready after")
    console.type("o")
    console.wait_for(f"Opening {url} in a browser.")
    opened = browser.with_name("browser.opened")
    wait_until(lambda: opened.exists() and opened.read_text() == url)
    console.type("\x1b[A")  # an arrow
    console.type("x")
    console.type("c")
    assert "Loading" not in console.wait_for("\x1b[H\x1b[2J")
    console.type("q")
    console.wait_for("Stopping; finishing what runs.")
    console.wait_for("Stopped.")
    assert console.wait() == 0
    assert console.is_cooked


@pytest.mark.parametrize("console", [""], indirect=True)
def test_a_browser_that_would_take_the_terminal_is_not_opened(console: Console, browser: Path) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("is ready after")
    console.type("o")
    console.wait_for(f"There is no browser here that could be opened; open {url} by hand.")
    assert not browser.with_name("browser.opened").exists()
    console.type("\x03")
    assert console.wait() == 130
    assert console.is_cooked


def test_in_a_duck_project_duck_itself_is_restarted_and_takes_keys_again(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text("from duck.app import App\napp = App(port=0)\n")
    (tmp_path / "settings.py").write_text("DEBUG = True\nUSE_DJANGO = False\n")
    (tmp_path / "urls.py").write_text("from duck.urls import path\nurlpatterns = [path('/', lambda request: 'one')]\n")
    command = [sys.executable, "-m", "duck", "runserver", "--no-reload"]
    console = Console(command, tmp_path, environ | {"NO_COLOR": "1", "TERM": "dumb"})
    try:
        console.wait_for("Stop ")
        wait_until(lambda: not console.is_cooked)
        console.type("m")
        console.wait_for("There is no Django project of Duck's own here")
        console.type("r")
        console.wait_for("Restarting Duck if it can be loaded.")
        console.wait_for("Restarting; finishing what runs.")
        console.wait_for("Stop ")
        wait_until(lambda: not console.is_cooked)
        console.type("q")
        console.wait_for("Stopped.")
        assert console.wait() == 0
        assert console.is_cooked
    finally:
        console.close()


def test_without_a_terminal_no_key_is_read_and_none_is_named(project: Path, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "duck", "runserver", "--port", "0", "--no-reload"]
    with subprocess.Popen(
        command, cwd=project, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as duck:
        assert duck.stdin is not None and duck.stdout is not None
        duck.stdin.write(b"q")
        duck.stdin.flush()
        said = b""
        while b"is ready after" not in said:
            line = duck.stdout.readline()
            assert line, said
            said += line
        assert duck.poll() is None
        assert b"Keys" not in said
        duck.terminate()
        duck.stdout.read()
        assert duck.wait() == 143
