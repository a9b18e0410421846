"""Where a Python warning or a line of the log comes from, said with it on the console: in development only.

    warning: shop/views.py:12: RemovedInDjango61Warning: use the other one (GET /cart/)
    Cart 7 is empty. (GET /cart/)

Only what goes to the console is changed, not the record: files, and services that gather errors, get what they got. A
project that shows warnings by itself (`warnings.showwarning`, `logging.captureWarnings`) goes on to do so.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, Optional, TextIO, Type, Union

from .hook import when_imported
from .measure import current

_PACKAGES = os.sep + "site-packages" + os.sep


def install(root: str) -> None:
    """Say it from now on; files below `root` are named by their path from there."""
    root = os.path.join(os.path.realpath(root), "")

    def show(
        message: Union[Warning, str],
        category: Type[Warning],
        filename: str,
        lineno: int,
        file: Optional[TextIO] = None,
        line: Optional[str] = None,
    ) -> None:
        stream = sys.stderr if file is None else file
        if stream is None:
            return
        try:
            stream.write(f"{described(message, category, filename, lineno, root)}\n")
        except OSError:
            pass  # as the interpreter does: a warning that cannot be written is lost

    warnings.showwarning = show
    when_imported("logging", _attribute_lines)


def described(message: Union[Warning, str], category: Type[Warning], filename: str, lineno: int, root: str) -> str:
    """One warning in one line; `root` with its final slash."""
    request = request_now()
    during = f" ({request})" if request else ""
    text = " ".join(str(message).split())
    return f"warning: {_shown(filename, root)}:{lineno}: {category.__name__}: {text}{during}"


def request_now() -> str:
    """Method and path of the request that is served here and now, where that is known; else empty."""
    tally = current.get()
    return tally.request if tally is not None else ""


def _shown(filename: str, root: str) -> str:
    path = os.path.realpath(filename)
    if _PACKAGES in path:
        return path.rpartition(_PACKAGES)[2]
    return path[len(root) :] if path.startswith(root) else filename


def _attribute_lines(logging: Any) -> None:
    plainly = logging.Handler.format

    def format_line(handler: Any, record: Any) -> str:
        """`StreamHandler.format`."""
        text: str = plainly(handler, record)
        stream = getattr(handler, "stream", None)
        return attributed(text) if stream is sys.stderr or stream is sys.stdout else text

    logging.StreamHandler.format = format_line


def attributed(text: str) -> str:
    """A log line with the request that it was written for, unless it names that, or is meant for a program."""
    request = request_now()
    first, feed, rest = text.partition("\n")
    path = request.partition(" ")[2]
    if not request or not first.strip() or first.lstrip().startswith("{") or first.endswith(f" {path}"):
        return text
    return f"{first} ({request}){feed}{rest}"
