"""What a changed file leads to: as little as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from duck.app.changes import Changes
from duck.services.inbox import Inbox
from duck.settings import views
from duck.settings.load import load
from tests.waiting import serve_until

FACTS = {
    "template_dirs": ["templates"],
    "static_dirs": [["", "assets"], ["lib", "vendored"]],
    "locale_dirs": ["locale"],
    "static": {"url": "/static/"},
}


class Django:
    """What `Changes` asks of a DjangoService, written down."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.did: list[Any] = []
        self.is_debugging = False
        self.error: SyntaxError | None = None

    def check(self, paths: Sequence[str], checked: Callable[[SyntaxError | None], None]) -> None:
        checked(self.error)

    def has_seen(self, paths: Sequence[str]) -> bool:
        return False

    def replace(self, paths: Sequence[str] = ()) -> None:
        self.did.append(("replace", *(str(Path(path).relative_to(self.root)) for path in paths)))

    def refresh(self, what: Sequence[str], done: Callable[[], None]) -> None:
        self.did.append(("refresh", *what))
        done()


class Project:
    """A project whose changes are acted upon; what is done is in `did`, in order."""

    def __init__(self, root: Path, inbox: Inbox) -> None:
        self.root = root
        self.inbox = inbox
        self.django = Django(root)
        self.did = self.django.did
        for name in ("templates", "assets", "vendored", "locale", "app"):
            (root / name).mkdir()
        self.changes = Changes(
            inbox, root, self.django, lambda: self.did.append("restart"), self.did.append, self.did.append
        )  # type: ignore[arg-type]
        self.changes._trial.begin = lambda: self.did.append("trial")  # type: ignore[method-assign]
        self.settings = load({}, {}, root)
        self.changes.watch(self.settings, views.reload(self.settings))
        self.changes.came({**FACTS, **{name: self._absolute(FACTS[name]) for name in list(FACTS)[:3]}})
        assert self.did.pop() == {"type": "reload"}
        sight = self.changes._sight
        assert sight is not None
        self.until(sight.watching.is_set)

    def _absolute(self, value: Any) -> Any:
        return [[one[0], str(self.root / one[1])] if isinstance(one, list) else str(self.root / one) for one in value]

    def write(self, *names: str) -> None:
        for name in names:
            (self.root / name).write_text("x = 1\n")

    def until(self, true: Callable[[], bool]) -> None:
        serve_until(self.inbox, true)

    def after(self, *names: str) -> list[Any]:
        """What is done once `names` are written."""
        self.did.clear()
        self.write(*names)
        self.until(lambda: bool(self.did))
        return self.did


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    inbox = Inbox()
    made = Project(tmp_path, inbox)
    yield made
    made.changes.stop()
    inbox.close()


def test_style_sheets_and_static_files_are_told_by_their_urls_and_nothing_is_loaded(project: Project) -> None:
    assert project.after("assets/site.css") == [{"type": "style", "urls": ["/static/site.css"]}]
    assert project.after("vendored/a b.svg") == [{"type": "static", "urls": ["/static/lib/a%20b.svg"]}]


def test_a_template_is_read_again_by_django_before_the_browsers_hear_of_it(project: Project) -> None:
    assert project.after("templates/page.html") == [("refresh", "templates"), {"type": "template"}]


def test_of_a_template_and_a_style_sheet_both_are_told(project: Project) -> None:
    assert project.after("templates/page.html", "assets/site.css") == [
        ("refresh", "templates"),
        {"type": "template"},
        {"type": "style", "urls": ["/static/site.css"]},
    ]


def test_translations_are_read_again_and_the_page_is_loaded_anew(project: Project) -> None:
    assert project.after("locale/django.mo") == [("refresh", "translations"), {"type": "reload"}]


def test_code_and_environment_files_replace_django_and_nothing_else(project: Project) -> None:
    assert project.after("app/views.py", "templates/page.html") == [("replace", "app/views.py")]
    assert project.after(".env") == [("replace", ".env")]


def test_ducks_own_settings_are_tried_and_duck_starts_again(project: Project) -> None:
    (project.root / "duck.toml").write_text("")
    project.changes.stop()
    project.changes = Changes(project.inbox, project.root, project.django, lambda: None, project.did.append)  # type: ignore[arg-type]
    project.changes._trial.begin = lambda: project.did.append("trial")  # type: ignore[method-assign]
    project.settings = load({}, {}, project.root)
    project.changes.watch(project.settings, views.reload(project.settings))
    assert project.after("duck.toml", "app/views.py") == ["trial"]


def test_a_file_that_does_not_compile_changes_nothing_and_is_loaded_with_what_mends_it(project: Project) -> None:
    errors: list[SyntaxError] = []
    project.changes.on_syntax_error = errors.append
    project.django.error = SyntaxError("invalid syntax")
    project.write("app/views.py")
    project.until(lambda: errors == [project.django.error])
    assert project.did == []
    project.django.error = None
    assert project.after("app/urls.py") == [("replace", "app/urls.py", "app/views.py")]


def test_what_changes_while_somebody_debugs_is_acted_upon_afterwards(project: Project) -> None:
    project.django.is_debugging = True
    project.write("app/views.py")
    project.until(lambda: bool(project.changes._undone))
    assert project.did == []
    project.django.is_debugging = False
    project.changes.undebugged()
    assert project.did == [("replace", "app/views.py")]


def test_what_is_gone_or_too_much_to_fetch_one_by_one_loads_the_page_anew(project: Project) -> None:
    project.after("assets/site.css")
    project.did.clear()
    (project.root / "assets" / "site.css").unlink()
    project.until(lambda: bool(project.did))
    assert project.did == [{"type": "reload"}]
    assert project.after(*(f"assets/{number}.js" for number in range(60))) == [{"type": "reload"}]


def test_where_static_files_are_another_servers_the_page_is_loaded_anew(project: Project) -> None:
    facts = {**FACTS, "static_dirs": [["", str(project.root / "assets")]], "static": {"url": None}}
    project.changes.came(facts)
    assert project.after("assets/site.css") == [{"type": "reload"}]


@pytest.mark.parametrize(("frontend", "is_left"), [("assets", True), ("", False)])
def test_what_a_front_end_server_watches_is_left_to_it_unless_that_is_the_project(
    project: Project, frontend: str, is_left: bool
) -> None:
    project.changes.stop()
    project.changes = Changes(
        project.inbox, project.root, project.django, lambda: None, project.did.append, project.did.append
    )  # type: ignore[arg-type]
    project.changes.watch(project.settings, views.reload(project.settings), str(project.root / frontend))
    project.changes.came({**FACTS, **{name: project._absolute(FACTS[name]) for name in list(FACTS)[:3]}})
    sight = project.changes._sight
    assert sight is not None
    project.until(sight.watching.is_set)
    told = project.after("assets/site.css", "vendored/logo.svg")
    assert {"type": "static", "urls": ["/static/lib/logo.svg"]} in told
    assert ({"type": "style", "urls": ["/static/site.css"]} in told) is not is_left
