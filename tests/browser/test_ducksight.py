"""What a developer sees in Chromium while files change: `duck runserver` beside an editor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.browser.sight import Site, Tab, migrate
from tests.browser.sight_site import VIEWS, make_site

# Each frame is drawn by the processor: a quarter of Playwright's size takes a sixth off Chromium's work.
SMALL: ViewportSize = {"width": 640, "height": 400}
# Where a syntax error is put.
BROKEN_LINE = VIEWS.splitlines().index("def home(request):") + 1


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_site(tmp_path_factory.mktemp("sight") / "project")
    migrate(made)
    return made


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Site]:
    made = Site(root)
    try:
        yield made.begin()
    finally:
        made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    environ: dict[str, str | float | bool] = {
        name: value for name, value in os.environ.items() if "proxy" not in name.lower()
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], env=environ
        )
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Browser, site: Site) -> Iterator[Callable[..., Tab]]:
    contexts = []
    tabs: list[Tab] = []

    def make(of: Site = site, **more: Any) -> Tab:
        context = chromium.new_context(viewport=SMALL, **more)
        contexts.append(context)
        tabs.append(Tab(context.new_page(), of))
        return tabs[-1]

    yield make
    complaints = [one for tab in tabs for one in tab.complaints if not any(word in one for word in tab.allowed)]
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    return open_tab()


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_style_sheet_is_swapped_and_the_page_is_never_without_it(tab: Tab, site: Site) -> None:
    tab.visit()
    tab.page.evaluate("""() => {
        window.colours = new Set();
        const look = () => {
            window.colours.add(getComputedStyle(document.getElementById('title')).color);
            requestAnimationFrame(look);
        };
        look();
    }""")
    with site.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(200, 0, 0)"):
        tab.wait_colour("#title", "rgb(200, 0, 0)")
        assert tab.page.evaluate("document.querySelectorAll('link[rel=stylesheet]').length") == 1
    tab.wait_colour("#title", "rgb(1, 2, 3)")
    assert tab.is_same
    assert set(tab.page.evaluate("[...window.colours]")) == {"rgb(1, 2, 3)", "rgb(200, 0, 0)"}


def test_what_a_style_sheet_imports_is_swapped_as_well(tab: Tab, site: Site) -> None:
    tab.visit()
    tab.wait_colour("#note", "rgb(4, 5, 6)")
    with site.edited("assets/imported.css", "rgb(4, 5, 6)", "rgb(0, 0, 200)"):
        tab.wait_colour("#note", "rgb(0, 0, 200)")
    tab.wait_colour("#note", "rgb(4, 5, 6)")
    assert tab.is_same


def test_images_of_the_page_and_of_its_styles_are_fetched_again(tab: Tab, site: Site) -> None:
    tab.visit()
    tab.until("document.getElementById('dot').naturalWidth === 10")
    with site.edited("assets/dot.svg", 'width="10" height="10"', 'width="30" height="30"'):
        tab.until("document.getElementById('dot').naturalWidth === 30")
    tab.until("document.getElementById('dot').naturalWidth === 10")
    seen = "getComputedStyle(document.getElementById('back')).backgroundImage"
    before = tab.page.evaluate(seen)
    with site.edited("assets/back.svg", "<rect", "<circle/><rect"):
        tab.until(f"before => {seen} !== before", before)
        assert "/static/back.svg" in tab.page.evaluate(seen)
    assert tab.is_same


def test_a_script_that_the_page_runs_loads_it_again(tab: Tab, site: Site) -> None:
    tab.visit()
    with site.edited("assets/app.js", '"one"', '"two"'):
        tab.until("window.version === 'two'")
        assert not tab.is_same


# -- templates --------------------------------------------------------------------------------------------------------


def fill(tab: Tab) -> None:
    """Type and choose, and look at something far down."""
    tab.page.fill("#name", "Ada")
    tab.page.check("#agree")
    tab.page.select_option("#size", "large")
    tab.page.fill("#text", "some text")
    tab.page.focus("#text")
    tab.page.evaluate("scrollTo(0, 700)")
    tab.page.evaluate("document.getElementById('text').setSelectionRange(2, 5)")


FILLED = """() => [
    ...['name', 'text', 'size'].map(id => document.getElementById(id).value),
    document.getElementById('agree').checked, scrollY, document.activeElement.id,
]"""


def test_a_template_is_put_into_the_page_and_all_else_stays(tab: Tab, site: Site) -> None:
    tab.visit()
    tab.page.wait_for_selector("#widget")
    fill(tab)
    tab.page.evaluate("window.node = document.getElementById('widget')")
    with site.edited("templates/home.html", "One note", "Another note"):
        tab.wait_text("#note", "Another note")
        assert tab.is_same and tab.page.evaluate("window.runs") == 1
        assert tab.page.evaluate(FILLED) == ["Ada", "some text", "large", True, 700, "text"]
        assert tab.page.evaluate("getSelection().toString() || document.activeElement.selectionEnd") in ("me ", 5)
        assert tab.page.evaluate("document.getElementById('widget') === window.node")
        assert tab.page.inner_text("#filled") == "filled by a script"
        assert tab.page.get_attribute("body", "class") == "calm alive"
    tab.wait_text("#note", "One note")
    assert tab.is_same


def test_a_style_that_was_swapped_stays_when_a_template_changes(tab: Tab, site: Site) -> None:
    tab.visit()
    with site.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(0, 200, 0)"):
        tab.wait_colour("#title", "rgb(0, 200, 0)")
        with site.edited("templates/base.html", '"calm"', '"wild"'):
            tab.page.wait_for_selector("body.wild")
            tab.wait_colour("#title", "rgb(0, 200, 0)")
            assert tab.page.evaluate("document.querySelectorAll('link[rel=stylesheet]').length") == 1
    assert tab.is_same


def test_where_its_scripts_are_others_the_page_loads_and_what_was_typed_is_there_again(tab: Tab, site: Site) -> None:
    tab.visit()
    fill(tab)
    with site.edited("templates/base.html", "window.runs = ", "window.other = true; window.runs = "):
        tab.until("window.other === true && document.activeElement.id === 'text'")
        assert not tab.is_same
        assert tab.page.evaluate(FILLED) == ["Ada", "some text", "large", True, 700, "text"]


# -- code -------------------------------------------------------------------------------------------------------------


def test_a_view_is_broken_and_mended_while_one_looks(tab: Tab, site: Site) -> None:
    tab.visit("/view")
    with site.edited("shop/views.py", "Good morning", "Good evening"):
        tab.wait_text("#title", "Good evening")
        with site.edited("shop/views.py", "def home(request):", "def home(request:"):
            tab.overlay.wait_for()
            assert "Syntax error" in tab.overlay.inner_text()
            assert tab.overlay.locator("h1").inner_text().startswith("SyntaxError: ")
            place = tab.overlay.locator("a.place").first
            assert place.inner_text() == f"shop/views.py:{BROKEN_LINE}"
            assert place.get_attribute("href") == f"vscode://file{site.root}/shop/views.py:{BROKEN_LINE}"
            assert "def home(request:" in tab.overlay.locator(".failing").inner_text()
            assert tab.page.inner_text("#title") == "Good evening"  # what ran before keeps running
        tab.wait_mended()
        tab.wait_text("#title", "Good evening")
    tab.wait_text("#title", "Good morning")


def test_an_import_that_fails_is_shown_with_the_projects_frames_first(tab: Tab, site: Site) -> None:
    tab.visit("/view")
    with site.edited("shop/views.py", "import secrets", "import secrets\nimport nothing_of_the_kind"):
        tab.overlay.wait_for()
        assert "ModuleNotFoundError: No module named 'nothing_of_the_kind'" in tab.overlay.inner_text()
        places = [place.inner_text() for place in tab.overlay.locator(".frame.own .place").all()]
        assert places[:2] == ["shop/views.py:4", "website/urls.py:4"]
        assert tab.overlay.locator("details.libraries:not([open])").count() == 1
        # Whoever loads the page now sees it, too.
        tab.visit("/view")
        tab.overlay.wait_for()
    tab.wait_mended()
    tab.wait_text("#title", "Good morning")


def test_checks_that_fail_are_shown_as_django_says_them(tab: Tab, site: Site) -> None:
    tab.visit("/view")
    wrong = "name = models.TextField()\n\n    class Meta:\n        ordering = ['nothing']\n"
    with site.edited("shop/models.py", "name = models.TextField()", wrong):
        tab.overlay.wait_for()
        assert "System check" in tab.overlay.inner_text()
        assert "models.E015" in tab.overlay.inner_text()
        # What was written serves all the same; whoever loads the page now sees it, too, until it is mended.
        assert tab.page.inner_text("#title") == "Good morning"
        tab.visit("/view")
        tab.overlay.wait_for()
        assert "models.E015" in tab.overlay.inner_text()
        with site.edited("shop/views.py", "Good morning", "Good night"):
            tab.wait_text("#title", "Good night")
            tab.overlay.wait_for()  # another file does not mend it
    tab.wait_mended()
    tab.wait_text("#title", "Good morning")


def test_a_template_that_cannot_be_read_is_shown_at_its_line(tab: Tab, site: Site) -> None:
    tab.allowed = ("500",)
    tab.visit()
    tab.page.fill("#name", "Ada")
    with site.edited("templates/home.html", "{{ greeting }}", "{% greet %}"):
        tab.overlay.wait_for()
        assert "Template error" in tab.overlay.inner_text()
        assert tab.overlay.locator("a.place").first.inner_text() == "templates/home.html:3"
        assert "{% greet %}" in tab.overlay.locator(".failing").first.inner_text()
    tab.wait_mended()
    tab.wait_text("#title", "Good morning, ducks")
    assert tab.is_same and tab.page.input_value("#name") == "Ada"


def test_a_page_whose_template_cannot_be_read_appears_once_it_can(tab: Tab, site: Site) -> None:
    tab.allowed = ("500", "404")  # of the icon that Django's page does not name
    tab.visit()
    with site.edited("templates/home.html", "{{ greeting }}", "{% greet %}"):
        tab.overlay.wait_for()
        tab.visit()
        tab.overlay.wait_for()
        assert "Template error" in tab.overlay.inner_text()
    tab.wait_mended()
    tab.wait_text("#title", "Good morning, ducks")


def test_a_view_that_fails_has_djangos_page_and_a_word_in_the_corner(tab: Tab, site: Site) -> None:
    tab.allowed = ("500", "404")
    tab.visit("/broken")
    pill = tab.page.locator("duck-sight .pill")
    pill.wait_for()
    assert "ZeroDivisionError" in pill.inner_text()
    assert "ZeroDivisionError" in tab.page.title()
    pill.click()
    assert tab.overlay.locator(".frame.own .place").first.inner_text().startswith("shop/views.py:")
    with site.edited("shop/views.py", 'order = {"lines": []}', 'order = {"lines": [{"price": 3}]}'):
        tab.wait_text("#title", "Total 3.0")
        tab.mark()
    tab.until("window.mark === undefined")


def test_a_missing_migration_is_applied_by_the_button(tab: Tab, site: Site) -> None:
    tab.allowed = ("500", "404")
    migrate(site.root, "shop", "zero")
    tab.visit("/items")
    tab.overlay.wait_for()
    assert "no such table: shop_item" in tab.overlay.inner_text()
    assert "shop.0001_initial" in tab.overlay.inner_text()
    tab.overlay.get_by_role("button", name="Apply migrations").click()
    tab.wait_text("#title", "0 items")
    tab.wait_mended()


def test_a_page_that_works_has_a_notice_of_a_missing_migration_with_the_button(tab: Tab, site: Site) -> None:
    migrate(site.root, "shop", "zero")
    tab.visit()
    pill = tab.page.locator("duck-sight .pill")
    with site.edited("shop/views.py", "import time", "import time  # again"):
        pill.wait_for()
        assert "A migration has not been applied" in pill.inner_text()
        assert tab.overlay.count() == 0
        # It comes with each page.
        tab.visit()
        pill.wait_for()
        pill.click()
        assert "shop.0001_initial" in tab.overlay.inner_text()
        tab.overlay.get_by_role("button", name="Apply migrations").click()
        tab.wait_mended()


MODEL = "name = models.TextField()"
CHANGED = f"{MODEL}\n    price = models.IntegerField(default=1)"


def test_a_model_without_its_migration_is_told_of_with_the_command_until_it_is_made(tab: Tab, site: Site) -> None:
    tab.allowed = ("500", "404")
    tab.visit()
    pill = tab.page.locator("duck-sight .pill")
    made = site.root / "shop" / "migrations" / "0002_price.py"
    with site.edited("shop/models.py", MODEL, CHANGED):
        try:
            pill.wait_for()
            assert "A model has changed without a migration" in pill.inner_text()
            pill.click()
            assert "Run python manage.py makemigrations, then" in tab.overlay.inner_text()
            assert "shop: Add field price to item" in tab.overlay.inner_text()
            assert tab.overlay.get_by_role("button", name="Apply migrations").count() == 0
            site.duck.wait_for("Models have changed without a migration (shop: Add field price to item)")
            # A page that fails of it says the same at once, for it is known by now.
            tab.visit("/listing")
            tab.overlay.wait_for()
            assert "no such column: shop_item.price" in tab.overlay.inner_text()
            assert "python manage.py makemigrations" in tab.overlay.inner_text()
            command = [sys.executable, "manage.py", "makemigrations", "shop", "-n", "price"]
            subprocess.run(command, cwd=site.root, check=True, capture_output=True)
            tab.overlay.get_by_role("button", name="Apply migrations").click()
            tab.wait_text("#title", "Names:")
            tab.wait_mended()
        finally:
            if made.exists():
                migrate(site.root, "shop", "0001")
                made.unlink()
    tab.wait_mended()


def test_a_page_that_fails_of_a_column_is_told_why_as_soon_as_it_is_known(tab: Tab, site: Site) -> None:
    tab.allowed = ("500", "404")
    tab.visit("/listing")
    with site.edited("shop/models.py", MODEL, CHANGED):
        tab.overlay.wait_for()
        assert "no such column: shop_item.price" in tab.overlay.inner_text()
        assert "python manage.py makemigrations" in tab.overlay.inner_text()
    tab.wait_text("#title", "Names:")
    tab.wait_mended()


# -- pages of every kind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/strict", "/listed", "/meta", "/part"])
def test_a_page_with_a_policy_is_kept_up_to_date(tab: Tab, site: Site, path: str) -> None:
    # Of the script that is not allowed; and the icon that a page without a head does not name.
    tab.allowed = {"/strict": ("Content Security Policy",), "/part": ("404",)}.get(path, ())
    tab.visit(path)
    if path == "/strict":
        assert tab.page.evaluate("[window.ran, window.stranger ?? null]") == [True, None]
    if path != "/part":
        with site.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(9, 9, 9)"):
            tab.wait_colour("#title", "rgb(9, 9, 9)")
    with tab.loaded_again(), site.edited("shop/views.py", "import time", "import time  # again"):
        tab.until("window.mark === undefined && document.readyState === 'complete'")
        tab.mark()


def test_a_template_goes_into_a_page_with_a_strict_policy(tab: Tab, site: Site) -> None:
    tab.allowed = ("Content Security Policy",)
    tab.visit("/strict")
    tab.page.evaluate("""() => {
        window.fetched = 0;
        new PerformanceObserver(list => {
            window.fetched += list.getEntries().filter(one => one.name.endsWith('/strict')).length;
        }).observe({type: 'resource'});
    }""")
    with site.edited("templates/base.html", '"calm"', '"wild"'):  # not of this page: it is asked for again all the same
        tab.until("window.fetched > 0")
        assert tab.is_same
    assert tab.page.evaluate("window.stranger ?? null") is None


def test_a_page_that_is_still_streamed_has_its_client(tab: Tab, site: Site, tmp_path: Path) -> None:
    until = tmp_path / "until"
    tab.visit(f"/stream?until={until}", wait_until="commit")
    with site.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(7, 7, 7)"):
        tab.wait_colour("#title", "rgb(7, 7, 7)")
        assert tab.page.query_selector("#end") is None
    until.touch()
    tab.page.wait_for_selector("#end")
    assert tab.is_same


def test_a_page_within_a_page_leaves_faults_to_the_one_around_it(tab: Tab, site: Site) -> None:
    tab.visit("/frame")
    inner = tab.page.frame_locator("#inner")
    inner.locator("#title").wait_for()
    with site.edited("shop/views.py", "def home(request):", "def home(request:"):
        tab.overlay.wait_for()
        assert inner.locator("duck-sight").count() == 0
    tab.wait_mended()


def test_a_fault_is_put_away_and_taken_up_by_keys_and_the_focus_is_kept(tab: Tab, site: Site) -> None:
    tab.visit()
    tab.page.fill("#name", "Ada")
    with site.edited("shop/views.py", "def home(request):", "def home(request:"):
        tab.overlay.wait_for()
        tab.page.keyboard.press("Escape")
        tab.overlay.wait_for(state="detached")
        assert tab.page.evaluate("document.activeElement.id") == "name"
        tab.page.keyboard.type(" Lovelace")
        assert tab.page.input_value("#name") == "Ada Lovelace"
        pill = tab.page.locator("duck-sight .pill")
        assert "Syntax error" in pill.inner_text()
        pill.focus()
        tab.page.keyboard.press("Enter")
        tab.overlay.wait_for()
        for _ in range(12):  # the page behind cannot be reached meanwhile
            tab.page.keyboard.press("Tab")
            assert tab.page.evaluate("document.activeElement.localName") in ("duck-sight", "body")
    tab.wait_mended()


def test_a_fault_can_be_copied(open_tab: Callable[..., Tab], site: Site) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    tab.visit()
    with site.edited("shop/views.py", "def home(request):", "def home(request:"):
        tab.overlay.wait_for()
        tab.overlay.get_by_role("button", name="Copy").click()
        tab.overlay.get_by_role("button", name="Copied").wait_for()
        text = tab.page.evaluate("navigator.clipboard.readText()")
        assert "SyntaxError" in text and f"{site.root}/shop/views.py:{BROKEN_LINE}" in text and "> " in text
    tab.wait_mended()


def test_styles_of_the_page_do_not_reach_into_the_overlay(tab: Tab, site: Site) -> None:
    tab.visit()
    tab.page.add_style_tag(
        content="body, body *, duck-sight { color: lime !important; display: none; font-size: 99px }"
    )
    with site.edited("shop/views.py", "def home(request):", "def home(request:"):
        tab.overlay.wait_for()
        seen = tab.overlay.locator("h1").evaluate(
            "one => [getComputedStyle(one).color, getComputedStyle(one).fontSize]"
        )
        assert seen[0] != "rgb(0, 255, 0)" and seen[1] == "24px"
    tab.wait_mended()


def test_every_tab_is_told_and_one_that_comes_back_from_memory_too(open_tab: Callable[..., Tab], site: Site) -> None:
    one, other = open_tab(), open_tab()
    one.visit("/view")
    other.visit("/view")
    other.page.goto("about:blank")
    with site.edited("shop/views.py", "Good morning", "Good night"):
        one.wait_text("#title", "Good night")
        other.page.go_back()
        other.wait_text("#title", "Good night")
    one.wait_text("#title", "Good morning")  # else the page of the next test is loaded again while it begins


def test_a_page_stays_in_touch_with_a_duck_that_starts_again_in_place(tab: Tab, site: Site) -> None:
    pid = site.duck.pid
    tab.visit("/view")
    with tab.loaded_again():
        site.edit("duck.toml", "200", "100")
    site.wait_until_watched()
    tab.mark()
    with site.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(6, 6, 6)"):
        tab.wait_colour("#title", "rgb(6, 6, 6)")
    assert tab.is_same and site.duck.process.poll() is None and site.duck.pid == pid


# -- other Ducks ------------------------------------------------------------------------------------------------------


def test_a_page_under_asgi_and_over_http2_is_kept_up_to_date(open_tab: Callable[..., Tab], root: Path) -> None:
    other = Site(root, "--https", SITE_ASGI="1", DUCK_NAME="other").begin()
    try:
        tab = open_tab(other, ignore_https_errors=True)
        assert tab.visit("/view").url.startswith("wss://localhost:")
        assert tab.page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        with other.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(8, 8, 8)"):
            tab.wait_colour("#title", "rgb(8, 8, 8)")
        assert tab.is_same
        with other.edited("shop/views.py", "Good morning", "Good evening"):
            tab.wait_text("#title", "Good evening")
        tab.wait_text("#title", "Good morning")
        tab.visit("/listed")
        with other.edited("assets/site.css", "rgb(1, 2, 3)", "rgb(8, 8, 8)"):
            tab.wait_colour("#title", "rgb(8, 8, 8)")
        tab.allowed = ("500", "404")
        tab.visit("/broken")
        tab.page.locator("duck-sight .pill", has_text="ZeroDivisionError").wait_for()
    finally:
        other.close()


def test_a_project_that_cannot_start_shows_why_and_appears_once_it_can(
    open_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    broken = make_site(tmp_path / "project")
    migrate(broken)
    views = broken / "shop" / "views.py"
    text = views.read_text()
    views.write_text(text.replace("import secrets", "import secretz"))
    site = Site(broken)
    try:
        site.duck.wait_for("could not be started")
        site.wait_until_watched()
        tab = open_tab(site)
        tab.allowed = ("503",)
        tab.visit("/view")
        tab.overlay.wait_for()
        assert "ModuleNotFoundError: No module named 'secretz'" in tab.overlay.inner_text()
        views.write_text(text)
        tab.wait_text("#title", "Good morning")
        tab.wait_mended()
    finally:
        site.close()
