"""Where sockets and state are kept, and who may be there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from duck.exceptions import ApplicationError
from duck.services import state
from duck.services.state import (
    MAX_SOCKET_PATH_BYTES,
    clear_directory,
    private_directory,
    run_directory,
    state_directory,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are POSIX")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def short_path():
    """As short as a run directory really is: pytest's own leave no room for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def test_systemd_goes_before_xdg(short_path: Path) -> None:
    tmp_path = short_path
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    environ = {"RUNTIME_DIRECTORY": f"{first}:{tmp_path}/other", "XDG_RUNTIME_DIR": str(second)}
    assert run_directory(environ) == first / "duck"
    assert run_directory({"XDG_RUNTIME_DIR": str(second)}) == second / "duck"
    assert mode(first / "duck") == 0o700


def test_a_missing_runtime_directory_is_passed_over() -> None:
    assert run_directory({"XDG_RUNTIME_DIR": "/nowhere/at/all"}) == Path(f"/tmp/duck-{os.geteuid()}")


def test_a_runtime_directory_too_long_for_a_socket_is_passed_over(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    run = run_directory({"XDG_RUNTIME_DIR": str(deep)})
    assert len(os.fsencode(run)) + 60 < MAX_SOCKET_PATH_BYTES


def test_the_option_goes_before_every_variable_for_state(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": str(tmp_path / "s"), "XDG_STATE_HOME": str(tmp_path / "x")}
    assert state_directory(str(tmp_path / "mine"), environ) == tmp_path / "mine"
    assert state_directory(None, environ) == tmp_path / "s" / "duck"
    assert state_directory(None, {"XDG_STATE_HOME": str(tmp_path / "x")}) == tmp_path / "x" / "duck"
    assert mode(tmp_path / "x" / "duck") == 0o700


def test_a_state_directory_in_the_project_is_refused_before_it_is_made(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "app").mkdir(parents=True)
    (project / "manage.py").touch()
    (tmp_path / "link").symlink_to(project)
    for path in (project, project / "app" / "state", tmp_path / "link" / "state"):
        with pytest.raises(ApplicationError, match="--state-dir"):
            state_directory(path, {}, project=project)
    assert sorted(project.iterdir()) == [project / "app", project / "manage.py"]
    assert state_directory(tmp_path / "projects", {}, project=project).is_dir()


def test_a_directory_that_holds_no_project_may_hold_the_state(tmp_path: Path) -> None:
    project = tmp_path / "below"
    project.mkdir()
    (project / "manage.py").touch()
    assert state_directory(tmp_path / "state", {}, project=tmp_path).is_dir()
    with pytest.raises(ApplicationError, match=r"lies in the project .*below"):
        state_directory(project / "state", {}, project=tmp_path)


def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ApplicationError, match="symbolic link"):
        private_directory(tmp_path / "link")


def test_a_directory_open_to_others_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(ApplicationError, match=f"chmod 700 {path}"):
        private_directory(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(ApplicationError, match="user id 12345"):
        private_directory(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_runtime_directory_is_passed_over(short_path: Path) -> None:
    os.chown(short_path, 12345, 12345)
    assert run_directory({"XDG_RUNTIME_DIR": str(short_path)}) == Path("/tmp/duck-0")


def test_clearing_does_not_follow_links(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    link = tmp_path / "link"
    link.symlink_to(kept)
    clear_directory(link)
    assert not link.exists()
    assert (kept / "file").exists()


class TestWithoutAHome:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(state, "SYSTEM", tmp_path / "lib")
        (tmp_path / "lib").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def test_what_root_has_made_goes_before_the_home(self, tmp_path: Path) -> None:
        assert state_directory(None, {}) == tmp_path / "home" / ".local" / "state" / "duck"
        made = state.make_for(os.geteuid(), os.getegid())
        assert mode(made) == 0o700
        assert state_directory(None, {}) == made == tmp_path / "lib" / f"duck-{os.geteuid()}"
        assert state.make_for(os.geteuid(), os.getegid()) == made
        assert state_directory(None, {"XDG_STATE_HOME": str(tmp_path / "x")}) == tmp_path / "x" / "duck"

    def test_what_is_somebody_elses_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "lib" / f"duck-{os.geteuid()}").symlink_to(tmp_path)
        with pytest.raises(ApplicationError, match="is not a directory of the user id"):
            state.make_for(os.geteuid(), os.getegid())
