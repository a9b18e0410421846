"""What calls itself again and again goes on though it fails once: the next call is arranged before all that can."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import duck

# Why it may be arranged later.
HANDLED = {
    ("services/automations/dispatcher.py", "_turn"): "whatever fails in a turn is caught, and the next is arranged",
    ("app/dispatching.py", "_spawn"): "it is arranged where that has failed",
    ("app/front_processes.py", "again"): "it is arranged where that has failed",
    ("app/dispatcher_process.py", "_write"): "it is arranged for what one write has left",
    (
        "services/automations/alerts/alerts.py",
        "_see_sent",
    ): "what it asks cannot fail, and its end is told at a deadline",
    ("services/automations/alerts/alerts.py", "_tell_missed"): "it is arranged where the store was away",
    ("net/tunnel.py", "go_away"): "it is another function of the same name, called once",
    ("services/ducksight/gathering.py", "_look"): "the next change arranges it as well",
    ("services/ducksight/sight.py", "_step"): "what fails within it is caught",
}
# What may be said before: it fails in no way that the next call could heal.
HARMLESS = {"cancel", "monotonic", "is_set", "len", "_members", "_now", "token_bytes"}


def recurring() -> Iterator[tuple[str, ast.FunctionDef, ast.Call]]:
    """Functions that have a timer call themselves, and the call that does it."""
    root = Path(duck.__file__).parent
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        if "call_later" not in text:
            continue
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and _name(call) == "call_later" and _mentions(call, function.name):
                        yield str(path.relative_to(root)), function, call


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _mentions(call: ast.Call, name: str) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr == name) or (isinstance(part, ast.Name) and part.id == name)
        for part in ast.walk(call)
        if part is not call.func
    )


def _is_in_finally(function: ast.FunctionDef, call: ast.Call) -> bool:
    return any(
        call in set(ast.walk(statement))
        for part in ast.walk(function)
        if isinstance(part, ast.Try)
        for statement in part.finalbody
    )


def test_the_next_call_is_arranged_before_anything_can_fail() -> None:
    found = list(recurring())
    assert len(found) > 10
    wrong = []
    for path, function, call in found:
        if (path, function.name) in HANDLED or _is_in_finally(function, call):
            continue
        before = [
            _name(part)
            for part in ast.walk(function)
            if isinstance(part, ast.Call) and part.lineno < call.lineno and _name(part) not in HARMLESS
        ]
        if before:
            wrong.append(f"{path}:{call.lineno} {function.name} says {', '.join(before)} before")
    assert wrong == []
