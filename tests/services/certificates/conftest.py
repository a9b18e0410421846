"""A real certificate authority, with a DNS of its own in which all names are of this machine."""

from __future__ import annotations

import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.settings.views import CertificatesView
from tests.services.certificates.pebble import Pebble, running_pebble
from tests.services.certificates.small_authority import SmallAuthority, small_authority


@pytest.fixture(scope="session")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with running_pebble(tmp_path_factory.mktemp("pebble")) as made:
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library asks an authority once a second how far it is; those of the tests are done at once."""
    monkeypatch.setattr("acme.client.time", types.SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.05))))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def authority() -> Iterator[SmallAuthority]:
    with small_authority() as made:
        yield made


@pytest.fixture
def view(authority: SmallAuthority) -> CertificatesView:
    """The settings that name it."""
    return CertificatesView(
        domains=("example.test",),
        email=None,
        agree_tos=True,
        directory=authority.directory,
        ca_file=None,
        staging=None,
        profile=None,
        hook=None,
        dns_wait_s=0.0,
    )
