"""The front-end server: found in a project, started, listened to, started again, ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from duck.exceptions import ProjectError
from duck.http.frontend import FrontendState
from duck.services.frontend.address import FrontendAddress, parse_address, plain, printed_address
from duck.services.frontend.plan import FrontendPlan, find_frontend
from duck.services.frontend.service import BROKEN, SERVING, STARTING, FrontendService
from duck.services.inbox import Inbox
from duck.settings.frontend import FrontendView
from tests.alive import still_alive
from tests.waiting import serve_until

SERVER = Path(__file__).resolve().parents[1] / "frontend_server.py"
DEADLINE_S = 60.0
NOTHING_SAID = FrontendView(None, None, None, None, ())


class TestAddress:
    @pytest.mark.parametrize(
        ("line", "address"),
        [
            (
                "  \x1b[32m➜\x1b[39m  Local:   \x1b[36mhttp://localhost:\x1b[1m5173\x1b[22m/static/\x1b[39m",
                (5173, "/static/"),
            ),
            ("  ➜  Local:   http://localhost:5174/", (5174, "/")),
            ("  > Local: http://localhost:3000/app", (3000, "/app/")),
            ("<i> [webpack-dev-server] Loopback: http://localhost:8080/, http://[::1]:8080/", (8080, "/")),
            ("Server running at http://localhost:1234", (1234, "/")),
            ("see http://vite.dev/config/ on this", None),
            ("ready in 300 ms", None),
        ],
    )
    def test_it_is_read_from_what_is_printed(self, line: str, address: tuple[int, str] | None) -> None:
        found = printed_address(plain(line))
        assert (found and (found.port, found.base)) == address

    def test_all_addresses_are_this_machines_and_https_is_told(self) -> None:
        assert printed_address("http://0.0.0.0:80/") == FrontendAddress("127.0.0.1", 80)
        assert printed_address("http://[::]:5/") == FrontendAddress("::1", 5)
        assert printed_address("https://localhost/x/") == FrontendAddress("localhost", 443, "/x/", secure=True)

    def test_that_of_a_setting_may_be_another_machine(self) -> None:
        assert parse_address("http://vite:5173/static/") == FrontendAddress("vite", 5173, "/static/")
        assert parse_address("http://[::1]:5173/") == FrontendAddress("::1", 5173)


class TestPlan:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        (tmp_path / "manage.py").touch()
        return tmp_path

    def vite(self, directory: Path, *, config: str = "", dev: str = "vite", name: str = "vite.config.js") -> Path:
        tools = directory / "node_modules" / ".bin"
        tools.mkdir(parents=True)
        (tools / "vite").touch(0o755)
        package = {"scripts": {"dev": dev}, "devDependencies": {"vite": "^5"}}
        (directory / "package.json").write_text(json.dumps(package))
        (directory / name).write_text(config)
        return directory

    @pytest.mark.parametrize("name", ["vite.config.js", "vite.config.ts", "vite.config.mjs", "vite.config.mts"])
    @pytest.mark.parametrize("where", ["", "frontend"])
    def test_vite_is_found_here_and_one_level_below(self, project: Path, where: str, name: str) -> None:
        directory = self.vite(project / where, name=name)
        plan = find_frontend(project, NOTHING_SAID)
        assert plan is not None
        assert plan.argv == (str(directory / "node_modules/.bin/vite"),)
        assert plan.cwd == plan.root == str(directory)
        assert plan.files == (str(directory / name), str(directory / "package.json"))

    def test_other_things_are_none(self, project: Path) -> None:
        assert find_frontend(project, NOTHING_SAID) is None
        self.vite(project / "node_modules" / "vite")  # its own template
        (project / "a").mkdir()
        (project / "a" / "package.json").write_text('{"devDependencies": {"vite": "1"}}')
        (project / "b").mkdir()
        (project / "b" / "vite.config.js").touch()
        (project / "b" / "package.json").write_text("no JSON")
        assert find_frontend(project, NOTHING_SAID) is None

    def test_it_is_not_looked_for_where_nobody_wants_it(self, project: Path) -> None:
        self.vite(project / "frontend")
        assert find_frontend(project, replace(NOTHING_SAID, wanted=False)) is None

    def test_what_cannot_be_started_is_said(self, project: Path) -> None:
        with pytest.raises(ProjectError, match=r"FRONTEND is on, and there is no vite\.config\.js in"):
            find_frontend(project, replace(NOTHING_SAID, wanted=True))
        shutil.rmtree(self.vite(project / "a") / "node_modules")
        with pytest.raises(ProjectError, match="not installed there; run `npm install` in it"):
            find_frontend(project, NOTHING_SAID)
        self.vite(project / "b")
        with pytest.raises(ProjectError, match=r"Several front ends are below .*: a, b; say which with FRONTEND_DIR"):
            find_frontend(project, NOTHING_SAID)
        named = find_frontend(project, replace(NOTHING_SAID, directory=project / "b"))
        assert named is not None
        assert named.cwd == str(project / "b")
        with pytest.raises(ProjectError, match="which is no directory"):
            find_frontend(project, replace(NOTHING_SAID, command=("npm",), directory=project / "c"))

    def test_a_program_of_the_whole_project_is_found(self, project: Path) -> None:
        directory = self.vite(project / "frontend")
        shutil.move(directory / "node_modules", project / "node_modules")
        plan = find_frontend(project, NOTHING_SAID)
        assert plan is not None
        assert plan.argv == (str(project / "node_modules/.bin/vite"),)

    @pytest.mark.parametrize(
        ("dev", "arguments", "environ"),
        [
            ("vite", [], {}),
            ("vite dev --port 3000 --host", ["dev", "--port", "3000", "--host"], {}),
            ("vite --open --strictPort", ["--strictPort"], {}),
            ("cross-env A=b C='d e' vite", [], {"A": "b", "C": "d e"}),
            ("npx vite --config x.js", ["--config", "x.js"], {}),
            ("vite build --watch", [], {}),
            ('concurrently "vite" "python manage.py runserver"', [], {}),
            ("vite & python manage.py runserver", [], {}),
            ("echo 'unclosed", [], {}),
        ],
    )
    def test_the_projects_own_script_says_how_it_is_started(
        self, project: Path, dev: str, arguments: list[str], environ: dict[str, str]
    ) -> None:
        self.vite(project / "frontend", dev=dev)
        plan = find_frontend(project, NOTHING_SAID)
        assert plan is not None
        assert list((plan.argv or ())[1:]) == arguments
        assert dict(plan.environ) == environ

    @pytest.mark.parametrize(
        "said",
        [
            "root: './src',",
            "  root: resolve('./src'),",
            'defineConfig({ root: path.join(__dirname, "src"), base: "/" })',
            "root: fileURLToPath(new URL('./src', import.meta.url)),",
        ],
    )
    def test_the_root_is_read_from_the_configuration(self, project: Path, said: str) -> None:
        directory = self.vite(project / "frontend", config=said)
        plan = find_frontend(project, NOTHING_SAID)
        assert plan is not None
        assert plan.root == str(directory)  # such a directory is not there
        (directory / "src").mkdir()
        plan = find_frontend(project, NOTHING_SAID)
        assert plan is not None
        assert plan.root == str(directory / "src")

    @pytest.mark.parametrize(
        ("said", "base"),
        [("base: '/static/',", "/static/"), ('{ base: "/" }', "/"), ("base: BASE,", "/"), ("base: './',", "/")],
    )
    def test_the_base_is_read_as_far_as_it_is_text(self, project: Path, said: str, base: str) -> None:
        self.vite(project / "frontend", config=said)
        plan = find_frontend(project, NOTHING_SAID)
        assert plan is not None
        assert plan.base == base

    def test_settings_name_any_other(self, project: Path) -> None:
        plan = find_frontend(project, replace(NOTHING_SAID, command=("npm", "start"), url="http://localhost:3000/"))
        assert plan == FrontendPlan(
            "frontend",
            ("npm", "start"),
            cwd=str(project),
            files=(str(project / "package.json"),),
            url="http://localhost:3000/",
        )
        plan = find_frontend(project, replace(NOTHING_SAID, url="http://vite:3000/"))
        assert plan == FrontendPlan("frontend", None, url="http://vite:3000/")


class Run:
    """A service, what it has told, and the inbox that serves it."""

    def __init__(self, directory: Path, *arguments: str, url: str | None = None, program: str = sys.executable) -> None:
        self.inbox = Inbox()
        self.directory = directory
        self.states: list[FrontendState] = []
        self.output: list[str] = []
        self.stopped = False
        argv = (program, str(SERVER), *arguments) if program == sys.executable else (program,)
        files = (str(directory / "vite.config.js"),)
        self.plan = FrontendPlan("frontend", argv, cwd=str(directory), root=str(directory), files=files, url=url)
        self.service = self.make()

    def make(self) -> FrontendService:
        return FrontendService(
            self.inbox, self.plan, dict(os.environ), tell=self.states.append, write=self.output.append
        )

    def until(self, true: Callable[[], object]) -> None:
        serve_until(self.inbox, true, told=lambda: (self.states, self.output))

    def until_serving(self) -> None:
        self.until(lambda: self.service.state is SERVING)

    def ask(self) -> dict[str, object]:
        address = self.service.address
        assert address is not None
        url = f"http://{address.host}:{address.port}{address.base}@vite/client"
        told: dict[str, object] = httpx.get(url, trust_env=False, timeout=60).json()
        return told

    def processes(self) -> list[psutil.Process]:
        assert self.service.pid is not None
        keeper = psutil.Process(self.service.pid)
        return [keeper, *keeper.children(recursive=True)]

    def end(self) -> None:
        self.service.stop(5.0, lambda: setattr(self, "stopped", True))
        self.until(lambda: self.stopped)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(*arguments: str, **more: str) -> Run:
        runs.append(Run(tmp_path, *arguments, **more))
        return runs[-1]

    yield make
    for one in runs:
        one.service.kill()
        one.until(lambda one=one: one.service.pid is None)  # type: ignore[misc]
        one.inbox.close()


class TestService:
    def test_it_is_started_told_of_and_ended_with_what_it_has_started(self, run: Callable[..., Run]) -> None:
        one = run("--child")
        one.service.start()
        one.until_serving()
        address = one.service.address
        assert address is not None
        assert (address.host, address.base) == ("localhost", "/static/")
        assert one.states == [FrontendState(None), FrontendState(("localhost", address.port), "/static/")]
        assert one.service.status() == {
            "name": "frontend",
            "state": SERVING,
            "url": f"http://localhost:{address.port}/static/",
        }
        one.until(lambda: "press h" in "".join(one.output))
        processes = one.processes()
        assert len(processes) == 3
        assert one.ask()["pid"] == processes[1].pid
        one.end()
        assert not still_alive(processes, DEADLINE_S)

    def test_one_that_does_not_end_is_ended(self, run: Callable[..., Run]) -> None:
        one = run("--stubborn")
        one.service.start()
        one.until_serving()
        one.service.stop(0.2, lambda: setattr(one, "stopped", True))
        one.until(lambda: one.stopped)

    def test_a_long_line_comes_whole(self, run: Callable[..., Run]) -> None:
        one = run()
        (one.directory / "vite.config.js").write_text("verbose")
        one.service.start()
        one.until(lambda: "".join(one.output).count("x") == 100_000)

    def test_one_that_ends_is_started_again(self, run: Callable[..., Run], caplog: pytest.LogCaptureFixture) -> None:
        one = run()
        one.service.start()
        one.until_serving()
        before = one.ask()["pid"]
        for process in one.processes()[1:]:
            process.kill()
        one.until(lambda: one.service.state is STARTING)
        assert one.states[-1] == FrontendState(None)  # who asks meanwhile waits
        one.until_serving()
        assert one.ask()["pid"] != before
        assert "frontend has ended: exit code 137. It is started again in 0.5 s." in caplog.text

    def test_one_whose_start_fails_is_told_once_and_started_when_its_files_change(
        self, run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        one = run()
        config = one.directory / "vite.config.js"
        config.write_text("broken")
        one.service.start()
        one.until(lambda: one.service.state is BROKEN)
        sentence = (
            "frontend cannot be served: Error: it is broken. Django is served without it."
            " A change of vite.config.js starts it again."
        )
        assert caplog.messages == [sentence]
        assert one.states[-1] == FrontendState(None, failure="Error: it is broken")
        assert one.service.status()["failure"] == "Error: it is broken"
        config.write_text("still broken")
        one.until(lambda: "".join(one.output).count("it is broken") == 2 and one.service.state is BROKEN)
        assert caplog.messages == [sentence]
        config.write_text("mended")
        one.until_serving()

    def test_a_program_that_is_not_there_is_one_sentence(
        self, run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        one = run(program="no-such-npm")
        one.service.start()
        assert one.service.state is BROKEN
        assert "no-such-npm is not installed; install it, or say --no-frontend" in caplog.text
        one.end()

    def test_a_program_of_packages_needs_node(
        self, run: Callable[..., Run], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        one = run()
        tool = one.directory / "vite"
        tool.touch(0o755)
        one.plan = replace(one.plan, argv=(str(tool),), tools=(str(one.directory),))
        one.service = one.make()
        one.service.start()
        assert "Node.js is not installed" in caplog.text

    def test_one_that_speaks_https_is_left_alone(
        self, run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        one = run()
        code = "import time; print('https://localhost:1/', flush=True); time.sleep(60)"
        one.plan = replace(one.plan, argv=(sys.executable, "-c", code))
        one.service = one.make()
        one.service.start()
        one.until(lambda: one.service.state is BROKEN)
        assert "it speaks HTTPS at https://localhost:1/" in caplog.text

    def test_where_it_listens_may_be_said_by_settings(self, run: Callable[..., Run]) -> None:
        one = run(url="http://localhost:5999/x/")
        one.service.start()
        assert one.service.address == FrontendAddress("localhost", 5999, "/x/")
        one.until(lambda: "Local" in "".join(one.output))
        assert one.service.address == FrontendAddress("localhost", 5999, "/x/")

    def test_one_that_runs_already_is_neither_started_nor_ended(self, run: Callable[..., Run]) -> None:
        one = run(url="http://localhost:5999/")
        one.plan = replace(one.plan, argv=None)
        one.service = one.make()
        one.service.start()
        assert one.states == [FrontendState(("localhost", 5999), "/", patient=False)]
        one.end()

    def test_it_ends_with_duck_however_that_ends(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path; sys.path[:0] = [os.environ['ROOT']];"
            "from tests.services.test_frontend import Run; run = Run(Path(sys.argv[1]), '--child', '--stubborn');"
            "run.service.start(); run.until_serving();"
            "print(*[one.pid for one in run.processes()], flush=True); run.inbox.run()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env=os.environ | {"ROOT": str(SERVER.parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        others = [psutil.Process(pid) for pid in pids]
        process.kill()
        process.wait(DEADLINE_S)
        process.stdout.close()
        assert not still_alive(others, DEADLINE_S)
