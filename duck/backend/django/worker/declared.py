"""Which automations a project declares: `automations.py` of each application, beside manage.py, and in its settings."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Dict, List

from .failure import message_of, text_of
from .settings_file import entries_of

_MODULE = "automations"
_SETTING = "AUTOMATIONS"


def find_automations(own: Dict[str, Any]) -> Dict[str, Any]:
    """What is declared, and what could not be imported.

    Args:
        own: what Duck's own settings name: `path` of a Duck project, whose modules come last; `named`, by the
            dotted names of Automation objects their `trigger` and `origin`.

    Returns:
        `declared`: name, table and origin of each; `failed`: origin, message and traceback of each module, and of each
        object that says no times (`what` says what is the matter then); `refused`: sentences on what is no declaration.
    """
    declared: List[Dict[str, Any]] = []
    failed: List[Dict[str, Any]] = []
    refused: List[str] = []
    if own.get("path") and own["path"] not in sys.path:
        sys.path.append(own["path"])
    for name in _modules():
        try:
            module = import_module(name)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failed.append(_failure(name, error))
            continue
        declared.extend(_of_module(module, failed))
    named = _of_settings(failed, refused)
    for name, said in own.get("named", {}).items():
        named.extend(_of_names(name, said["trigger"], said["origin"], failed))
    # What settings give a trigger has that one, though its module would be looked through as well.
    again = {report["table"]["call"] for report in named if report.get("by_names")}
    declared = [report for report in declared if report["table"].get("call") not in again]
    declared = [{**report, "table": _plain(report["table"])} for report in (*declared, *named)]
    return {"declared": declared, "failed": failed, "refused": refused}


def _plain(value: Any) -> Any:
    """A table as JSON has it; what JSON has no form for is told as its text."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return value


def declares_automations() -> bool:
    """Whether the project may declare some; nothing is imported, so that nothing can fail for it."""
    from django.conf import settings

    return bool(getattr(settings, "AUTOMATIONS", None)) or bool(_modules())


def has_django() -> bool:
    """Whether there is a project of Django's in this process; a Duck project may have none."""
    conf = sys.modules.get("django.conf")
    return conf is not None and bool(conf.settings.configured)


def _modules() -> List[str]:
    if not has_django():
        return [_MODULE] if find_spec(_MODULE) is not None else []
    from django.apps import apps

    # Django's own applications have none, and need not be looked through at each start.
    packages = [config.name for config in apps.get_app_configs() if not config.name.startswith("django.")]
    own = (os.environ.get("DJANGO_SETTINGS_MODULE") or "").partition(".")[0]
    names = [f"{package}.{_MODULE}" for package in [*packages, *([own] if own else [])]]
    found = []
    for name in dict.fromkeys([*names, _MODULE]):
        try:
            if find_spec(name) is not None:
                found.append(name)
        except (ImportError, ValueError, AttributeError):
            continue  # its package is none, or cannot be imported: Django has said so
    return found


def _of_module(module: Any, failed: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    from duck.automation import Automation
    from duck.automation.automation import MARK

    reports = []
    file = getattr(module, "__file__", None)
    for name, value in list(vars(module).items()):
        mark = getattr(value, MARK, None) if callable(value) else None
        try:
            if mark is not None:
                if getattr(value, "__module__", "") == module.__name__:
                    reports.append(mark.report())
            elif isinstance(value, Automation) and not name.startswith("_"):
                reports.append(value.report(f"{module.__name__}:{name}", file or name))
        except Exception as error:  # times of its own that are none
            origin = f"{file or module.__name__}: the automation {name!r}"
            failed.append({**_failure(origin, error), "what": "cannot be used"})
    return reports


def _failure(origin: str, error: BaseException) -> Dict[str, Any]:
    return {"origin": origin, "message": message_of(error), "traceback": text_of(error)}


def _of_settings(failed: List[Dict[str, Any]], refused: List[str]) -> List[Dict[str, Any]]:
    """Those of Django's settings: tables by name, or dotted names of Automation objects and of their triggers."""
    if not has_django():
        return []
    from django.conf import settings

    said = getattr(settings, "AUTOMATIONS", None)
    if not said:
        return []
    place_of = entries_of(_SETTING, said)
    if not isinstance(said, dict):
        example = '{"cleanup": {"command": "clearsessions", "every": "1d"}}'
        refused.append(f"{place_of('')}: {_SETTING} is of type {type(said).__name__}: give a dictionary, {example}.")
        return []
    reports: List[Dict[str, Any]] = []
    for name, table in said.items():
        trigger = table.get("trigger") if isinstance(table, dict) else None
        if isinstance(name, str) and isinstance(trigger, str) and "." in name:
            reports.extend(_of_names(name, trigger, place_of(name), failed))
        else:
            reports.append({"name": name, "table": table, "origin": place_of(name)})
    return reports


def _of_names(name: str, trigger: str, origin: str, failed: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The automation of that dotted name, where it can be imported."""
    try:
        return [{**_of_object(name, trigger), "origin": f"{origin}: {name}", "by_names": True}]
    except Exception as error:
        failed.append(_failure(f"{origin}: {name}", error))
        return []


def _of_object(dotted: str, trigger: str) -> Dict[str, Any]:
    from duck.automation import Automation, AutomationTrigger, NoTrigger

    module, _, name = dotted.rpartition(".")
    value = getattr(import_module(module), name)
    if isinstance(value, type):
        value = value()
    if not isinstance(value, Automation):
        raise TypeError(f"{dotted} is no Automation")
    place, _, kind = trigger.rpartition(".")
    condition = getattr(import_module(place), kind)
    report: Dict[str, Any] = value.report(f"{module}:{name}", dotted)
    own = condition if isinstance(condition, type) else type(condition)
    if not issubclass(own, AutomationTrigger):
        raise TypeError(f"{trigger} is no AutomationTrigger")
    if not issubclass(own, NoTrigger):
        if value.schedules != 1:
            raise TypeError(f"{dotted} has schedules and an interval, which go with NoTrigger; {trigger} says when")
        times = value.trigger().table
        table = {key: said for key, said in report["table"].items() if key not in times}
        report["table"] = {**table, "on": "condition", "name": trigger}
    return report
