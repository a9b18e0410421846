"""Labels of figures: names of automations, of which there may come ever more, are bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from duck.net.stats import merge

MOST_NAMES: Final = 200
OTHERS: Final = "(others)"


def bounded(counts: dict[str, Any], latest: Mapping[str, Any]) -> dict[str, Any]:
    """The same sum (see `Figures.snapshot`), in which those beyond the first MOST_NAMES are counted together.

    Args:
        latest: what was added last; its names come first.
    """
    runs = counts.get("runs", {})
    names = [name for name in {**latest.get("runs", {}), **runs} if name != OTHERS]
    if len(names) <= MOST_NAMES:
        return counts
    kept = {name: runs[name] for name in names[:MOST_NAMES]}
    others = merge(runs[name] for name in (OTHERS, *names[MOST_NAMES:]) if name in runs)
    return {**counts, "runs": {**kept, OTHERS: others}}
