"""Bringing the project up as it is used to: manage.py run as `__main__`, or its module imported as gunicorn does."""

from __future__ import annotations

import os
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any, Callable, List, Optional

from .failure import StartError
from .hook import when_imported
from .provided import provide_automation
from .reexec import Following

if TYPE_CHECKING:
    from .spec import Spec


def enter_directory(spec: Spec) -> None:
    """Make the project's directory the working directory and first on the path, as `python manage.py` does.

    `duck.automation` is found from then on, too.
    """
    provide_automation()
    os.chdir(spec.cwd)
    # Links are followed: where the file itself lies its packages do, as for the interpreter.
    sys.path.insert(0, os.path.dirname(os.path.realpath(spec.manage)) if spec.manage else os.path.abspath(spec.cwd))
    if spec.settings:
        os.environ["DJANGO_SETTINGS_MODULE"] = spec.settings


def run_manage(spec: Spec, serve: Callable[[], None], command: str = "runserver") -> None:
    """Run manage.py as `manage.py runserver --noreload` (or another `command`), with `serve()` in its place.

    Whatever manage.py does before and around it is done: environment files, `sys.path` edits, configuration classes,
    debuggers. `serve` is called after `django.setup()`, where the command would run. Returns when it has returned.

    Raises:
        StartError: manage.py ended without running the command.
        BaseException: whatever manage.py raises.
    """
    assert spec.manage is not None
    path = os.path.abspath(spec.manage)
    served = False
    following = Following(spec, path)

    def serve_once() -> None:
        nonlocal served
        served = True
        following.end()
        serve()

    when_imported("django.core.management", lambda module: _replace_command(module, serve_once, command))
    sys.argv = [os.path.relpath(path, spec.cwd), command]
    if spec.settings:
        sys.argv.append(f"--settings={spec.settings}")
    if command == "runserver":
        sys.argv.insert(2, "--noreload")
        os.environ["RUN_MAIN"] = "true"
    try:
        run_as_main(path)
    except SystemExit as error:
        if served:
            raise
        raise StartError(
            f"{path} ended with exit code {error.code!r} before it ran the command; its output says why"
        ) from error
    if not served:
        raise StartError(
            f"{path} ended without running the command {command!r}; "
            "it must call execute_from_command_line(sys.argv), as the file that startproject makes does"
        )


def run_aside(spec: Spec, serve: Callable[[], None]) -> None:
    """Run `serve()` with the project brought up as for a management command, by manage.py where there is one.

    Raises:
        BaseException: whatever the project raises, or `serve`.
    """
    if spec.manage:
        run_manage(spec, serve, "automations")
        return
    module = find_settings(spec)
    if module is not None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", module)
    serve()


def run_as_main(path: str) -> None:
    """Run the file at `path` as the interpreter does with the one it is started on; `sys.argv` is the caller's."""
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = SourceFileLoader("__main__", path)
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    with open(path, "rb") as file:
        source = file.read()
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _replace_command(management: Any, serve: Callable[[], None], name: str) -> None:
    utility = management.ManagementUtility
    fetch_command = utility.fetch_command
    call_command = management.call_command

    class Command:
        """Stands where the command is looked up."""

        def run_from_argv(self, argv: List[str]) -> None:
            serve()

    def fetch(self: Any, subcommand: str) -> Any:
        return Command() if subcommand == name else fetch_command(self, subcommand)

    def call(command_name: Any, *arguments: Any, **options: Any) -> Any:
        called = command_name if isinstance(command_name, str) else type(command_name).__module__.rpartition(".")[2]
        return serve() if called == name else call_command(command_name, *arguments, **options)

    utility.fetch_command = fetch
    management.call_command = call


# Whose `runserver` does nothing that Duck does not do.
_KNOWN_RUNSERVERS = ("django.core", "django.contrib.staticfiles", "channels", "daphne", "whitenoise.runserver_nostatic")


def replaced_command() -> List[str]:
    """A sentence where a package's own `runserver` is not run, since it may serve what no URL pattern does."""
    from django.core.management import get_commands

    owner = get_commands().get("runserver", "")
    name = owner if isinstance(owner, str) else type(owner).__module__
    if name in _KNOWN_RUNSERVERS:
        return []
    return [f"The command runserver of {name} is not run; what it alone serves has to be in urlpatterns."]


def set_up() -> None:
    """Have the settings and applications loaded, and fail as they do where they cannot be.

    `ManagementUtility` swallows a failure of the settings, for commands that need none.
    """
    import django
    from django.apps import apps
    from django.conf import settings

    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise StartError("no Django settings are named; set DJANGO_SETTINGS_MODULE, or pass --django-settings MODULE")
    _ = settings.INSTALLED_APPS
    if not apps.ready:
        django.setup()


def set_prefix(spec: Spec) -> None:
    """Have STATIC_URL and MEDIA_URL, which Django makes once and keeps, start with the prefix of the URLs.

    A server that imports the entry reads them in its first request, where Django has set FORCE_SCRIPT_NAME already.
    """
    from django.conf import settings
    from django.urls import set_script_prefix

    prefix = spec.prefix if settings.FORCE_SCRIPT_NAME is None else settings.FORCE_SCRIPT_NAME
    if prefix:
        set_script_prefix(prefix)


def find_settings(spec: Spec) -> Optional[str]:
    """The settings module that the entry module or manage.py would set, without running manage.py.

    For `serve`, where the entry (wsgi.py) sets it on import; this is for projects whose entry is not known yet.
    """
    if spec.settings or os.environ.get("DJANGO_SETTINGS_MODULE"):
        return spec.settings or os.environ["DJANGO_SETTINGS_MODULE"]
    if spec.manage is None:
        return None
    import ast

    with open(spec.manage, "rb") as file:
        tree = ast.parse(file.read(), spec.manage)
    for node in ast.walk(tree):
        # os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
        if isinstance(node, ast.Call) and len(node.args) == 2:
            name, value = node.args
            if isinstance(name, ast.Constant) and name.value == "DJANGO_SETTINGS_MODULE":
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    return value.value
        # os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            if any(ast.unparse(target) == "os.environ['DJANGO_SETTINGS_MODULE']" for target in node.targets):
                return node.value.value
    return None
