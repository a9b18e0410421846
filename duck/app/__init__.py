"""The App of a process, MicroApps beside it, and what `duck runserver` calls."""

from duck.app.app import App
from duck.app.microapp import MicroApp

__all__ = ["App", "MicroApp"]
