"""The objects that Python's garbage collection knows of, those included that were frozen for a copy."""

from __future__ import annotations

import gc
from typing import Any, List


def objects_of(*kinds: type) -> List[Any]:
    """All of these kinds, or of one that is made from them."""
    is_frozen = gc.get_freeze_count() > 0
    gc.unfreeze()  # what is frozen is not listed
    # By the type: `isinstance` would ask a lazy object of Django's for its class, and have it made.
    found = [one for one in gc.get_objects() if issubclass(type(one), kinds)]
    if is_frozen:
        gc.freeze()
    return found
