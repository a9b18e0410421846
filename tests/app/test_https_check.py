"""What `duck check` says of HTTPS before a start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from duck import settings as installed
from duck.app.app import App
from duck.app.https_check import https
from duck.exceptions import SSLError
from duck.settings.load import load
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def said(tmp_path: Path, now: datetime | None = None, **given: Any) -> list[tuple[str, str]]:
    findings = https(load(given, {}, tmp_path), None, now)
    return [(finding.level, finding.sentence) for finding in findings]


def test_without_https_nothing_is_said(tmp_path: Path) -> None:
    assert said(tmp_path) == []


def test_a_redirect_without_https_is_an_error(tmp_path: Path) -> None:
    ((level, sentence),) = said(tmp_path, FORCE_HTTPS=True)
    assert level == "error" and "needs ENABLE_HTTPS" in sentence


def test_a_certificate_is_told_with_names_and_end(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.issue("example.org", "*.example.org", days=60)
    given = {"ENABLE_HTTPS": True, "SSL_CERTFILE_LOCATION": (chain,), "SSL_PRIVATE_KEY_LOCATION": (key,)}
    ((level, sentence),) = said(tmp_path, **given, DOMAINS=("example.org", "www.example.org"))
    assert level == "ok"
    assert sentence.startswith(f"{chain} is for example.org, *.example.org, valid until 20")
    ((level, sentence),) = said(tmp_path, datetime.now(UTC) + timedelta(days=50), **given)
    assert level == "warning" and sentence.endswith("only; renew it.")


def test_a_name_that_no_certificate_is_for_is_told(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.issue("example.org", days=60)
    given = {"ENABLE_HTTPS": True, "SSL_CERTFILE_LOCATION": (chain,), "SSL_PRIVATE_KEY_LOCATION": (key,)}
    for names in ({"DOMAINS": ("example.org", "shop.example.org")}, {"DOMAIN": "shop.example.org"}):
        (_, (level, sentence)) = said(tmp_path, **given, **names)
        assert level == "warning" and "No certificate is for shop.example.org" in sentence


def test_what_cannot_be_used_is_an_error_with_its_sentence(tmp_path: Path, authority: Authority) -> None:
    chain, key = authority.issue("example.org")
    given = {"ENABLE_HTTPS": True, "SSL_CERTFILE_LOCATION": (chain, "none.crt")}
    assert [level for level, _ in said(tmp_path, **given)] == ["error", "error"]
    (level, sentence), *_ = said(tmp_path, **given, SSL_PRIVATE_KEY_LOCATION=(key,))
    assert level == "error" and "2 certificates and 1 private keys" in sentence


class TestAppsOwnCheck:
    """`App.check_ssl_credentials`: one sentence for each thing that is wrong."""

    @pytest.fixture
    def check(self, tmp_path: Path) -> Iterator[Callable[..., str]]:
        def sentence(chain: str, key: str, **more: Any) -> str:
            given = {"SSL_CERTFILE_LOCATION": (chain,), "SSL_PRIVATE_KEY_LOCATION": (key,), **more}
            installed.install(load(given, {}, tmp_path))
            try:
                App.check_ssl_credentials()
            except SSLError as error:
                return str(error)
            return ""

        yield sentence
        installed.install(None)

    def test_each_fault_has_its_own(self, check: Callable[..., str], authority: Authority, tmp_path: Path) -> None:
        chain, key = authority.issue("example.org")
        old, old_key = authority.issue("old.example", days=-1)
        assert check(chain, key) == ""
        said = [
            check("none", key),
            check(chain, "none"),
            check(chain, old_key),
            check(old, old_key),
            check(chain, chain),
        ]
        os.chmod(key, 0o644)
        said.append(check(chain, key))
        said.append(check(str(tmp_path), old_key))
        beginnings = [
            "There is no certificate at",
            "There is no private key at",
            "The private key",
            "The certificate",
        ]
        assert all(one.startswith(begin) for one, begin in zip(said[:4], beginnings, strict=False))
        assert len(set(said)) == len(said)
        assert all(one.endswith(".") and "\n" not in one for one in said)
        assert check(chain, key, SSL_ALLOW_READABLE_KEYS=True) == ""


class TestObtained:
    """Where the settings name no files."""

    STATE = {"STATE_DIR": "state", "MODE": "serve", "LISTEN": ("https://127.0.0.1:0",)}

    def test_a_developers_is_of_the_machines_own_authority(self, tmp_path: Path) -> None:
        ((level, sentence),) = said(tmp_path, ENABLE_HTTPS=True)
        assert level == "ok" and "`duck cert trust`" in sentence

    def test_in_production_names_are_wanted(self, tmp_path: Path) -> None:
        ((level, sentence),) = said(tmp_path, **self.STATE)
        assert level == "error" and "or give --domain (DOMAINS)" in sentence

    def test_terms_have_to_be_accepted(self, tmp_path: Path) -> None:
        given = {**self.STATE, "STATE_DIR": str(tmp_path.parent / "s"), "DOMAINS": ("example.org",)}
        (tmp_path / "project").mkdir()
        ((level, sentence),) = said(tmp_path / "project", **given)
        assert level == "error" and "accept them by --agree-tos" in sentence
        ((level, sentence),) = said(tmp_path / "project", **given, AGREE_TOS=True)
        assert level == "ok" and "is asked for example.org; `duck cert doctor`" in sentence

    def test_private_names_are_the_machines_own_or_nobodys(self, tmp_path: Path) -> None:
        given = {**self.STATE, "STATE_DIR": str(tmp_path.parent / "s")}
        (tmp_path / "project").mkdir()
        ((level, sentence),) = said(tmp_path / "project", **given, DOMAINS=("shop.test", "10.0.0.7"))
        assert level == "ok" and sentence.startswith("shop.test, 10.0.0.7 gets a certificate of this machine's own")
        ((level, sentence),) = said(tmp_path / "project", **given, DOMAINS=("shop.internal",))
        assert level == "error" and "No public certificate authority is asked for shop.internal" in sentence

    def test_a_state_directory_that_cannot_be_used_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "manage.py").touch()
        given = {**self.STATE, "STATE_DIR": str(tmp_path / "state"), "DOMAINS": ("example.org",), "AGREE_TOS": True}
        ((level, sentence),) = said(tmp_path, **given)
        assert level == "error" and "lies in the project" in sentence
