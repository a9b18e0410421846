"""The development server of a front end, such as Vite, beside Django."""

from __future__ import annotations

from typing import Final

from duck.settings import kinds
from duck.settings.setting import Setting

FRONTEND: Final = (
    Setting(
        "Front end",
        "FRONTEND",
        kinds.BOOLEAN.or_none(),
        None,
        "Whether a front-end development server is started and served at the same addresses. By default it is where one"
        " is named by the settings below, or Vite is found in the project.",
        flags=("--frontend/--no-frontend",),
        of=("runserver",),
        in_production=False,
    ),
    Setting(
        "Front end",
        "FRONTEND_COMMAND",
        kinds.COMMAND.or_none(),
        None,
        "The command that starts it, run in FRONTEND_DIR with the project's environment. By default Vite as the script"
        " `dev` of package.json has it.",
    ),
    Setting(
        "Front end",
        "FRONTEND_DIR",
        kinds.PATH.or_none(),
        None,
        "The directory of its package.json. By default the project's, or the one below it that configures Vite.",
    ),
    Setting(
        "Front end",
        "FRONTEND_URL",
        kinds.HTTP_URL.or_none(),
        None,
        "Where it listens, with the path below which its files are, like `http://localhost:5173/static/`. By default as"
        " it prints it. Without FRONTEND_COMMAND it is a server that runs already.",
    ),
    Setting(
        "Front end",
        "FRONTEND_PATHS",
        kinds.items(kinds.REGEX, "regular expressions"),
        [],
        "Paths that it answers before anybody else, WebSockets too; an expression has to match the whole path."
        " What Vite alone can answer needs none.",
    ),
)
