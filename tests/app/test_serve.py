"""`duck serve` in front of a real Django project: front worker processes, and what becomes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.app.conftest import Duck, wait_until

Serve = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def serve(start: Callable[..., Duck]) -> Serve:
    """Start `duck serve`; the admin address takes a free port."""

    def begin(project: Path, *arguments: str, **environ: str) -> Duck:
        return start(project, *arguments, command="serve", **environ)

    return begin


@pytest.fixture
def status(ask: Ask, project: Path) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        said: dict[str, Any] = json.loads(ask(project, "status", "--json").stdout)["instances"][0]
        return said

    return read


def fronts(status: Callable[[], dict[str, Any]]) -> list[int]:
    """The process ids of the front workers that serve."""
    return [entry["pid"] for entry in status()["processes"] if entry["role"] == "front" and entry["state"] == "serving"]


class TestFrontWorkers:
    def test_as_many_processes_as_asked_for_serve_and_the_app_only_watches(
        self, serve: Serve, project: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        duck = serve(project, "--workers", "2")
        assert duck.get().text == "one"
        wait_until(lambda: len(fronts(status)) == 2)
        for pid in fronts(status):
            assert psutil.Process(pid).ppid() == duck.pid
        wait_until(lambda: status()["front"]["requests"] >= 1)

    def test_one_that_is_killed_is_replaced_and_nobody_who_connects_is_refused(
        self, serve: Serve, project: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        duck = serve(project, "--workers", "2")
        assert duck.get().text == "one"
        wait_until(lambda: len(fronts(status)) == 2)
        killed = set(fronts(status))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert [duck.get().text for _ in range(5)] == ["one"] * 5
        wait_until(lambda: len(fronts(status)) == 2)
        assert not killed & set(fronts(status))
        assert "was ended by SIGKILL. Another one is started." in duck.text

    def test_one_that_hangs_says_where_and_is_replaced(
        self, serve: Serve, project: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        duck = serve(project, "--workers", "1", DUCK_HEARTBEAT_TIMEOUT="2")
        assert duck.get().text == "one"
        wait_until(lambda: len(fronts(status)) == 1)
        (pid,) = fronts(status)
        os.kill(pid, signal.SIGSTOP)
        duck.wait_for("hangs; it is ended.")
        assert duck.get().text == "one"
        assert not psutil.pid_exists(pid)

    def test_one_that_is_told_to_end_finishes_what_it_began(
        self, serve: Serve, project: Path, tmp_path: Path, status: Callable[[], dict[str, Any]]
    ) -> None:
        import threading

        duck = serve(project, "--workers", "1")
        assert duck.get().text == "one"
        wait_until(lambda: len(fronts(status)) == 1)
        (pid,) = fronts(status)
        began = tmp_path / "began"
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(duck.get(f"/slow?began={began}&s=1").text))
        asking.start()
        wait_until(began.exists)
        os.kill(pid, signal.SIGTERM)
        asking.join(20)
        assert answers == ["slow"]
        assert duck.get().text == "one"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_finishes_what_runs_and_leaves_nobody(
        self, serve: Serve, project: Path, tmp_path: Path, number: signal.Signals
    ) -> None:
        import threading

        duck = serve(project, "--workers", "2")
        assert duck.get().text == "one"
        family = duck.children()
        began = tmp_path / "began"
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(duck.get(f"/slow?began={began}&s=1").text))
        asking.start()
        wait_until(began.exists)
        duck.signal(number)
        assert duck.wait() == 128 + number
        asking.join(20)
        assert answers == ["slow"]
        assert not [process for process in family if process.is_running() and process.status() != "zombie"]

    def test_with_the_app_killed_nothing_is_left_and_the_next_start_works_at_once(
        self, serve: Serve, project: Path
    ) -> None:
        duck = serve(project, "--workers", "2")
        assert duck.get().text == "one"
        family = duck.children()
        assert len(family) == 3
        duck.signal(signal.SIGKILL)
        wait_until(lambda: not [one for one in family if one.is_running() and one.status() != "zombie"], 2.0)
        assert serve(project, "--workers", "2").get().text == "one"


class TestSettings:
    def test_production_has_its_own_defaults(self, ask: Ask, project: Path) -> None:
        said = json.loads(ask(project, "settings", "--mode", "serve", "--json").stdout)
        assert said["ADDRESS"]["value"] == "127.0.0.1"
        assert said["SERVE_MEDIA"]["value"] is False
        assert said["AUTO_RELOAD"]["value"] is False
        assert said["WORKERS"]["value"] == "auto"
        plain = json.loads(ask(project, "settings", "--json").stdout)
        assert (plain["ADDRESS"]["value"], plain["SERVE_MEDIA"]["value"]) == ("localhost", True)

    def test_variables_of_hosting_platforms_count_only_in_production(self, ask: Ask, project: Path) -> None:
        environ = {"PORT": "5123", "WEB_CONCURRENCY": "3"}
        said = json.loads(ask(project, "settings", "--mode", "serve", "--json", **environ).stdout)
        assert (said["PORT"]["value"], said["PORT"]["origin"]) == (5123, {"source": "environment", "where": "PORT"})
        assert said["ADDRESS"]["value"] == "0.0.0.0"
        assert said["WORKERS"]["value"] == said["DJANGO_WORKERS"]["value"] == 3
        given = json.loads(ask(project, "settings", "--mode", "serve", "--json", "-p", "1", **environ).stdout)
        assert given["PORT"]["value"] == 1
        plain = json.loads(ask(project, "settings", "--json", **environ).stdout)
        assert plain["PORT"]["value"] == 8000
