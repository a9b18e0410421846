"""A developer's side: a project with its Duck and its files, and a page in a browser that looks at it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Error, Page

from tests.app.conftest import ROOT, Duck
from tests.reports import report
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import WebSocket

DEADLINE_MS = 20_000


class Site:
    """A project, its Duck, and its files."""

    def __init__(self, root: Path, *arguments: str, **variables: str) -> None:
        self.root = root
        self._directory = tempfile.TemporaryDirectory(prefix="duck-", dir="/tmp")
        dropped = ("DUCK_", "DJANGO_", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "TERM_PROGRAM", "EDITOR", "VISUAL")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        self.environ = kept | {
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": self._directory.name,
            "XDG_STATE_HOME": str(Path(self._directory.name) / "state"),
            "DUCK_DUCKSIGHT_EDITOR": "vscode",
            **variables,
        }
        self.duck = Duck([sys.executable, "-m", "duck", "runserver", "--port", "0", *arguments], root, self.environ)

    @property
    def url(self) -> str:
        return self.duck.url.replace("127.0.0.1", "localhost")

    def begin(self) -> Site:
        """Wait until it serves and watches."""
        self.duck.wait_for("is ready after")
        self.wait_until_watched()
        return self

    def wait_until_watched(self) -> None:
        run_directory = Path(self.environ["XDG_RUNTIME_DIR"])
        wait_until(lambda: report(run_directory, self.root).get("reload", {}).get("directories", 0) >= 5)

    def write(self, name: str, text: str) -> None:
        """Save a file as editors do that leave no half of it to be seen."""
        path = self.root / name
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.replace(path)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new))

    @contextlib.contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """The change, until the end of the block."""
        before = (self.root / name).read_text()
        self.edit(name, old, new)
        try:
            yield
        finally:
            self.write(name, before)

    def close(self) -> None:
        self.duck.close()
        self._directory.cleanup()


def migrate(root: Path, *what: str) -> None:
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0", *what], cwd=root, check=True)


class Tab:
    """A page, and what it complained of."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        self.complaints: list[str] = []
        self.allowed: tuple[str, ...] = ()
        page.set_default_timeout(DEADLINE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def visit(self, path: str = "/", **more: Any) -> WebSocket:
        """Load a page, and wait until its client has heard where things stand."""
        with self.page.expect_websocket() as connected:
            self.page.goto(self.site.url + path, **more)
        socket = connected.value
        try:
            self.mark()
        except Error:
            # A page that was made before a change which it has missed loads again, once.
            self.page.wait_for_load_state("load")
            self.mark()
        return socket

    def mark(self) -> None:
        """What is there as long as the page is not loaded again."""
        self.page.evaluate("window.mark = 'kept'")

    @property
    def is_same(self) -> bool:
        return bool(self.page.evaluate("window.mark === 'kept'"))

    def until(self, true: str, arg: Any = None) -> None:
        """Until the function (or expression) gives something true; loads meanwhile are fine, and so is any policy."""

        def is_so() -> bool:
            try:
                return bool(self.page.evaluate(true, arg))
            except Error as error:
                if "context was destroyed" in str(error) or "navigat" in str(error):
                    return False
                raise

        end = time.monotonic() + DEADLINE_MS / 1000
        while not is_so():
            assert time.monotonic() < end, f"not so in time: {true} {arg}\n{self.page.content()}\n{self.site.duck.text}"
            self.page.wait_for_timeout(10)  # lets the page's events come

    def wait_colour(self, selector: str, colour: str) -> None:
        self.until(
            "([selector, colour]) => document.querySelector(selector)"
            " && getComputedStyle(document.querySelector(selector)).color === colour",
            [selector, colour],
        )

    def wait_text(self, selector: str, text: str) -> None:
        self.until(
            "([selector, text]) => document.querySelector(selector)?.textContent.trim() === text", [selector, text]
        )

    @contextlib.contextmanager
    def loaded_again(self) -> Iterator[None]:
        """By the end of the block the page is another one."""
        self.mark()
        yield
        self.until("window.mark === undefined && document.readyState === 'complete'")

    @property
    def overlay(self) -> Any:
        return self.page.locator("duck-sight dialog")

    def wait_mended(self) -> None:
        self.page.wait_for_selector("duck-sight", state="detached")
