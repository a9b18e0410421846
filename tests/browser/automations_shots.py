"""Pictures of the admin pages for the documentation: `python -m tests.browser.automations_shots` writes them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.browser.automations_site import PASSWORD, make_site, serve
from tests.browser.conftest import CHROMIUM
from tests.browser.shots import IMAGES, SCHEMES

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory(prefix="duck-shots-") as directory:
        duck = serve(make_site(Path(directory)))
        try:
            with sync_playwright() as playwright:
                environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=environ)
                for scheme in SCHEMES:
                    take(browser, f"http://127.0.0.1:{duck.port}", scheme)
                browser.close()
        finally:
            duck.stop()


def take(browser: Browser, base: str, scheme: str) -> None:
    """The three pages."""
    dark = scheme == "dark"
    context = browser.new_context(
        base_url=base, color_scheme="dark" if dark else "light", viewport={"width": 1200, "height": 760}
    )
    page = context.new_page()
    page.goto("/admin/login/?next=/admin/duck_automations/automation/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    while page.locator(".duck-badge.duck-good").count() < 5:  # the node has told of all
        page.wait_for_timeout(500)
        page.reload()
    page.screenshot(path=str(IMAGES / f"admin-automations-{scheme}.png"))
    page.goto("/admin/duck_automations/automation/invoices/change/")
    page.screenshot(path=str(IMAGES / f"admin-automation-{scheme}.png"))
    page.goto("/admin/duck_automations/run/?state=failed")
    page.click("#result_list tbody th a")
    page.wait_for_selector(".duck-output")
    page.screenshot(path=str(IMAGES / f"admin-run-{scheme}.png"))
    context.close()


if __name__ == "__main__":
    main()
