"""HTTPS, as the settings say it: where it is spoken, with what, and what plain HTTP is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from duck.exceptions import SettingsError
from duck.settings import views
from duck.settings.listen import ListenAddress, parse_listen
from duck.settings.load import load

EVERYWHERE = (ListenAddress("https", host="*", port=443, tls=True),)


def https(tmp_path: Path, environ: dict[str, str] | None = None, **given: Any) -> views.HttpsView:
    return views.https(load(given, environ or {}, tmp_path))


def addresses(tmp_path: Path, environ: dict[str, str] | None = None, **given: Any) -> tuple[ListenAddress, ...]:
    return views.listening(load(given, environ or {}, tmp_path)).addresses


def test_a_listening_url_may_be_of_https() -> None:
    assert parse_listen("https://a:1") == ListenAddress("https", host="a", port=1, tls=True)
    assert parse_listen("https://[::1]").url == "https://[::1]:443"


def test_without_a_word_there_is_no_https(tmp_path: Path) -> None:
    view = https(tmp_path)
    assert not view.enabled and not view.redirect and not view.is_site
    assert view.hsts == "" and view.fields == () and view.secure_fields == ()


def test_enabled_it_is_spoken_at_address_and_port_and_on_what_is_handed_over(tmp_path: Path) -> None:
    assert addresses(tmp_path, ENABLE_HTTPS=True) == (ListenAddress("https", host="localhost", port=8000, tls=True),)
    said = addresses(tmp_path, ENABLE_HTTPS=True, LISTEN=("fd:3", "http://a:1"))
    assert said == (ListenAddress("fd", fd=3, tls=True), ListenAddress("http", host="a", port=1))


def test_a_listening_url_of_https_enables_it(tmp_path: Path) -> None:
    assert https(tmp_path, LISTEN=("http://a:1", "https://a:2")).enabled
    assert not https(tmp_path, LISTEN=("http://a:1",)).enabled


class TestSite:
    def test_serve_with_domains_alone_is_https_everywhere_and_a_redirect_from_port_80(self, tmp_path: Path) -> None:
        given = {"MODE": "serve", "DOMAINS": ("example.org", "www.example.org")}
        assert addresses(tmp_path, **given) == EVERYWHERE
        view = https(tmp_path, **given)
        assert view.enabled and view.is_site and view.redirect and view.redirect_port == 80

    @pytest.mark.parametrize(
        "more",
        [
            {"PORT": 8000},
            {"ADDRESS": "127.0.0.1"},
            {"LISTEN": ("http://127.0.0.1:1",)},
            {"ENABLE_HTTPS": False},
            {"MODE": "runserver"},
            {"DOMAINS": ()},
        ],
        ids=str,
    )
    def test_a_word_on_where_to_listen_counts(self, tmp_path: Path, more: dict[str, Any]) -> None:
        given = {"MODE": "serve", "DOMAINS": ("example.org",)} | more
        view = https(tmp_path, **given)
        assert not view.is_site and not view.enabled and not view.redirect
        assert addresses(tmp_path, **given) != EVERYWHERE

    def test_a_port_that_the_platform_names_counts_too(self, tmp_path: Path) -> None:
        assert not https(tmp_path, {"PORT": "8080"}, MODE="serve", DOMAINS=("example.org",)).is_site

    def test_the_redirect_may_be_off_or_elsewhere(self, tmp_path: Path) -> None:
        given = {"MODE": "serve", "DOMAINS": ("example.org",)}
        assert not https(tmp_path, **given, FORCE_HTTPS=False).redirect
        assert https(tmp_path, **given, FORCE_HTTPS_BIND_PORT=8080).redirect_port == 8080


def test_keys_belong_to_certificates_in_order_and_may_be_in_the_same_file(tmp_path: Path) -> None:
    two = {"SSL_CERTFILE_LOCATION": ("a.crt", "b.crt")}
    assert https(tmp_path, **two).pairs == tuple((f"{tmp_path}/{one}.crt",) * 2 for one in "ab")
    view = https(tmp_path, **two, SSL_PRIVATE_KEY_LOCATION=("a.key", "b.key"))
    assert view.pairs == tuple((f"{tmp_path}/{one}.crt", f"{tmp_path}/{one}.key") for one in "ab")
    with pytest.raises(SettingsError, match="2 certificates and 1 private keys"):
        https(tmp_path, **two, SSL_PRIVATE_KEY_LOCATION=("a.key",))


def test_one_certificate_is_named_as_the_reference_names_it(tmp_path: Path) -> None:
    environ = {"DUCK_SSL_CERTFILE_LOCATION": "etc/server.crt", "DUCK_SSL_PRIVATE_KEY_LOCATION": "etc/server.key"}
    assert https(tmp_path, environ).pairs == ((f"{tmp_path}/etc/server.crt", f"{tmp_path}/etc/server.key"),)


def test_clients_certificates_need_an_authority(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name the authorities with --ca-file"):
        https(tmp_path, SSL_CLIENT_CERTIFICATES="required")
    assert https(tmp_path, SSL_CLIENT_CERTIFICATES="required", SSL_CA_FILE="ca.pem").client_ca == f"{tmp_path}/ca.pem"


def test_both_names_of_the_redirect_are_accepted(tmp_path: Path) -> None:
    environ = {"DUCK_HTTPS_REDIRECT": "yes", "DUCK_HTTPS_REDIRECT_BIND_PORT": "81"}
    view = https(tmp_path, environ)
    assert view.redirect and view.redirect_port == 81


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, "max-age=31536000"),
        ({"HSTS_INCLUDE_SUBDOMAINS": True}, "max-age=31536000; includeSubDomains"),
        ({"HSTS_PRELOAD": True}, "max-age=31536000; preload"),
    ],
)
def test_hsts_says_no_more_than_was_said(tmp_path: Path, given: dict[str, Any], value: str) -> None:
    assert https(tmp_path, HSTS_MAX_AGE="365d", **given).hsts == value
    assert https(tmp_path, **given).hsts == ""


@pytest.mark.parametrize(
    "fields", [{"Content-Length": "1"}, {"A b": "x"}, {"X": "a\r\nB: c"}, {"Connection": "close"}, {"X": " a"}]
)
def test_fields_that_would_spoil_an_answer_are_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    for name in ("SECURITY_HEADERS", "SSL_SECURITY_HEADERS"):
        with pytest.raises(SettingsError, match=name):
            https(tmp_path, **{name: fields})


def test_only_statuses_of_redirects_can_be_set(tmp_path: Path) -> None:
    for wrong in (302, 303, 304):
        with pytest.raises(SettingsError, match="give 308"):
            https(tmp_path, FORCE_HTTPS_STATUS=wrong)


def test_health_and_figures_are_not_served_over_https(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="what is private needs no HTTPS"):
        load({"ADMIN_LISTEN": "https://127.0.0.1:1"}, {}, tmp_path)
