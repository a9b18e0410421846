"""A management command as a user types it: by which program, with which arguments, where, and in which environment.

It is the project as `duck runserver` finds it: the same manage.py, interpreter, directory and variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duck.backend.django.discover import Project, child_environment, find_interpreter, find_project
from duck.exceptions import ProjectError
from duck.settings import views

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter
    from duck.settings.load import Settings

# Where the project's Python finds `duck.automation`, and nothing else, if Duck is not installed there.
LENT: Final = Path(__file__).parent / "lent"


@dataclass(frozen=True)
class ManageCommand:
    """What is run.

    Attributes:
        argv: the program, which is the first of them, and its arguments.
        cwd: the directory of manage.py.
        environ: all variables.
    """

    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]


def find_managed(settings: Settings, environ: Mapping[str, str]) -> tuple[Project, Interpreter]:
    """The project that `settings` mean and the Python that runs it; a project without manage.py has a module at least.

    Raises:
        ProjectError: there is none, or no Python for it.
    """
    view = views.django(settings)
    if view.use is False:
        raise ProjectError(f"USE_DJANGO is off ({settings.origin('USE_DJANGO')}), so there is no project to manage.")
    try:
        project = find_project(settings.project_dir, view.project)
    except ProjectError:
        module = view.settings_module or environ.get("DJANGO_SETTINGS_MODULE")
        if view.project is not None or not module:
            raise
        project = Project(settings.project_dir, settings.project_dir / "manage.py")
    return project, find_interpreter(project, str(view.python) if view.python is not None else None, environ)


def manage_command(
    project: Project, interpreter: Interpreter, module: str | None, arguments: Sequence[str], environ: Mapping[str, str]
) -> ManageCommand:
    """`manage.py` and `arguments`, or `python -m django` where there is no manage.py.

    `module` is Duck's DJANGO_SETTINGS_MODULE. It goes by argument, too, as it does for `runserver`, since a manage.py
    may set the variable to its own; unless the user's arguments name one.
    """
    given = list(arguments)
    child = child_environment(environ, interpreter.path)
    if os.path.abspath(interpreter.path) != os.path.abspath(sys.executable):
        child["PYTHONPATH"] = os.pathsep.join(filter(None, (child.get("PYTHONPATH"), str(LENT))))
    if module is not None:
        child["DJANGO_SETTINGS_MODULE"] = module
        names_one = any(word == "--settings" or word.startswith("--settings=") for word in given)
        if given and not given[0].startswith("-") and not names_one:
            given.insert(1, f"--settings={module}")
    has_file = os.path.isfile(project.manage)
    program = [os.path.relpath(project.manage, project.root)] if has_file else ["-m", "django"]
    return ManageCommand((interpreter.path, *program, *given), str(Path(project.root)), child)
