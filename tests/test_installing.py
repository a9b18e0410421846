"""Packages for tests: uv is told what pip is configured with, and pip does what uv does not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import environments, installing

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def write_wheel(directory: Path, version: str) -> None:
    """A distribution `tiny` with one module."""
    information = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(directory / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", f"version = {version!r}\n")
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python without packages; pip is configured with versions 1 and 2 of `tiny`, of which 1 is allowed."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "1.0")
    write_wheel(wheels, "2.0")
    (tmp_path / "constraints.txt").write_text("tiny<2\n")
    (tmp_path / "pip.conf").write_text(
        f"[global]\nfind-links = {wheels}\nindex-url = {tmp_path.as_uri()}/no-index\n"
        f"[install]\nconstraint = {tmp_path / 'constraints.txt'}\n"
    )
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(installing, "configured", installing.configured.__wrapped__)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "made"], check=True)
    return tmp_path / "made" / "bin" / "python"


def installed(python: Path) -> str:
    command = [str(python), "-c", "import tiny; print(tiny.version)"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", {}),
        ("global.index-url='https://a.test/simple'\n", {"UV_INDEX_URL": "https://a.test/simple"}),
        (
            "global.extra-index-url='file:///a file:///b'\nglobal.constraint='/c.txt'\n",
            {"UV_EXTRA_INDEX_URL": "file:///a file:///b", "UV_CONSTRAINT": "/c.txt"},
        ),
        ("global.find-links='\\n/a\\n/b'\n", {"UV_FIND_LINKS": "/a,/b"}),
        (
            ":env:.default-timeout='9'\n:env:.cert='/c.crt'\n:env:.trusted-host='a.test'\n",
            {"UV_HTTP_TIMEOUT": "9", "SSL_CERT_FILE": "/c.crt", "UV_INSECURE_HOST": "a.test"},
        ),
        (
            ":env:.index-url='https://env.test'\nglobal.index-url='https://g.test'\ninstall.index-url='https://i.test'\n",
            {"UV_INDEX_URL": "https://env.test"},
        ),
        ("global.index-url='https://g.test'\ninstall.index-url='https://i.test'\n", {"UV_INDEX_URL": "https://i.test"}),
        (":env:.disable-pip-version-check='1'\ndownload.dest='/x'\nglobal.proxy=''\n", {}),
        ("global.proxy='http://p.test'\n", None),
        (":env:.no-index='1'\n", None),
        ("install.pre='true'\n", None),
    ],
)
def test_uv_is_told_what_pip_is_configured_with(text: str, variables: dict[str, str] | None) -> None:
    assert installing.translate(text) == variables


def test_uv_installs_the_version_that_pip_would(python: Path) -> None:
    pytest.importorskip("uv")
    assert installing.install_by_uv(python, ["tiny"])
    assert installed(python) == "1.0"


def test_pip_installs_what_uv_does_not(python: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("DUCK_TEST_CACHE", str(tmp_path / "environments"))
    assert installed(Path(environments.made(VERSION, ("tiny",)))) == "1.0"


def test_what_neither_can_install_is_named(python: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUCK_TEST_CACHE", str(tmp_path / "environments"))
    with pytest.raises(environments.NotInstalled, match=r"tiny>=3 could not be installed .*tiny"):
        environments.made(VERSION, ("tiny>=3",))
    assert not [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]
