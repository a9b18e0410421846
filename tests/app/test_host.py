"""What the system around `duck serve` gives and takes: rights of root, systemd's sockets and its signs of life."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from duck.app.host import Host
from duck.settings.load import load
from tests.app.conftest import ONE_OF_EACH, ROOT, Duck
from tests.waiting import wait_until

Start = Callable[..., Duck]
Ask = Callable[..., subprocess.CompletedProcess[str]]

as_root = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can become another user: run the tests as root"
)


@pytest.fixture
def open_project(project: Path) -> Iterator[Path]:
    """The project where everybody may read it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="duck-open-") as directory:
        os.chmod(directory, 0o755)
        copy = Path(shutil.copytree(project, Path(directory) / "project"))
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield copy


def python_of_nobody() -> dict[str, str]:
    """Interpreter and environment with which `nobody` can run this Duck; skips where there are none."""
    paths = os.pathsep.join([str(ROOT), sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]])
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/python{version}", f"/usr/bin/python{version}"):
        environ = {"PYTHONPATH": paths, "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [python, "-c", "import duck.app, django, uvloop, psutil, click"],
                user="nobody",
                group="nogroup",
                capture_output=True,
                cwd="/",
                env=environ,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return environ | {"PYTHON": python}
    pytest.skip(f"nobody may read no Python {version} here, or not this checkout: put them where others may read them")


class TestRoot:
    @as_root
    def test_root_has_to_say_who_serves(self, start: Start, project: Path) -> None:
        duck = start(project, command="serve")
        assert duck.wait() == 1
        assert "say who serves, as in --user www-data" in duck.text
        assert "Traceback" not in duck.text

    @as_root
    def test_a_project_that_the_user_cannot_read_is_told_of_before_anything_starts(
        self, start: Start, project: Path
    ) -> None:
        project.chmod(0o700)
        duck = start(project, "--user", "nobody", command="serve")
        assert duck.wait() == 1
        assert "The user nobody may not" in duck.text
        assert "Traceback" not in duck.text

    @as_root
    def test_the_named_user_serves_a_port_that_only_root_may_bind_and_nothing_of_it_runs_as_root(
        self, start: Start, open_project: Path
    ) -> None:
        environ = python_of_nobody()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (open_project / "site1" / "version.py").write_text("import os\nVERSION = f'{os.getuid()} {os.geteuid()}'\n")
        command = [environ.pop("PYTHON"), "-m", "duck", "serve", "--user", "nobody", "--port", str(port)]
        duck = Duck(command, open_project, environ | ONE_OF_EACH)
        try:
            self._check_that_all_is_nobodys(duck)
        finally:
            duck.close()

    def _check_that_all_is_nobodys(self, duck: Duck) -> None:
        uid = pwd.getpwnam("nobody").pw_uid
        assert duck.get().text == f"{uid} {uid}"
        for process in (psutil.Process(duck.pid), *duck.children()):
            assert set(process.uids()) == {uid}, process
        # Root finds what it has started for another.
        status = subprocess.run([sys.executable, "-m", "duck", "status", "--all"], capture_output=True, text=True)
        assert f"pid        {duck.pid}" in status.stdout
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM

    @as_root
    def test_a_duck_projects_own_code_is_not_started_by_root(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "settings.py").write_text("raise RuntimeError('it ran')\n")
        (tmp_path / "main.py").write_text("from duck.app import App\nraise RuntimeError('it ran')\n")
        duck = start(tmp_path, "--user", "nobody", command="serve")
        assert duck.wait() == 1
        assert "Root has started a Duck project" in duck.text
        assert "it ran" not in duck.text

    def test_who_is_not_root_becomes_nobody_else(self, start: Start, project: Path) -> None:
        duck = start(project, "--user", "no-such-user-here", command="serve")
        assert duck.wait() == 1
        assert "There is no user 'no-such-user-here' on this system" in duck.text


class TestSystemd:
    @pytest.fixture
    def said(self, run_dir: Path) -> Iterator[socket.socket]:
        """What is said to NOTIFY_SOCKET."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(run_dir / "notify.sock"))
            listener.settimeout(20)
            yield listener

    def test_it_is_told_of_readiness_reload_life_and_end(
        self, start: Start, ask: Ask, project: Path, run_dir: Path, said: socket.socket
    ) -> None:
        user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        (project / "site1" / "version.py").write_text(
            "import os\nVERSION = ' '.join(name for name in os.environ if 'NOTIFY' in name or 'WATCH' in name)\n"
        )
        duck = start(
            project,
            command="serve",
            NOTIFY_SOCKET=str(run_dir / "notify.sock"),
            WATCHDOG_USEC="1000000",
            DUCK_ALLOW_UNAPPLIED_MIGRATIONS="yes",
            **user,
        )
        heard: list[str] = []

        def until(text: str) -> None:
            while not heard or text not in heard[-1]:
                heard.append(said.recv(4096).decode())

        until("READY=1")
        assert duck.get().text == ""  # the variables are not passed on
        until("WATCHDOG=1")
        assert ask(project, "reload").returncode == 0
        until("RELOADING=1")
        assert "MONOTONIC_USEC=" in heard[-1]
        until("READY=1")
        assert ask(project, "reload", "--self").returncode == 0
        until("READY=1")
        until("WATCHDOG=1")
        duck.signal(signal.SIGTERM)
        until("STOPPING=1")
        assert duck.wait() == 128 + signal.SIGTERM

    def test_a_socket_that_systemd_opened_is_served(self, project: Path, environ: dict[str, str]) -> None:
        user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            # As systemd does: descriptor 3, and the id that the process will have after the exec.
            program = (
                "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
                "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.executable, [sys.executable, '-m', 'duck', 'serve'])"
            )
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(listener.fileno())],
                cwd=project,
                env=environ | ONE_OF_EACH | user,
                pass_fds=[listener.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            import httpx

            def served() -> bool:
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/", timeout=20, trust_env=False).text == "one"
                except httpx.HTTPError:
                    return False

            wait_until(served)
        finally:
            process.terminate()
            process.wait(20)


def test_a_user_without_a_home_gets_a_place_for_runs_where_automations_are_declared(tmp_path: Path) -> None:
    def needs(**given: Any) -> bool:
        return Host(load({"MODE": "serve", **given}, {}, tmp_path))._needs_state()

    (tmp_path / "shop").mkdir()
    assert not needs()
    assert needs(AUTOMATIONS={"a": {"shell": "true"}})
    (tmp_path / "shop" / "automations.py").touch()
    assert needs() and not needs(RUN_AUTOMATIONS="no")
