"""The App of a process, and MicroApps beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.app.microapp import MicroApp

__all__ = ["App", "MicroApp"]


def __getattr__(name: str) -> Any:
    """`App` and `MicroApp`, imported when they are asked for: the latter brings the lane of Duck's own views along."""
    if name == "App":
        from duck.app.app import App

        return App
    if name == "MicroApp":
        from duck.app.microapp import MicroApp

        return MicroApp
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
