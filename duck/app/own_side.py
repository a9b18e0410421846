"""A Duck project's own side, as a start finds it: imported, or shown as what cannot be, and mended while Duck runs."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from duck.app.lanes import site_config
from duck.app.trial import fail_if_on_trial
from duck.app.unloaded import Unloaded
from duck.exceptions import SettingsError

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.app.lifecycle import Lifecycle

logger = logging.getLogger("duck.app")


class OwnSide:
    """Of one run. For the inbox's thread.

    Attributes:
        unloaded: why it cannot be loaded; None where it is, or there is none.
    """

    def __init__(self, app: App, lifecycle: Lifecycle) -> None:
        self.unloaded: Unloaded | None = None
        self._app = app
        self._lifecycle = lifecycle

    def load(self) -> None:
        """Import it. What cannot be imported is shown once all is started, and mended while it runs."""
        lifecycle = self._lifecycle
        use_django = lifecycle.django is not None
        sight = lifecycle.browsers.config(use_django=use_django)
        try:
            lifecycle.front.config = site_config(self._app, lifecycle.settings, use_django=use_django, ducksight=sight)
        except SettingsError as error:
            unloaded = Unloaded.of(error, lifecycle.settings)
            fail_if_on_trial(unloaded)
            if self._app.disable_ipc_handler:
                raise  # nobody is there who would mend it
            self.unloaded = unloaded
            # Which side answers what is not known: each page says what is wrong.
            lifecycle.front.config = site_config(
                self._app, lifecycle.settings, use_django=True, with_own_side=False, ducksight=sight
            )

    def untried(self, output: str) -> None:
        """Changed files of Duck's own side cannot be loaded; `output` says why."""
        if self.unloaded is None:
            what = "Duck's own files cannot be loaded; what runs keeps running until they are mended.\n%s"
            logger.error(what, output)
            self._lifecycle.browsers.unloaded(Unloaded.told(output, ()), serves=True)
        else:
            self.show(Unloaded.told(output, self.unloaded.files))

    def show(self, unloaded: Unloaded) -> None:
        """Say why it cannot be loaded, in the log and in every page."""
        lifecycle = self._lifecycle
        self.unloaded = unloaded
        lifecycle.front.broken(unloaded.page())
        lifecycle.browsers.unloaded(unloaded, serves=False)
        if lifecycle.changes is not None:
            # Before it is told: who reads it may mend the file at once.
            lifecycle.changes.watch_for_recovery(unloaded.files)
        text = f"\n{unloaded.traceback.rstrip()}" if unloaded.traceback else ""
        logger.error(
            "The Duck project could not be loaded: %s%s\nDuck keeps running; a change of %s starts it again.",
            unloaded.message,
            text,
            " or ".join(os.path.relpath(path, lifecycle.project_dir) for path in unloaded.files[:3]),
        )
