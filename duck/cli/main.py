"""The command line: which commands there are, and what becomes of their errors.

A command's module is imported when the command is used: `duck --help` names them all and imports none.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from duck import __version__
from duck.cli.lazy_group import LazyGroup
from duck.exceptions import DuckError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
INTERRUPTED: Final = 130

EXIT_CODES: Final = {
    OK: "done",
    FAILED: "it could not be done; one sentence on standard error says why",
    USAGE: "the command line is wrong",
    NOT_RUNNING: "no Duck runs here (`duck status`, `duck top`, `duck requests`, `duck stop`)",
    INTERRUPTED: "interrupted; a server that ends by a signal returns 128 and its number",
}

# name: (module in duck.cli, function, the first sentence of its help)
_COMMANDS: Final = {
    "runserver": ("runserver", "runserver", "Serve the Django or Duck project of this directory."),
    "serve": ("serve", "serve", "Serve the Django or Duck project of this directory in production."),
    "status": ("instances", "status", "Show the Duck that runs for this directory."),
    "top": ("top", "top", "Show the processes of the Duck that runs for this directory, live."),
    "requests": ("requests", "requests", "Show the last requests, or with an ID all of one."),
    "reload": ("reload", "reload", "Load the project again in the Duck that runs for this directory."),
    "stop": ("instances", "stop", "Stop the Duck that runs for this directory."),
    "check": ("check", "check", "Look at everything that a start needs, and start nothing."),
    "routes": ("routes", "routes", "Show who answers what: static and media files, Duck's own views, Django's."),
    "cert": ("cert", "cert", "Show, obtain, renew and trust certificates."),
    "automations": ("automations", "automations", "Show, run and steer scheduled work."),
    "manage": ("manage", "manage", "Run a management command of the Django project of this directory."),
    "shell": ("manage", "shell", "Open Django's shell for the project of this directory."),
    "test": ("manage", "test", "Run the Django tests of the project of this directory."),
    "settings": ("settings", "settings", "Show each setting, its value and where it was given."),
    "makeproject": ("makeproject", "makeproject", "Make a new project with a Django project in it."),
    "django-add": ("django_add", "django_add", "Put an existing Django project behind this Duck project."),
    "completion": ("completion", "completion", "Print the completion script of a shell."),
}


class _Commands(LazyGroup):
    package = "duck.cli"
    commands_of = _COMMANDS


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="duck", message="%(prog)s %(version)s")
def cli() -> None:
    """One command in front of a Django project."""


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns the exit code, having said on standard error what went wrong."""
    try:
        os.getcwd()
    except OSError as error:
        gone = f"The working directory cannot be used ({error.strerror}); go to one that exists."
        return _tell(gone, as_json="--json" in argv)
    try:
        result = cli.main(list(argv), prog_name="duck", standalone_mode=False)
    except click.ClickException as error:
        if "--json" in argv:
            _tell(error.format_message(), as_json=True)
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except DuckError as error:
        return _tell(str(error), as_json="--json" in argv)
    except ImportError as error:
        from duck.cli.clash import clash_sentence

        sentence = clash_sentence(thorough=True) if (error.name or "").startswith("duck") else None
        if sentence is None:
            raise
        return _tell(sentence, as_json=False)
    except BrokenPipeError:
        # Who read our output has gone, as `head` does; the interpreter would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return result if isinstance(result, int) else OK


def _tell(sentence: str, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": sentence}))
    else:
        click.echo(f"duck: {sentence}", err=True)
    return FAILED
