"""One Duck per project, settings module and name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duck.exceptions import AlreadyRunning
from duck.services.instance import Instance, instance_key, running_instances

HOLD = """
import sys
from pathlib import Path
from duck.services.instance import Instance
instance = Instance.acquire(Path(sys.argv[1]), project=sys.argv[2], settings="", name="duck-server", started=1.0)
instance.publish(["http://127.0.0.1:8123"])
(instance.directory / "left.sock").touch()
print("held", flush=True)
sys.stdin.read()
"""


def acquire(run: Path, project: Path, settings: str = "", name: str = "duck-server") -> Instance:
    return Instance.acquire(run, project=project, settings=settings, name=name)


@pytest.fixture
def holder(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "/some/project"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_refused_with_pid_and_address_of_the_first(tmp_path: Path, holder) -> None:
    with pytest.raises(AlreadyRunning) as caught:
        acquire(tmp_path, Path("/some/project"))
    assert caught.value.pid == holder.pid
    assert caught.value.addresses == ("http://127.0.0.1:8123",)
    assert str(holder.pid) in str(caught.value)
    assert "http://127.0.0.1:8123" in str(caught.value)
    assert "duck stop" in str(caught.value)


def test_another_project_settings_module_or_name_is_another_instance(tmp_path: Path, holder) -> None:
    held = [
        acquire(tmp_path, Path("/some/other")),
        acquire(tmp_path, Path("/some/project"), settings="x.settings"),
        acquire(tmp_path, Path("/some/project"), name="second"),
    ]
    assert len({instance.directory for instance in held}) == 3
    for instance in held:
        instance.release()


def test_a_killed_holders_leftovers_are_removed_by_the_next(tmp_path: Path, holder) -> None:
    key = instance_key("/some/project", "", "duck-server")
    assert (tmp_path / key / "left.sock").exists()
    holder.kill()
    holder.wait()
    assert running_instances(tmp_path) == []
    instance = acquire(tmp_path, Path("/some/project"))
    assert list(instance.directory.iterdir()) == []
    instance.release()


def test_running_instances_are_listed_while_they_live(tmp_path: Path, holder) -> None:
    (info,) = running_instances(tmp_path)
    assert info.pid == holder.pid
    assert info.project == "/some/project"
    assert info.control.endswith("control.sock")


def test_nothing_is_left_after_release(tmp_path: Path) -> None:
    instance = acquire(tmp_path, Path("/p"))
    instance.release()
    instance.release()
    assert list(tmp_path.iterdir()) == []


def test_the_project_is_known_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert instance_key(tmp_path / "link", "", "n") == instance_key(tmp_path / "real", "", "n")


def test_a_held_lock_can_be_taken_over_by_its_descriptor(tmp_path: Path) -> None:
    first = acquire(tmp_path, Path("/p"))
    again = Instance.acquire(tmp_path, project="/p", settings="", name="duck-server", inherited=first.fileno())
    assert again.info.pid == os.getpid()
    assert again.directory.is_dir()
    again.release()
