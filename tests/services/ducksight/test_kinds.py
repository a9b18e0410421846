"""What a changed file is, and where the project keeps what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from duck.services.ducksight import ChangeFilter, Kind, Places

FACTS = {
    "template_dirs": ["/p/templates", "/p/app/templates"],
    "static_dirs": [["", "/p/static"], ["lib", "/p/assets"], ["", "/p/app/static"]],
    "locale_dirs": ["/p/locale"],
    "extra_roots": ["/src/mylib"],
    "static": {"url": "/static/", "root": "/p/collected"},
    "media": {"root": "/p/media"},
}


@pytest.fixture
def chosen() -> ChangeFilter:
    return ChangeFilter(["*.py", "*.toml"], places=Places(django="/p", settings_file="/p/duck.toml").told(FACTS))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/p/app/views.py", Kind.PYTHON),
        ("/src/mylib/mylib/core.py", Kind.PYTHON),
        ("/p/app/templates/tags.py", Kind.PYTHON),
        ("/p/app/.#views.py", None),
        ("/p/app/._views.py", None),
        ("/p/app/flycheck_views.py", None),
        ("/p/config.toml", Kind.PYTHON),
        ("/p/duck.toml", Kind.DUCK),
        ("/p/.env", Kind.ENVIRONMENT),
        ("/p/.env.local", Kind.ENVIRONMENT),
        ("/p/.env.example", None),
        ("/p/.environment", None),
        ("/p/static/site.css", Kind.STYLE),
        ("/p/static/SITE.CSS", Kind.STYLE),
        ("/p/static/logo.svg", Kind.STATIC),
        ("/p/static/app.js", Kind.STATIC),
        ("/p/assets/pyproject.toml", Kind.STATIC),
        ("/p/templates/base.html", Kind.TEMPLATE),
        ("/p/app/templates/app/mail.txt", Kind.TEMPLATE),
        ("/p/templates/.base.html.swp", None),
        ("/p/templates/base.html~", None),
        ("/p/templates/4913", None),
        ("/p/static/#site.css#", None),
        ("/p/static/site.css___jb_tmp___", None),
        ("/p/locale/de/LC_MESSAGES/django.mo", Kind.TRANSLATION),
        ("/p/locale/de/LC_MESSAGES/django.po", None),
        ("/p/elsewhere/django.mo", None),
        ("/p/notes.txt", None),
        ("/p/site.css", None),
    ],
)
def test_a_file_is_known_by_its_path(chosen: ChangeFilter, path: str, kind: Kind | None) -> None:
    assert chosen.kind(path) is kind
    assert chosen.wants(path) is (kind is not None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/p/client/views.py", Kind.PYTHON),
        ("/p/client/templates/page.html", Kind.TEMPLATE),
        ("/p/client/config.toml", Kind.PYTHON),
        ("/p/client/src/site.css", None),
        ("/p/client/src/main.js", None),
        ("/p/client/.env.local", None),
        ("/p/static/site.css", Kind.STYLE),
        ("/p/.env", Kind.ENVIRONMENT),
    ],
)
def test_what_a_front_end_server_watches_is_its_own(path: str, kind: Kind | None) -> None:
    facts = {
        **FACTS,
        "template_dirs": ["/p/client/templates"],
        "static_dirs": [["", "/p/client/src"], ["", "/p/static"]],
    }
    places = Places(django="/p", frontend="/p/client").told(facts)
    assert ChangeFilter(["*.py", "*.toml"], places=places).kind(path) is kind


def test_what_the_start_has_read_is_configuration_unless_it_is_something_else() -> None:
    read = ["/p/config.yaml", "/p/static/manifest.json", "/p/secrets.json"]
    chosen = ChangeFilter(places=Places(django="/p").told({**FACTS, "configuration": read}))
    assert chosen.kind("/p/config.yaml") is chosen.kind("/p/secrets.json") is Kind.ENVIRONMENT
    assert chosen.kind("/p/static/manifest.json") is Kind.STATIC
    assert chosen.kind("/p/other.yaml") is None


def test_what_programs_write_as_they_run_is_none_of_it() -> None:
    places = Places(django="/p").told({"template_dirs": ["/p/templates"], "static_dirs": [["", "/p/static"]]})
    chosen = ChangeFilter(places=places)
    for name in ("db.sqlite3", "db.sqlite3-journal", "debug.log", "server.pid"):
        assert chosen.kind(f"/p/templates/{name}") is chosen.kind(f"/p/static/{name}") is None


def test_where_the_project_itself_is_a_directory_of_templates_only_what_looks_like_one_is() -> None:
    chosen = ChangeFilter(places=Places(django="/w/p").told({"template_dirs": ["/w/p", "/w", "/w/p/pages"]}))
    assert chosen.kind("/w/p/base.html") is Kind.TEMPLATE
    assert chosen.kind("/w/p/data.bin") is None
    assert chosen.kind("/w/p/pages/data.bin") is Kind.TEMPLATE
    assert chosen.places.roots() == ["/w/p"]
    assert not chosen.enters("/w/p/node_modules", [])


def test_only_files_that_match_a_pattern_are_code() -> None:
    chosen = ChangeFilter(["settings*.py"], places=Places(django="/p"))
    assert chosen.kind("/p/settings_dev.py") is Kind.PYTHON
    assert chosen.kind("/p/views.py") is None


@pytest.mark.parametrize(
    ("django", "duck", "path", "kind"),
    [
        ("/p/backend", "/p", "/p/backend/app/views.py", Kind.PYTHON),
        ("/p/backend", "/p", "/p/views.py", Kind.DUCK),
        ("/p/backend", "/p", "/p/.env", Kind.DUCK),
        ("/p/backend", "/p", "/src/shared/x.py", Kind.DUCK),  # either side may import it
        ("/p", "/p", "/p/app/views.py", Kind.DUCK),  # nobody knows which side imports it
        ("/p", "/p/duck", "/p/app/views.py", Kind.DUCK),
        (None, "/p", "/p/views.py", Kind.DUCK),
        ("/p", None, "/src/shared/x.py", Kind.PYTHON),
    ],
)
def test_what_ducks_own_side_may_have_read_is_ducks(
    django: str | None, duck: str | None, path: str, kind: Kind
) -> None:
    assert ChangeFilter(places=Places(django, duck)).kind(path) is kind


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/p/static/site.css", "/static/site.css"),
        ("/p/assets/img/a b.png", "/static/lib/img/a%20b.png"),
        ("/p/app/static/app/ä.js", "/static/app/%C3%A4.js"),
        ("/p/templates/base.html", None),
    ],
)
def test_the_url_of_a_static_file_is_that_of_its_directory(chosen: ChangeFilter, path: str, url: str | None) -> None:
    assert chosen.places.url_of(path) == url


def test_files_of_another_server_have_no_url_that_is_known() -> None:
    places = Places(django="/p").told({**FACTS, "static": {"url": None}})
    assert places.url_of("/p/static/site.css") is None


def test_watched_are_the_project_and_what_it_names_outside_of_it() -> None:
    places = Places(django="/p").told({**FACTS, "template_dirs": ["/p/templates", "/shared/templates"]})
    assert places.roots() == ["/p", "/src/mylib", "/shared/templates"]


def test_what_is_collected_and_uploaded_is_not_watched_unless_it_holds_what_is(chosen: ChangeFilter) -> None:
    assert chosen.places.unwatched == ("/p/collected", "/p/media")
    holds = {**FACTS, "static": {"root": "/p/static"}, "media": {"root": "/p"}}
    assert Places(django="/p").told(holds).unwatched == ()


def test_a_worker_that_tells_of_no_places_changes_nothing() -> None:
    places = Places(django="/p").told(FACTS)
    assert places.told({"debug": True}) is places


def test_links_are_resolved_as_they_are_where_files_are_seen(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    places = Places(django="/p").told({"template_dirs": [str(tmp_path / "link")]})
    assert places.templates == (os.path.realpath(tmp_path / "real"),)
