"""What running code receives."""

from __future__ import annotations

from pathlib import Path

import pytest

from duck.exceptions import SettingsError
from duck.settings import SETTINGS, current, install, views
from duck.settings.listen import ListenAddress, parse_addrport, parse_listen
from duck.settings.load import load


def test_zero_deadlines_become_none(tmp_path: Path) -> None:
    proxy = views.proxy(load({"PROXY_READ_TIMEOUT": 0, "TUNNEL_IDLE_TIMEOUT": "1h"}, {}, tmp_path))
    assert (proxy.read_timeout_s, proxy.tunnel_idle_timeout_s) == (None, 3600.0)


def test_listening_urls_replace_address_and_port(tmp_path: Path) -> None:
    settings = load({"LISTEN": ("http://[::]:80", "unix:run/x.sock", "fd:3"), "PORT": 1}, {}, tmp_path)
    view = views.listening(settings)
    assert view.addresses == (
        ListenAddress("http", host="::", port=80),
        ListenAddress("unix", path=str(tmp_path / "run/x.sock")),
        ListenAddress("fd", fd=3),
    )
    assert [address.url for address in view.addresses] == ["http://[::]:80", f"unix:{tmp_path}/run/x.sock", "fd:3"]


def test_trusted_proxies_are_networks_and_the_word_unix(tmp_path: Path) -> None:
    view = views.listening(load({"TRUSTED_PROXIES": ["10.0.0.1", "unix"]}, {}, tmp_path))
    assert view.trusted_proxies == ("10.0.0.1/32", "unix")


def test_a_connection_may_carry_the_largest_body_that_any_route_allows(tmp_path: Path) -> None:
    settings = load({"MAX_BODY_BYTES": 10, "BODY_LIMITS": {"/up": 20}}, {}, tmp_path)
    assert views.limits(settings).max_body_bytes == 20
    assert views.bodies(settings).limits == (("/up", 20),)


def test_outside_a_duck_project_django_answers_all(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path)
    assert views.django(settings).use is True


def test_another_server_and_commands_are_taken_apart(tmp_path: Path) -> None:
    environ = {"DUCK_DJANGO_ADDR": "[::1]:9", "DUCK_DJANGO_COMMANDS_ON_STARTUP": '["migrate --noinput"]'}
    view = views.django(load({}, environ, tmp_path))
    assert view.address == ("::1", 9)
    assert view.commands == (("migrate", "--noinput"),)


def test_every_view_can_be_made_from_the_defaults(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path)
    assert views.files(settings) == views.FilesView(static=True, media=True)
    assert views.reload(settings).poll_s is None
    assert views.logs(settings).access == "dev"
    assert views.sides(settings.with_values(DOMAIN="example.org")).allowed_hosts[-1] == "example.org"
    hosts = views.sides(settings.with_values(DOMAINS=["a.example", "*.b.example"], DOMAIN="a.example")).allowed_hosts
    assert hosts[-2:] == ("a.example", ".b.example")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("8001", (None, 8001)),
        ("0.0.0.0:8000", ("0.0.0.0", 8000)),
        ("0:8000", ("0.0.0.0", 8000)),
        ("[::1]:8000", ("::1", 8000)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addrport_is_read_as_by_django(text: str, parts: tuple[str | None, int | None]) -> None:
    assert parse_addrport(text) == parts


@pytest.mark.parametrize("text", ["", "x", "70000", "a:b", "::1:80", "[::g]:80", "http://x:1", "a b:1", "a:70000"])
def test_what_is_no_addrport_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give PORT, ADDRESS:PORT or"):
        parse_addrport(text)


@pytest.mark.parametrize(
    "text", ["", "x", "unix:", "fd:x", "https:/a:1", "ftp://a:1", "http://", "http://a:b", "http://a/b"]
)
def test_what_is_no_listening_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give"):
        parse_listen(text)


def test_the_settings_of_the_running_app_are_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="make an App"):
        SETTINGS["PORT"]
    install(load({"PORT": 5}, {}, tmp_path))
    try:
        assert SETTINGS["PORT"] == 5
        assert len(SETTINGS) == len(list(SETTINGS))
        assert current() is not None
    finally:
        install(None)
