"""A Duck project whose own modules cannot be imported: what is told of it, and which files may mend it."""

from __future__ import annotations

import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duck.settings.load import Settings

_NAMED = re.compile(r'^  File "(.*?)", line', re.MULTILINE)
_OURS = (str(Path(__file__).resolve().parents[1]) + os.sep, "<frozen ")


@dataclass(frozen=True)
class Unloaded:
    """Why Duck's own side cannot be loaded.

    Attributes:
        message: one sentence.
        traceback: of the user's modules; empty where none has raised.
        files: named in it, and the settings; a change of one may mend it.
    """

    message: str
    traceback: str
    files: tuple[str, ...]

    @classmethod
    def of(cls, error: BaseException, settings: Settings) -> Unloaded:
        """What `error`, raised while the urlpatterns or the gateway of a Duck project were loaded, says."""
        cause = error.__cause__
        files: list[str] = []
        text = ""
        if cause is not None:
            told = _without_duck(cause)
            link: traceback.TracebackException | None = told
            while link is not None:
                files += [frame.filename for frame in reversed(link.stack) if _is_editable(frame.filename)]
                files += [link.filename] if issubclass(_kind(link, cause), SyntaxError) and link.filename else []
                link = link.__cause__ or link.__context__
            text = "".join(told.format())
        module = settings["URLPATTERNS_MODULE"].replace(".", "/")
        files += [str(settings.base_dir / f"{module}.py"), str(settings.file)]
        return cls(str(error), text, tuple(dict.fromkeys(files)))

    @classmethod
    def told(cls, output: str, files: tuple[str, ...]) -> Unloaded:
        """The same of what a trial has written: its sentence, then its traceback."""
        sentence, _, text = output.partition("\n")
        named = [path for path in _NAMED.findall(text) if _is_editable(path)]
        return cls(sentence.removeprefix("duck: "), text, tuple(dict.fromkeys([*reversed(named), *files])))

    def page(self) -> dict[str, Any]:
        """For `Site.broken`."""
        return {"title": "The Duck project could not be loaded", "message": self.message, "traceback": self.traceback}


def text_of(error: BaseException) -> str:
    """The traceback of `error`, without the frames of Duck and of the import system."""
    return "".join(_without_duck(error).format())


def _without_duck(error: BaseException) -> traceback.TracebackException:
    told = traceback.TracebackException(type(error), error, error.__traceback__)
    link: traceback.TracebackException | None = told
    while link is not None:
        frames = [frame for frame in link.stack if not frame.filename.startswith(_OURS)]
        link.stack = traceback.StackSummary.from_list(frames)
        link = link.__cause__ or link.__context__
    return told


def _kind(link: traceback.TracebackException, cause: BaseException) -> type[BaseException]:
    return link.exc_type or type(cause)


def _is_editable(path: str) -> bool:
    return not path.startswith(("<", sys.prefix, sys.base_prefix)) and "site-packages" not in path
