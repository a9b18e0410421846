"""What a worker tells of requests that fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.template.base import TemplateSyntaxError

from duck.backend.django.worker import faults


class Control:
    """Keeps what it is told; the App's end may be gone."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.is_gone = False

    def send(self, event: str, **facts: Any) -> None:
        if self.is_gone:
            raise OSError("gone")
        self.told.append({"event": event, **facts})


class Request:
    def get_full_path(self) -> str:
        return "/orders?page=2"


@pytest.fixture
def control() -> Iterator[Control]:
    made = Control()
    faults.tell_faults(made)  # type: ignore[arg-type]
    yield made
    assert got_request_exception.disconnect(dispatch_uid="duck-faults")


def fail(error: BaseException, request: Any = None) -> None:
    """As Django does where a view lets `error` pass."""
    try:
        raise error
    except BaseException:
        got_request_exception.send(sender=None, request=request or Request())


def database_error(name: str) -> Exception:
    kind = type(name, (Exception,), {"__module__": "django.db.utils"})
    error: Exception = kind("no such table: shop_order")
    return error


def test_a_request_that_fails_is_told_with_its_page_and_traceback(control: Control) -> None:
    fail(ValueError("on purpose"))
    (told,) = control.told
    assert (told["event"], told["page"], told["template"], told["unapplied"]) == ("fault", "/orders?page=2", None, [])
    assert told["traceback"].rstrip().endswith("ValueError: on purpose")
    assert __file__ in told["traceback"]
    json.dumps(told)


def test_the_place_in_a_template_is_told_as_django_knows_it(control: Control) -> None:
    error = TemplateSyntaxError("Invalid block tag")
    error.template_debug = {"name": "/shop/templates/a.html", "line": 7, "before": "x"}  # type: ignore[attr-defined]
    fail(error)
    assert control.told[0]["template"] == {"file": "/shop/templates/a.html", "line": 7}


def test_so_it_is_of_jinja() -> None:
    kind = type("TemplateSyntaxError", (Exception,), {"filename": "/shop/a.jinja", "lineno": 3})
    assert faults.template_of(kind("x")) == {"file": "/shop/a.jinja", "line": 3}
    assert faults.template_of(ValueError("x")) is None


@pytest.mark.parametrize(("name", "looks"), [("OperationalError", 1), ("ProgrammingError", 1), ("IntegrityError", 0)])
def test_missing_migrations_are_looked_for_where_the_database_misses_something(
    control: Control, monkeypatch: pytest.MonkeyPatch, name: str, looks: int
) -> None:
    looked: list[bool] = []

    def unapplied() -> list[str]:
        looked.append(True)
        return ["shop.0001_initial"]

    monkeypatch.setattr(faults, "unapplied", unapplied)
    fail(database_error(name))
    assert len(looked) == looks
    assert control.told[0]["unapplied"] == ["shop.0001_initial"] * looks


def test_nothing_is_told_without_a_request_and_nothing_fails_where_nobody_listens(control: Control) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        got_request_exception.send(sender=None)
    control.is_gone = True
    fail(ValueError("x"))
    assert control.told == []


def test_a_long_traceback_is_cut() -> None:
    assert len(faults.facts_of(ValueError("x" * 1_000_000))["traceback"]) <= 200_000
