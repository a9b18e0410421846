"""What a node says comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from duck.app.automation_report import NodeReport
from duck.services.automations.engines.local import LocalEngine


def test_what_was_missed_comes_now_and_not_at_a_time_that_has_passed(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "store")
    at = datetime.now(UTC) - timedelta(hours=1)
    report = NodeReport(engine, lambda: {"next": {"name": "tick", "at": at.isoformat()}})
    assert report.summary(1) == "Automations: 1, next tick now"
    at += timedelta(days=3)
    assert report.summary(1).startswith(f"Automations: 1, next tick at {at:%Y-%m-%d %H:%M}")
    engine.close()
