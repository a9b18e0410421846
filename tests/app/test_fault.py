"""Faults as a browser shows them, made from what a start, a file or a request says."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duck.app import fault
from duck.app.unloaded import Unloaded
from duck.backend.django.version import Failure
from duck.services.ducksight import syntax_error

SOURCE = "def one():\n    return two()\n\n\ndef two():\n    raise ValueError('on\\npurpose')\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project" / "shop").mkdir(parents=True)
    (tmp_path / "project" / "shop" / "views.py").write_text(SOURCE)
    return tmp_path / "project"


def text_of(work: Callable[[], Any]) -> str:
    try:
        work()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


def run(path: Path) -> str:
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return text_of(names["one"])


def test_frames_of_the_project_come_first_the_innermost_at_their_head(root: Path) -> None:
    made = fault.of_failure(Failure("import", "ValueError: on", run(root / "shop" / "views.py")), root, serves=True)
    assert (made["kind"], made["title"]) == ("error", "ValueError: on\npurpose")
    assert made["message"] == "What ran before keeps running."
    assert [(frame["shown"], frame["line"], frame["function"], frame["own"]) for frame in made["frames"]] == [
        ("shop/views.py", 6, "two", True),
        ("shop/views.py", 2, "one", True),
        (__file__, made["frames"][2]["line"], "text_of", False),
    ]
    assert made["frames"][0]["source"] == [[n, text] for n, text in enumerate(SOURCE.splitlines(), 1)]
    assert made["remedy"] == "" and not made["quiet"]


def test_a_chain_of_causes_is_named_by_its_last_error_and_shows_the_frames_of_all(root: Path) -> None:
    (root / "shop" / "views.py").write_text(
        "def one():\n    try:\n        import nothing_of_the_kind\n    except ImportError as error:\n"
        "        raise RuntimeError('wrapped') from error\n"
    )
    made = fault.of_failure(Failure("import", "x", run(root / "shop" / "views.py")), root, serves=False)
    assert made["title"] == "RuntimeError: wrapped" and made["message"] == ""
    assert [frame["line"] for frame in made["frames"] if frame["own"]] == [5, 3]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ModuleNotFoundError: No module named 'x'", "import"),
        ("ImportError: cannot import name 'x'", "import"),
        ("SyntaxError: invalid syntax", "syntax"),
        ("IndentationError: unexpected indent", "syntax"),
        ("django.template.exceptions.TemplateSyntaxError: Unclosed tag", "template"),
        ("django.core.exceptions.ImproperlyConfigured: x", "error"),
        ("KeyError: 'x'", "error"),
        ("ImportError: cannot import name 'x' from 'a' (/elsewhere/a.py)", "import"),
    ],
)
def test_the_kind_is_that_of_the_error(root: Path, error: str, kind: str) -> None:
    text = f'Traceback (most recent call last):\n  File "{root}/shop/views.py", line 1, in <module>\n    x\n{error}\n'
    made = fault.of_failure(Failure("urls", "x", text), root, serves=False)
    assert made["kind"] == kind
    assert made["title"] == error.rpartition("django.")[2].rpartition("exceptions.")[2]


def test_files_of_the_project_are_called_in_the_title_as_its_reader_knows_them(root: Path) -> None:
    text = f'  File "{root}/shop/views.py", line 1, in <module>\nImportError: no x in a ({root}/shop/a.py)\n'
    assert (
        fault.of_failure(Failure("urls", "x", text), root, serves=False)["title"]
        == "ImportError: no x in a (shop/a.py)"
    )


def test_a_file_that_cannot_be_compiled_is_shown_at_its_line(root: Path) -> None:
    path = root / "shop" / "views.py"
    path.write_text("def one(:\n    pass\n")
    error = syntax_error(str(path))
    assert error is not None
    made = fault.of_syntax_error(error, root)
    assert made["kind"] == "syntax" and made["title"].startswith("SyntaxError: ")
    assert [(frame["shown"], frame["line"], frame["own"]) for frame in made["frames"]] == [("shop/views.py", 1, True)]
    assert made["frames"][0]["source"][0] == [1, "def one(:"]
    text = text_of(lambda: compile(path.read_text(), str(path), "exec"))
    assert fault.of_failure(Failure("import", "x", text), root, serves=False)["frames"][0]["shown"] == "shop/views.py"


def test_failed_checks_have_no_frames_and_are_shown_as_they_were_said(root: Path) -> None:
    said = "SystemCheckError: System check identified some issues:\n\nERRORS:\n?: (urls.E004) bad\n\tHINT: mend it\n"
    made = fault.of_failure(Failure("checks", "?: (urls.E004) bad", said), root, serves=False)
    assert (made["kind"], made["title"], made["details"], made["frames"]) == (
        "checks",
        "?: (urls.E004) bad",
        said,
        [],
    )


def test_what_says_nothing_more_is_its_sentence(root: Path) -> None:
    made = fault.of_failure(Failure("deadline", "It was not ready in time."), root, serves=False)
    assert (made["kind"], made["title"], made["details"]) == ("error", "It was not ready in time.", "")


def test_of_ducks_own_side(root: Path) -> None:
    made = fault.of_unloaded(Unloaded("urls cannot be imported", "", ()), root, serves=False)
    assert made["title"] == "urls cannot be imported"
    told = Unloaded.told(f"duck: x\n{run(root / 'shop' / 'views.py')}", ())
    assert fault.of_unloaded(told, root, serves=True)["frames"][0]["shown"] == "shop/views.py"


def request(root: Path, error: str, **more: Any) -> dict[str, Any]:
    text = f'Traceback (most recent call last):\n  File "{root}/shop/views.py", line 2, in one\n    x\n{error}\n'
    return fault.of_request({"traceback": text, **more}, root)


def test_a_request_that_fails_is_quiet_for_django_has_a_page_for_it(root: Path) -> None:
    made = request(root, "ValueError: x")
    assert made["kind"] == "error" and made["quiet"]


def test_a_template_is_shown_where_django_says_it_is_wrong(root: Path) -> None:
    (root / "page.html").write_text("<p>\n{% nope %}\n")
    place = {"file": str(root / "page.html"), "line": 2}
    made = request(root, "django.template.exceptions.TemplateSyntaxError: Invalid block tag", template=place)
    assert made["kind"] == "template" and not made["quiet"]
    assert [frame["shown"] for frame in made["frames"]] == ["page.html", "shop/views.py"]
    assert made["frames"][0]["source"] == [[1, "<p>"], [2, "{% nope %}"]]
    passed = request(root, "ValueError: in a property", template=place)
    assert passed["kind"] == "error" and [frame["shown"] for frame in passed["frames"]] == [
        "shop/views.py",
        "page.html",
    ]


def test_a_missing_migration_has_its_remedy(root: Path) -> None:
    made = request(root, "django.db.utils.OperationalError: no such table: shop_item", unapplied=["shop.0001_initial"])
    assert (made["kind"], made["remedy"], made["quiet"]) == ("migrations", "migrate", False)
    assert made["title"] == "A migration has not been applied"
    assert made["message"] == "OperationalError: no such table: shop_item"
    assert made["details"] == "shop.0001_initial"


def test_what_is_shown_has_bounds(root: Path) -> None:
    line = f'  File "{root}/shop/views.py", line %d, in one\n    x\n'
    text = "".join(line % (number + 1) for number in range(3000)) + "RecursionError: deep\n"
    made = fault.of_failure(Failure("import", "x", text), root, serves=False)
    assert len(made["frames"]) == fault.MAX_FRAMES
    (root / "long.py").write_text("x" * 100_000)
    assert len(fault.source_around(str(root / "long.py"), 1)[0][1]) <= 400
    assert fault.source_around(str(root / "missing.py"), 1) == fault.source_around("<string>", 1) == []
    assert fault.source_around(str(root / "shop" / "views.py"), 999) == []


def test_a_library_is_shown_by_its_package(root: Path) -> None:
    text = '  File "/venv/lib/python3.11/site-packages/django/core/handlers/base.py", line 7, in get\nKeyError: 1\n'
    frame = fault.frames_of(text, root)[0]
    assert (frame["shown"], frame["own"]) == ("django/core/handlers/base.py", False)
    inside = fault.frames_of(text.replace("/venv", str(root / ".venv")), root)[0]
    assert not inside["own"]
    assert fault.frames_of(f'  File "{sys.executable}", line 1\n', root)[0]["own"] is False
