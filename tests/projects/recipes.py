"""Projects as their own tools make them: `wagtail start`, `startproject`, `startapp`, packages' own examples.

What is written here is what the tools' guides tell their readers to write: entries of INSTALLED_APPS, routes to what
the package brings. Each project is made once and kept in the tests' cache; its server gets a copy.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.environments import cache_directory, environment
from tests.projects.site import bare_environ

ADMIN = {
    "DJANGO_SUPERUSER_USERNAME": "admin",
    "DJANGO_SUPERUSER_PASSWORD": "a-Duck-in-a-pond-9",
    "DJANGO_SUPERUSER_EMAIL": "admin@example.org",
}
# One process for both commands, which collects no garbage: migrations make models anew again and again, and to look
# through them each time is a quarter of the work of Wagtail's.
DATABASE = """
import gc
gc.disable()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("createsuperuser", interactive=False)
"""
QUICK_PASSWORDS = '\nPASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]\n'


@dataclass(frozen=True)
class Project:
    """A project that was made, to be copied.

    Attributes:
        directory: where it lies in the cache; nothing is run there.
        python: of the environment made for it.
        root: directory of manage.py, relative to `directory`.
        variables: what its shell has to have set.
    """

    directory: Path
    python: str
    variables: dict[str, str]


class Tool:
    """Runs the commands of a project's environment in the directory where the project is made."""

    def __init__(self, python: str, directory: Path, variables: dict[str, str]) -> None:
        self.python = python
        self.directory = directory
        self._environ = bare_environ(python) | variables

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> None:
        done = subprocess.run(
            command,
            cwd=cwd or self.directory,
            env=self._environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"

    def startproject(self, *arguments: str) -> None:
        self.run(self.python, "-m", "django", "startproject", *arguments)

    def manage(self, *arguments: str, cwd: Path | None = None, **variables: str) -> None:
        self.run(self.python, "manage.py", *arguments, cwd=cwd, **variables)

    def migrate(self, cwd: Path | None = None, settings: str = "mysite/settings.py") -> None:
        """The database, with the superuser of ADMIN, whose password is checked as Django's guide to fast tests has it.

        By default each request that tells one takes half a second of a processor.
        """
        self.append(settings, QUICK_PASSWORDS)
        self.manage("shell", "-c", DATABASE, cwd=cwd, **ADMIN)

    def install(self, *apps: str, settings: str = "mysite/settings.py") -> None:
        """Put `apps` first into INSTALLED_APPS."""
        path = self.directory / settings
        lines = "".join(f'    "{app}",\n' for app in apps)
        path.write_text(path.read_text().replace("INSTALLED_APPS = [\n", f"INSTALLED_APPS = [\n{lines}"))

    def append(self, path: str, text: str) -> None:
        with open(self.directory / path, "a") as file:
            file.write(text)

    def write(self, path: str, text: str) -> None:
        (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / path).write_text(text)


def make(
    recipe: Callable[[Tool], None], python: str, *requirements: str, variables: dict[str, str] | None = None
) -> Project:
    """The project of `recipe`, made with these packages and no others; made once for each wording of the recipe."""
    executable = environment(python, requirements)
    named = {name: value for name, value in inspect.getclosurevars(recipe).globals.items() if isinstance(value, str)}
    text = "\n".join(
        (executable, inspect.getsource(recipe), inspect.getsource(Tool), DATABASE, str(named), str(variables))
    )
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    directory = cache_directory() / "projects" / f"{recipe.__name__}-{python}-{key}" / recipe.__name__
    complete = directory.parent / ".complete"
    if not complete.exists():
        shutil.rmtree(directory.parent, ignore_errors=True)
        directory.mkdir(parents=True)
        recipe(Tool(executable, directory, variables or {}))
        for cached in sorted(directory.rglob("__pycache__")):
            shutil.rmtree(cached)
        complete.touch()
    return Project(directory, executable, variables or {})
