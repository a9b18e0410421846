"""`duck manage`, `duck shell` and `duck test`: Django's own commands, in the environment of `duck runserver`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from duck.cli.options import load_settings, options_of
from duck.exceptions import ApplicationError

_F = TypeVar("_F", bound=Callable[..., Any])

_COMPLETION_S: Final = 10.0
# What follows the first word that is no option of Duck's goes to Django as it is.
_PASSING: Final = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _arguments(*before: str) -> Callable[[_F], _F]:
    """Django's words, which come behind `before`, and the options of Duck's that find the project."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = {name: value for name, value in context.params.items() if name != "arguments"}
        words = [*before, *(context.params.get("arguments") or ()), incomplete]
        return [CompletionItem(word) for word in offered(given, words)]

    def add(function: _F) -> _F:
        argument = click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete)
        return options_of("DJANGO_PROJECT", "PYTHON", "DJANGO_SETTINGS_MODULE")(argument(function))

    return add


@click.command(context_settings=_PASSING)
@_arguments()
def manage(arguments: tuple[str, ...], **given: Any) -> int:
    """Run a management command of the Django project of this directory.

    The project, its interpreter, directory and environment are those of `duck runserver`. Options of Duck's come before
    the command; all that follows is the command's own, `--help` too. Without a command Django lists what there is.

    For example: duck manage createsuperuser --username admin
    """
    return run(arguments, given)


@click.command(context_settings=_PASSING)
@_arguments("shell")
def shell(arguments: tuple[str, ...], **given: Any) -> int:
    """Open Django's shell for the project of this directory.

    It is `duck manage shell`: options of Duck's come first, the others are the command's.

    For example: duck shell -c "from django.conf import settings; print(settings.DEBUG)"
    """
    return run(("shell", *arguments), given)


@click.command(context_settings=_PASSING)
@_arguments("test")
def test(arguments: tuple[str, ...], **given: Any) -> int:
    """Run the Django tests of the project of this directory.

    It is `duck manage test`: options of Duck's come first, the others are the command's.

    For example: duck test shop --keepdb
    """
    return run(("test", *arguments), given)


def run(arguments: Sequence[str], given: dict[str, Any]) -> int:
    """Become the command, with this process's terminal, signals and exit code; returns where a system cannot.

    Raises:
        DuckError: the project or its interpreter is not found, or cannot be run.
    """
    from duck.backend.django.managing import find_managed, manage_command
    from duck.settings import views

    settings = load_settings(given)
    project, interpreter = find_managed(settings, os.environ)
    for sentence in interpreter.passed_over:
        click.echo(f"duck: {sentence}", err=True)
    command = manage_command(project, interpreter, views.django(settings).settings_module, arguments, os.environ)
    try:
        os.chdir(command.cwd)
        sys.stdout.flush()
        if os.name == "nt":  # an exec there is a new process that nobody waits for
            return subprocess.call(command.argv, env=command.environ)
        os.execve(command.argv[0], command.argv, command.environ)
    except OSError as error:
        raise ApplicationError(f"{command.argv[0]} cannot be run in {command.cwd}: {error.strerror}.") from error


def offered(given: dict[str, Any], words: Sequence[str]) -> list[str]:
    """What Django offers to complete the last of `words`, which stand behind manage.py; nothing where it cannot tell.

    Asked as django_bash_completion does: the project is loaded for it, with all commands of its applications.
    """
    from duck.backend.django.managing import find_managed, manage_command
    from duck.exceptions import DuckError
    from duck.settings import views

    try:
        settings = load_settings(given)
        project, interpreter = find_managed(settings, os.environ)
        command = manage_command(project, interpreter, views.django(settings).settings_module, (), os.environ)
        asked = {
            "DJANGO_AUTO_COMPLETE": "1",
            "COMP_WORDS": " ".join(["manage.py", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = subprocess.run(
            command.argv,
            cwd=command.cwd,
            env={**command.environ, **asked},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_COMPLETION_S,
            check=False,
        )
    except (DuckError, OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.decode("utf-8", "replace").split()
