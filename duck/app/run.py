"""`duck runserver` from settings to exit status."""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

from duck import logs
from duck import settings as installed
from duck.app.app import App
from duck.app.unloaded import text_of
from duck.exceptions import ApplicationError, DuckError
from duck.logs import to_console
from duck.settings import views

if TYPE_CHECKING:
    from duck.settings.load import Settings


def runserver(settings: Settings) -> int:
    """Serve what `settings` describe until stopped; the exit status: 0, or 128 and the number of the signal.

    Inside a Duck project its main.py is run, as `python main.py` would, so that a class of its own derived from App
    counts; `settings` go before what main.py hands to the constructor.

    Raises:
        DuckError: what kept it from starting, one sentence.
    """
    view = views.logs(settings)
    logs.configure(view.level, view.format)
    installed.install(settings)
    main = settings.base_dir / "main.py"
    if settings.is_duck_project and main.is_file():
        status = _run_main(str(main))
        if status is not None:
            return status
    return (App.get_main_app() or App())._run()


def _run_main(path: str) -> int | None:
    """The exit status of the main.py at `path`; None where it makes an App at most, and runs none."""
    runs, argv = App._runs, sys.argv
    sys.argv = [path]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except DuckError:
        raise
    except Exception as error:
        told = text_of(error)
        to_console(told)
        text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        raise ApplicationError(f"{path} cannot be run: {type(error).__name__}: {text}.") from error
    finally:
        sys.argv = argv
    return 0 if App._runs > runs else None
