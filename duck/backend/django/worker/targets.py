"""Whether what automations run is there: functions of `call`, tasks of `task`, management commands.

At a start no module is imported for it that the project has not imported, but for the packages around it: one that
fails or hangs at its import is its run's matter. `duck check` imports them, for it says where an import stands.
"""

from __future__ import annotations

import ast
import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, Dict, Iterable, List

from .declared import has_django
from .failure import StartError, message_of
from .module_text import is_module, names_of


def check_targets(named: Iterable[Dict[str, Any]], *, imports: bool = False) -> List[str]:
    """Sentences on what would run something that is not there.

    Args:
        named: `name`, `table` and `origin` of automations.
        imports: whether to import what they name.
    """
    problems = []
    for each in named:
        table = each["table"] if isinstance(each["table"], dict) else {}
        try:
            for kind, look in (("call", _look_for_call), ("task", _look_for_task)):
                if isinstance(table.get(kind), str):
                    look(table[kind], imports)
            if isinstance(table.get("command"), str):
                _look_for_command(table["command"])
        except (Exception, SystemExit) as error:
            who = f"{each['origin']}: the automation {each['name']!r}"
            problems.append(f"{who} cannot be run: {message_of(error).rstrip('.')}.")
    return problems


def _look_for_call(dotted: str, imports: bool) -> None:
    found = _find(dotted, imports)
    if found is not None and not isinstance(found, ast.AST) and not callable(found):
        raise StartError(f"{dotted} cannot be called; give the dotted name of a function")


def _look_for_task(dotted: str, imports: bool) -> None:
    if not has_django():
        raise StartError("`task` needs a Django project, and there is none here; give a function by `call`")
    found = _find(dotted, imports)
    if isinstance(found, ast.AST):
        if not getattr(found, "decorator_list", None):
            raise StartError(f"{dotted} is no task; decorate it with @task, or give it by `call`")
    elif found is not None and not callable(getattr(found, "enqueue", None)):
        hint = "decorate it with @task, or give it by `call`"
        if callable(getattr(found, "delay", None)):
            module, name = _parts(dotted)
            hint = f'Celery\'s are put into their queue by call = "{module}:{name}.delay"'
        raise StartError(f"{dotted} is no task of django_tasks; {hint}")


def _parts(dotted: str) -> List[str]:
    module, separator, name = dotted.partition(":")
    if not separator:
        module, _, name = dotted.rpartition(".")
    return [module, name]


def _find(dotted: str, imports: bool) -> Any:
    """What is there by that name: the object, or its definition where nothing was imported, or None for no more known.

    Raises:
        StartError: it is not there.
    """
    module, name = _parts(dotted)
    if not module or not name:
        return None  # it is no dotted name, which others say
    if module not in sys.modules:
        if not is_module(module):
            raise StartError(_no_module(module, name))
        if not imports:
            return _find_in_text(module, name)
        import_module(module)
    found: Any = sys.modules[module]
    for part in name.split("."):
        if not hasattr(found, part):
            raise StartError(_no_name(module, part, vars(found) if hasattr(found, "__dict__") else ()))
        found = getattr(found, part)
    return found


def _find_in_text(module: str, name: str) -> Any:
    first, _, rest = name.partition(".")
    bound = names_of(module)
    if bound is None:
        return None
    if first not in bound:
        raise StartError(_no_name(module, first, bound))
    return bound[first] if not rest else None


def _no_module(module: str, name: str) -> str:
    package, _, last = module.rpartition(".")
    text = f"there is no module {module!r}"
    if package and is_module(package):
        bound = names_of(package) or {}
        if last in bound:
            return f'{text}; give "{package}:{last}.{name}", if {last} is a class of {package}'
        spec = find_spec(package)
        names = [each.name for each in iter_modules(spec.submodule_search_locations or ())] if spec is not None else []
    else:
        package, last = "", module.partition(".")[0]
        names = sorted({each.partition(".")[0] for each in sys.modules} - set(sys.builtin_module_names))
    near = get_close_matches(last, [each for each in names if each != last], 1)
    if near:
        whole = f"{package}.{near[0]}" if package else near[0] + module[len(last) :]
        return f'{text}; give "{whole}.{name}", if you mean that'
    return f"{text}; give the dotted name of what can be imported"


def _no_name(module: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, [each for each in known if not each.startswith("__")], 1)
    right = f'give "{module}.{near[0]}", if you mean that' if near else "give what is there, or write it"
    return f"{module} has no {name!r}; {right}"


def _look_for_command(name: str) -> None:
    if not has_django():
        raise StartError("`command` needs a Django project, and there is none here; give a `shell` or a `call`")
    from django.core.management import get_commands

    known = get_commands()
    if name in known:
        return
    if name.split()[0] in known:
        raise StartError(f"there is no command {name!r}; give {name.split()[0]!r}, and the rest in args")
    near = get_close_matches(name, known, 1)
    raise StartError(
        f"there is no command {name!r}; {f'give {near[0]!r}, if you mean that' if near else 'see `manage.py help`'}"
    )
