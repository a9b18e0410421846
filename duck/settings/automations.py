"""What the App receives of the settings of automations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from duck.settings import views

if TYPE_CHECKING:
    from duck.settings.load import Settings


@dataclass(frozen=True)
class AutomationsView:
    """Whether automations are run here.

    Attributes:
        run: whether they are, where some are declared.
        needs_debug: they are only where the project's DEBUG is on: nobody has said that they are.
        alone: nothing else is served.
        declared: whether Duck's own settings declare some.
        stop_s: how long runs may go on once the App ends.
        silence_s: how long the dispatcher may say nothing until it is taken for hung.
    """

    run: bool
    needs_debug: bool
    alone: bool
    declared: bool
    stop_s: float
    silence_s: float


def automations(settings: Settings) -> AutomationsView:
    """The settings of automations."""
    serves = views.production(settings).serves
    alone = serves and settings["AUTOMATIONS_ONLY"]
    closing = views.closing(settings)
    return AutomationsView(
        run=settings["RUN_AUTOMATIONS"],
        needs_debug=not serves and not settings.is_given("RUN_AUTOMATIONS"),
        alone=alone,
        declared=bool(settings["AUTOMATIONS"]),
        stop_s=closing.longest_s if serves else closing.deadline_s,
        silence_s=settings["HEARTBEAT_TIMEOUT"] or float("inf"),
    )
