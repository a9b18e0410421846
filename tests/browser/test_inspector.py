"""The pages of recorded requests in Chromium: live, without scripts, in both colours, and whatever strangers send."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.cli.machine import Machine

# Where pictures of the pages go: for the documentation `docs/images`, said by hand.
PICTURES = os.environ.get("DUCK_TEST_PICTURES")

_SETTINGS = """
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
"""
_TEMPLATE = """<!doctype html><title>Shop</title><h1>Ducks</h1>
<form method=post action=/login>{% csrf_token %}<input name=user><button>Log in</button></form>
<ul>{% for permission in permissions %}<li>{{ permission.name }} ({{ permission.content_type.model }})</li>{% endfor %}
</ul>"""
_URLS = """
import time

from django.contrib.auth.models import Permission
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def shop(request):
    return render(request, "shop.html", {"permissions": Permission.objects.all()[:12]})


@csrf_exempt
def orders(request):
    found = Permission.objects.count()
    time.sleep(0.012)
    return JsonResponse({"order": 17, "items": [{"name": "Rubber duck", "price": 12.5, "gift": True}], "left": found})


@csrf_exempt
def echo(request):
    return HttpResponse(request.body, content_type=request.headers.get("Content-Type"))


urlpatterns = [
    path("shop/", shop),
    path("api/orders", orders),
    path("echo", echo),
    path("basket", lambda request: HttpResponse(status=302, headers={"Location": "/shop/"})),
    path("report", lambda request: 1 / 0),
]
"""

EVIL = "\"><script>window.evil=1</script><img src=x onerror=window.evil=1>'</pre></script><svg onload=window.evil=1>"


class Shop:
    """A Duck before a Django project with a database, and who asks it."""

    def __init__(self, machine: Machine, project: Path) -> None:
        self._machine = machine
        self._project = project
        machine.start(project, "--access-log", "off")
        machine.until_known(project)
        self.url = machine.duck(project, "requests", "--url").stdout.strip()
        self.address = self.url.partition("/.duck/")[0]
        self.client = httpx.Client(base_url=self.address, timeout=20, trust_env=False)
        self.client.get("/shop/")  # what comes first takes longest

    def buy(self) -> None:
        """Requests as a browser and an app send them."""
        self.client.get("/shop/", headers={"Accept": "text/html", "Cookie": "sessionid=abc; theme=dark"})
        self.client.post("/login", data={"user": "ann", "password": "geheim"})
        self.client.get("/basket?item=7")
        self.client.get("/report")
        self.client.post(
            "/api/orders?page=2&token=geheim",
            json={"item": 7, "amount": 3, "password": "geheim"},
            headers={"Authorization": "Bearer geheim", "Cookie": "sessionid=geheim; theme=dark"},
        )


def make_project(where: Path) -> Path:
    where.mkdir()
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", str(where)], check=True)
    (where / "shop" / "urls.py").write_text(_URLS)
    with (where / "shop" / "settings.py").open("a") as settings:
        settings.write(_SETTINGS)
    (where / "templates").mkdir()
    (where / "templates" / "shop.html").write_text(_TEMPLATE)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=where, check=True)
    return where


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="duck-") as base:
        os.chmod(base, 0o700)
        machine = Machine(Path(base))
        try:
            made = Shop(machine, make_project(Path(base) / "pond"))
            yield made
            made.client.close()
        finally:
            machine.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    home = str(tmp_path_factory.mktemp("home"))
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | {"HOME": home}
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], env=environ)
        yield made
        made.close()


@pytest.fixture
def open_tab(chromium: Browser, shop: Shop) -> Iterator[Callable[..., Page]]:
    """A function that opens the list in a new session; what is complained of, or asked elsewhere, fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def make(**options: Any) -> Page:
        context = chromium.new_context(viewport={"width": 1200, "height": 460}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        tab.on(
            "request", lambda request: None if request.url.startswith(shop.address) else complaints.append(request.url)
        )
        tab.goto(shop.url)
        return tab

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def picture(tab: Page, name: str, where: Path) -> None:
    path = Path(PICTURES or where) / f"{name}.png"
    tab.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 20_000  # an empty page is 5,000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_follow_the_colours_of_who_reads(
    shop: Shop, open_tab: Callable[..., Page], scheme: str, tmp_path: Path
) -> None:
    shop.buy()
    tab = open_tab(color_scheme=scheme)
    expect(tab.locator("#rows tr", has_text="/shop/").first).to_be_visible()
    shade = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shade == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)")
    picture(tab, f"requests-{scheme}", tmp_path)
    tab.locator("#rows a", has_text="/api/orders?page=2").first.click()
    expect(tab.locator("#timing")).to_be_visible()
    picture(tab, f"request-{scheme}", tmp_path)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_list_is_live_and_leads_to_each_request(shop: Shop, open_tab: Callable[..., Page]) -> None:
    tab = open_tab()
    assert tab.url == f"{shop.address}/.duck/requests"  # without the token
    shop.client.post("/api/orders?live=1", json={"item": 7})
    row = tab.locator("#rows tr", has_text="/api/orders?live=1")
    expect(row).to_have_count(1)  # nobody has loaded the page again
    expect(row).to_contain_text("200")
    expect(row).to_contain_text("1 in")  # query
    shop.client.get("/report?live=2")
    expect(tab.locator("#rows tr").first).to_contain_text("500")
    row.get_by_role("link").click()
    expect(tab.locator("h1")).to_have_text("POST /api/orders?live=1")
    expect(tab.locator("#request")).to_contain_text('"item": 7')
    expect(tab.locator("#answer")).to_contain_text('"name": "Rubber duck"')
    expect(tab.locator("#timing")).to_contain_text("Database")
    expect(tab.locator("#timing")).not_to_contain_text("not measured")
    # The parts fill the bar.
    widths = tab.locator(".bar rect").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    whole = tab.locator(".bar").evaluate("one => one.getBoundingClientRect().width")
    assert sum(widths) == pytest.approx(whole, abs=1) and len(widths) >= 3


def test_a_request_is_copied_and_sent_again(shop: Shop, open_tab: Callable[..., Page]) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    shop.client.post("/echo?again", content=b"a body", headers={"Content-Type": "text/plain", "Cookie": "a=geheim"})
    tab.locator("#rows tr", has_text="/echo?again").get_by_role("link").first.click()
    number = tab.url.rpartition("/")[2]
    tab.get_by_role("button", name="Copy as curl").click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl '{shop.address}/echo?again'") or copied.startswith(f"curl {shop.address}")
    assert "--data-raw 'a body'" in copied and "geheim" not in copied
    tab.get_by_role("button", name="Send again").click()
    expect(tab.locator(".back")).to_contain_text(f"sent again, of {number}")
    expect(tab.locator("#answer")).to_contain_text("a body")
    tab.get_by_role("link", name=f"sent again, of {number}").click()
    expect(tab.locator("h1")).to_contain_text("/echo?again")


def test_all_can_be_read_and_sent_again_without_scripts(shop: Shop, open_tab: Callable[..., Page]) -> None:
    shop.client.get("/basket?without")
    shop.client.get("/shop/?without")
    tab = open_tab(java_script_enabled=False)
    tab.get_by_label("path", exact=True).fill("without")
    tab.get_by_label("status").select_option("3xx")
    tab.get_by_role("button", name="Filter").click()
    expect(tab.locator("#rows tr")).to_have_count(1)
    expect(tab.get_by_label("path", exact=True)).to_have_value("without")
    tab.locator("#rows a").click()
    expect(tab.locator("#as-curl")).to_contain_text("/basket?without")
    expect(tab.get_by_role("button", name="Copy as curl")).to_be_hidden()  # nothing would come of it
    tab.get_by_role("button", name="Send again").click()
    expect(tab.locator(".back")).to_contain_text("sent again")


def test_what_strangers_send_is_shown_and_does_nothing(shop: Shop, open_tab: Callable[..., Page]) -> None:
    tab = open_tab()
    for kind in ("text/html", "text/plain", "application/json", "application/x-www-form-urlencoded"):
        shop.client.post(
            "/echo", params={"q": EVIL}, content=EVIL.encode(), headers={"Content-Type": kind, "X-Evil": EVIL}
        )
    shop.client.post("/echo", data={EVIL: EVIL}, params={"last": "1"})
    shop.client.post("/echo", files={EVIL: (EVIL, EVIL.encode())})
    shop.client.post("/echo", json={EVIL: [EVIL]})
    rows = tab.locator("#rows tr", has_text="/echo")
    expect(rows.first).to_be_visible()
    links = tab.locator("#rows a").evaluate_all("all => all.slice(0, 8).map(one => one.href)")
    for link in links:
        tab.goto(link)
        expect(tab.locator("#request")).to_be_visible()
        assert tab.evaluate("typeof window.evil") == "undefined"
        assert tab.locator("img, svg[onload], iframe").count() == 0
        assert tab.locator("script").count() == 1


def test_no_page_of_another_site_reads_or_sends_anything(shop: Shop, chromium: Browser) -> None:
    context = chromium.new_context()
    try:
        tab = context.new_page()
        tab.goto(shop.url)  # the cookie is here
        shop.client.get("/shop/?mine")
        mine = tab.locator("#rows tr", has_text="/shop/?mine").locator("td.number").first
        expect(mine).to_be_visible()
        number = int(mine.inner_text())
        stranger = shop.address.replace("localhost", "127.0.0.1")
        tab.goto(f"{stranger}/echo")
        failed = "fetch(%r, {method: %r, credentials: 'include', mode: 'no-cors'}).then(one => one.type)"
        assert tab.evaluate(failed % (f"{shop.address}/.duck/requests", "GET")) == "opaque"
        tab.evaluate(failed % (f"{shop.address}/.duck/requests/{number}/replay", "POST"))
        shop.client.get("/shop/?before")
        tab.goto(shop.url)
        expect(tab.locator("#rows tr", has_text="/shop/?before")).to_have_count(1)
        sent = tab.locator("#rows tr", has=tab.locator(".tag")).locator("td.number").first
        assert sent.count() == 0 or int(sent.inner_text()) < number
        # Nor in a frame of its own.
        frame = f"const one = document.createElement('iframe'); one.src = '{shop.address}/.duck/requests';"
        tab.goto(f"{stranger}/echo")
        with tab.expect_response("**/.duck/requests") as answered:
            tab.evaluate(frame + " document.body.append(one)")
        assert answered.value.status == 404
    finally:
        context.close()
