"""`breakpoint()` under `duck runserver`, at a real terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.terminal import DEADLINE_S, Console


@pytest.fixture
def console(project: Path, environ: dict[str, str]) -> Iterator[Console]:
    (project / "site1" / "urls.py").write_text(
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "def stop_here(request):\n"
        "    answer = 41\n"
        "    breakpoint()\n"
        "    return HttpResponse(str(answer))\n"
        "def other(request):\n"
        "    print('other was asked', flush=True)\n"
        "    return HttpResponse('other')\n"
        "urlpatterns = [path('', stop_here), path('other', other)]\n"
    )
    command = [sys.executable, "-m", "duck", "runserver", "--port", "0"]
    console = Console(command, project, environ | {"NO_COLOR": "1", "TERM": "dumb"})
    yield console
    console.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_prompt_has_the_terminal_changes_wait_and_ctrl_c_stops_duck_afterwards(
    console: Console, project: Path
) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("is ready after")
    answers: list[str] = []

    def ask() -> None:
        answers.append(httpx.get(url, timeout=DEADLINE_S, trust_env=False).text)

    client = threading.Thread(target=ask)
    client.start()
    console.wait_for("(Pdb)")
    (project / "site1" / "other.py").write_text("x = 1\n")
    console.type("answer = answer + 1\n")
    console.wait_for("(Pdb)")
    console.type("p 'it is', answer\n")
    console.wait_for("('it is', 42)")
    console.wait_for("(Pdb)")
    console.type("c\n")
    client.join(DEADLINE_S)
    assert answers == ["42"]
    console.wait_for("other.py; loading Django again")
    console.wait_for("is ready after")
    console.type("\x03")
    console.wait_for("Stopping; finishing what runs.")
    assert console.wait() == 130


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_keys_are_the_prompts_own_meanwhile_and_other_lines_wait_for_its_end(console: Console) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("is ready after")
    assert not console.is_cooked
    client = threading.Thread(target=httpx.get, args=(url,), kwargs={"timeout": DEADLINE_S, "trust_env": False})
    client.start()
    console.wait_for("(Pdb)")
    assert httpx.get(f"{url}other", timeout=DEADLINE_S, trust_env=False).text == "other"
    console.type("h\n")  # help of the debugger's
    said = console.wait_for("Documented commands")
    said += console.wait_for("(Pdb)")
    console.type("p 40 + 2\n")
    said += console.wait_for("42")
    assert "GET /other" not in said and "Keys:" not in said
    console.type("c\n")
    console.wait_for("GET /other")
    console.wait_for("200 GET / ")
    client.join(DEADLINE_S)
    assert not console.is_cooked
    console.type("h")
    console.wait_for("Keys:")
    console.type("q")
    console.wait_for("Stopped.")
    assert console.wait() == 0
    assert console.is_cooked


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_ctrl_c_at_a_prompt_ends_duck_without_waiting_for_who_is_debugged(console: Console) -> None:
    url = console.wait_for("\n").partition("listens at ")[2].strip()
    console.wait_for("is ready after")
    cut: list[type[Exception]] = []

    def ask() -> None:
        try:
            httpx.get(url, timeout=DEADLINE_S, trust_env=False)
        except httpx.TransportError as error:
            cut.append(type(error))

    client = threading.Thread(target=ask)
    client.start()
    console.wait_for("(Pdb)")
    began = time.monotonic()
    console.type("\x03")
    assert console.wait() == 130
    assert time.monotonic() - began < 10.0
    client.join(DEADLINE_S)
    assert console.is_cooked
    assert cut == [httpx.RemoteProtocolError]
