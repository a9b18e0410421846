"""The process that asks triggers of the user's own: it is tried again, whatever keeps it from being there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from duck.backend.django import conditions as module
from duck.backend.django.conditions import Conditions
from duck.services.automations.event_spool import EventSpool
from duck.services.inbox import Inbox

if TYPE_CHECKING:
    import pytest


class Broken(EventSpool):
    """One whose locks cannot be had, the first times."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.times = 0

    def lock(self, name: str) -> int | None:
        self.times += 1
        raise OSError(24, "Too many open files")


def test_what_fails_is_logged_with_its_traceback_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.001)
    inbox, spool = Inbox(), Broken(tmp_path / "events")
    nothing: Any = None
    conditions = Conditions(
        nothing,
        nothing,
        None,
        inbox,
        on_true=lambda name: None,
        on_failed=lambda message, text: None,
        on_output=lambda text: None,
        spool=spool,
    )
    conditions.ask(["shop.triggers.LowStock"])  # who declares it goes on
    while spool.times < 3:
        inbox.run_once(1.0)
    assert "The triggers of automations cannot be asked; it is tried again" in caplog.text
    assert "Traceback" in caplog.text and "Too many open files" in caplog.text
    conditions.stop()
    inbox.close()
