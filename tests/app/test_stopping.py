"""How `duck runserver` ends, and two of one project."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.alive import still_alive
from tests.app.conftest import DEADLINE_S, Duck, shared_duck
from tests.waiting import wait_until

Start = Callable[..., Duck]


def finishes_what_runs(duck: Duck, number: int, status: int, began: Path) -> None:
    """A signal lets what runs finish, and leaves nothing."""
    children = duck.children()
    assert children
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(duck.get(f"/slow?began={began}").text))
    client.start()
    wait_until(began.exists)
    duck.signal(number)
    client.join()
    assert answers == ["slow"]
    assert duck.wait() == status
    assert not still_alive(children, 1.0)


class TestTwoOfOneProject:
    """Two Ducks for all of these, which the last two end."""

    @pytest.fixture(scope="class")
    @classmethod
    def first(cls, made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duck]:
        where = tmp_path_factory.mktemp("two")
        project = Path(shutil.copytree(made_project, where / "project"))
        with shared_duck(project, where) as duck:
            yield duck

    @pytest.fixture(scope="class")
    @classmethod
    def other(cls, first: Duck) -> Iterator[Duck]:
        duck = cls.beside(first, "--name", "other")
        yield duck
        duck.close()

    @staticmethod
    def beside(first: Duck, *arguments: str) -> Duck:
        command = [sys.executable, "-m", "duck", "runserver", "--port", "0", *arguments]
        return Duck(command, first.cwd, first.environ)

    def test_a_second_duck_for_the_same_project_is_refused_with_pid_and_address(self, first: Duck) -> None:
        url = first.url
        second = self.beside(first)
        try:
            assert second.wait() == 1
        finally:
            second.close()
        assert f"process id {first.pid}" in second.text
        assert url in second.text
        assert "Traceback" not in second.text

    def test_by_another_name_it_is_another(self, first: Duck, other: Duck) -> None:
        assert first.get().text == other.get().text == "one"

    def test_the_second_signal_does_not_wait_for_what_runs(self, other: Duck, tmp_path: Path) -> None:
        other.wait_for("is ready after")
        children = other.children()
        began = tmp_path / "began"

        def ask() -> None:
            with pytest.raises(httpx.HTTPError):
                other.get(f"/slow?s=30&began={began}")

        client = threading.Thread(target=ask)
        client.start()
        wait_until(began.exists)
        at = time.monotonic()
        other.signal(signal.SIGINT)
        other.wait_for("finishing what runs")
        other.signal(signal.SIGINT)
        assert other.wait() == 130
        assert time.monotonic() - at < 20
        client.join()
        assert not still_alive(children, DEADLINE_S)

    def test_a_signal_lets_what_runs_finish_and_leaves_nothing(self, first: Duck, other: Duck, tmp_path: Path) -> None:
        """That of a terminal which is closed; the two others that end below."""
        first.wait_for("is ready after")
        finishes_what_runs(first, signal.SIGHUP, 129, tmp_path / "began")
        assert list((Path(first.environ["XDG_RUNTIME_DIR"]) / "duck").iterdir()) == []


class TestStopping:
    def test_a_signal_lets_what_runs_finish_and_leaves_nothing(
        self, start: Start, project: Path, run_dir: Path, tmp_path: Path
    ) -> None:
        duck = start(project)
        duck.wait_for("is ready after")
        finishes_what_runs(duck, signal.SIGINT, 130, tmp_path / "began")
        assert list((run_dir / "duck").iterdir()) == []

    def test_a_killed_duck_leaves_no_process_and_the_next_start_cleans_up(
        self, start: Start, project: Path, run_dir: Path, tmp_path: Path
    ) -> None:
        duck = start(project)
        duck.wait_for("is ready after")
        children = duck.children()
        assert children
        duck.signal(signal.SIGKILL)
        duck.wait()
        assert not still_alive(children, DEADLINE_S)
        again = start(project)
        again.wait_for("is ready after")
        assert again.get().text == "one"
        finishes_what_runs(again, signal.SIGTERM, 143, tmp_path / "began")
        assert list((run_dir / "duck").iterdir()) == []

    def test_a_signal_during_the_start_of_django_stops(self, start: Start, project: Path) -> None:
        (project / "site1" / "version.py").write_text('import time\ntime.sleep(20)\nVERSION = "late"\n')
        duck = start(project)
        duck.wait_for("Stop ")
        children = duck.children()
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 143
        assert not still_alive(children, 1.0)
