"""Pictures of the overlay for the documentation: `python -m tests.browser.shots` writes docs/images/ducksight-*.png."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.app.conftest import ROOT
from tests.browser.conftest import CHROMIUM
from tests.browser.sight import Site, Tab
from tests.browser.sight_site import make_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = ROOT / "docs" / "images"
SCHEMES = ("light", "dark")


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory(prefix="duck-shots-") as directory:
        root = make_site(Path(directory) / "shop")
        site = Site(root).begin()
        try:
            with sync_playwright() as playwright:
                environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=environ)
                take(browser, site)
                browser.close()
        finally:
            site.close()
    shutil.rmtree(root, ignore_errors=True)


def take(browser: Browser, site: Site) -> None:
    """Each fault once, in both schemes."""
    tabs = [(scheme, tab_of(browser, site, scheme)) for scheme in SCHEMES]

    def shoot(name: str) -> None:
        for scheme, tab in tabs:
            tab.overlay.wait_for()
            tab.page.evaluate("document.body.style.visibility = 'hidden'")  # Django's page tells of the machine
            tab.page.wait_for_timeout(500)  # it has come to rest
            tab.page.screenshot(path=str(IMAGES / f"ducksight-{name}-{scheme}.png"))

    def shoot_edited(name: str, path: str, *edit: str) -> None:
        for _, tab in tabs:
            tab.visit(path)
        with site.edited(*edit):
            shoot(name)
        for _, tab in tabs:
            tab.wait_mended()
            tab.page.wait_for_load_state()

    for _, tab in tabs:
        tab.visit("/items")
    shoot("migrations")
    # As a person does; from then on nothing is missing that would stay in the corner.
    tabs[0][1].overlay.get_by_role("button", name="Apply migrations").click()
    for _, tab in tabs:
        tab.wait_text("#title", "0 items")
        tab.wait_mended()
    shoot_edited("import", "/view", "shop/views.py", "import Item", "import Item, Order")
    shoot_edited("template", "/", "templates/home.html", "{{ greeting }}", "{% greet %}")
    field = "name = models.TextField()"
    shoot_edited("models", "/listing", "shop/models.py", field, f"{field}\n    price = models.IntegerField()")


def tab_of(browser: Browser, site: Site, scheme: str) -> Tab:
    """A tab of a person who likes it so."""
    dark = scheme == "dark"
    context = browser.new_context(color_scheme="dark" if dark else "light", viewport={"width": 1000, "height": 640})
    tab = Tab(context.new_page(), site)
    tab.page.set_default_timeout(120_000)  # whatever else the machine does
    return tab


if __name__ == "__main__":
    main()
