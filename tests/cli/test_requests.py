"""`duck requests` before a Duck that runs: what is shown, sent again, and followed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from duck.cli.requests import printable, table
from tests.cli.machine import Machine
from tests.reports import report

_URLS = """
import os
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def echo(request, rest):
    return HttpResponse(request.body, content_type=request.headers.get("Content-Type", "text/plain"))


urlpatterns = [
    path("boom", lambda request: 1 / 0),
    path("<path:rest>", echo),
]
"""


class Served:
    """A Duck before a Django project, and the command that asks it."""

    def __init__(self, machine: Machine, project: Path) -> None:
        self.machine = machine
        self.project = project
        machine.start(project, "--access-log", "off")
        machine.until_known(project)
        self.address = report(machine.base, project)["addresses"][0].rstrip("/")
        self.client = httpx.Client(base_url=self.address, timeout=20, trust_env=False)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.machine.duck(self.project, "requests", *arguments)

    def told(self, *arguments: str) -> Any:
        done = self.ask(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def last(self, *arguments: str) -> dict[str, Any]:
        row: dict[str, Any] = self.told(*arguments)["requests"][-1]
        return row


def make_project(where: Path) -> Path:
    where.mkdir()
    subprocess.run([sys.executable, "-m", "django", "startproject", "site1", str(where)], check=True)
    (where / "site1" / "urls.py").write_text(_URLS)
    return where


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="duck-") as base:
        os.chmod(base, 0o700)
        machine = Machine(Path(base))
        machine.environ["DUCK_WORKERS"] = "2"  # each loop has its own requests
        try:
            made = Served(machine, make_project(Path(base) / "pond"))
            yield made
            made.client.close()
        finally:
            machine.close()


def test_the_last_requests_are_listed(served: Served) -> None:
    served.client.get("/page?token=geheim")
    served.client.post("/form", data={"name": "Ann"})
    served.client.get("/boom")
    rows = served.told("--limit", "3")["requests"]
    assert [(row["method"], row["target"], row["status"]) for row in rows] == [
        ("GET", "/page?token=(hidden)", 200),
        ("POST", "/form", 200),
        ("GET", "/boom", 500),
    ]
    titles, *lines = served.ask("--limit", "3").stdout.splitlines()
    assert titles.split() == ["id", "time", "status", "took", "queries", "size", "by", "request"]
    assert [line.split()[-2:] for line in lines] == [
        ["GET", "/page?token=(hidden)"],
        ["POST", "/form"],
        ["GET", "/boom"],
    ]
    assert [row["target"] for row in served.told("--status", "5")["requests"]] == ["/boom"]
    assert [row["target"] for row in served.told("--path", "FORM", "--method", "post")["requests"]] == ["/form"]
    nothing = served.ask("--path", "nowhere")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "No request is like that.\n")


def test_all_of_one_is_shown_without_its_secrets(served: Served) -> None:
    served.client.post("/json", json={"a": 1, "password": "geheim"}, headers={"Cookie": "sessionid=geheim"})
    number = served.last()["id"]
    told = served.told(str(number))
    assert told["request"]["body"]["kind"] == told["answer"]["body"]["kind"] == "json"
    assert ["Cookie", "sessionid=(hidden)"] in told["request"]["fields"]
    assert told["timing"]["total_ms"] >= told["timing"]["django_ms"] > 0
    text = served.ask(str(number)).stdout
    for part in ("POST /json", "Cookie: sessionid=(hidden)", '"password": "(hidden)"', "django", "total"):
        assert part in text, text
    assert "geheim" not in text + json.dumps(told)


def test_curl_hides_secrets_until_they_are_asked_for(served: Served) -> None:
    served.client.post("/login", data={"user": "ann", "password": "geheim"})
    number = str(served.last()["id"])
    assert "--data-raw 'user=ann&password=(hidden)'" in served.ask("--curl", number).stdout
    assert "--data-raw 'user=ann&password=geheim'" in served.ask("--curl", number, "--with-secrets").stdout
    assert served.told("--curl", number)["curl"].startswith("curl ")
    assert served.ask("--with-secrets").returncode == 2


def test_a_request_is_sent_again(served: Served) -> None:
    served.client.post("/again", content=b"body")
    number = served.last()["id"]
    told = served.told("--replay", str(number))
    assert (told["replay_of"], told["status"], told["sent_bytes"]) == (number, 200, 4)
    assert f"(again, of {number})" in served.ask("--replay", str(number)).stdout


def test_what_cannot_be_done_is_one_sentence(served: Served) -> None:
    served.client.post("/long", content=b"x" * 300_000)
    number = str(served.last()["id"])
    for arguments in (("--replay", number), ("--curl", number)):
        refused = served.ask(*arguments)
        assert refused.returncode == 1 and "only the first 262144 of 300000 bytes" in refused.stderr
    missing = served.ask("999999")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "duck: No request 999999 is kept; `duck requests` lists those that are.\n"
    assert json.loads(served.ask("999999", "--json").stdout)["error"].startswith("No request 999999")
    assert served.ask("0").returncode == served.ask("1", "--follow").returncode == 2


def test_where_no_duck_runs_that_is_said(served: Served) -> None:
    elsewhere = served.machine.directory("lake")
    done = served.machine.duck(elsewhere, "requests")
    assert done.returncode == 3 and "No Duck runs for" in done.stderr
    assert "No Duck runs" in json.loads(served.machine.duck(elsewhere, "requests", "--json").stdout)["error"]
    assert served.machine.duck(elsewhere, "requests", "--directory", str(served.project)).returncode == 0


def test_the_address_of_the_page_lets_a_browser_in(served: Served) -> None:
    served.client.get("/seen")
    url = served.ask("--url").stdout.strip()
    with httpx.Client(timeout=20, trust_env=False, follow_redirects=True) as browser:
        page = browser.get(url)
        assert page.status_code == 200 and "token" not in str(page.url) and "/seen" in page.text
    assert served.client.get("/.duck/requests").status_code == 404


def test_followed_requests_are_told_as_they_end(served: Served) -> None:
    served.client.get("/before")
    command = [sys.executable, "-m", "duck", "requests", "--follow", "--json", "--path", "/follow"]
    follower = subprocess.Popen(
        command,
        cwd=served.project,
        env=served.machine.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert follower.stdout is not None
        # What comes before the follower has looked for the first time is history to it.
        count = 0
        while not select.select([follower.stdout], [], [], 0.2)[0]:
            count += 1
            assert count < 150
            served.client.get(f"/follow?{count}")
        line = follower.stdout.readline()
        served.client.get("/other")
        served.client.get("/follow?last")
        seen = [json.loads(line)["target"]]
        while seen[-1] != "/follow?last":
            seen.append(json.loads(follower.stdout.readline())["target"])
        assert len(set(seen)) == len(seen)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 0
    finally:
        follower.kill()
        follower.wait(20)
        for stream in (follower.stdout, follower.stderr):
            assert stream is not None
            stream.close()


def test_what_a_client_sends_does_not_speak_to_the_terminal(served: Served) -> None:
    served.client.post(
        "/esc", content="\x1b[2J\x9bm\u202eevil\r\n\x07".encode(), headers={"Content-Type": "text/plain"}
    )
    shown = served.ask(str(served.last()["id"])).stdout
    assert "\\x1b[2J\\x9bm\\x202eevil" in shown
    assert not set("\x1b\x9b\x07\u202e") & set(shown)
    assert printable("a\tb\nc\x00\x7f") == "a\tb\nc\\x00\\x7f"


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    row = {
        "id": 7,
        "time": "2026-01-02T03:04:05.678Z",
        "method": "GET",
        "target": "/a",
        "status": None,
        "state": "waiting",
        "answered_by": "duck",
        "sent_bytes": 1_234_567,
        "duration_ms": 12_345.6,
        "queries": 12,
        "database_ms": 3.25,
        "replay_of": 3,
    }
    titles, line = table([row])
    assert line.endswith("waiting  12.3 s  12 in 3.2 ms  1.2 MB  duck  GET /a  (again, of 3)")
    assert titles.index("queries") + len("queries") == line.index("12 in 3.2 ms") + len("12 in 3.2 ms")
    assert table([row], fixed=True)[1].index("duck") == table([{**row, "sent_bytes": 1}], fixed=True)[1].index("duck")
