"""Telling on a signal where this process stands, for a start that does not end.

The interpreter writes it in C: also while something holds its lock.
"""

from __future__ import annotations

import faulthandler
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .control import Control


def tell_on_signal(number: int, descriptor: int, control: Control) -> None:
    """Have the main thread's stack written to `descriptor` on signal `number`, and say so to the App.

    Before that is said the signal would end this process.
    """
    if number <= 0 or descriptor < 0 or not hasattr(faulthandler, "register"):
        return
    os.set_inheritable(descriptor, False)
    faulthandler.register(number, file=descriptor, all_threads=False)
    control.send("traceable")
