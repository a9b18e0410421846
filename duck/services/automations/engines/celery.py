"""The engine of runs that Celery carries out: claims lie in the project's database, and who carries out is no node.

So a node that falls silent has lost nothing: its runs are queued again as the same attempts, and the next node finds
who has begun them, or sends the same tasks again. What `on_crash` says is of Celery's workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.services.automations.engines.django import DjangoEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duck.services.automations.declaration import Declaration
    from duck.services.automations.silence import Silent


class CeleryEngine(DjangoEngine):
    """An `Engine`."""

    def _after_silence(self, silent: Silent, declarations: Mapping[str, Declaration]) -> tuple[float | None, str, bool]:
        wait_s, reason, counts = super()._after_silence(silent, {})
        return (wait_s, reason, counts) if silent.for_node or silent.is_to_end else (0.0, reason, False)
