"""Whether another distribution has put files of its own into the package `duck`.

Python installers let two distributions own one package, and the later one overwrites files of the earlier. What comes
of it fails in ways that name neither. So each start looks at the names beside the package, which takes well under a
millisecond; `importlib.metadata` is asked only after something failed to import, since it reads every RECORD there is.
"""

from __future__ import annotations

import os
from pathlib import Path

DISTRIBUTION = "duck-server"


def clash_sentence(directory: Path | None = None, *, thorough: bool = False) -> str | None:
    """What to tell the user, or None where `duck` is this distribution's alone.

    Args:
        directory: where the package lies; by default that of the running one.
        thorough: look at every distribution, not only those named like duck.
    """
    directory = Path(__file__).resolve().parents[2] if directory is None else directory
    other = _other_distribution(directory, "" if thorough else "duck")
    if other is None:
        return None
    return (
        f"The distribution {other} has files in the package `duck` in {directory} too, so that neither works: "
        f"run `pip uninstall {other}` and then `pip install --force-reinstall {DISTRIBUTION}`."
    )


def _other_distribution(directory: Path, start: str) -> str | None:
    try:
        names = sorted(entry.name for entry in os.scandir(directory))
    except OSError:
        return None
    for name in names:
        if not name.endswith(".dist-info") or not name.lower().startswith(start):
            continue
        distribution = name.removesuffix(".dist-info").rpartition("-")[0]
        if distribution.lower().replace("_", "-") == DISTRIBUTION:
            continue
        try:
            with open(directory / name / "RECORD", encoding="utf-8", errors="replace") as record:
                if any(line.startswith("duck/") for line in record):
                    return distribution
        except OSError:
            continue
    return None
