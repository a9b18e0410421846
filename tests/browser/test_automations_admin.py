"""The admin pages of automations in Chromium, before `duck serve` that dispatches them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.automations_site import PASSWORD, make_site, serve
from tests.browser.conftest import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIST = "/admin/duck_automations/automation/"
DEADLINE_MS = 60_000

Sees = Callable[..., Page]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    duck = serve(make_site(tmp_path_factory.mktemp("admin")))
    yield f"http://127.0.0.1:{duck.port}"
    duck.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    environ: dict[str, Any] = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], env=environ
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def sessions() -> dict[str, Any]:
    """Those who have logged in, with what their browsers keep."""
    return {}


@pytest.fixture
def sees(browser: Browser, base: str, sessions: dict[str, Any]) -> Iterator[Sees]:
    """A person's tab at one of the pages; what its scripts complain of fails the test."""
    contexts = []
    complaints: list[str] = []

    def open_page(path: str, person: str = "ada", scheme: Any = "light") -> Page:
        context = browser.new_context(base_url=base, color_scheme=scheme, storage_state=sessions.get(person))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
        if person in sessions:
            page.goto(path)
            return page
        page.goto(f"/admin/login/?next={path}")
        page.fill("#id_username", person)
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        page.wait_for_url(lambda url: "/login/" not in url)
        sessions[person] = context.storage_state()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def comes(page: Page, selector: str, text: str | re.Pattern[str]) -> None:
    """Load the page again until it shows that."""
    for _ in range(100):
        if page.locator(selector).filter(has_text=text).count():
            return
        page.wait_for_timeout(300)
        page.reload()
    raise AssertionError(f"{text} is not there: {page.locator('#content').inner_text()}")


def test_the_list_has_what_comes_and_a_chart_that_can_be_read_aloud(sees: Sees) -> None:
    page = sees(LIST)
    comes(page, "#result_list tr", re.compile(r"sessions.*every 6h.*then.*planned", re.S))
    chart = page.get_by_role("img", name=re.compile(r"^Last 20 runs: 16 succeeded, 3 failed, 1 skipped"))
    expect(chart).to_have_count(1)
    assert chart.locator("rect").count() == 20
    assert chart.locator("circle").count() == 3, "what failed is told by a shape, too"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_colours_can_be_told_from_the_page_in_both_schemes(sees: Sees, scheme: str) -> None:
    page = sees(LIST, scheme=scheme)
    page.wait_for_selector(".duck-chart")
    ratios: dict[str, float] = page.evaluate(
        """() => {
          const light = (colour) => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
              const share = part / 255;
              return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const page = light(getComputedStyle(document.body).backgroundColor);
          const ratio = (colour) => {
            const pair = [light(colour), page].sort((a, b) => b - a);
            return (pair[0] + 0.05) / (pair[1] + 0.05);
          };
          const of = (selector, property) => ratio(getComputedStyle(document.querySelector(selector))[property]);
          return {
            page, good: of(".duck-chart .duck-good", "fill"), bad: of(".duck-chart .duck-bad", "fill"),
            none: of(".duck-chart .duck-none", "stroke"),
          };
        }"""
    )
    assert (ratios.pop("page") < 0.2) == (scheme == "dark")
    assert all(ratio >= 3 for ratio in ratios.values()), ratios


def test_run_now_runs_it_and_its_output_is_there(sees: Sees) -> None:
    page = sees(LIST)
    comes(page, "#result_list tr", "every 6h")
    page.click("#result_list >> text=sessions")
    page.click("text=Run now")
    expect(page.locator(".messagelist .success")).to_contain_text("of sessions is queued.")
    row = page.locator(".duck-table tr", has_text="hand").first
    comes(page, ".duck-table tr", re.compile(r"succeeded.*hand", re.S))
    row.locator("a").click()
    expect(page.locator(".duck-output")).to_have_text("removed 17 sessions\n")
    expect(page.locator(".duck-facts")).to_contain_text("hand, by ada")


def test_a_run_is_cancelled_while_it_goes_on(sees: Sees) -> None:
    page = sees(f"{LIST}backup/change/")
    comes(page, ".duck-standing", "planned")
    page.click("text=Run now")
    comes(page, ".duck-table tr", re.compile(r"running.*hand", re.S))
    page.locator(".duck-table tr", has_text="running").locator("a").click()
    page.click("text=Cancel this run")
    expect(page.locator(".messagelist .success")).to_contain_text("of backup is to end.")
    comes(page, ".duck-facts .duck-badge", "cancelled")


def test_a_pause_is_seen_and_ended(sees: Sees) -> None:
    page = sees(f"{LIST}newsletter/change/")
    comes(page, ".duck-standing", "planned")
    page.select_option("#duck-for", "8h")
    page.click("input[value=Pause]")
    expect(page.locator(".duck-standing")).to_contain_text("paused until")
    expect(page.locator(".duck-page")).to_contain_text("Nothing is planned while it is paused.")
    page.click("input[value=Resume]")
    expect(page.locator(".duck-standing")).to_have_text("planned")


def test_who_may_only_look_is_offered_nothing(sees: Sees) -> None:
    page = sees(f"{LIST}import/change/", "eve")
    expect(page.locator(".duck-page")).to_contain_text("Fetches orders from the warehouse")
    assert page.locator(".duck-page form").count() == 0
