"""The engine of runs that Celery carries out: claims lie in the project's database, and who carries out is no node.

So a node that falls silent has lost nothing: its runs are queued again as the same attempts, and the next node finds
who has begun them, or sends the same tasks again. What `on_crash` says is of Celery's workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.services.automations.engines.django import DjangoEngine

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration


class CeleryEngine(DjangoEngine):
    """An `Engine`."""

    def _after_crash(
        self, declaration: Declaration | None, attempt: int, reason: str
    ) -> tuple[float | None, str, bool]:
        return 0.0, reason, False
