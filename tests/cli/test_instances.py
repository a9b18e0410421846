"""`duck status` and `duck stop` with a Duck that runs."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.machine import Machine


@pytest.fixture
def backend() -> Iterator[str]:
    """The address of a server that runs already, so that no Django has to be started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_running_duck_is_shown_and_stopped(machine: Machine, backend: str) -> None:
    pond = machine.directory("pond")
    (pond / "duck.toml").write_text(f'django_addr = "{backend}"\n')
    process = machine.start(pond)
    machine.until_known(pond)

    shown = machine.duck(pond, "status", "--json")
    (report,) = json.loads(shown.stdout)["instances"]
    assert shown.returncode == 0
    assert report["pid"] == process.pid
    assert report["project"] == os.path.realpath(pond)
    assert report["addresses"][0].startswith("http://localhost:")
    below = machine.directory("pond/below")
    text = machine.duck(below, "status")
    assert text.returncode == 0
    assert f"{process.pid}\n" in text.stdout
    titles, *rows = text.stdout.partition("processes:\n")[2].splitlines()
    assert titles.split()[:6] == ["role", "pid", "state", "up", "memory", "CPU"]
    assert re.match(rf"  app +{process.pid}  running +\d+ s +[\d.]+ MB +[\d.]+ s ", rows[0])
    assert machine.duck(machine.directory("lake"), "status").returncode == 3
    other = machine.duck(pond, "status", "--name", "other")
    assert other.returncode == 3
    assert "No Duck named 'other' runs for" in other.stderr
    assert "`duck runserver --name other`" in other.stderr

    stopped = machine.duck(pond, "stop", "--json")
    assert stopped.returncode == 0, stopped.stderr
    assert [item["pid"] for item in json.loads(stopped.stdout)["stopped"]] == [process.pid]
    assert process.wait(5) == 0
    assert not psutil.pid_exists(process.pid)
    assert machine.duck(pond, "stop").returncode == 3


def test_a_duck_in_another_run_directory_is_nobodys_business(machine: Machine, backend: str) -> None:
    """Of root, too, who looks where other users have theirs: a directory that only looks like it is none."""
    pond = machine.directory("pond")
    (pond / "duck.toml").write_text(f'django_addr = "{backend}"\n')
    with tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp") as base:
        os.chmod(base, 0o700)
        other = Machine(Path(base))
        try:
            process = other.start(pond)
            other.until_known(pond)
            assert machine.duck(pond, "status", "--all").returncode == 3
            assert machine.duck(pond, "stop", "--all").returncode == 3
            assert process.poll() is None
        finally:
            other.close()


def test_of_several_one_has_to_be_chosen(machine: Machine, backend: str) -> None:
    pond = machine.directory("pond")
    (pond / "duck.toml").write_text(f'django_addr = "{backend}"\n')
    one, two = machine.start(pond, "--name", "one"), machine.start(pond, "--name", "two")
    machine.until_known(pond)
    refused = machine.duck(pond, "stop")
    assert refused.returncode == 1
    assert f"one (process id {one.pid}), two (process id {two.pid}); choose one with --name" in refused.stderr
    assert len(json.loads(machine.duck(pond, "status", "--json").stdout)["instances"]) == 2
    assert machine.duck(pond, "stop", "--name", "two").returncode == 0
    assert two.wait(5) == 0
    assert one.poll() is None
    everywhere = machine.duck(machine.directory("lake"), "stop", "--all")
    assert everywhere.returncode == 0
    assert everywhere.stdout == f"Stopped the Duck of {os.path.realpath(pond)} (process id {one.pid}).\n"
