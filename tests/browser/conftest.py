"""Chromium, driven by Playwright, before `duck serve` over HTTPS; the test's authority is in its store.

Nothing here outlives its module: while Playwright runs, its loop counts as running in this thread, and no later test
could run one of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.site import make_site
from tests.certificates import Authority, Pair
from tests.load.served import Served

CHROMIUM = shutil.which("chromium")
CERTUTIL = shutil.which("certutil")
# As the browser calls it, and with which options it speaks that.
PROTOCOLS = {"h2": [], "http/1.1": ["--disable-http2"]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name what the machine has no browser for; a browser takes its time to start."""
    missing = [name for name, found in (("chromium", CHROMIUM), ("certutil", CERTUTIL)) if found is None]
    # Of all tests: to take the path of each apart takes a second of a processor.
    for item in items:
        if item.nodeid.startswith("tests/browser/"):
            item.add_marker(pytest.mark.timeout(180))
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} not installed"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the server's certificates."""
    return Authority(tmp_path_factory.mktemp("authority"), "Duck's browser tests")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """What the server serves with; a test may put another certificate into the same files."""
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Served]:
    """`duck serve` with two front workers, over HTTPS."""
    site = make_site(tmp_path_factory.mktemp("browser") / "site")
    duck = Served(site, django_workers=1, arguments=("--https", "--certfile", pair[0], "--keyfile", pair[1]))
    duck.start()
    yield duck
    duck.stop()


@pytest.fixture(scope="module", params=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> str:
    """What is spoken, as the browser calls it."""
    return str(request.param)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, authority: Authority, protocol: str) -> Iterator[Browser]:
    """Chromium with a home of its own, in whose store the authority is trusted."""
    home = tmp_path_factory.mktemp("home")
    trust(home, authority.file)
    assert CHROMIUM is not None
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | {"HOME": str(home)}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *PROTOCOLS[protocol]], env=environ
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, served: Served, protocol: str) -> Iterator[Page]:
    """A tab of a new session at the site's first page; what its scripts complain of fails the test."""
    context = browser.new_context(base_url=f"https://localhost:{served.port}")
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    tab.goto("/")
    assert tab.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == protocol
    yield tab
    context.close()
    assert [one for one in complaints if "/events" not in one] == []  # its end is the page's own


def trust(home: Path, authority: str) -> None:
    """Put an authority into the store that Chromium reads below `home`."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    assert CERTUTIL is not None
    for command in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "duck", "-i", authority]):
        subprocess.run([CERTUTIL, "-d", f"sql:{store}", *command], check=True, capture_output=True)
