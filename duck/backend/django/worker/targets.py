"""Whether what automations run is there: modules and functions of `call`, management commands.

No module is imported for it that the project has not imported, but for the packages around it: one that fails or hangs
at its import is its run's matter.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, Dict, Iterable, List

from .declared import has_django
from .failure import message_of


def check_targets(named: Iterable[Dict[str, Any]]) -> List[str]:
    """Sentences on what would run a function or a command that is not there.

    Args:
        named: `name`, `table` and `origin` of automations.
    """
    problems = []
    for each in named:
        table = each["table"] if isinstance(each["table"], dict) else {}
        try:
            if isinstance(table.get("call"), str):
                _look_for_call(table["call"])
            elif isinstance(table.get("command"), str) and has_django():
                _look_for_command(table["command"])
        except Exception as error:
            who = f"{each['origin']}: the automation {each['name']!r}"
            problems.append(f"{who} runs what is not there: {message_of(error)}.")
    return problems


def _look_for_call(dotted: str) -> None:
    module, separator, name = dotted.partition(":")
    if not separator:
        module, _, name = dotted.rpartition(".")
    if module in sys.modules:
        found: Any = sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(f"{dotted} cannot be called")
    elif not _is_there(module):
        raise LookupError(f"there is no module {module!r}; give the dotted name of a function that can be imported")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            return False
        raise  # a package around it lacks something else


def _look_for_command(name: str) -> None:
    from django.core.management import get_commands

    known = get_commands()
    if name in known:
        return
    if name.split()[0] in known:
        raise LookupError(f"there is no command {name!r}; give {name.split()[0]!r}, and the rest in args")
    near = get_close_matches(name, known, 1)
    raise LookupError(
        f"there is no command {name!r}; {f'give {near[0]!r}, if you mean that' if near else 'see `manage.py help`'}"
    )
