"""What a program that nobody wrote a handler for says: `python main.py` tells as `duck runserver` does."""

from __future__ import annotations

import sys
from types import TracebackType

from duck.exceptions import DuckError


def tell_in_one_sentence() -> None:
    """Have a `DuckError` that ends the program told as one sentence; whoever has set a hook of their own keeps it.

    Such errors are sentences to the user, with the value and the remedy; only the place in Duck would be added.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, DuckError):
        sys.stderr.write(f"duck: {error}\n")
    else:
        sys.__excepthook__(kind, error, traceback)
