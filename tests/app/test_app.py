"""App by its documented surface; where it runs, it really serves, in this process."""

from __future__ import annotations

import inspect
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import duck.app
from duck.app.app import App
from duck.app.microapp import MicroApp
from duck.exceptions import ApplicationError, SettingsError, SSLError
from duck.http.core.httpd.httpd import BaseMicroServer, BaseServer
from duck.http.core.httpd.servers import HTTPServer, MicroHTTPServer
from duck.meta import Meta
from duck.settings import current
from tests.waiting import wait_until

# The reference's parameters, in order, with their defaults.
REFERENCE: dict[Any, dict[str, Any]] = {
    App: {
        "addr": "localhost",
        "port": 8000,
        "domain": None,
        "uses_ipv6": False,
        "no_checks": False,
        "disable_signal_handler": False,
        "disable_ipc_handler": False,
        "skip_setup": False,
        "enable_force_https_logs": False,
        "start_bg_eventloop_if_wsgi": True,
        "process_name": "duck-server",
        "workers": None,
        "force_https_workers": None,
        "force_worker_processes": False,
        "force_https_force_worker_processes": False,
    },
    HTTPServer: {
        "addr": inspect.Parameter.empty,
        "application": inspect.Parameter.empty,
        "domain": None,
        "uses_ipv6": False,
        "enable_ssl": False,
        "ssl_params": None,
        "no_logs": False,
        "workers": None,
        "force_worker_processes": False,
    },
    MicroHTTPServer: {
        "addr": inspect.Parameter.empty,
        "microapp": inspect.Parameter.empty,
        "domain": None,
        "uses_ipv6": False,
        "enable_ssl": False,
        "ssl_params": None,
        "no_logs": True,
        "workers": None,
        "force_worker_processes": False,
    },
    App.run: {"self": inspect.Parameter.empty, "print_ansi_art": True},
    App._run: {"self": inspect.Parameter.empty, "print_ansi_art": True},
    App.stop: {
        "self": inspect.Parameter.empty,
        "log_to_console": True,
        "no_exit": False,
        "call_on_pre_stop_handler": True,
        "kill_ducksight_reloader": True,
        "wait_for_thread_pool_executor_shutdown": True,
        "close_log_file": True,
    },
    App.stop_servers: {
        "self": inspect.Parameter.empty,
        "stop_force_https_server": True,
        "log_to_console": True,
        "wait": True,
    },
    App.start_force_https_server: {"self": inspect.Parameter.empty, "log_message": True},
    App.start_automations_dispatcher: {"self": inspect.Parameter.empty, "log_message": True},
    App.handle_signal: {name: inspect.Parameter.empty for name in ("self", "sig", "frame")},
    App.build_absolute_uri: {name: inspect.Parameter.empty for name in ("self", "path")},
    App.build_absolute_ws_uri: {name: inspect.Parameter.empty for name in ("self", "path")},
    App.start_background_workers: {
        "application": inspect.Parameter.empty,
        "start_request_handling_threadpool_manager": inspect.Parameter.empty,
        "start_request_handling_eventloop_manager": inspect.Parameter.empty,
        "start_component_threadpool_manager": True,
        "start_automations_eventloop_manager": False,
        "recreate_managers": False,
    },
}


@pytest.mark.parametrize("documented", REFERENCE, ids=lambda item: item.__qualname__)
def test_parameters_and_defaults_are_those_of_the_reference(documented: Callable[..., Any]) -> None:
    parameters = inspect.signature(documented).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == REFERENCE[documented]
    assert list(parameters) == list(REFERENCE[documented])


def test_the_reference_paths_lead_to_the_same_classes() -> None:
    assert duck.app.App is App
    assert duck.app.MicroApp is MicroApp
    assert issubclass(HTTPServer, BaseServer)
    assert issubclass(MicroHTTPServer, BaseMicroServer) and issubclass(MicroHTTPServer, HTTPServer)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_dir: Path) -> Iterator[None]:
    """In a directory without a project, with a run directory of its own; no App is left over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run_dir))
    for name in ("RUNTIME_DIRECTORY", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.delenv(name, raising=False)
    yield
    app = App.get_main_app()
    if app is not None:
        app._forget()


class TestConstructor:
    def test_a_second_app_is_refused(self) -> None:
        first = App()
        with pytest.raises(ApplicationError, match="only one"):
            App()
        assert App.instances() == App.__instances__ == 1
        assert App.get_main_app() is App.__mainapp__ is first

    @pytest.mark.parametrize(
        ("addr", "port", "uses_ipv6"),
        [
            ("", 8000, False),
            ("256.1.1.1", 8000, False),
            ("1.2.3", 8000, False),
            ("::g", 8000, False),
            ("a b", 8000, False),
            ("http://localhost", 8000, False),
            ("-x.org", 8000, False),
            ("127.0.0.1", 8000, True),
            ("localhost", -1, False),
            ("localhost", 65536, False),
            ("localhost", "8000", False),
        ],
    )
    def test_an_address_that_is_none_is_refused_and_leaves_no_app(self, addr: str, port: int, uses_ipv6: bool) -> None:
        with pytest.raises(ApplicationError, match="give"):
            App(addr, port, uses_ipv6=uses_ipv6)
        assert App.instances() == 0

    @pytest.mark.parametrize("addr", ["127.0.0.1", "::1", "[::1]", "0.0.0.0", "example.org", "my_host", "fe80::1%lo"])
    def test_addresses_and_names_are_taken(self, addr: str) -> None:
        App(addr)

    def test_absolute_urls_use_the_public_name(self) -> None:
        app = App("0.0.0.0", 9000, domain="example.org")
        assert app.absolute_uri == "http://example.org:9000"
        assert app.absolute_ws_uri == "ws://example.org:9000"
        assert app.build_absolute_uri("/a/b?c") == app.build_absolute_uri("a/b?c") == "http://example.org:9000/a/b?c"
        assert app.build_absolute_ws_uri("/ws") == "ws://example.org:9000/ws"
        assert app.DOMAIN == "example.org"

    def test_the_environment_goes_before_arguments_and_arguments_before_defaults(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DUCK_PORT", "9100")
        app = App("127.0.0.1", 9000)
        assert (app.addr, app.port) == ("127.0.0.1", 9100)

    def test_settings_give_the_documented_attributes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DUCK_DJANGO_ADDR", "127.0.0.1:9999")
        monkeypatch.setenv("DUCK_DJANGO_SERVER_WAIT_TIME", "7")
        app = App()
        assert app.DJANGO_ADDR == ("127.0.0.1", 9999)
        assert app.DJANGO_SERVER_WAIT_TIME == 7
        assert app.process_id == os.getpid()
        assert not app.running and not app.server_up and not app.django_server_up and not app.force_https_server_up


class TestConditions:
    def test_what_this_version_has_not_is_said(self) -> None:
        app = App()
        with pytest.raises(SettingsError, match="ENABLE_HTTPS"):
            app.start_force_https_server()
        with pytest.raises(SSLError, match="SSL_CERTFILE_LOCATION"):
            App.check_ssl_credentials()

    def test_automations_that_are_turned_off_are_not_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DUCK_RUN_AUTOMATIONS", "no")
        with pytest.raises(SettingsError, match="RUN_AUTOMATIONS is off, so that no automations are run; set it, or"):
            App().start_automations_dispatcher()

    def test_worker_processes_are_refused_by_the_checks(self) -> None:
        with pytest.raises(ApplicationError, match="force_worker_processes"):
            App(workers=2, force_worker_processes=True).run_checks()

    def test_background_workers_run_what_they_are_given(self) -> None:
        app = App()
        App.start_background_workers(app, True, True)

        async def answer() -> int:
            return 42

        assert app.background.loop.submit(answer()).result(5) == 42
        assert app.background.submit("sum", lambda: 1 + 1).result(5) == 2
        assert "sum" in app.get_threadpool_futures()
        app.background.stop()
        assert not app.background.loop.running


class Recording(App):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.events: list[str] = []
        self.started = threading.Event()

    def on_app_start(self) -> None:
        self.events.append("start")
        self.started.set()

    def on_pre_stop(self) -> None:
        self.events.append("pre-stop")


class TestRunning:
    @pytest.fixture
    def app(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
        monkeypatch.chdir(project)
        monkeypatch.setenv("DUCK_AUTO_RELOAD", "0")
        app = Recording("127.0.0.1", 0, disable_ipc_handler=True, disable_signal_handler=True)
        yield app
        if app.running:
            app.stop(no_exit=True)

    def test_the_reloader_can_be_started_by_hand_from_any_thread(self, app: Recording, project: Path) -> None:
        app.run()
        assert app.started.wait(20)
        assert app.lifecycle.watched_directories is None  # AUTO_RELOAD is off
        app.start_ducksight_reloader()
        app.start_ducksight_reloader()
        wait_until(lambda: (app.lifecycle.watched_directories or 0) >= 2)
        (project / "site1" / "version.py").write_text('VERSION = "two"\n')
        wait_until(lambda: httpx.get(app.build_absolute_uri("/"), trust_env=False, timeout=20).text == "two")

    def test_under_serve_no_reloader_is_started(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(project)
        monkeypatch.setenv("DUCK_MODE", "serve")
        app = App("127.0.0.1", 0)
        try:
            with pytest.raises(SettingsError, match="duck reload"):
                app.start_ducksight_reloader()
        finally:
            app._forget()

    def test_without_the_ipc_handler_it_serves_in_the_background_until_stop(self, app: Recording) -> None:
        app.run()
        assert app.started.wait(20)
        assert app.running and app.server_up and app.django_server_up
        assert httpx.get(app.build_absolute_uri("/"), trust_env=False, timeout=60).text == "one"
        assert Meta.get_metadata("DUCK_SERVER_URL") == app.absolute_uri
        assert app.meta["DUCK_SERVER_PORT"] == app.lifecycle.port
        futures = app.get_threadpool_futures()
        assert futures["duck-server"] is not None and not futures["duck-server"].done()
        app.stop(no_exit=True)
        assert app.events == ["start", "pre-stop"]
        assert futures["duck-server"].done()
        assert not app.running
        assert App.instances() == 0
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", app.lifecycle.port)) != 0

    def test_what_is_made_after_a_stop_finds_nothing_of_what_was(
        self, app: Recording, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        forget = app._forget

        def later() -> None:
            time.sleep(0.5)  # as where its thread has to wait for a processor
            forget()

        monkeypatch.setattr(app, "_forget", later)
        app.run()
        app.stop(no_exit=True)
        assert current() is None and App.instances() == 0

    def test_a_microapp_ends_with_its_parent(self, app: Recording) -> None:
        app.run()
        microapp = MicroApp("127.0.0.1", 0, parent_app=app)
        microapp.run()
        assert httpx.get(microapp.absolute_uri, trust_env=False, timeout=60).status_code == 404
        app.stop(no_exit=True)
        assert not microapp.server_up

    def test_several_workers_serve_one_project(self, app: Recording) -> None:
        app.workers = 3
        app.run()
        answers = {httpx.get(app.build_absolute_uri("/"), timeout=20, trust_env=False).text for _ in range(9)}
        assert answers == {"one"}
        assert app.lifecycle.front.status()["workers"] == 3
        app.stop(no_exit=True)

    def test_stop_without_no_exit_ends_the_program(self, app: Recording) -> None:
        app.run()
        with pytest.raises(SystemExit):
            app.stop(call_on_pre_stop_handler=False)
        assert app.events.count("pre-stop") == 0

    def test_the_servers_can_be_stopped_alone(self, app: Recording) -> None:
        app.run()
        assert app.started.wait(20)
        app.stop_servers()
        assert not app.running
        app.stop(no_exit=True)

    def test_a_signal_stops_an_app_that_blocks_with_128_and_its_number(self, app: Recording) -> None:
        app.disable_ipc_handler = app.disable_signal_handler = False
        threading.Thread(
            target=lambda: (app.started.wait(20), os.kill(os.getpid(), signal.SIGTERM)), daemon=True
        ).start()
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            app.run()
        assert caught.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is before

    def test_a_start_that_fails_leaves_nothing(self, app: Recording, run_dir: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            app.settings = app.lifecycle.settings = app.settings.with_values(PORT=holder.getsockname()[1])
            with pytest.raises(ApplicationError, match="in use"):
                app.run()
        assert App.instances() == 0
        assert list((run_dir / "duck").iterdir()) == []
