"""The application."""

from __future__ import annotations

from django.apps import AppConfig


class DuckAutomations(AppConfig):
    """Runs of automations and how each automation stands; `duck manage migrate duck_automations` makes its tables."""

    name = "duck.automation.django"
    label = "duck_automations"
    verbose_name = "Scheduled work"
    default_auto_field = "django.db.models.BigAutoField"
