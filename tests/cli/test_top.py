"""`duck top`: rates, what is drawn, and a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.cli.top import lines, with_rates

if TYPE_CHECKING:
    from tests.cli.machine import Machine


def report(asked: float, *processes: dict[str, Any]) -> dict[str, Any]:
    return {"project": "/srv/shop", "addresses": ["http://[::]:80"], "asked": asked, "processes": list(processes)}


class TestRates:
    def test_they_are_of_the_time_between_two_answers(self) -> None:
        before = report(10.0, {"role": "front", "pid": 1, "requests": 100, "cpu_s": 1.0})
        now = report(12.0, {"role": "front", "pid": 1, "requests": 300, "cpu_s": 1.5})
        (process,) = with_rates(now, before)["processes"]
        assert (process["requests_per_s"], process["cpu_percent"]) == (100.0, 25.0)

    def test_a_process_that_is_new_has_none_yet(self) -> None:
        before = report(10.0, {"role": "front", "pid": 1, "requests": 100, "cpu_s": 1.0, "uptime_s": 50.0})
        now = report(
            11.0,
            {"role": "front", "pid": 2, "requests": 5, "cpu_s": 0.1, "uptime_s": 0.5},
            {"role": "front", "pid": 1, "requests": 5, "cpu_s": 0.1, "uptime_s": 0.5},  # the number came around
        )
        assert all("requests_per_s" not in process for process in with_rates(now, before)["processes"])
        assert all("cpu_percent" not in process for process in with_rates(now, None)["processes"])

    def test_a_count_that_began_anew_is_no_negative_rate(self) -> None:
        before = report(10.0, {"role": "app", "pid": 1, "requests": 100})
        (process,) = with_rates(report(11.0, {"role": "app", "pid": 1, "requests": 3}), before)["processes"]
        assert process["requests_per_s"] == 0.0


class TestLines:
    def test_sums_count_each_request_once(self) -> None:
        shown = lines(
            {
                **report(
                    1.0,
                    {"role": "app", "pid": 1, "requests_per_s": 30.0, "memory_bytes": 20_000_000, "cpu_percent": 1.0},
                    {"role": "front", "pid": 2, "requests_per_s": 20.0, "connections": 3, "memory_bytes": 20_000_000},
                    {"role": "front", "pid": 3, "requests_per_s": 10.0, "connections": 4, "in_flight": 2},
                    {"role": "django pages", "pid": 4, "cpu_percent": 52.0, "memory_bytes": 60_000_000},
                ),
                "state": "running",
                "uptime_s": 7.0,
                "django": {"generation": 4, "restarts": 1},
                "front": {"restarts": 2},
            }
        )
        assert shown[0] == "/srv/shop  http://[::]:80  running  up 7 s"
        assert shown[1] == (
            "30.0 requests/s, CPU 53 %, memory 100.0 MB, 7 connections, 2 in flight, generation 4, 3 restarts"
        )
        assert shown[3].startswith("role ")
        assert len(shown) == 8

    def test_automations_and_what_comes_next_are_told(self) -> None:
        told = {"automations": 3, "running": ["nightly (7)"], "next": "tick at 12:00:01", "restarts": 2}
        shown = lines({**report(1.0, {"role": "automations", "pid": 5}), "automations": told})
        assert shown[1].endswith("automations: 3, 1 running, next tick at 12:00:01, 2 restarts")

    def test_that_nothing_starts_for_a_clock_that_is_wrong_is_told(self) -> None:
        told = {"automations": 3, "claims": False, "clock_ahead_s": -45.2}
        shown = lines({**report(1.0, {"role": "automations", "pid": 5}), "automations": told})
        assert shown[1].endswith("0 running, no automation starts: the clock is -45 s off the store's")

    def test_of_threads_the_app_is_the_front(self) -> None:
        shown = lines(report(1.0, {"role": "app", "pid": 1, "requests_per_s": 5.0, "connections": 1}))
        assert shown[1] == "5.0 requests/s, CPU 0 %, memory 0.0 MB, 1 connection"

    def test_of_one_that_is_gone_there_is_one_line(self) -> None:
        gone = {**report(1.0), "state": "gone; waiting for another one", "uptime_s": 9.0}
        assert lines(gone) == ["/srv/shop  http://[::]:80  gone; waiting for another one"]


@pytest.fixture
def pond(machine: Machine) -> Iterator[Path]:
    """A directory whose Django is a server that runs already, so that none has to be started."""
    directory = machine.directory("pond")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (directory / "duck.toml").write_text(f'django_addr = "127.0.0.1:{listener.getsockname()[1]}"\n')
        yield directory


def test_where_none_runs_one_sentence_says_so(machine: Machine) -> None:
    lake = machine.directory("lake")
    told = machine.duck(lake, "top")
    assert told.returncode == 3
    assert told.stderr == f"No Duck runs for {os.path.realpath(lake)}; start one with `duck runserver`.\n"
    assert json.loads(machine.duck(lake, "top", "--json").stdout) == {"instances": []}


def test_without_a_terminal_one_interval_is_printed(machine: Machine, pond: Path) -> None:
    process = machine.start(pond)
    machine.until_known(pond)
    told = machine.duck(pond, "top", "--interval", "0.2")
    assert told.returncode == 0, told.stderr
    assert re.search(rf"^app +{process.pid}  running ", told.stdout, re.MULTILINE)
    titles = next(line for line in told.stdout.splitlines() if line.startswith("role"))
    assert "CPU %" in titles and "req/s" in titles
    assert "\x1b" not in told.stdout
    (shown,) = json.loads(machine.duck(pond, "top", "--interval", "0.2", "--json").stdout)["instances"]
    (app,) = shown["processes"]
    assert app["pid"] == process.pid
    assert app["requests_per_s"] == 0.0
    assert app["cpu_percent"] >= 0.0


class Terminal:
    """`duck top` on a terminal of its own."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (20, 120))
        self.was = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "duck", "top", "--interval", "0.2"],
            cwd=directory,
            env={**machine.environ, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        self.text = ""

    def until(self, wanted: str) -> str:
        """What was drawn from here on, up to `wanted`."""
        end = time.monotonic() + 20
        while wanted not in self.text:
            ready = select.select([self.master], [], [], end - time.monotonic())[0]
            assert ready, f"{wanted!r} was not drawn: {self.text[-2000:]!r}"
            self.text += os.read(self.master, 65536).decode()
        seen, _, self.text = self.text.partition(wanted)
        return seen + wanted

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminals(machine: Machine) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def test_it_lives_through_a_restart_of_the_duck_and_q_ends_it(
    machine: Machine, pond: Path, terminals: list[Terminal]
) -> None:
    first = machine.start(pond)
    machine.until_known(pond)
    terminal = Terminal(machine, pond)
    terminals.append(terminal)
    terminal.until(f"app   {first.pid}")
    assert machine.duck(pond, "stop").returncode == 0
    terminal.until("gone; waiting for another one")
    second = machine.start(pond)
    terminal.until(f"app   {second.pid}")
    assert terminal.process.poll() is None
    terminal.type("q")
    terminal.until("\x1b[?25h\x1b[?1049l")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.was


def test_ctrl_c_ends_it_and_gives_the_terminal_back(machine: Machine, pond: Path, terminals: list[Terminal]) -> None:
    machine.start(pond)
    machine.until_known(pond)
    terminal = Terminal(machine, pond)
    terminals.append(terminal)
    terminal.until("q ends")
    os.kill(terminal.process.pid, 2)
    terminal.until("\x1b[?1049l")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.was
