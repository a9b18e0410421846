"""`--lan` and `--qr`: the site for other devices in the network."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from duck.services.network import network_addresses
from tests.app.conftest import DEADLINE_S, Duck

Start = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]

ADDRESSES = network_addresses()


@pytest.mark.skipif(not ADDRESSES, reason="this machine is in no network")
def test_pages_are_for_the_network_and_what_django_refuses_is_told(
    start: Start, project: Path, until_watched: Callable[[Path, int], None]
) -> None:
    duck = start(project, "--lan", "--qr", PYTHONIOENCODING="utf-8")
    line = duck.wait_for("  Network ")
    port = duck.url.rpartition(":")[2]
    urls = [f"http://{address}:{port}/" for address in ADDRESSES]
    assert line.split(maxsplit=1)[1].strip() == ", ".join(urls)
    assert duck.url == f"http://localhost:{port}"
    duck.wait_for("\u2588\u2580")
    refused = duck.wait_for("Other devices are answered 400 at")
    assert refused.rstrip().endswith("add what is missing there, or '*' while DEBUG is on.")
    assert f"at {' and '.join(ADDRESSES)}, since ALLOWED_HOSTS in site1.settings does not name" in refused
    assert duck.get().text == "one"
    assert httpx.get(urls[0], timeout=DEADLINE_S, trust_env=False).status_code == 400
    until_watched(project, 1)
    (project / "site1" / "version.py").write_text('VERSION = "two"\n')
    duck.wait_for("is ready after", times=2)
    assert duck.get().text == "two"
    assert duck.text.count("Other devices are answered 400 at") == 1, "it is said once"


@pytest.mark.skipif(not ADDRESSES, reason="this machine is in no network")
def test_a_project_that_answers_to_any_name_is_told_nothing(start: Start, project: Path, ask: Ask) -> None:
    with open(project / "site1" / "settings.py", "a") as file:
        file.write("\nALLOWED_HOSTS = ['*']\n")
    duck = start(project, "--no-reload", DUCK_LAN="1")
    duck.wait_for("is ready after")
    port = duck.url.rpartition(":")[2]
    url = f"http://{ADDRESSES[0]}:{port}/"
    document = {"Sec-Fetch-Dest": "document", "Accept": "text/html"}
    far = httpx.get(url, timeout=DEADLINE_S, trust_env=False, headers=document)
    assert far.text == "one", "nothing is put into the page"
    token = re.search(r"token=([\w-]+)|data-token=\"([\w-]+)\"", duck.get("/", headers=document).text)
    assert token is not None
    asked = f"/.duck/requests?token={token[1] or token[2]}"
    assert duck.get(asked).status_code == 303
    assert httpx.get(url + asked[1:], timeout=DEADLINE_S, trust_env=False).status_code == 404
    assert url.rstrip("/") in ask(project, "status").stdout
    assert "Other devices" not in duck.text


def test_a_code_that_no_device_could_follow_is_not_drawn(start: Start, project: Path) -> None:
    duck = start(project, "--qr", "--no-reload")
    duck.wait_for("--qr is for other devices, and none can reach this address; say --lan, too.")
    assert "\u2588" not in duck.text


@pytest.mark.parametrize(
    ("more", "named"),
    [(("--address", "127.0.0.2"), "ADDRESS is 127.0.0.2"), (("--listen", "http://127.0.0.1:0"), "LISTEN is http:")],
)
def test_two_wishes_where_to_listen_are_one_too_many(
    ask: Ask, project: Path, more: tuple[str, ...], named: str
) -> None:
    told = ask(project, "runserver", "--lan", *more)
    assert told.returncode == 1
    assert told.stderr.startswith(f"duck: {named}")
    assert told.stderr.rstrip().endswith("listens at every address of this machine; keep one of them.")
