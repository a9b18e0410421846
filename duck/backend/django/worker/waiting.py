"""Whether what automations wait for is there: signals, their senders, conditions."""

from __future__ import annotations

from typing import Any, Dict, List

from .failure import StartError, message_of
from .job import resolve
from .signals import find_signal


def check_events(named: List[Dict[str, Any]]) -> List[str]:
    """Sentences on what waits for a signal, or asks a condition, that is not there.

    Args:
        named: `name`, `table` and `origin` of automations, of settings and code alike.
    """
    problems = []
    for each in named:
        for table in _events_of(each["table"]):
            try:
                if table["on"] == "signal":
                    find_signal(str(table["name"]), str(table.get("sender", "")))
                else:
                    condition = resolve(str(table["name"]))
                    if not callable(getattr(condition, "check_trigger", None)):
                        raise StartError(f"{table['name']} has no check_trigger(); give an AutomationTrigger")
            except Exception as error:
                who = f"{each['origin']}: the automation {each['name']!r}"
                said = str(error) if type(error) is LookupError else message_of(error)  # a sentence of Duck's own
                problems.append(f"{who} waits for a {table['on']} that is not there: {said}.")
    return problems


def _events_of(table: Any, depth: int = 0) -> List[Dict[str, Any]]:
    """The tables in `table`, at any depth, of signals and conditions."""
    if depth > 20:
        return []
    if isinstance(table, (list, tuple)):
        return [found for each in table for found in _events_of(each, depth + 1)]
    if not isinstance(table, dict):
        return []
    if table.get("on") in ("signal", "condition") and "name" in table:
        return [table]
    return [found for key in ("any_of", "all_of", "trigger") for found in _events_of(table.get(key), depth + 1)]
