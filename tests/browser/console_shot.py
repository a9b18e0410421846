"""The picture of the console beside the welcome page: `python -m tests.browser.console_shot` writes docs/images/.

A new project is started twice, since the first start of an environment compiles what it imports. What the terminal got
is shown as it would show it; names of this machine and the run's token are replaced.
"""

from __future__ import annotations

import base64
import fcntl
import html
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from duck.cli.makeproject import make_project
from tests.app.conftest import ROOT
from tests.app.terminal import Console
from tests.browser.conftest import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURE = ROOT / "docs" / "images" / "runserver.png"
COLUMNS = 96
# As the terminals of most people show the colours that Duck uses, on a dark ground.
COLOURS = {"1": "font-weight:700", "2": "color:#8b949e", "31": "color:#ff7b72", "32": "color:#7ee2a8",
           "33": "color:#f5b83d", "34": "color:#79c0ff", "35": "color:#d2a8ff", "36": "color:#7cc7e8"}  # fmt: skip
SGR = re.compile(r"\x1b\[([\d;]*)m")
PAGE = """<!doctype html><meta charset=utf-8><style>
body {{ margin: 0; padding: 22px; display: flex; gap: 22px; background: #6b7f87; width: 1512px; height: 660px; }}
pre {{ margin: 0; box-sizing: border-box; width: 800px; height: 660px; overflow: hidden; padding: 17px 20px;
  border-radius: 10px; background: #0d1117; color: #f0f3f6; font: 13.4px/20.6px "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; }}
img {{ width: 690px; height: 660px; border-radius: 10px; object-fit: cover; object-position: top; }}
pre div {{ height: 618px; overflow: hidden; }} /* whole lines, thirty of them */
</style><pre><div>{console}</div></pre><img src="data:image/png;base64,{image}">"""
ACCOUNT = {"DJANGO_SUPERUSER_USERNAME": "you", "DJANGO_SUPERUSER_PASSWORD": "a-Duck-in-a-pond-9"}


def main() -> None:
    """Take it."""
    with tempfile.TemporaryDirectory(prefix="duck-shots-") as name:
        directory = Path(name)
        project = make_project("pond", directory)
        dropped = ("DUCK_", "DJANGO_", "RUNTIME_DIRECTORY", "STATE_DIRECTORY")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        environ = kept | {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": name, "XDG_STATE_HOME": f"{name}/state"}
        environ["TERM"] = "xterm-256color"
        Run(project, environ).close()
        command = [sys.executable, "manage.py", "createsuperuser", "--noinput", "--email", "you@example.org"]
        subprocess.run(command, cwd=project / "backend", env=environ | ACCOUNT, check=True, capture_output=True)
        with sync_playwright() as playwright:
            plain = {key: value for key, value in environ.items() if "proxy" not in key.lower()}
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=plain)
            run = Run(project, environ)
            try:
                image = visit(browser, run)
                text = run.text()
            finally:
                run.close()
            shoot(browser, text.replace(str(directory), "/home/you").replace(str(ROOT), "/home/you/duck"), image)
            browser.close()


class Run:
    """`duck runserver` at a terminal, until it is ready."""

    def __init__(self, project: Path, environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "duck", "runserver", "--port", "0"]
        self._console = Console(command, project, environ)
        fcntl.ioctl(self._console.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        self._text = self._console.wait_for("is ready after") + self._console.wait_for("\n")
        found = re.search(r"http://localhost:(\d+)/", self._text)
        assert found is not None, self._text
        self.port = found[1]

    def expect(self, text: str) -> None:
        self._text += self._console.wait_for(text) + self._console.wait_for("\n")

    def text(self) -> str:
        text = self._text.replace("\r\n", "\n")
        text = re.sub(r"token=[\w-]+", "token=aj6SFABuUWejIlO0QF-ehjA9FUTZ6aFp", text)
        return text.replace(f":{self.port}/", ":8000/").rstrip()

    def close(self) -> None:
        self._console.type("\x03")
        self._console.wait()


def visit(browser: Browser, run: Run) -> str:
    """Look at some pages; the picture of the first, in base 64."""
    page = browser.new_page(viewport={"width": 690, "height": 660})
    site = f"http://localhost:{run.port}"
    login(page, site)
    run.expect("POST /admin/login/")
    page.goto(f"{site}/duck/hello/")
    run.expect("GET /duck/hello/")
    page.goto(site)
    run.expect("GET / ")
    page.wait_for_load_state("networkidle")
    page.evaluate(f"document.body.innerHTML = document.body.innerHTML.replaceAll(':{run.port}/', ':8000/')")
    return base64_of(page)


def login(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/")
    page.fill("#id_username", ACCOUNT["DJANGO_SUPERUSER_USERNAME"])
    page.fill("#id_password", ACCOUNT["DJANGO_SUPERUSER_PASSWORD"])
    time.sleep(1)  # as people do: so that the files of the page have a line of their own
    page.click("input[type=submit]")
    page.wait_for_load_state("networkidle")


def base64_of(page: Page) -> str:
    return base64.b64encode(page.screenshot()).decode("ascii")


def shoot(browser: Browser, text: str, image: str) -> None:
    page = browser.new_page(viewport={"width": 1556, "height": 704})
    page.set_content(
        PAGE.format(console=f'<span style="color:#7ee2a8">$</span> duck runserver\n{coloured(text)}', image=image)
    )
    page.screenshot(path=str(PICTURE))


def coloured(text: str) -> str:
    """What a terminal would show, as HTML."""
    made, styles = "", []
    for index, part in enumerate(SGR.split(text)):
        if index % 2 == 0:
            escaped = html.escape(part)
            made += f'<span style="{";".join(styles)}">{escaped}</span>' if styles else escaped
            continue
        for code in part.split(";"):
            styles = [] if code in ("", "0") else [*styles, COLOURS.get(code, "")]
    return made


if __name__ == "__main__":
    main()
