"""When Python looks for garbage in cycles: not while a project is loaded, where nearly all that is made is kept.

To look each time that some hundreds of objects were made takes a sixth of a start.
"""

from __future__ import annotations

import gc

_SELDOM = (100_000, 50, 1_000)  # no bound of memory: a package that makes so many objects and drops them is looked at
_before = gc.get_threshold()


def leave_alone() -> None:
    """Look for garbage seldom, until `look_again`."""
    global _before
    if gc.get_threshold() != _SELDOM:
        _before = gc.get_threshold()
        gc.set_threshold(*_SELDOM)


def look_again() -> None:
    """Look as before, and not first of all through what was loaded: it counts as old, as it would after some looks.

    What the project has set itself is left so.
    """
    if gc.get_threshold() != _SELDOM:
        return
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    if not was_frozen:
        gc.unfreeze()  # into the oldest generation
    gc.set_threshold(*_before)
