"""What a running process reads again without being replaced: templates and translations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from .control import Control


def refresh(control: Control, command: Dict[str, Any]) -> None:
    """Forget `what` (`templates`, `translations`) the command names, then say `refreshed`; on the lifeline's thread."""
    problem = ""
    try:
        for what in command.get("what", ()):
            if what == "templates":
                _forget_templates()
            elif what == "translations":
                _forget_translations()
    except Exception as error:  # what the project made of its engines
        problem = f"{type(error).__name__}: {error}"
    control.send("refreshed", number=command.get("number", 0), problem=problem)


def _forget_templates() -> None:
    from django.template.autoreload import reset_loaders

    reset_loaders()


def _forget_translations() -> None:
    """As `django.utils.translation.reloader.translation_file_changed` does."""
    import gettext
    from importlib import import_module

    trans_real: Any = import_module("django.utils.translation.trans_real")  # whose types hide what is reset
    gettext._translations = {}  # type: ignore[attr-defined]
    trans_real._translations = {}
    trans_real._default = None
    # What each thread or task has activated: of a class of asgiref's, which Django needs and a checker may lack.
    trans_real._active = import_module("asgiref.local").Local()
