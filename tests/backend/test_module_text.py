"""What a module holds by its text: no false alarm for what its text does not tell, and nothing is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from duck.backend.django.worker.module_text import is_module, names_of


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def names(packages: Path, text: str, module: str) -> set[str] | None:
    (packages / f"{module}.py").write_text(text)
    found = names_of(module)
    assert module not in sys.modules
    return None if found is None else set(found)


def test_all_that_binds_a_name_is_seen(packages: Path) -> None:
    text = """
import os.path, json as j
from a import b as c, d
x, (y, *z) = 1, (2, 3)
w: int = 1
def f():
    global g
    inner = 1
async def af(): ...
class C:
    attribute = 1
if x:
    def under(): ...
try:
    t = 1
except E:
    e = 2
with open("x") as file:
    for i in range(3):
        n = (v := i)
h = lambda q: q
"""
    assert names(packages, text, "binds") == set("os j c d x y z w f g af C under t e file i n v h".split())


@pytest.mark.parametrize(
    ("number", "text"),
    list(
        enumerate(
            [
                "from a import *",
                "def __getattr__(name): ...",
                "globals()['f'] = 1",
                "for n in 'ab': setattr(m, n, 1)",
                "exec('def f(): ...')",
                "import sys\nsys.modules[__name__] = object()",
                "if True:\n    from a import *",
            ]
        )
    ),
)
def test_what_may_hold_more_than_its_text_is_believed(packages: Path, number: int, text: str) -> None:
    assert names(packages, text, f"hides{number}") is None


def test_modules_are_found_without_being_imported(packages: Path) -> None:
    (packages / "plain_one.py").write_text("raise SystemExit\n")
    (packages / "whole").mkdir()
    (packages / "whole" / "__init__.py").touch()
    (packages / "whole" / "part.py").write_text("raise SystemExit\n")
    assert is_module("plain_one") and is_module("whole.part") and is_module("json")
    assert not is_module("plain_one.part") and not is_module("whole.none") and not is_module("none_at_all.x")
    assert not {"plain_one", "whole.part"} & set(sys.modules)
    assert names_of("math") is None and names_of("none_at_all") is None
