"""Telling on a signal where this process stands, for a start that does not end and for a process that hangs.

The interpreter writes it in C: also while something holds its lock.
"""

from __future__ import annotations

import faulthandler
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .control import Control


def tell_on_signal(number: int, descriptor: int, control: Control, number_of_all: int = 0) -> None:
    """Have the main thread's stack written to `descriptor` on signal `number`, and say so to the App.

    On `number_of_all`, where it is one, those of all threads. Before that is said the signal would end this process.
    """
    if number <= 0 or descriptor < 0 or not hasattr(faulthandler, "register"):
        return
    os.set_inheritable(descriptor, False)
    faulthandler.register(number, file=descriptor, all_threads=False)
    if number_of_all > 0:
        faulthandler.register(number_of_all, file=descriptor, all_threads=True)
    control.send("traceable")
