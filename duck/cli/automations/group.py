"""The group of `duck automations`; a command's module is imported when the command is used."""

from __future__ import annotations

import logging
from typing import Final

import click

from duck.cli.lazy_group import LazyGroup

# name: (module beside this one, function, the first sentence of its help)
_COMMANDS: Final = {
    "list": ("declared", "list_", "Show every automation: when it runs next, how it ran last, and what is wrong."),
    "show": ("declared", "show", "Show all of one automation: each option with its value, given or not."),
    "next": (
        "declared",
        "next_",
        "Show the coming runs; days on which clocks are changed are marked, and what a pause will pass over.",
    ),
    "run": ("run", "run", "Run what is scheduled until Ctrl-C, or with NAME that one now."),
    "event": ("event", "event", "Tell automations that something has happened: what waits for it is run."),
    "pause": ("pauses", "pause", "Plan nothing of an automation for a while; what runs goes on."),
    "resume": ("pauses", "resume", "Plan an automation again; what was planned meanwhile is passed over."),
    "history": ("runs", "history", "Show the latest runs, the newest first."),
    "logs": ("runs", "logs", "Print the end of what a run printed, or has printed until now."),
    "cancel": ("runs", "cancel", "Have a run end, or not start."),
    "backfill": ("backfill", "backfill", "Run the planned times of a span that has passed."),
    "doctor": ("doctor", "doctor", "Look at everything that scheduled work needs, each finding with its remedy."),
    "alert-test": ("alert", "alert_test", "Send a test alert to a channel of AUTOMATION_ALERTS."),
    "export": ("export", "export", "Write automations for systemd, cron or Kubernetes."),
    "import-crontab": ("crontab", "import_crontab", "Read a crontab as tables of duck.toml."),
}


class _Commands(LazyGroup):
    package = "duck.cli.automations"
    commands_of = _COMMANDS


@click.group(cls=_Commands)
def automations() -> None:
    """Show, run and steer scheduled work.

    Automations are declared in duck.toml or the settings, or in code by `duck.automation`.

    For example: duck automations next
    """
    logging.getLogger("duck.automations").addHandler(logging.NullHandler())
