"""Scheduled work, as a project declares it. Standard library only: this is imported in the project's interpreter."""

from .automation import Automation, automation
from .context import Context
from .trigger import (
    AutomationTrigger,
    NoTrigger,
    Trigger,
    all_of,
    any_of,
    at,
    calendar,
    condition,
    cron,
    daily_at,
    every,
    on,
)

__all__ = [
    "Automation",
    "AutomationTrigger",
    "Context",
    "NoTrigger",
    "Trigger",
    "all_of",
    "any_of",
    "at",
    "automation",
    "calendar",
    "condition",
    "cron",
    "daily_at",
    "every",
    "on",
]
