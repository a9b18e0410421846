"""Jobs that ignore SIGTERM, flood, fork, leak, never end, or cannot be imported, all at once, on one node.

Each ends as documented, people are told, and a job that is due each second is neither late nor left out meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.alive import is_alive
from tests.cli.here import run_here
from tests.waiting import wait_until

AUTOMATIONS = """
import os, signal, subprocess, sys, time
from duck.automation import automation, every

@automation(timeout="1s", grace="1s", alert="ops")
def ignores_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)

@automation(alert="ops")
def floods():
    line = "x" * 99 + chr(10)
    for _ in range(300_000):
        sys.stdout.write(line)
    print("the end")

@automation(grace="1s")
def forks():
    sleep = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
    print("children", *[subprocess.Popen([sys.executable, "-c", sleep]).pid for _ in range(3)], flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)

@automation(alert="ops")
def leaks():
    kept = []
    while True:
        kept.append(b"x" * 10_000_000)
        time.sleep(0.01)

@automation(run_in="thread", timeout="8s", grace="0.5s", alert="ops")
def never_ends():
    while True:
        try:
            time.sleep(0.1)
        except BaseException:
            pass

@automation(alert="ops")
def exits():
    os._exit(7)

@automation(every("1s"), overlap="allow")
def tick():
    print("tick")
"""
TOML = """
automation_memory = "300MB"
automation_processes = 6

[automation_alerts.ops]
webhook = "{url}"

[automations.broken]
call = "shop.broken:run"
alert = "ops"

[automations.shell-forks]
shell = "trap '' TERM; sleep 300 & sleep 300 & echo children $!; sleep 300"
grace = "1s"
"""


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append(told)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Node:
    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory / "site"
        self.directory.mkdir()
        subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], cwd=self.directory, check=True)
        (self.directory / "automations.py").write_text(AUTOMATIONS)
        (self.directory / "shop" / "broken.py").write_text("raise RuntimeError('at import')\n")
        (self.directory / "duck.toml").write_text(TOML.replace("{url}", url))
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)
        self.log = open(directory / "log", "w+")
        self.process = subprocess.Popen(self.command("run"), cwd=self.directory, stdout=self.log, stderr=self.log)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "duck", "automations", *arguments, "--state-dir", str(self.state)]

    def json(self, *arguments: str) -> Any:
        done = subprocess.run(
            self.command(*arguments, "--json"), cwd=self.directory, capture_output=True, text=True, timeout=120
        )
        return json.loads(done.stdout)

    def ask(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments, "--json"), cwd=self.directory, stdout=subprocess.PIPE, text=True
        )

    def runs(self, *names: str) -> list[dict[str, Any]]:
        """The history of all, or of one; asked again and again, so without a process for each time."""
        arguments = self.command("history", *names, "-n", "1000", "--json")[3:]
        done = run_here(self.directory, tuple(arguments), dict(os.environ))
        found: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.got = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, receiver: ThreadingHTTPServer) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("misbehaving"), f"http://127.0.0.1:{receiver.server_port}/hook")
    yield made
    made.close()


NAMES = ("ignores_sigterm", "floods", "forks", "leaks", "never_ends", "exits", "broken", "shell-forks")


@pytest.fixture(scope="module")
def ended(node: Node) -> dict[str, dict[str, Any]]:
    """All of them, run at once, as they ended."""
    wait_until(lambda: node.runs("tick"), 120.0)
    asked = [node.ask("run", name) for name in NAMES]
    ids = {json.loads(each.communicate(timeout=120)[0])["runs"][0]["id"] for each in asked}
    cancelled: set[int] = set()
    runs: dict[int, dict[str, Any]] = {}

    def have_ended() -> bool:
        runs.update((run["id"], run) for run in node.runs() if run["id"] in ids)
        for each in runs.keys() - cancelled:
            if runs[each]["output"].startswith("children"):  # it is there while the run goes on
                node.json("cancel", str(each))
                cancelled.add(each)
        return len(runs) == len(ids) and all(run["ended"] for run in runs.values())

    wait_until(have_ended, 120.0, lambda: str(runs))
    return {run["name"]: run for run in runs.values()}


@pytest.mark.timeout(300)
class TestMisbehaving:
    def test_each_ends_as_documented(self, ended: dict[str, dict[str, Any]]) -> None:
        found = {name: (run["state"], run["reason"]) for name, run in ended.items()}
        memory = found.pop("leaks")
        assert found == {
            "ignores_sigterm": ("timed out", "not ended within 1 s"),
            "floods": ("succeeded", ""),
            "forks": ("cancelled", "ended by force"),
            "never_ends": ("timed out", "not ended within 8 s"),
            "exits": ("failed", "its process ended by itself with exit code 7"),
            "broken": ("failed", "RuntimeError: at import"),
            "shell-forks": ("cancelled", ""),
        }
        assert memory[0] == "failed" and "of 315 MB allowed (AUTOMATION_MEMORY)" in memory[1]
        assert ended["floods"]["output"].endswith("the end\n") and len(ended["floods"]["output"]) < 17_000
        assert ended["floods"]["printed"] == 300_000 * 100 + len("the end\n")
        assert "goes on until the others of its process have" in ended["never_ends"]["output"]

    def test_what_they_had_started_has_ended_with_them(self, ended: dict[str, dict[str, Any]]) -> None:
        pids = [int(word) for name in ("forks", "shell-forks") for word in ended[name]["output"].split()[1:]]
        assert len(pids) == 4
        wait_until(lambda: not any(map(is_alive, pids)))

    def test_the_dispatcher_goes_on(self, node: Node, ended: dict[str, dict[str, Any]]) -> None:
        first, last = node.runs("tick")[-1], max(run["ended"] for run in ended.values())
        wait_until(lambda: node.runs("tick")[0]["planned"] > last)
        runs = node.runs("tick")
        planned = sorted(datetime.fromisoformat(run["planned"]) for run in runs)
        assert len(set(planned)) == len(planned), "a planned time has two rows"
        assert len(planned) == (planned[-1] - datetime.fromisoformat(first["planned"])).total_seconds() + 1
        assert {run["state"] for run in runs} <= {"succeeded", "running", "queued", "skipped"}
        assert node.process.poll() is None

    def test_people_are_told_of_all_that_failed(
        self, receiver: ThreadingHTTPServer, ended: dict[str, dict[str, Any]]
    ) -> None:
        expected = {name for name in NAMES if name not in ("floods", "forks", "shell-forks")}

        def told() -> set[str]:
            return {each["automation"] for each in receiver.got if each["event"] == "failed"}  # type: ignore[attr-defined]

        wait_until(lambda: told() == expected, told=lambda: str(told()))
