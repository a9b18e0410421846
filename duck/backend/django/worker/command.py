"""A management command that goes before the start: manage.py run as it is, in a process that ends with the App."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Any

from .control import Control, die_with_parent, tie_group
from .hook import when_imported
from .launch import run_as_main
from .provided import provide_automation
from .signals import follow

VARIABLE = "_DUCK_COMMAND"


def _tell_signals(management: Any, events: str, control: Control) -> None:
    """Have automations told of the signals that the command sends; its applications are loaded when it is fetched."""
    utility = management.ManagementUtility
    fetch_command = utility.fetch_command

    def fetch(self: Any, subcommand: str) -> Any:
        from django.apps import apps

        if apps.ready:
            follow(events, control)
        return fetch_command(self, subcommand)

    utility.fetch_command = fetch


def main() -> int:
    """Run `manage.py ARGUMENT...` as the variable says, and take that out of the environment; 0 when it ended well."""
    told = json.loads(os.environ.pop(VARIABLE))
    die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
    # Held for its lifeline: nothing is reported, and a `stop` ends the process.
    control = Control(told["control_fd"])
    os.chdir(told["cwd"])
    provide_automation()
    path = os.path.abspath(told["manage"])
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    if told["settings"]:
        os.environ["DJANGO_SETTINGS_MODULE"] = told["settings"]
    sys.argv = [os.path.relpath(path, told["cwd"]), *told["arguments"]]
    if told.get("events"):
        when_imported("django.core.management", partial(_tell_signals, events=told["events"], control=control))
    run_as_main(path)
    del control
    return 0
