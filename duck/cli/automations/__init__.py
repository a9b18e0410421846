"""`duck automations`: scheduled work, shown, run and steered; one file a noun."""

from duck.cli.automations.group import automations

__all__ = ["automations"]
