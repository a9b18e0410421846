"""What is wrong with declarations that can be read: what they wait for, or run, is not there."""

from __future__ import annotations

from typing import Any, Dict, List

from .declared import has_django
from .targets import check_targets
from .waiting import check_events


def problems_of(found: Dict[str, Any], own: Dict[str, Any], *, imports: bool = False) -> List[str]:
    """Sentences, each with where it is declared.

    Args:
        found: what `find_automations` has found.
        own: what it was told (`events` and `targets` of Duck's own settings).
        imports: whether to import what is run.
    """
    events = check_events([*found["declared"], *own.get("events", ())]) if has_django() else []
    return [*found["refused"], *events, *check_targets([*found["declared"], *own.get("targets", ())], imports=imports)]
